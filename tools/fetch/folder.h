/* Folders of Maildir kind, and files that move between them: durable when a function returns 0, and
 * after a crash at any point in one of them, or in both, never in none. All functions block. Errors
 * are -errno. */
#ifndef GATEPOST_TOOLS_FETCH_FOLDER_H
#define GATEPOST_TOOLS_FETCH_FOLDER_H

#include "proxy/base/text.h"

#include <dirent.h>

/* Opens the Maildir `path`, below `folder` where it is relative (AT_FDCWD is fine); what is missing
 * of it is made. */
int folder_open(int folder, const char *path, int *ret_folder);

/* Moves from/path ("new/...") to the Maildir `to`, into its folder `place` ("cur"), as `name`.
 * Nothing is replaced: where there is one of that name it becomes `other`, but where that one has
 * the same octets the move has been done before, by a run that a crash cut off. */
int folder_move(int from, const char *path, int to, const char *place, const char *name,
                const char *other);

/* Removes folder/path ("new/..."). It may be gone. */
int folder_remove(int folder, const char *path);

/* Opens the folder `path`, below `folder`, to be listed, as opendir() does. NULL: errno says why.
 */
DIR *folder_list(int folder, const char *path);

/* Writes "new/..." or "cur/..." of the message `base` (up to a colon) into `ret_path`. -ENOENT: it
 * is in neither, also where another program renames it meanwhile. */
int folder_find(int folder, const char *base, struct text *ret_path);

/* Appends a line to the file `name`, with the date before it. */
int folder_log(int folder, const char *name, struct span line);

#endif
