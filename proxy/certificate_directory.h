/* A folder of certificates: which of its files belong together.
 *
 * NAME.pem holds certificate, chain and key; or NAME.pem or NAME.crt holds the first two beside
 * NAME.key; or NAME/fullchain.pem stands beside NAME/privkey.pem, as certbot and dehydrated write
 * them. */
#ifndef GATEPOST_PROXY_CERTIFICATE_DIRECTORY_H
#define GATEPOST_PROXY_CERTIFICATE_DIRECTORY_H

#include <stddef.h>

#define CERTIFICATE_DIRECTORY_MAX 1000 /* pairs; a guess, and what a bundle has room for */

/* Two paths; the same one where one file holds all. On the heap. */
struct certificate_files {
    char *certificate, *key;
};

/* In the order of the names. 0; or -errno: the folder cannot be read, -E2BIG: there are more than
 * CERTIFICATE_DIRECTORY_MAX. certificate_directory_free() takes the list. */
int certificate_directory_read(const char *path, struct certificate_files **ret_files,
                               size_t *ret_count);
void certificate_directory_free(struct certificate_files *files, size_t count);

#endif
