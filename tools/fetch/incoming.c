/* A message on its way into a Maildir.
 *
 * Happy path: begun or resumed, octets added, ended with its digest. A write that fails makes the
 * file useless for this run only: the next one counts what is in it. */
#include "tools/fetch/incoming.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/disk.h"

#define PIECE 16384 /* octets converted at a time */

int incoming_init(struct incoming *incoming)
{
    *incoming = (struct incoming){ .fd = -1, .digest = digest_new() };
    return incoming->digest ? 0 : -ENOMEM;
}

void incoming_deinit(struct incoming *incoming)
{
    incoming_stop(incoming);
    digest_free(incoming->digest);
    incoming->digest = NULL;
}

void incoming_name(struct remote_uid uid, char *into)
{
    snprintf(into, INCOMING_NAME_MAX, INCOMING_PREFIX "%08x.%llu", uid.epoch,
             (unsigned long long)uid.number);
}

bool incoming_name_read(const char *name, struct remote_uid *ret_uid)
{
    size_t prefix = strlen(INCOMING_PREFIX);

    return strncmp(name, INCOMING_PREFIX, prefix) == 0 &&
           remote_uid_parse(span_of_text(name + prefix), false, ret_uid);
}

static int open_file(struct incoming *incoming, int tmp, struct remote_uid uid, int flags)
{
    char name[INCOMING_NAME_MAX];

    incoming_stop(incoming);
    incoming_name(uid, name);
    incoming->fd = openat(tmp, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (incoming->fd < 0)
        return -errno;
    incoming->uid = uid;
    incoming->newline = (struct newline_to_disk){ .octets = 0 };
    incoming->failed = false;
    return digest_restart(incoming->digest);
}

int incoming_begin(struct incoming *incoming, int tmp, struct remote_uid uid)
{
    return open_file(incoming, tmp, uid, O_CREAT | O_TRUNC);
}

/* Cuts off CRs at the end of the file: whether they are part of a line end is not known from it. */
static int cut_crs(int fd, bool *ret_unfinished)
{
    off_t end = lseek(fd, 0, SEEK_END), size = end;
    char last = '\n';

    if (end < 0)
        return -errno;
    for (; size > 0; size--) {
        if (pread(fd, &last, 1, size - 1) != 1)
            return -EIO;
        if (last != '\r')
            break;
    }
    if (size < end && ftruncate(fd, size) < 0)
        return -errno;
    *ret_unfinished = size > 0 && last != '\n';
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* Adds the file, from where it stands, to the digest, as the wire had it. */
static int hash_file(struct digest *digest, int fd, bool whole, uint64_t *ret_octets)
{
    unsigned char in[PIECE], out[2 * PIECE];
    struct newline_to_wire newline = { .dot_stuffing = false };
    uint64_t octets = 0;
    ssize_t got;
    size_t size;
    int r = 0;

    while (r == 0 && (got = read(fd, in, sizeof(in))) != 0) {
        if (got < 0)
            return -errno;
        size = newline_to_wire(&newline, span_of(in, (size_t)got), out);
        octets += size;
        r = digest_add(digest, span_of(out, size));
    }
    size = whole && r == 0 ? newline_to_wire_end(&newline, out) : 0;
    *ret_octets = octets + size;
    return r < 0 ? r : digest_add(digest, span_of(out, size));
}

int incoming_resume(struct incoming *incoming, int tmp, struct remote_uid uid)
{
    int r = open_file(incoming, tmp, uid, 0);

    if (r == 0)
        r = cut_crs(incoming->fd, &incoming->newline.unfinished);
    if (r == 0)
        r = hash_file(incoming->digest, incoming->fd, false, &incoming->newline.octets);
    if (r < 0)
        incoming_stop(incoming);
    return r;
}

int incoming_add(struct incoming *incoming, struct span octets)
{
    unsigned char out[PIECE + 1];
    int r = incoming->fd < 0 || incoming->failed ? -EIO : digest_add(incoming->digest, octets);

    while (r == 0 && octets.size > 0) {
        struct span piece = span_first(octets, PIECE);

        octets = span_skip(octets, piece.size);
        r = disk_write(incoming->fd, span_of(out, newline_to_disk(&incoming->newline, piece, out)));
    }
    if (r < 0)
        incoming->failed = true;
    return r;
}

/* The end of a last line that has none, and the size. */
static int finish(struct incoming *incoming, uint64_t *ret_octets)
{
    unsigned char out[NEWLINE_END_MAX];
    struct stat status;
    int r = disk_write(incoming->fd, span_of(out, newline_to_disk_end(&incoming->newline, out)));

    if (r == 0 && fstat(incoming->fd, &status) < 0)
        r = -errno;
    if (r == 0)
        *ret_octets = (uint64_t)status.st_size;
    return r;
}

int incoming_end(struct incoming *incoming, struct span digest, int *ret_fd, uint64_t *ret_octets)
{
    char digits[DIGEST_DIGITS];
    int r;

    if (incoming->fd < 0 || incoming->failed)
        return -EIO;
    r = digest_end(incoming->digest, digits);
    if (r == 0 && !span_equal(digest, span_of(digits, sizeof(digits))))
        r = -EBADMSG;
    if (r == 0)
        r = finish(incoming, ret_octets);
    if (r < 0)
        return r;
    *ret_fd = incoming->fd;
    incoming->fd = -1;
    return 0;
}

void incoming_stop(struct incoming *incoming)
{
    if (incoming->fd >= 0)
        close(incoming->fd);
    incoming->fd = -1;
}

int incoming_digest(struct digest *digest, int fd, char *ret_digits)
{
    uint64_t octets;
    int r = digest_restart(digest);

    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r == 0)
        r = hash_file(digest, fd, true, &octets);
    return r < 0 ? r : digest_end(digest, ret_digits);
}
