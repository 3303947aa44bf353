/* The bundle: all that a child needs to know, in one sealed memfd: settings text, certificates and
 * keys, listeners.
 *
 * Format: entries of "NAME SIZE\n" and SIZE octets and "\n". Names: "settings" (INI text for
 * settings_load_text), "tls/NAME/NUMBER/certificate", "tls/NAME/NUMBER/key" (PEM;
 * a number is one identity of proxy/tls_store.h, and has as many pairs as kinds of keys), "ca/NAME"
 * (PEM: what the certificate of that backend may be signed by), "ca" (the system's, for the
 * others), "listener" (one for each listening descriptor, in their order: "LISTEN-NAME ADDRESS").
 * Only a proxy worker's bundle has keys and CAs; an embedded worker's has "settings" and
 * "listener". */
#ifndef GATEPOST_BASE_BUNDLE_H
#define GATEPOST_BASE_BUNDLE_H

#include "proxy/base/span.h"

struct bundle {
    unsigned char *data; /* private copy of the memfd */
    size_t size;
};

/* Reads the whole memfd. 0 or -errno (-EPROTO: no bundle). bundle_free() wipes the copy. */
int bundle_read(int fd, struct bundle *ret_bundle);
void bundle_free(struct bundle *bundle);

/* The `index`-th entry of that name. False where there is none. *ret_content is borrowed from the
 * bundle. */
bool bundle_find(const struct bundle *bundle, const char *name, size_t index,
                 struct span *ret_content);

/* All entries in their order, one at each call: *offset begins at 0. False: there are no more. */
bool bundle_next(const struct bundle *bundle, size_t *offset, struct span *ret_name,
                 struct span *ret_content);

/* Have the two memfds the same octets? They are looked at where they are: nothing is copied. False
 * also where one cannot be read. */
bool bundle_same(int a, int b);

/* Writing: create, add, seal. Return 0 or -errno; bundle_create returns the descriptor. */
int bundle_create(void);
int bundle_add(int fd, const char *name, struct span content);
int bundle_seal(int fd);

#endif
