/* One configuration as a worker uses it: settings, the rule of each port, TLS contexts. Built from
 * a bundle; immutable but for the reference count. Every session keeps the snapshot that it began
 * with. */
#ifndef GATEPOST_PROXY_SNAPSHOT_H
#define GATEPOST_PROXY_SNAPSHOT_H

#include "conf/settings.h"
#include "proxy/base/bundle.h"
#include "proxy/dialogue.h"
#include "proxy/address.h"
#include "proxy/network.h"
#include "proxy/tls_client.h"
#include "proxy/tls_context.h"

/* Networks whose connections begin with a PROXY header. */
struct trusted {
    struct network *networks;
    size_t count;
};

struct snapshot {
    unsigned references;
    struct settings *settings;
    struct dialogue_rule *rules; /* one for each of settings->listens, at the same index */
    struct trusted *trusted;     /* likewise */
    struct tls_context *tls[PROTOCOL_OPAQUE + 1]; /* by protocol; NULL: there is no certificate */
    uint16_t slots[ADDRESS_SLOTS_MAX];            /* the health slot of each address slot */
    struct tls_client **clients; /* one for each of settings->backends; NULL: tls = off */
};

/* `keys` is read at each handshake and outlives the snapshot. Returns 0 with one reference, or
 * -errno after log lines. */
int snapshot_new(const struct bundle *bundle, const struct ticket_keys *keys,
                 struct snapshot **ret_snapshot);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot);

#endif
