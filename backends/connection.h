/* The inside of struct connection (contract: backends/worker.h), for the frame and its tests. */
#ifndef GATEPOST_BACKENDS_CONNECTION_H
#define GATEPOST_BACKENDS_CONNECTION_H

#include "backends/worker.h"

#define CONNECTION_OUT_BYTES                                                                       \
    16384 /* output that gathers before it is sent: one TLS record's worth */

struct connection {
    int fd; /* owned by the caller */
    int read_timeout_ms, write_timeout_ms;
    size_t read_size; /* most octets of one read */
    int error;        /* of an earlier write; nothing is sent after it */
    size_t in_start, in_end;
    unsigned char in[PROXY_V2_HEADER_MAX]; /* the PROXY header, then what came with it */
    size_t out_size;
    unsigned char out[CONNECTION_OUT_BYTES];
};

/* Reads the PROXY header, which must come before anything else, within `timeout_ms`. 0 or -errno:
 * -EPROTO no header, -ETIMEDOUT, -ECONNRESET end of file. */
int connection_read_header(struct connection *connection, int timeout_ms,
                           struct proxy_v2 *ret_client);

#endif
