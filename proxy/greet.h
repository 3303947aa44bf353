/* Our side of the dialogue with a backend before a client is relayed to it, and the whole dialogue
 * by which we learn what it can do.
 *
 * PURE. For a session: the banner is swallowed, TLS begun where that is configured, the client's
 * identity told (XCLIENT), and the client's EHLO, HELO or USER replayed. For learning: the same,
 * then for SMTP the relay test, QUIT, and the goodbye is awaited, so that an old server logs a
 * whole session. RFC 5321 sections 3.1, 4.1.1.1; RFC 3207; RFC 2595; RFC 1939 section 4; RFC 2449.
 */
#ifndef GATEPOST_PROXY_GREET_H
#define GATEPOST_PROXY_GREET_H

#include <sys/socket.h>

#include "proxy/capabilities.h"

enum greet_purpose {
    GREET_SESSION, /* replay `hello` (may be empty), then relay */
    GREET_BANNER,  /* swallow the banner only: the session of an APOP server, whose banner goes to
                      the client */
    GREET_REPLAY,  /* the banner was taken before: replay `hello` only */
    GREET_LEARN,
};

/* What is told by XCLIENT (Postfix XCLIENT_README). Sent are only attributes that the server lists.
 */
struct greet_client {
    const struct sockaddr *address;     /* the client's; its port is told too */
    const struct sockaddr *destination; /* the address that it connected to; may be NULL */
    struct span login;                  /* empty: [UNAVAILABLE] */
};

struct greet_plan {
    enum port_protocol protocol;
    enum greet_purpose purpose;
    struct span hello;    /* borrowed: the line to replay without its line end, or the host name for
                             learning */
    struct span hostname; /* borrowed: our own name, for the EHLO before STARTTLS and XCLIENT */
    bool starttls;        /* STARTTLS or STLS before anything else */
    bool xclient;         /* SMTP: tell who the client is by XCLIENT */
    struct greet_client client; /* where xclient is set; borrowed */
};

struct greet {
    struct greet_plan plan;
    uint8_t step;
    uint8_t xclient_part;    /* the command that is under way, where one is too short for all */
    bool secure, identified; /* STARTTLS and XCLIENT are done */
    bool in_list;            /* inside the multi-line part of a reply to CAPA */
    unsigned lines;          /* of the reply that is being collected */
    unsigned char *reply; /* collected so far: at most CAPABILITIES_BYTES_MAX octets, on the heap.
                             After GREET_BANNER: the banner */
    size_t reply_size, reply_room;
    size_t line_start,
        last_line;         /* offsets: of the line that is being collected, of the last whole */
    unsigned char *banner; /* kept over STLS for GREET_BANNER; on the heap */
    size_t banner_size;
    /* Results */
    struct capabilities *list; /* SMTP after EHLO, POP3 after CAPA; NULL: not asked; owned */
    bool told;                 /* learning: all but the goodbye has come */
    bool open_relay;           /* learning SMTP: RCPT to a foreign domain was accepted */
    bool
        unavailable;   /* GREET_REFUSED by 421, or by -ERR in the banner's place: the server is the
                          cause, or the limit that it has for this client, not what the client said */
    const char *fault; /* words for the log with -EPROTO and -ENOTSUP, and with a GREET_REFUSED that
                          the operator can cure; static; may be NULL */
};

enum greet_verdict {
    GREET_MORE = 1, /* read on */
    GREET_SEND,     /* send what was written to `out` to the backend, call again */
    GREET_TLS,      /* the server is ready for TLS: shake hands, then greet_tls_done(), call again.
                       Octets that are left in *in are an injection: the caller fails */
    GREET_READY,    /* done; what is left of *in belongs to the relayed dialogue (nothing, from an
                       honest server) */
    GREET_REFUSED,  /* the backend does not want this session: `out` is its own refusal (or ours,
                       where  the client cannot be told of), to be the answer to the client's pending
                       command */
};

/* The plan is copied; what it borrows stays until greet_deinit(). GREET_REPLAY goes on where
 * GREET_BANNER ended, so it begins neither TLS nor XCLIENT. */
void greet_init(struct greet *greet, const struct greet_plan *plan);
void greet_deinit(struct greet *greet);

/* TLS is up: what the server said in clear is forgotten (RFC 3207 section 4.2). */
void greet_tls_done(struct greet *greet);

/* Takes octets of the backend off *in. Returns a verdict, -EPROTO (garbage, or over the limits: a
 * line of 2,048 octets, a reply of 100 lines and 16 KiB, a banner of 10 lines), -ENOTSUP (the
 * server has no STARTTLS, STLS or XCLIENT, or refuses it, and it is configured: no mail without it)
 * or -ENOMEM. `out` is appended to: a command of at most 512 octets (RFC 5321 section 4.5.3.1.4),
 * or a refusal. */
int greet_feed(struct greet *greet, struct span *in, struct text *out);

#endif
