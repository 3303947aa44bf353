/* Counters of one worker, in memory that all processes share. Written by their worker only. */
#ifndef GATEPOST_PROXY_STATS_H
#define GATEPOST_PROXY_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#define STATS_WORKERS_MAX 64

struct stats {
    _Atomic uint64_t sessions, handshakes, handshakes_failed, handshakes_resumed;
    _Atomic uint64_t surplus;      /* octets behind STARTTLS or STLS */
    _Atomic uint64_t bad_lines;    /* lines with a bare LF, bare CR or NUL, and too long ones */
    _Atomic uint64_t accept_waits; /* times a connection had to wait for a free session */
    _Atomic uint64_t padding;      /* to a cache line */
};

/* Adds one. */
static inline void stats_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
