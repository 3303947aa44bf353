/* A session of the canned server: octets in, octets out. No socket is touched.
 *
 * It believes every login, answers every command as fast as it can, sends the message that RETR's
 * number names, and compares every message that it gets with the one that MAIL's address announces.
 * It can also be the HTTP server that nginx asks where a user's mailbox is. */
#ifndef GATEPOST_BENCH_SINK_SESSION_H
#define GATEPOST_BENCH_SINK_SESSION_H

#include "proxy/base/line.h"
#include "tools/bench/message.h"

#define SINK_PIECES 3 /* of what is sent at once: a reply, a message, the dot */

enum sink_protocol { SINK_POP3, SINK_SMTP, SINK_NGINX_AUTH };
enum sink_state { SINK_COMMAND, SINK_AUTH_LINE, SINK_MESSAGE, SINK_CHUNK };

/* Where nginx shall go: ports of 127.0.0.1. */
struct sink_ports {
    unsigned pop3, smtp;
};

struct sink_session {
    const struct sink_ports *ports;
    uint8_t protocol, state; /* enum sink_protocol, enum sink_state */
    uint8_t auth_lines;      /* still to come */
    bool closing;            /* once all is sent */
    bool dot_waits;          /* of the message that is sent */
    bool checked;            /* the message that comes was announced */
    bool last_chunk;
    bool nginx_smtp;     /* the protocol that nginx asks about */
    uint64_t chunk_left; /* octets of a BDAT chunk */
    struct line lines;
    struct message sending;
    uint64_t sent; /* of `sending` */
    struct message_check check;
    size_t out_size, out_sent;
    char out[2048]; /* replies */
};

/* Begins with the greeting. */
void sink_session_init(struct sink_session *session, enum sink_protocol protocol,
                       const struct sink_ports *ports);
void sink_session_deinit(struct sink_session *session);

/* Takes octets of the client. Returns 0, or -EPROTO where they cannot be answered any more. */
int sink_session_take(struct sink_session *session, struct span in);

/* What is to be sent next, in order: how many of ret_pieces there are. */
size_t sink_session_pieces(const struct sink_session *session,
                           struct span ret_pieces[static SINK_PIECES]);

/* So many octets of the pieces are gone. */
void sink_session_advance(struct sink_session *session, size_t count);

#endif
