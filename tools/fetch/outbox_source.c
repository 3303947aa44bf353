/* Reads a file in pieces, and passes them through the machine that makes the wire form.
 *
 * The file is read by pread() from its beginning, whatever the descriptor's offset. A file that
 * changes meanwhile shows in the digest. */
#include "tools/fetch/outbox_source.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int source_new(int fd, const char *added, bool want_file_digest, struct source **ret_source)
{
    struct source *source = calloc(1, sizeof(*source));

    if (!source) {
        close(fd);
        return -ENOMEM;
    }
    source->fd = fd;
    source->added = added;
    source->sent = digest_new();
    source->file = want_file_digest ? digest_new() : NULL;
    if (!source->sent || (want_file_digest && !source->file)) {
        source_free(source);
        return -ENOMEM;
    }
    *ret_source = source;
    return 0;
}

void source_free(struct source *source)
{
    if (!source)
        return;
    close(source->fd);
    digest_free(source->sent);
    digest_free(source->file);
    free(source);
}

/* The next piece of the file, made into `out`. At the end of the file the end of the message. */
static int read_piece(struct source *source)
{
    ssize_t size = pread(source->fd, source->in, sizeof(source->in), (off_t)source->at);
    struct span octets;
    int r = 0;

    if (size < 0)
        return -errno;
    octets = span_of(source->in, (size_t)size);
    source->at += octets.size;
    source->ended = size == 0;
    if (source->file && size > 0)
        r = digest_add(source->file, octets);
    source->out_size += source->ended
                            ? wire_end(&source->wire, source->out + source->out_size)
                            : wire_put(&source->wire, octets, source->out + source->out_size);
    return r;
}

int source_next(struct source *source, struct span *ret_octets)
{
    int r = 0;

    source->out_at = 0;
    source->out_size = 0;
    if (!source->added_sent) {
        source->added_sent = true;
        source->out_size = strlen(source->added);
        memcpy(source->out, source->added, source->out_size);
    }
    while (r == 0 && source->out_size == 0 && !source->ended)
        r = read_piece(source);
    if (r < 0)
        return r;
    *ret_octets = span_of(source->out, source->out_size);
    source->octets += source->out_size;
    return source->out_size > 0 ? digest_add(source->sent, *ret_octets) : 0;
}

int source_at_end(struct source *source)
{
    unsigned char more[WIRE_ROOM(0)];
    ssize_t size;

    if (source->ended)
        return 1;
    size = pread(source->fd, more, 1, (off_t)source->at);
    if (size != 0)
        return size < 0 ? -errno : 0;
    source->ended = true;
    return wire_end(&source->wire, more) == 0;
}

static int put_digest(struct digest *digest, char *digits)
{
    int r = digest_end(digest, digits);

    digits[REMOTE_DIGEST_MAX] = '\0';
    return r;
}

int source_digests(struct source *source, char *file_digits, char *wire_digits)
{
    int r = file_digits ? put_digest(source->file, file_digits) : 0;

    return r == 0 ? put_digest(source->sent, wire_digits) : r;
}

int source_envelope(int fd, const char *sender, struct envelope **ret_envelope)
{
    unsigned char octets[4096];
    struct envelope *envelope;
    off_t at = 0;
    int r = envelope_new(sender, &envelope);

    if (r < 0)
        return r;
    r = ENVELOPE_MORE;
    while (r == ENVELOPE_MORE) {
        ssize_t size = pread(fd, octets, sizeof(octets), at);

        if (size > 0)
            r = envelope_feed(envelope, span_of(octets, (size_t)size));
        else
            r = size < 0 ? -errno : envelope_end(envelope);
        at += size > 0 ? size : 0;
    }
    if (r < 0)
        envelope_free(envelope);
    else
        *ret_envelope = envelope;
    return r;
}
