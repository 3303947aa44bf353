/* One session of Remote Mail, version 1 (remote-mail(7)), on the server's side.
 *
 * PURE: octets in, replies and frames out. Passwords, mailbox, clock and the way to the client
 * belong to the caller, who is asked through struct remote_caller. The caller feeds what the client
 * sends, and calls remote_session_pump() while there is room for output: so a list or a pull of any
 * length goes out in pieces, and what the client says meanwhile is taken. */
#ifndef GATEPOST_BACKENDS_REMOTE_SESSION_H
#define GATEPOST_BACKENDS_REMOTE_SESSION_H

#include "backends/maildir.h"
#include "proxy/base/remote_frame.h"

#define REMOTE_WAIT_MAX                                                                            \
    1740 /* seconds: less than the half hour after which middleboxes forget a connection */
#define REMOTE_ENVELOPE_MAX 65536 /* octets of the lines behind PUSH */
#define REMOTE_DISCARD_MAX                                                                         \
    1048576 /* octets of a refused upload that are read before the connection closes */

enum remote_login {
    REMOTE_LOGIN_DONE = 1,
    REMOTE_LOGIN_WRONG,
    REMOTE_LOGIN_TEMPORARY,
    REMOTE_LOGIN_PERMANENT, /* somebody must mend the store */
};

enum remote_piece {
    REMOTE_PIECE_MORE = 1,
    REMOTE_PIECE_LAST, /* the message is whole; its digest is written */
};

/* Messages in the order of their numbers. They stay the caller's, who replaces them in refresh().
 */
struct remote_mailbox {
    struct maildrop_message *messages;
    size_t count;
    uint32_t epoch;
};

enum remote_push {
    REMOTE_PUSH_DONE = 1, /* delivered, now or before */
    REMOTE_PUSH_TAKEN,
    REMOTE_PUSH_REFUSED, /* *reason holds "[CODE] PUSH id words" */
};

/* What a client says of a message that it sends up. Spans are borrowed. */
struct remote_upload {
    struct span id; /* REMOTE_UPLOAD_MAX digits */
    uint64_t octets, offset;
    struct span digest;   /* REMOTE_DIGEST_MAX digits */
    struct span envelope; /* its lines, each with an LF behind it */
};

/* What a session asks its caller. Each gets `context`. */
struct remote_caller {
    /* Checks the password; ends an older session of the same user and mirror. enum remote_login. */
    int (*login)(void *context, struct span name, struct span password, struct span mirror);

    /* Lists the mailbox as it is now. 0 or -errno; the session sets `deleted` of what is
     * acknowledged. */
    int (*refresh)(void *context, struct remote_mailbox *ret_mailbox);

    /* Makes the deletion of what is acknowledged durable. 0 or -errno. */
    int (*complete)(void *context, uint64_t *ret_deleted);

    /* Opens message `index`, of which the octets from `offset` on will be sent. 0, -ENOENT: it is
     * gone, -ERANGE: it ends before `offset`, or another -errno. */
    int (*open_message)(void *context, size_t index, uint64_t offset, uint64_t *ret_octets);

    /* Writes some more of its octets. A remote_piece (ret_digest[REMOTE_DIGEST_MAX] written with
     * the last), or -errno, which ends the session: nothing can be said inside a frame. */
    int (*send_piece)(void *context, char *ret_digest);

    /* How much of upload `id` is kept: remote_push DONE, or 0 and *ret_octets. Or -errno. */
    int (*have)(void *context, struct span id, uint64_t *ret_octets);

    /* An upload begins, is given its octets, and ends. enum remote_push: after REMOTE_PUSH_TAKEN of
     * push_begin() come push_write() and one of push_end() and push_stop(), the latter where an
     * octet could not be written or the connection ends. Or -errno: refused for now. */
    int (*push_begin)(void *context, const struct remote_upload *upload, struct text *reason);
    int (*push_write)(void *context, struct span octets);
    int (*push_end)(void *context, struct text *reason);
    void (*push_stop)(void *context);

    /* WAIT begins: remote_session_wake() is to be called when refresh() may find something new, and
     * when `seconds` are over. */
    void (*wait)(void *context, uint32_t seconds);

    /* Appends to the output. 0 or -errno, which ends the session. */
    int (*write)(void *context, struct span octets);
};

struct remote_facts {
    const char *hostname;
    bool passwords; /* false: this client speaks no TLS and may not log in */
    uint32_t max_errors;
    uint64_t limit_bytes; /* of a message sent up */
};

enum remote_state {
    REMOTE_GREETING, /* the client's first line is awaited */
    REMOTE_LOGGED_OUT,
    REMOTE_READY,
    REMOTE_LISTING,
    REMOTE_PULLING,
    REMOTE_WAITING,
    REMOTE_ENVELOPE, /* the lines behind PUSH */
    REMOTE_UPLOAD,   /* the octets */
    REMOTE_DISCARD,  /* the octets of an upload that was answered already */
    REMOTE_STATE_COUNT
};

struct remote_session {
    const struct remote_facts *facts;
    const struct remote_caller *caller;
    void *context;
    enum remote_state state;
    uint32_t errors;
    struct line line;
    char mirror[REMOTE_MIRROR_MAX];
    struct remote_mailbox mailbox;
    uint64_t seen; /* greatest number that the client has been told of */

    size_t next;                         /* message that LIST or PULL comes to */
    uint64_t done;                       /* messages that it has told */
    uint64_t offset;                     /* in the first message of a PULL */
    bool inside;                         /* a frame is begun */
    uint32_t syncs;                      /* to be answered between two frames */
    bool quitting;                       /* QUIT came during a PULL */
    unsigned char kept[REMOTE_LINE_MAX]; /* a request that came during a LIST or PULL */
    size_t kept_size;
    bool is_kept;

    char upload_id[REMOTE_UPLOAD_MAX];
    char upload_digest[REMOTE_DIGEST_MAX];
    uint64_t upload_octets, upload_offset;
    uint64_t left;      /* octets of it to come */
    uint64_t discarded; /* of them, thrown away */
    unsigned char *envelope;
    size_t envelope_size;
    bool envelope_too_long;

    uint64_t pulled, pushed; /* for the log */
    bool login_in_clear;     /* likewise: one was refused, unread */
};

/* `facts` and `caller` must stay. The client speaks first. */
void remote_session_init(struct remote_session *session, const struct remote_facts *facts,
                         const struct remote_caller *caller, void *context);

/* Forgets and wipes what is unfinished. */
void remote_session_deinit(struct remote_session *session);

enum remote_result {
    REMOTE_MORE = 1, /* go on */
    REMOTE_ENDED,    /* the last reply is written; send it and close */
};

/* Takes octets off *in. What is left in it is to be fed again after a pump: a request is kept, and
 * nothing is read until it has its turn. A remote_result, or -errno: close, nothing can be said. */
int remote_session_feed(struct remote_session *session, struct span *in);

/* Is there more to be written without the client saying anything? */
bool remote_session_pumping(const struct remote_session *session);

/* May the client be heard? Else its octets stay where they are. */
bool remote_session_listening(const struct remote_session *session);

/* Writes some more: a piece of a message, or some lines. A remote_result or -errno. */
int remote_session_pump(struct remote_session *session);

/* In WAIT: looks for new mail; with `over` the wait ends in any case. A remote_result or -errno. */
int remote_session_wake(struct remote_session *session, bool over);

#endif
