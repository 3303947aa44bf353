/* What the probe has found, in words for whoever runs a mail server: what each server offers to
 * clients, what is hidden from them and why, and what is wrong with those that cannot be used. */
#ifndef GATEPOST_PROXY_PROBE_REPORT_H
#define GATEPOST_PROXY_PROBE_REPORT_H

#include <stdio.h>

#include "proxy/backend.h"
#include "proxy/snapshot.h"

/* One item of `address`. */
struct probe_lookup {
    const char
        *fault; /* why the name stands for no address; static; NULL: it does, or is no name */
};

struct probe_backend {
    bool reached;                 /* a port leads to it */
    bool asked;                   /* `backend` is there; not where it is embedded */
    struct backend backend;       /* all its dialogues have ended */
    struct probe_lookup *lookups; /* one for each item of its address */
};

/* `backends` is parallel to the snapshot's. False: some address cannot be used. */
bool probe_report(FILE *out, const struct snapshot *snapshot, struct probe_backend *backends);

#endif
