/* Private between the files of the uploads (uploads.h):
 *
 *   uploads.c           one upload from its first octet, and the folder of a user
 *   upload_files.c      what stands on the disk of one upload
 *   upload_envelope.c   from whom and to whom, and whether that may be
 *   upload_delivery.c   from the last octet to the record that it is delivered
 *
 * Of the upload ID there are in the folder
 *
 *     ID.part      its octets so far; whoever has the lock on it works on the upload
 *     ID.meta      what it will be: its size and digest, then its envelope
 *     ID.deliver   it is whole: the same, an empty line, its name in the Maildirs, and its trace
 *     ID.done      in the place of ID.meta: it is delivered */
#ifndef GATEPOST_BACKENDS_UPLOADS_PRIVATE_H
#define GATEPOST_BACKENDS_UPLOADS_PRIVATE_H

#include "backends/smtp_session.h"
#include "backends/uploads.h"

/* "[code] PUSH id words". Always UPLOAD_REFUSED. */
int upload_refuse(const struct uploads *uploads, struct text *reason, const char *code,
                  const char *words);

/* ---- upload_files.c: all of uploads->id, in uploads->folder; 0 or -errno ---- */

#define UPLOAD_RECORD_MAX 131072 /* bytes of ID.deliver: an envelope and the trace fields */

/* "ID.kind", in `room`, which is returned. */
const char *upload_file_name(const char *id, const char *kind, char *room, size_t size);

#define UPLOAD_FILE(id, kind) upload_file_name((id), (kind), (char[48]){ 0 }, 48)

bool upload_exists(const struct uploads *uploads, const char *name);
int upload_sync_folder(const struct uploads *uploads);

/* The whole of a record, with a NUL behind it; to be freed. */
int upload_read_record(const struct uploads *uploads, const char *name, char **ret_text);

/* Writes a record whole or not at all, and durably. */
int upload_write_record(const struct uploads *uploads, const char *name, struct span text);

/* Opens ID.part and locks it: uploads->part, ->size, ->synced. -EBUSY: another connection works on
 * it. `flags`: 0 or O_CREAT. */
int upload_open_part(struct uploads *uploads, int flags);
void upload_close_part(struct uploads *uploads); /* where it is open */
int upload_sync_part(struct uploads *uploads);

/* It never was. */
void upload_forget(struct uploads *uploads);

/* Calls `each` for every file of an upload, with uploads->id set. */
int upload_each_file(struct uploads *uploads,
                     void (*each)(struct uploads *uploads, const char *name, const char *kind,
                                  uint64_t *sums),
                     uint64_t *sums);

/* ---- upload_envelope.c ---- */

struct upload_envelope {
    struct smtp_transaction mail; /* its recipients are copies */
    struct name_list users;       /* whom they lead to, where they are of this machine */
};

/* `text`: the lines that came behind PUSH. UPLOAD_TAKEN, UPLOAD_REFUSED or -errno; to be freed in
 * any case. */
int upload_read_envelope(struct uploads *uploads, struct span text,
                         struct upload_envelope *envelope, struct text *reason);
void upload_envelope_free(struct upload_envelope *envelope);

/* Takes a line, without its LF, off *rest. */
struct span upload_take_line(struct span *rest);

/* ---- upload_delivery.c: under the lock of the part ---- */

/* Makes ID.deliver of ID.meta: all octets are there. */
int upload_record_whole(struct uploads *uploads, const char *trace);

/* Does what ID.deliver says. UPLOAD_DONE, UPLOAD_REFUSED (it is forgotten, unless the reason is
 * TEMP) or -errno: it is kept. */
int upload_deliver(struct uploads *uploads, struct text *reason);

/* Takes the lock itself, and completes a delivery that a crash has cut off. What fails is told in
 * the log. */
void upload_complete(struct uploads *uploads);

#endif
