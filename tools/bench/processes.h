/* CPU time and memory of a proxy: of given processes and all that descend from them, out of /proc.
 */
#ifndef GATEPOST_BENCH_PROCESSES_H
#define GATEPOST_BENCH_PROCESSES_H

#include <stddef.h>
#include <sys/types.h>

#define PROCESSES_ROOTS 64
#define PROCESSES_MAX   4096

struct processes {
    pid_t roots[PROCESSES_ROOTS]; /* set by the caller */
    size_t root_count;
    pid_t tree[PROCESSES_MAX]; /* roots and descendants, as last looked at */
    size_t tree_count;
};

/* Reads "12,345" into roots: 0, or -EINVAL. */
int processes_parse(struct processes *processes, const char *list);

/* Seconds of CPU that the processes have used: each one's own clock (of all its threads, also of
 * ended ones), and what it inherited from children that it has waited for. Looks at /proc anew. */
double processes_cpu(struct processes *processes);

/* KiB of memory, each page shared out among those that map it (PSS). Looks at /proc anew. */
double processes_pss(struct processes *processes);

/* KiB that the kernel keeps in TCP sockets' buffers, of the whole network namespace. */
long processes_tcp_kib(void);

#endif
