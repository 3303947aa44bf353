/* bench-floor: what this machine can do without any proxy, as a floor for what proxies cost.
 *
 *   bench-floor CERTIFICATE KEY SECONDS
 *
 * Happy path: one line of JSON for each figure. Fails with words and exit code 1 where certificate
 * or key cannot be used, or a socket cannot be had. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "tools/bench/floor.h"

void floor_print(const char *what, double cost, const char *unit)
{
    printf("{\"what\": \"%s\", \"cost\": %.2f, \"unit\": \"%s\"}\n", what, cost, unit);
    fflush(stdout);
}

void floor_pin(unsigned cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set); /* with one CPU they share it */
}

int main(int argc, char **argv)
{
    double seconds;
    int status;

    if (argc != 4) {
        fprintf(stderr, "usage: bench-floor CERTIFICATE KEY SECONDS\n");
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN);
    floor_pin(0);
    seconds = strtod(argv[3], NULL);
    status = floor_tls(argv[1], argv[2], seconds);
    if (status == 0)
        status = floor_sockets(seconds);
    if (status < 0)
        fprintf(stderr, "bench-floor: %s\n", err_text(status));
    return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
