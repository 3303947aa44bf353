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
#include "proxy/tls_profile.h"

/* A list of networks, as [listen] sections have. */
struct networks {
    struct network *networks;
    size_t count;
};

struct snapshot {
    unsigned references;
    struct settings *settings;
    struct dialogue_rule *rules; /* one for each of settings->listens, at the same index */
    struct networks *trusted;    /* likewise: whose connections begin with a PROXY header */
    struct networks *from;       /* likewise: whose clients are served; empty: everybody's */
    /* Those that an open port needs; NULL where there is no certificate, too. */
    struct tls_context *tls[PROTOCOL_OPAQUE + 1][TLS_PROFILE_COUNT];
    uint16_t slots[ADDRESS_SLOTS_MAX]; /* the health slot of each address slot */
    struct tls_client **clients;       /* one for each of settings->backends; NULL: tls = off */
};

/* `keys` is read at each handshake and outlives the snapshot. Returns 0 with one reference, or
 * -errno after log lines. */
int snapshot_new(const struct bundle *bundle, const struct ticket_keys *keys,
                 struct snapshot **ret_snapshot);
/* What TLS connections of a port begin with; NULL: it has no TLS. */
struct tls_context *snapshot_tls(const struct snapshot *snapshot,
                                 const struct settings_listen *listen);

struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot);

#endif
