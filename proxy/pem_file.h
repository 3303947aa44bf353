/* A file of certificates or keys, read whole by the supervisor. */
#ifndef GATEPOST_PROXY_PEM_FILE_H
#define GATEPOST_PROXY_PEM_FILE_H

#include "proxy/base/span.h"
#include "proxy/file_stamps.h"

struct pem_file {
    char *data; /* NULL: not set, or not readable */
    size_t size;
};

/* Its stamp, of before it is read, is added to `stamps`, also where it cannot be read. 0, or -errno
 * (-EFBIG: larger than any chain; -EINVAL: a pipe, which nobody may ever write to, or the like).
 * pem_file_drop() wipes and frees it. */
int pem_file_read(const char *path, struct file_stamps *stamps, struct pem_file *ret_file);
const char *pem_file_error(int error);
void pem_file_drop(struct pem_file *file);

static inline struct span pem_file_span(const struct pem_file *file)
{
    return span_of(file->data, file->size);
}

#endif
