/* Password checks under a limit shared by all session processes, slower after each failure.
 *
 * One check takes a core for 20 ms and 16 MiB, so a hundred clients that guess must not get a
 * hundred cores. The limit is a record lock on one of as many bytes as there are cores: the kernel
 * frees it when a process dies, which a semaphore's count would not survive. Fails only where
 * users_check() fails. */
#include "backends/worker_password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/connection.h"
#include "backends/users.h"

#define DELAY_FIRST_MS 1000
#define DELAY_LAST_MS  8000

static struct {
    int fd; /* memfd that carries the locks; it has no content */
    long slots;
    int delay_ms; /* of the next failure in this session process */
} password_state = { .fd = -1, .slots = 1, .delay_ms = DELAY_FIRST_MS };

int worker_password_init(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    password_state.fd = memfd_create("gatepost-password-slots", MFD_CLOEXEC);
    if (password_state.fd < 0)
        return -errno;
    password_state.slots = cores > 0 ? cores : 1;
    return 0;
}

/* Takes any free slot, or waits for one. Its number, or -1 where locks do not work (then nothing is
 * limited). */
static long take_slot(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    int r;

    for (long i = 0; i < password_state.slots; i++) {
        lock.l_start = i;
        if (fcntl(password_state.fd, F_SETLK, &lock) == 0)
            return i;
    }
    lock.l_start = getpid() % password_state.slots;
    while ((r = fcntl(password_state.fd, F_SETLKW, &lock)) < 0 && errno == EINTR)
        ;
    return r < 0 ? -1 : (long)lock.l_start;
}

static void give_slot(long slot)
{
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1 };

    if (slot >= 0)
        fcntl(password_state.fd, F_SETLK, &lock);
}

/* Makes guessing slow. Ends early when the client hangs up. */
static void delay_failure(const struct connection *connection)
{
    struct pollfd poller = { .fd = connection->fd, .events = POLLRDHUP };

    poll(&poller, 1, password_state.delay_ms);
    password_state.delay_ms *= 2;
    if (password_state.delay_ms > DELAY_LAST_MS)
        password_state.delay_ms = DELAY_LAST_MS;
}

int worker_check_password(struct worker_session *session, const char *user, struct span password)
{
    long slot = take_slot();
    int r = users_check(session->settings->mailstore.path, user, password);

    give_slot(slot);
    if (r == USERS_UNKNOWN || r == USERS_WRONG)
        delay_failure(session->connection);
    return r;
}
