/* Our side of the dialogue with a backend before a client is relayed to it, and the whole dialogue
 * by which we learn what it can do.
 *
 * PURE. For a session: the banner is swallowed and the client's EHLO, HELO or USER replayed. For
 * learning: banner, EHLO or CAPA, for SMTP the relay test, QUIT, and the goodbye is awaited, so
 * that an old server logs a whole session. RFC 5321 sections 3.1, 4.1.1.1; RFC 1939 section 4; RFC
 * 2449. */
#ifndef GATEPOST_PROXY_GREET_H
#define GATEPOST_PROXY_GREET_H

#include "proxy/capabilities.h"

enum greet_purpose {
    GREET_SESSION, /* replay `hello` (may be empty), then relay */
    GREET_BANNER,  /* swallow the banner only: the session of an APOP server, whose banner goes to
                      the client */
    GREET_REPLAY,  /* the banner was taken before: replay `hello` only */
    GREET_LEARN,
};

struct greet {
    enum port_protocol protocol;
    enum greet_purpose purpose;
    uint8_t step;
    bool in_list;         /* inside the multi-line part of a reply to CAPA */
    unsigned lines;       /* of the reply that is being collected */
    unsigned char *reply; /* collected so far: at most CAPABILITIES_BYTES_MAX octets, on the heap */
    size_t reply_size, reply_room, line_start;
    struct span hello; /* borrowed: the line to replay without its line end, or the host name for
                          learning */
    /* Results */
    struct capabilities *list; /* SMTP after EHLO, POP3 after CAPA; NULL: not asked; owned */
    bool told;                 /* learning: all but the goodbye has come */
    bool open_relay;           /* learning SMTP: RCPT to a foreign domain was accepted */
};

enum greet_verdict {
    GREET_MORE = 1, /* read on */
    GREET_SEND,     /* send what was written to `out` to the backend, call again */
    GREET_READY,    /* done; what is left of *in belongs to the relayed dialogue (nothing, from an
                       honest server) */
    GREET_REFUSED,  /* the backend does not want this session: `out` is its own refusal, to be the
                       answer to the client's pending command */
};

/* `hello` is borrowed until greet_deinit(). */
void greet_init(struct greet *greet, enum port_protocol protocol, enum greet_purpose purpose,
                struct span hello);
void greet_deinit(struct greet *greet);

/* Takes octets of the backend off *in. Returns a verdict, -EPROTO (garbage, or over the limits: a
 * line of 2,048 octets, a reply of 100 lines and 16 KiB, a banner of 10 lines) or -ENOMEM. `out` is
 * appended to. */
int greet_feed(struct greet *greet, struct span *in, struct text *out);

#endif
