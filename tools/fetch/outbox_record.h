/* What the outbox knows of a message that was begun, and its file in OUTBOX/gatepost-fetch/.
 *
 * A record is written whole: to a file of another name, fsynced, renamed, the folder fsynced. All
 * functions block. Errors are -errno. */
#ifndef GATEPOST_TOOLS_FETCH_OUTBOX_RECORD_H
#define GATEPOST_TOOLS_FETCH_OUTBOX_RECORD_H

#include "proxy/base/remote_frame.h"

#define RECORD_ADDED_MAX   512
#define RECORD_UPLOADS_MAX 100 /* as many as recipients */

enum upload_state { UPLOAD_OPEN, UPLOAD_DELIVERED, UPLOAD_FAILED };

struct record_upload {
    char id[REMOTE_UPLOAD_MAX + 1];
    enum upload_state state;
    char *envelope; /* "FROM:<...>\nTO:<...>\n..." */
};

struct record {
    char *account;                      /* whose ids these are */
    char source[REMOTE_DIGEST_MAX + 1]; /* of the file as it lies there */
    char digest[REMOTE_DIGEST_MAX + 1]; /* of what goes over the wire */
    uint64_t octets;                    /* of the same */
    char added[RECORD_ADDED_MAX];       /* fields put before the file's own, with CRLF */
    struct record_upload *uploads;
    size_t upload_count;
};

/* An upload more, with a new id; `envelope` is copied. */
int record_add_upload(struct record *record, struct span envelope);

void record_drop_upload(struct record *record, size_t index);

/* Zero is a record too. */
void record_deinit(struct record *record);

/* -ENOENT: there is none; -EBADMSG: that is no record. */
int record_read(int folder, const char *name, struct record *ret_record);
int record_write(int folder, const char *name, const struct record *record);

/* Removes it, for good. It may be gone. */
int record_remove(int folder, const char *name);

#endif
