/* Finds the process behind a listening port: its socket's inode in /proc/net/tcp, the inode's
 * holder in /proc/PID/fd. */
#include "proxy/port_owner.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TCP_STATE_LISTEN 0x0a

/* The inode of the listener in one of the kernel's tables, or 0. */
static unsigned long listener_inode(const char *table, unsigned port)
{
    char line[512];
    unsigned long inode = 0;
    FILE *file = fopen(table, "re");

    if (!file)
        return 0;
    while (inode == 0 && fgets(line, sizeof(line), file)) {
        unsigned local, state;
        unsigned long found;

        /* "  0: 00000000:006E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 UID TIMEOUT
         * INODE ..." */
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   &local, &state, &found) == 3 &&
            local == port && state == TCP_STATE_LISTEN)
            inode = found;
    }
    fclose(file);
    return inode;
}

static bool process_holds(const char *pid, const char *socket_name)
{
    char path[64], target[64];
    const struct dirent *entry;
    bool found = false;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    folder = opendir(path);
    if (!folder)
        return false;
    while (!found && (entry = readdir(folder))) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

        if (length <= 0)
            continue;
        target[length] = '\0';
        found = strcmp(target, socket_name) == 0;
    }
    closedir(folder);
    return found;
}

static void put_process(const char *pid, struct text *into)
{
    char path[64], name[64] = "";
    size_t size = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    file = fopen(path, "re");
    if (file) {
        size = fread(name, 1, sizeof(name), file);
        fclose(file);
    }
    if (size > 0 && name[size - 1] == '\n')
        size--;
    text_printf(into, "process %.20s (", pid);
    text_put_escaped(into, span_of(name, size), sizeof(name));
    text_puts(into, ")");
}

void port_owner_describe(unsigned port, struct text *into)
{
    char socket_name[48];
    unsigned long inode = listener_inode("/proc/net/tcp", port);
    const struct dirent *entry;
    DIR *folder;
    bool found = false;

    if (inode == 0)
        inode = listener_inode("/proc/net/tcp6", port);
    snprintf(socket_name, sizeof(socket_name), "socket:[%lu]", inode);
    folder = inode ? opendir("/proc") : NULL;
    while (folder && !found && (entry = readdir(folder))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        found = process_holds(entry->d_name, socket_name);
        if (found)
            put_process(entry->d_name, into);
    }
    if (folder)
        closedir(folder);
    if (!found)
        text_puts(into, "another process");
}
