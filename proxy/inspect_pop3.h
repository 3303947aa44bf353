/* Watches a POP3 session between client and backend: the queue of verbs, ends of multi-line
 * replies, login, CAPA masking, STLS.
 *
 * PURE; see inspect.h. RFC 1939, 2449, 2595, 5034, 6856. Only verbs that the proxy understands
 * pass: whether an unknown one has a reply of one line or of many cannot be known. Bodies pass
 * unlooked at but for their end. The struct is small (below 500 bytes); an unfinished line or a
 * list that is being collected is on the heap only while it lasts.
 *
 * A body ends with CRLF.CRLF and nothing else, for a message may hold a dot between bare newlines.
 * Some servers send a body's lines as they store them, with bare LF, and end it by a dot that
 * follows such a line, or by a dot and LF: their end cannot be told from the body by its octets.
 * So where the body stands exactly behind such a dot line, no other reply is outstanding, and the
 * client speaks, then the client, which reads the same, has seen the end: the body is over. */
#ifndef GATEPOST_PROXY_INSPECT_POP3_H
#define GATEPOST_PROXY_INSPECT_POP3_H

#include "proxy/auth_watch.h"
#include "proxy/base/line.h"
#include "proxy/inspect.h"
#include "proxy/inspect_parts.h"
#include "proxy/message_end.h"
#include "proxy/reply_queue.h"

struct inspect_pop3 {
    const struct dialogue_rule *rule;
    struct line line;              /* from the client */
    struct line reply;             /* from the server */
    struct own_piece own;          /* the last piece, where it is ours */
    struct reply_collect *collect; /* a list that is not whole yet */
    struct reply_queue queue;
    struct auth_watch auth;
    struct inspect_facts facts;
    uint32_t recent;         /* the last four octets of the body that is passing */
    struct message_end body; /* where its end is looked for */
    uint8_t mode;            /* what the client's octets are now */
    bool in_body;            /* the first reply of the queue has begun: its body is passing */
    bool tls;
    bool pipelining;
    bool logged_in;
    bool hands_back; /* logins, and what is asked before one */
    bool sync;       /* nothing passes behind the command whose reply is outstanding */
    bool secret;     /* a login was seen, and no other command was answered since */
};

int inspect_pop3_init(struct inspect_pop3 *inspect, const struct inspect_start *start);
void inspect_pop3_deinit(struct inspect_pop3 *inspect);
int inspect_pop3_client(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece);
int inspect_pop3_server(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece);
enum inspect_phase inspect_pop3_phase(const struct inspect_pop3 *inspect);
enum inspect_end inspect_pop3_client_end(const struct inspect_pop3 *inspect);

/* May a shutdown say its last word now (between commands, nothing outstanding)? */
bool inspect_pop3_quiet(const struct inspect_pop3 *inspect);

/* May octets now in flight hold a password (PASS, APOP, AUTH and its continuation)? Then the caller
 * wipes its buffers. */
bool inspect_pop3_secret(const struct inspect_pop3 *inspect);

const struct inspect_facts *inspect_pop3_facts(const struct inspect_pop3 *inspect);

#endif
