/* Watches a POP3 session between client and backend: the queue of verbs, ends of multi-line replies, login, CAPA masking, STLS.
 *
 * PURE; see inspect.h. RFC 1939, 2449, 2595, 5034. Bodies pass unlooked at but for their end. The struct is small (below 500
 * bytes); an unfinished line or a CAPA reply that is being collected is on the heap only while it lasts. */
#ifndef GATEPOST_PROXY_INSPECT_POP3_H
#define GATEPOST_PROXY_INSPECT_POP3_H

#include "proxy/base/line.h"
#include "proxy/inspect.h"

struct inspect_pop3; /* defined below by the implementer */

int inspect_pop3_init(struct inspect_pop3 *inspect, const struct inspect_start *start);
void inspect_pop3_deinit(struct inspect_pop3 *inspect);
int inspect_pop3_client(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece);
int inspect_pop3_server(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece);
enum inspect_phase inspect_pop3_phase(const struct inspect_pop3 *inspect);
enum inspect_end inspect_pop3_client_end(const struct inspect_pop3 *inspect);

/* May a shutdown say 421 now (between commands, nothing outstanding)? */
bool inspect_pop3_quiet(const struct inspect_pop3 *inspect);

/* May octets now in flight hold a password (PASS, APOP, AUTH and its continuation)? Then the caller wipes its buffers. */
bool inspect_pop3_secret(const struct inspect_pop3 *inspect);

const struct inspect_facts *inspect_pop3_facts(const struct inspect_pop3 *inspect);

#endif
