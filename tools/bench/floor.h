/* What the machine can do at best, without any proxy: the parts of bench-floor. Each prints its
 * figures by floor_print(). This process has the first CPU, a partner the second. */
#ifndef GATEPOST_BENCH_FLOOR_H
#define GATEPOST_BENCH_FLOOR_H

#include <time.h>

/* One line of JSON: what was done, what it cost, and in which unit. */
void floor_print(const char *what, double cost, const char *unit);

/* Keeps the process on one CPU, where there are more. */
void floor_pin(unsigned cpu);

/* Seconds of a clock: CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID. */
static inline double floor_clock(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The server's half of TLS handshakes, and sealing and opening records, in memory; each for so many
 * seconds. 0, or -EINVAL where certificate or key cannot be used. */
int floor_tls(const char *certificate, const char *key, double seconds);

/* Accepting connections, and moving octets, over TCP and UNIX sockets. 0 or -errno. */
int floor_sockets(double seconds);

#endif
