/* Watches an SMTP session between client and backend: synchronisation, DATA and BDAT, AUTH, EHLO
 * masking, STARTTLS.
 *
 * PURE; see inspect.h. RFC 5321, 2920, 3030, 3207, 4954. Only verbs that the proxy understands
 * pass. The struct is small (below 700 bytes); bigger things (an unfinished line, a reply to EHLO
 * that is being collected) are on the heap only while they last.
 *
 * A message behind DATA passes as proxy/message_scan.h says. Where it is refused (bare newlines,
 * and the rule is `reject`), the backend hears nothing more: the rest is discarded up to its end,
 * then INSPECT_CLOSE says 550 and 421, and the backend is closed without having seen an end of
 * data.
 *
 * Octets behind a BDAT pass unseen, whatever is answered to it. A BDAT that cannot be passed on
 * (CHUNKING is not offered, or its size does not parse) is answered and ends the session, so that
 * no octet of a chunk is ever taken for a command. */
#ifndef GATEPOST_PROXY_INSPECT_SMTP_H
#define GATEPOST_PROXY_INSPECT_SMTP_H

#include "proxy/auth_watch.h"
#include "proxy/base/line.h"
#include "proxy/inspect.h"
#include "proxy/inspect_parts.h"
#include "proxy/message_scan.h"
#include "proxy/reply_queue.h"

struct inspect_smtp {
    const struct dialogue_rule *rule;
    struct line line;              /* from the client */
    struct line reply;             /* from the server */
    struct own_piece own;          /* the last piece, where it is ours */
    struct reply_collect *collect; /* a reply to EHLO that is not whole yet */
    uint64_t chunk_left;           /* octets of a BDAT chunk that have not come yet */
    struct reply_queue queue;
    struct auth_watch auth;
    struct message_scan scan;
    struct message_end refused; /* where the end of a refused message is looked for */
    struct inspect_facts facts;
    uint16_t code;  /* of the reply whose last line has not come; 0: none */
    uint8_t mode;   /* what the client's octets are now */
    uint8_t finals; /* outstanding replies that end a message */
    bool tls;
    bool pipelining;
    bool chunking;
    bool said_hello;
    bool in_transaction;
    bool authenticated;
    bool hands_back; /* EHLO, HELO and AUTH before a login */
    bool sync;       /* nothing passes behind the command whose reply is outstanding */
    bool secret;     /* an AUTH was seen, and no command was answered since */
};

int inspect_smtp_init(struct inspect_smtp *inspect, const struct inspect_start *start);
void inspect_smtp_deinit(struct inspect_smtp *inspect);
int inspect_smtp_client(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece);
int inspect_smtp_server(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece);
enum inspect_phase inspect_smtp_phase(const struct inspect_smtp *inspect);
enum inspect_end inspect_smtp_client_end(const struct inspect_smtp *inspect);

/* May a shutdown say 421 now (between commands, nothing outstanding)? */
bool inspect_smtp_quiet(const struct inspect_smtp *inspect);

/* May octets now in flight hold a password (AUTH and its continuation)? Then the caller wipes its
 * buffers. */
bool inspect_smtp_secret(const struct inspect_smtp *inspect);

const struct inspect_facts *inspect_smtp_facts(const struct inspect_smtp *inspect);

#endif
