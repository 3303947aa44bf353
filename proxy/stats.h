/* Counters of one worker, in memory that all processes share. Written by their worker only; they go
 * on where the next process of the same number takes its place. */
#ifndef GATEPOST_PROXY_STATS_H
#define GATEPOST_PROXY_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#define STATS_WORKERS_MAX 64

#ifdef GATEPOST_COUNTS_ALLOCATIONS /* see proxy/allocations.h */
#define STATS_ALLOCATIONS(COUNTER)                                                                 \
    COUNTER(allocations, "pieces of memory that were taken, by libuv too")                         \
    COUNTER(allocations_openssl, "the same, by OpenSSL")
#else
#define STATS_ALLOCATIONS(COUNTER)
#endif

/* The one list: name, and what it counts. */
#define STATS_COUNTERS(COUNTER)                                                                    \
    COUNTER(sessions, "connections that were accepted")                                            \
    COUNTER(accept_waits, "connections that had to wait for a free session")                       \
    COUNTER(sessions_refused, "of these, refused: none became free in time")                       \
    COUNTER(handshakes, "TLS handshakes with clients that were begun")                             \
    COUNTER(handshakes_resumed, "of these, resumed by a ticket")                                   \
    COUNTER(handshakes_failed, "of these, failed")                                                 \
    COUNTER(logins, "logins that a server accepted")                                               \
    COUNTER(logins_failed, "logins that a server refused")                                         \
    COUNTER(messages, "messages that a server accepted, or sent (RETR)")                           \
    COUNTER(octets_in, "octets from clients, without TLS, of sessions that have ended")            \
    COUNTER(octets_out, "octets to clients, likewise")                                             \
    COUNTER(surplus, "sessions refused for octets behind STARTTLS or STLS")                        \
    COUNTER(bad_lines, "lines with a bare LF, a bare CR or NUL, or that were too long")            \
    COUNTER(kicked, "sessions that the operator ended")                                            \
    COUNTER(lost_log_lines, "lines of the log that were lost: it did not take them in time")       \
    COUNTER(connects, "connections to servers that were begun, by ourselves too")                  \
    COUNTER(reads, "reads from clients and servers, also those that found nothing")                \
    COUNTER(writes, "writes to clients and servers")                                               \
    COUNTER(octets_copied, "octets that were copied on their way")                                 \
    STATS_ALLOCATIONS(COUNTER)

#define STATS_MEMBER(name, words) _Atomic uint64_t name;

struct stats {
    STATS_COUNTERS(STATS_MEMBER)
    /* No counters: 1 while there is a free session; uv_now() when a client that had waited got one
     * last. */
    _Atomic uint64_t takes_clients, took_ms;
} __attribute__((aligned(64))); /* no two workers write the same cache line */

/* For the thread of the loop alone. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

/* Adds one. */
static inline void stats_count(_Atomic uint64_t *counter)
{
    stats_add(counter, 1);
}

#endif
