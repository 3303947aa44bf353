/* Watches an SMTP session between client and backend: synchronisation, DATA and BDAT, AUTH, EHLO masking, STARTTLS.
 *
 * PURE; see inspect.h. RFC 5321, 2920, 3030, 3207, 4954. The struct is small (below 700 bytes); bigger things (an unfinished
 * line, a reply to EHLO that is being collected) are on the heap only while they last. */
#ifndef GATEPOST_PROXY_INSPECT_SMTP_H
#define GATEPOST_PROXY_INSPECT_SMTP_H

#include "proxy/base/line.h"
#include "proxy/inspect.h"

struct inspect_smtp; /* defined below by the implementer */

int inspect_smtp_init(struct inspect_smtp *inspect, const struct inspect_start *start);
void inspect_smtp_deinit(struct inspect_smtp *inspect);
int inspect_smtp_client(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece);
int inspect_smtp_server(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece);
enum inspect_phase inspect_smtp_phase(const struct inspect_smtp *inspect);
enum inspect_end inspect_smtp_client_end(const struct inspect_smtp *inspect);

/* May a shutdown say 421 now (between commands, nothing outstanding)? */
bool inspect_smtp_quiet(const struct inspect_smtp *inspect);

/* May octets now in flight hold a password (AUTH and its continuation)? Then the caller wipes its buffers. */
bool inspect_smtp_secret(const struct inspect_smtp *inspect);

const struct inspect_facts *inspect_smtp_facts(const struct inspect_smtp *inspect);

#endif
