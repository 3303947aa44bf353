/* Works out the figures of a run, and prints them as one line of JSON. */
#include "tools/bench/load_report.h"

#include <stdio.h>
#include <sys/resource.h>

#define MIB 1048576.0

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double load_cpu_s(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_CHILDREN, &usage) != 0)
        return 0;
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static void print_head(const struct load_options *options)
{
    printf("{\"label\": \"%s\", \"mode\": \"%s\", \"protocol\": \"%s\", \"tls\": \"%s\", "
           "\"sessions\": %u, \"processes\": %u, \"octets\": %llu, ",
           options->label, load_mode_word(options->mode), load_protocol_word(options->protocol),
           load_tls_word(options->tls), options->sessions, options->processes,
           (unsigned long long)options->message_octets);
}

static void print_times(const struct load_options *options, const struct load_shared *shared)
{
    static struct histogram all;

    for (unsigned i = 0; i < options->processes; i++)
        histogram_merge(&all, &shared->counts[i].measured);
    printf("\"p50_us\": %llu, \"p99_us\": %llu, \"p999_us\": %llu, \"longest_us\": %llu, ",
           (unsigned long long)histogram_share_us(&all, 0.50),
           (unsigned long long)histogram_share_us(&all, 0.99),
           (unsigned long long)histogram_share_us(&all, 0.999), (unsigned long long)all.longest_us);
}

/* The first error: printable already, and without what JSON would read as its own. */
static void print_tail(const struct load_options *options, const struct load_shared *shared,
                       const struct load_totals *totals)
{
    const char *words = "";

    for (unsigned i = 0; i < options->processes && !*words; i++)
        words = shared->counts[i].first_error;
    printf("\"errors\": %lu, \"first_error\": \"", totals->errors);
    for (; *words; words++)
        putchar(*words == '"' ? '\'' : *words == '\\' ? '/' : *words);
    printf("\"}\n");
    fflush(stdout);
}

void load_report_operations(const struct load_options *options, const struct load_shared *shared,
                            const struct load_sample *before, const struct load_sample *after)
{
    double seconds = (double)(after->totals.at_us - before->totals.at_us) / 1e6;
    double operations = (double)(after->totals.operations - before->totals.operations);
    double cpu_us = (after->cpu_s - before->cpu_s) * 1e6;
    double mib = (double)(after->totals.octets - before->totals.octets) / MIB;

    print_head(options);
    printf("\"seconds\": %.3f, \"operations\": %.0f, \"mib\": %.3f, \"rate\": %.1f, "
           "\"handshakes\": %lu, "
           "\"resumed\": %lu, ",
           seconds, operations, mib, ratio(operations, seconds),
           after->totals.handshakes - before->totals.handshakes,
           after->totals.resumed - before->totals.resumed);
    printf("\"cpu_us_per_operation\": %.2f, \"cpu_us_per_mib\": %.1f, \"mib_per_s\": %.1f, "
           "\"proxy_core_share\": %.3f, \"load_cpu_s\": %.3f, ",
           ratio(cpu_us, operations), ratio(cpu_us, mib), ratio(mib, seconds),
           ratio(cpu_us / 1e6, seconds), load_cpu_s());
    print_times(options, shared);
    print_tail(options, shared, &after->totals);
}

void load_report_connections(const struct load_options *options, const struct load_shared *shared,
                             const struct load_sample *before, const struct load_sample *opened,
                             const struct load_sample *settled)
{
    const struct load_totals *totals = &settled->totals;
    double held = (double)totals->held;

    print_head(options);
    printf("\"stage\": \"%s\", \"held\": %lu, \"served\": %lu, \"refused\": %lu, \"closed\": %lu, "
           "\"opened_in_s\": %.2f, ",
           load_stage_word(options->stage), totals->held, totals->served, totals->refused,
           totals->closed, (double)(opened->totals.at_us - before->totals.at_us) / 1e6);
    printf("\"pss_kib\": %.0f, \"kib_per_connection\": %.2f, \"tcp_kib_per_connection\": %.2f, "
           "\"cpu_us_per_connection\": %.1f, \"cpu_s_while_idle\": %.4f, ",
           settled->pss_kib, ratio(settled->pss_kib - before->pss_kib, held),
           ratio((double)(settled->tcp_kib - before->tcp_kib), held),
           ratio((opened->cpu_s - before->cpu_s) * 1e6, held), settled->cpu_s - opened->cpu_s);
    print_times(options, shared);
    print_tail(options, shared, totals);
}
