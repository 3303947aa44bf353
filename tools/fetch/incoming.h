/* A message on its way into a Maildir: the file tmp/gatepost-fetch.E.N, which a later connection,
 * or a later run, goes on with.
 *
 * On the wire lines end in CRLF, in the file in LF. A CR that may be half of a line end is not
 * written before the octet behind it is known, so what the wire has given so far, and its digest,
 * can be told from the file alone. */
#ifndef GATEPOST_TOOLS_FETCH_INCOMING_H
#define GATEPOST_TOOLS_FETCH_INCOMING_H

#include "backends/digest.h"
#include "backends/newline.h"
#include "proxy/base/remote_frame.h"

#define INCOMING_PREFIX   "gatepost-fetch."
#define INCOMING_NAME_MAX (sizeof(INCOMING_PREFIX) + REMOTE_UID_MAX)

struct incoming {
    int fd; /* -1: none is open */
    struct remote_uid uid;
    struct newline_to_disk newline; /* .octets: what the wire has given */
    struct digest *digest;
    bool failed; /* the file is not what it should be */
};

/* 0 or -ENOMEM. */
int incoming_init(struct incoming *incoming);
void incoming_deinit(struct incoming *incoming);

/* The name of the file in tmp/. `into` has INCOMING_NAME_MAX characters. */
void incoming_name(struct remote_uid uid, char *into);

/* The uid of a file of that name; false: it is no file of ours. */
bool incoming_name_read(const char *name, struct remote_uid *ret_uid);

/* Begins the message anew in the folder `tmp`. 0 or -errno. */
int incoming_begin(struct incoming *incoming, int tmp, struct remote_uid uid);

/* Goes on with the file there: incoming->newline.octets is where. -ENOENT: there is none. */
int incoming_resume(struct incoming *incoming, int tmp, struct remote_uid uid);

/* Takes the next octets. 0 or -errno, as -ENOSPC; then the file is kept, and cannot be added to. */
int incoming_add(struct incoming *incoming, struct span octets);

/* The message is whole. 0: *ret_fd is its file, the caller's now; *ret_octets what it has on the
 * disk. -EBADMSG: `digest` is another's; the file stays open. Or another -errno. */
int incoming_end(struct incoming *incoming, struct span digest, int *ret_fd, uint64_t *ret_octets);

/* Closes the file, which stays. */
void incoming_stop(struct incoming *incoming);

/* The digest of a whole message in a file, in REMOTE_DIGEST_MAX characters. 0 or -errno. */
int incoming_digest(struct digest *digest, int fd, char *ret_digits);

#endif
