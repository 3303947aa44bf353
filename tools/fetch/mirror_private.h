/* Between mirror.c and mirror_open.c. */
#ifndef GATEPOST_TOOLS_FETCH_MIRROR_PRIVATE_H
#define GATEPOST_TOOLS_FETCH_MIRROR_PRIVATE_H

#include "tools/fetch/mirror.h"

/* Puts a whole message, whose file is open, among those to be stored. The descriptor is taken,
 * whatever is returned. */
int mirror_group_add(struct mirror *mirror, struct remote_uid uid, struct span digest, int fd,
                     uint64_t octets);

/* Renames what is durable in tmp/ and journalled, as `name`. -ENOENT: it is not in tmp/; that has
 * been done, or somebody has removed it. */
int mirror_rename(struct mirror *mirror, struct remote_uid uid, const char *name);

/* Removes its file from tmp/, if there is one. */
void mirror_unlink(struct mirror *mirror, struct remote_uid uid);

/* Replaces the journal by what is known now. 0 or -errno. */
int mirror_write_anew(struct mirror *mirror);

/* 0 or -errno, of one line. */
int mirror_note(struct mirror *mirror, enum journal_kind kind, struct remote_uid uid,
                struct remote_uid other);

#endif
