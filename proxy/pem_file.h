/* A file of certificates or keys, read whole by the supervisor. */
#ifndef GATEPOST_PROXY_PEM_FILE_H
#define GATEPOST_PROXY_PEM_FILE_H

#include "proxy/base/span.h"

struct pem_file {
    char *data; /* NULL: not set, or not readable */
    size_t size;
};

/* 0, or -errno (-EFBIG: larger than any chain). pem_file_drop() wipes and frees it. */
int pem_file_read(const char *path, struct pem_file *ret_file);
void pem_file_drop(struct pem_file *file);

static inline struct span pem_file_span(const struct pem_file *file)
{
    return span_of(file->data, file->size);
}

#endif
