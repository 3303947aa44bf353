/* Finds the tree of a proxy's processes in /proc, and adds up their clocks and their memory.
 *
 * A process that ends meanwhile is left out; what it used is then with its parent. */
#include "tools/bench/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct row {
    pid_t pid, parent;
};

int processes_parse(struct processes *processes, const char *list)
{
    processes->root_count = 0;
    while (*list && processes->root_count < PROCESSES_ROOTS) {
        char *end;
        long pid = strtol(list, &end, 10);

        if (end == list || pid <= 0 || (*end && *end != ','))
            return -EINVAL;
        processes->roots[processes->root_count++] = (pid_t)pid;
        list = *end ? end + 1 : end;
    }
    return *list ? -EINVAL : 0;
}

/* Field 4 of /proc/PID/stat, and 16 and 17 in seconds. Returns false where the process is gone. */
static bool read_stat(pid_t pid, pid_t *ret_parent, double *ret_children_s)
{
    char path[64], line[1024];
    const char *after_name;
    long user = 0, system = 0;
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    size = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[size] = '\0';
    after_name = strrchr(line, ')');
    if (!after_name ||
        sscanf(after_name + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %ld %ld",
               ret_parent, &user, &system) != 3)
        return false;
    *ret_children_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static size_t read_rows(struct row *rows, size_t room)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    double ignored;
    size_t count = 0;

    while (folder && (entry = readdir(folder)) && count < room) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        rows[count].pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (read_stat(rows[count].pid, &rows[count].parent, &ignored))
            count++;
    }
    if (folder)
        closedir(folder);
    return count;
}

static bool in_tree(const struct processes *processes, pid_t pid)
{
    for (size_t i = 0; i < processes->tree_count; i++)
        if (processes->tree[i] == pid)
            return true;
    return false;
}

static void find_tree(struct processes *processes)
{
    static struct row rows[65536];
    size_t count = read_rows(rows, sizeof(rows) / sizeof(*rows));

    memcpy(processes->tree, processes->roots, processes->root_count * sizeof(pid_t));
    processes->tree_count = processes->root_count;
    for (size_t i = 0; i < processes->tree_count; i++)
        for (size_t j = 0; j < count && processes->tree_count < PROCESSES_MAX; j++)
            if (rows[j].parent == processes->tree[i] && !in_tree(processes, rows[j].pid))
                processes->tree[processes->tree_count++] = rows[j].pid;
}

static double own_clock(pid_t pid)
{
    clockid_t clock;
    struct timespec time;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double processes_cpu(struct processes *processes)
{
    double total = 0;

    find_tree(processes);
    for (size_t i = 0; i < processes->tree_count; i++) {
        pid_t ignored;
        double children_s;

        if (read_stat(processes->tree[i], &ignored, &children_s))
            total += children_s;
        total += own_clock(processes->tree[i]);
    }
    return total;
}

/* The number behind `key` in the file, 0 where there is none. */
static long number_in(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    char line[256];
    long number = 0;

    while (file && fgets(line, sizeof(line), file)) {
        const char *found = strstr(line, key);

        if (found)
            number = strtol(found + strlen(key), NULL, 10);
        if (found)
            break;
    }
    if (file)
        fclose(file);
    return number;
}

double processes_pss(struct processes *processes)
{
    double total = 0;

    find_tree(processes);
    for (size_t i = 0; i < processes->tree_count; i++) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)processes->tree[i]);
        total += (double)number_in(path, "Pss:");
    }
    return total;
}

long processes_tcp_kib(void)
{
    /* "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1": the first line with such an end is TCP's */
    return number_in("/proc/net/sockstat", " mem ") * (sysconf(_SC_PAGESIZE) / 1024);
}
