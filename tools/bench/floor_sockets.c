/* The kernel alone: what accepting a connection and moving a MiB cost a process that does nothing
 * else. Its partner is a process of its own, on the other CPU, and ends when it is told to. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/floor.h"

#define TALK_BYTES 512
#define MIB        1048576.0

struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } address;
    socklen_t size;
    int listener;
};

/* Listens on a port of 127.0.0.1, or on an abstract UNIX socket, which leaves no file. */
static int place_open(struct place *place, bool local)
{
    *place = (struct place){ .size = sizeof(place->address.in) };
    if (local) {
        place->address.un.sun_family = AF_UNIX;
        place->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1);
        place->size += (socklen_t)snprintf(place->address.un.sun_path + 1, 64, "bench-floor-%d",
                                           (int)getpid());
    } else {
        place->address.in.sin_family = AF_INET;
        place->address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    place->listener = socket(place->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (place->listener < 0 || bind(place->listener, &place->address.any, place->size) != 0 ||
        listen(place->listener, 4096) != 0 ||
        (!local && getsockname(place->listener, &place->address.any, &place->size) != 0))
        return -errno;
    return 0;
}

static int place_connect(const struct place *place)
{
    int fd = socket(place->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, &place->address.any, place->size) != 0)
        _exit(EXIT_FAILURE);
    return fd;
}

/* The partner: it runs until it is killed, or the other side ends. */
static pid_t partner(const struct place *place, void (*run)(const struct place *, bool), bool talk)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    close(place->listener);
    floor_pin(1);
    run(place, talk);
    _exit(EXIT_SUCCESS);
}

static void end_partner(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void connect_again_and_again(const struct place *place, bool talk)
{
    char octets[TALK_BYTES] = { 0 };

    for (;;) {
        int fd = place_connect(place);

        if (talk && write(fd, octets, sizeof(octets)) < 0)
            break;
        while (read(fd, octets, sizeof(octets)) > 0)
            continue;
        close(fd);
    }
}

static void read_all(const struct place *place, bool talk)
{
    static char octets[65536];
    int fd = place_connect(place);

    (void)talk;
    while (read(fd, octets, sizeof(octets)) > 0)
        continue;
}

static int measure_accepts(bool local, bool talk, double seconds)
{
    double end = floor_clock(CLOCK_MONOTONIC) + seconds,
           before = floor_clock(CLOCK_PROCESS_CPUTIME_ID);
    char octets[TALK_BYTES], what[64];
    struct place place;
    int status = place_open(&place, local);
    size_t count = 0;
    pid_t pid;

    if (status < 0)
        return status;
    pid = partner(&place, connect_again_and_again, talk);
    while (floor_clock(CLOCK_MONOTONIC) < end) {
        int fd = accept4(place.listener, NULL, NULL, SOCK_CLOEXEC);

        if (talk && read(fd, octets, sizeof(octets)) > 0 && write(fd, octets, sizeof(octets)) < 0)
            status = -errno;
        close(fd);
        count++;
    }
    snprintf(what, sizeof(what), "accept,%s close, %s", talk ? " 512 octets each way," : "",
             local ? "UNIX socket" : "TCP");
    floor_print(what, (floor_clock(CLOCK_PROCESS_CPUTIME_ID) - before) * 1e6 / (double)count, "µs");
    end_partner(pid);
    close(place.listener);
    return status;
}

static int measure_stream(bool local, size_t size, double seconds)
{
    static char octets[65536];
    double end = floor_clock(CLOCK_MONOTONIC) + seconds, before, sent = 0;
    struct place place;
    int status = place_open(&place, local), fd;
    char what[64];
    pid_t pid;

    if (status < 0)
        return status;
    pid = partner(&place, read_all, false);
    fd = accept4(place.listener, NULL, NULL, SOCK_CLOEXEC);
    before = floor_clock(CLOCK_PROCESS_CPUTIME_ID);
    while (floor_clock(CLOCK_MONOTONIC) < end && status == 0) {
        ssize_t moved = write(fd, octets, size);

        status = moved < 0 ? -errno : 0;
        sent += moved < 0 ? 0 : (double)moved;
    }
    snprintf(what, sizeof(what), "writing by %zu KiB, %s", size / 1024,
             local ? "UNIX socket" : "TCP");
    floor_print(what, (floor_clock(CLOCK_PROCESS_CPUTIME_ID) - before) * 1e6 / (sent / MIB),
                "µs a MiB");
    close(fd);
    end_partner(pid);
    close(place.listener);
    return status;
}

int floor_sockets(double seconds)
{
    int status = 0;

    for (int local = 0; local <= 1 && status == 0; local++)
        for (int talk = 0; talk <= 1 && status == 0; talk++)
            status = measure_accepts(local, talk, seconds);
    for (int local = 0; local <= 1 && status == 0; local++)
        for (size_t size = 16384; size <= 65536 && status == 0; size *= 4)
            status = measure_stream(local, size, seconds);
    return status;
}
