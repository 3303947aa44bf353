/* The wire format of Remote Mail, version 1 (remote-mail(7)): uids, ids, frames, and the reader of
 * what a server sends.
 *
 * PURE. For both ends: the server writes frames, the client reads them. Lines are at most 512
 * octets with their CRLF; a frame is
 *
 *     M uid octets offset CRLF, the octets from `offset` on, CRLF S uid sha256 CRLF
 *
 * and the digest is that of the whole message, from its first octet. */
#ifndef GATEPOST_BASE_REMOTE_FRAME_H
#define GATEPOST_BASE_REMOTE_FRAME_H

#include "proxy/base/line.h"
#include "proxy/base/text.h"

#define REMOTE_LINE_MAX   512 /* octets of a line with its CRLF */
#define REMOTE_UID_MAX    28  /* characters of "E.N", without a NUL */
#define REMOTE_DIGEST_MAX 64  /* characters of a SHA-256 in lower-case hexadecimal */
#define REMOTE_UPLOAD_MAX 32  /* characters of the id of an upload, lower-case hexadecimal */
#define REMOTE_MIRROR_MAX 16  /* characters of the id of a local Maildir, lower-case hexadecimal */

/* "E.N": the epoch of the mailbox, 8 lower-case hexadecimal digits, and the message's number in it,
 * 1 to 2^63. Written "0": before all messages; then both are 0. */
struct remote_uid {
    uint32_t epoch;
    uint64_t number;
};

/* False where `word` is no uid. "0" is one only where `zero_allowed`. Upper-case digits, leading
 * zeros of the number and all else that would make two spellings of one uid are refused. */
bool remote_uid_parse(struct span word, bool zero_allowed, struct remote_uid *ret_uid);
void remote_uid_put(struct text *text, struct remote_uid uid);
bool remote_uid_equal(struct remote_uid a, struct remote_uid b);

/* Exactly `digits` digits of 0-9 a-f. */
bool remote_is_hex(struct span word, size_t digits);

/* One message on its way down. */
struct remote_frame {
    struct remote_uid uid;
    uint64_t octets; /* of the whole message */
    uint64_t offset; /* where the frame begins, at most `octets` */
};

/* Append the line before the octets, with its CRLF; and what follows the octets, with both its
 * CRLFs. `digest` is REMOTE_DIGEST_MAX characters. */
void remote_frame_put_head(struct text *text, const struct remote_frame *frame);
void remote_frame_put_tail(struct text *text, struct remote_uid uid, struct span digest);

/* Read the same lines, given without CRLF. False where a line is something else. */
bool remote_frame_read_head(struct span line, struct remote_frame *ret_frame);
bool remote_frame_read_tail(struct span line, struct remote_uid uid, struct span *ret_digest);

/* ---- what a server sends, for the client ---- */

enum remote_reader_state { REMOTE_IN_LINES, REMOTE_IN_OCTETS, REMOTE_BEFORE_TAIL, REMOTE_IN_TAIL };

struct remote_reader {
    struct line line;
    enum remote_reader_state state;
    struct remote_frame frame; /* the one being read, or the last one */
    uint64_t left;             /* octets of it that have not come */
};

enum remote_read {
    REMOTE_READ_MORE = 1, /* all input is used */
    REMOTE_READ_REPLY,    /* *ret is a line that begins with "+ ", "- " or "* ", without CRLF */
    REMOTE_READ_FRAME,    /* a frame begins: reader->frame */
    REMOTE_READ_OCTETS,   /* *ret is the next piece of its message, never empty */
    REMOTE_READ_DIGEST,   /* the frame is whole: *ret is what its digest must be */
};

void remote_reader_init(struct remote_reader *reader);
void remote_reader_deinit(struct remote_reader *reader);

/* Takes the next thing off *in. A remote_read, or -EPROTO: this is no Remote Mail, and nothing of
 * what follows can be understood; or -ENOMEM. *ret is borrowed until the next call or until the
 * input's owner changes it; it is not written for REMOTE_READ_MORE and REMOTE_READ_FRAME. */
int remote_reader_next(struct remote_reader *reader, struct span *in, struct span *ret);

#endif
