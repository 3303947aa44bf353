/* A file of the outbox, read as what goes over the wire: the added fields, then the message as
 * wire.h makes it. All functions block. Errors are -errno. */
#ifndef GATEPOST_TOOLS_FETCH_OUTBOX_SOURCE_H
#define GATEPOST_TOOLS_FETCH_OUTBOX_SOURCE_H

#include "backends/digest.h"
#include "tools/fetch/envelope.h"
#include "tools/fetch/outbox_record.h"
#include "tools/fetch/wire.h"

#define SOURCE_PIECE 16384

struct source {
    int fd;
    const char *added; /* borrowed; sent first */
    bool added_sent;
    uint64_t at; /* octets of the file that were read */
    bool ended;  /* nothing more comes behind what is in `out` */
    struct wire wire;
    struct digest *file; /* of the octets of the file so far; NULL: not wanted */
    struct digest *sent; /* of the octets of the wire so far */
    uint64_t octets;     /* of the wire so far, `out` included */
    size_t out_at, out_size;
    unsigned char in[SOURCE_PIECE], out[WIRE_ROOM(SOURCE_PIECE) + RECORD_ADDED_MAX];
};

/* `fd` becomes the source's, also where this fails. `added` must outlive it. */
int source_new(int fd, const char *added, bool want_file_digest, struct source **ret_source);
void source_free(struct source *source);

/* The next octets of the wire, all that are ready; none at the end. Borrowed until the next call.
 */
int source_next(struct source *source, struct span *ret_octets);

/* Is there nothing behind what was read? 1, 0 or -errno. */
int source_at_end(struct source *source);

/* Once the end was reached: writes the digests, REMOTE_DIGEST_MAX digits and a NUL each.
 * `file_digits` may be NULL. */
int source_digests(struct source *source, char *file_digits, char *wire_digits);

/* Reads the header of `fd` from its beginning. An envelope_result but ENVELOPE_MORE, or -errno. The
 * envelope is the caller's to free, in any case but an error. */
int source_envelope(int fd, const char *sender, struct envelope **ret_envelope);

#endif
