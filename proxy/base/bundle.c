/* The bundle's format: entries of "NAME SIZE\n", octets, "\n" in a memfd that is sealed once it is
 * whole.
 *
 * The supervisor creates, adds and seals; a child reads a private copy and finds entries by name.
 * Reading fails for what is no bundle: a memfd that is not sealed, an entry that is cut, a name or
 * size that does not parse. */
#include "proxy/base/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE_MAX_BYTES                                                                           \
    (64u * 1024 * 1024) /* a guess far above any: a thousand certificates take 10 MiB */
#define BUNDLE_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Takes the next entry off *rest. False at the end, and where the bytes are no entry. */
static bool take_entry(struct span *rest, struct span *ret_name, struct span *ret_content)
{
    size_t end = span_find(*rest, '\n');
    struct span head = span_first(*rest, end), after = span_skip(*rest, end + 1), name;
    uint64_t size;

    if (end == rest->size)
        return false;
    name = span_first(head, span_find(head, ' '));
    if (name.size == 0 || !span_parse_u64(span_skip(head, name.size + 1), &size))
        return false;
    if (size >= after.size || after.data[size] != '\n')
        return false;
    *ret_name = name;
    *ret_content = span_first(after, (size_t)size);
    *rest = span_skip(after, (size_t)size + 1);
    return true;
}

static bool is_whole(const struct bundle *bundle)
{
    struct span rest = span_of(bundle->data, bundle->size), name, content;

    while (rest.size > 0)
        if (!take_entry(&rest, &name, &content))
            return false;
    return true;
}

/* The descriptor is shared with other children, and so is its offset: pread only. */
static int read_all(int fd, unsigned char *into, size_t size)
{
    size_t have = 0;

    while (have < size) {
        ssize_t count = pread(fd, into + have, size - have, (off_t)have);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EPROTO;
        have += (size_t)count;
    }
    return 0;
}

int bundle_read(int fd, struct bundle *ret_bundle)
{
    struct bundle bundle = { NULL, 0 };
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS), r;

    if (seals < 0 || (seals & BUNDLE_SEALS) != BUNDLE_SEALS)
        return -EPROTO;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (status.st_size <= 0 || status.st_size > BUNDLE_MAX_BYTES)
        return -EPROTO;
    bundle.size = (size_t)status.st_size;
    bundle.data = malloc(bundle.size);
    if (!bundle.data)
        return -ENOMEM;
    r = read_all(fd, bundle.data, bundle.size);
    if (r == 0 && !is_whole(&bundle))
        r = -EPROTO;
    if (r < 0) {
        bundle_free(&bundle);
        return r;
    }
    *ret_bundle = bundle;
    return 0;
}

void bundle_free(struct bundle *bundle)
{
    if (bundle->data)
        explicit_bzero(bundle->data, bundle->size);
    free(bundle->data);
    *bundle = (struct bundle){ NULL, 0 };
}

bool bundle_find(const struct bundle *bundle, const char *name, size_t index,
                 struct span *ret_content)
{
    struct span rest = span_of(bundle->data, bundle->size), found, content;

    while (rest.size > 0 && take_entry(&rest, &found, &content)) {
        if (!span_equal(found, span_of_text(name)))
            continue;
        if (index == 0) {
            *ret_content = content;
            return true;
        }
        index--;
    }
    return false;
}

bool bundle_next(const struct bundle *bundle, size_t *offset, struct span *ret_name,
                 struct span *ret_content)
{
    struct span rest = span_skip(span_of(bundle->data, bundle->size), *offset);

    if (rest.size == 0 || !take_entry(&rest, ret_name, ret_content))
        return false;
    *offset = bundle->size - rest.size;
    return true;
}

/* NULL: it cannot be. */
static void *map_whole(int fd, size_t *ret_size)
{
    struct stat status;
    void *data;

    if (fstat(fd, &status) < 0 || status.st_size <= 0)
        return NULL;
    data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    *ret_size = (size_t)status.st_size;
    return data == MAP_FAILED ? NULL : data;
}

bool bundle_same(int a, int b)
{
    size_t a_size = 0, b_size = 0;
    void *a_data = map_whole(a, &a_size), *b_data = map_whole(b, &b_size);
    bool same = a_data && b_data && a_size == b_size && memcmp(a_data, b_data, a_size) == 0;

    if (a_data)
        munmap(a_data, a_size);
    if (b_data)
        munmap(b_data, b_size);
    return same;
}

int bundle_create(void)
{
    int fd = memfd_create("gatepost-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd < 0 ? -errno : fd;
}

static int write_all(int fd, struct span bytes)
{
    while (bytes.size > 0) {
        ssize_t count = write(fd, bytes.data, bytes.size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        bytes = span_skip(bytes, (size_t)count);
    }
    return 0;
}

int bundle_add(int fd, const char *name, struct span content)
{
    char head[512];
    int length, r;

    if (name[0] == '\0' || strpbrk(name, " \n"))
        return -EINVAL;
    length = snprintf(head, sizeof(head), "%s %zu\n", name, content.size);
    if (length < 0 || (size_t)length >= sizeof(head))
        return -ENAMETOOLONG;
    r = write_all(fd, span_of(head, (size_t)length));
    if (r == 0)
        r = write_all(fd, content);
    return r < 0 ? r : write_all(fd, SPAN_LIT("\n"));
}

int bundle_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, BUNDLE_SEALS) < 0 ? -errno : 0;
}
