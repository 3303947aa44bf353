/* Reads a file twice: to measure it, since its name may tell something else, and a frame that does
 * not hold what it announced could never be pulled; and to send it.
 *
 * Happy path: pieces with CRLF line ends, hashed from the first octet on, also where the frame
 * begins inside. Fails with the -errno of the call that failed, and -EIO where the file has changed
 * in between. */
#include "backends/remote_message.h"

#include <errno.h>

int remote_message_init(struct remote_message *message)
{
    *message = (struct remote_message){ .digest = digest_new() };
    return message->digest ? 0 : -ENOMEM;
}

static void close_text(struct remote_message *message)
{
    if (message->text)
        fclose(message->text);
    message->text = NULL;
}

void remote_message_deinit(struct remote_message *message)
{
    close_text(message);
    digest_free(message->digest);
    message->digest = NULL;
}

/* Converts the next piece of the file into `out`. Returns the octets, 0 at the end, or -EIO. */
static long read_piece(struct remote_message *message, unsigned char *out)
{
    unsigned char in[REMOTE_MESSAGE_BYTES];
    size_t size = fread(in, 1, sizeof(in), message->text);

    if (size > 0)
        return (long)newline_to_wire(&message->newline, span_of(in, size), out);
    return ferror(message->text) ? -EIO : 0;
}

static int measure(struct remote_message *message)
{
    unsigned char out[REMOTE_MESSAGE_ROOM];
    uint64_t octets = 0;
    long size;

    message->newline = (struct newline_to_wire){ .dot_stuffing = false };
    while ((size = read_piece(message, out)) > 0)
        octets += (uint64_t)size;
    octets += newline_to_wire_end(&message->newline, out);
    if (size < 0 || fseek(message->text, 0, SEEK_SET) != 0)
        return -EIO;
    message->octets = octets;
    return 0;
}

int remote_message_open(struct remote_message *message, struct maildrop *maildrop, size_t index,
                        uint64_t offset)
{
    int r;

    close_text(message);
    r = maildrop_read(maildrop, index, &message->text);
    if (r == 0)
        r = measure(message);
    if (r == 0)
        r = digest_restart(message->digest);
    if (r == 0 && offset > message->octets)
        r = -ERANGE;
    if (r < 0) {
        close_text(message);
        return r;
    }
    message->newline = (struct newline_to_wire){ .dot_stuffing = false };
    message->skipped_to = offset;
    message->read = 0;
    return 0;
}

/* Hashes octets, and gives those behind the offset. */
static int take_octets(struct remote_message *message, struct span octets, struct span *ret_octets)
{
    uint64_t skip = message->skipped_to > message->read ? message->skipped_to - message->read : 0;
    int r = digest_add(message->digest, octets);

    message->read += octets.size;
    if (r == 0 && message->read > message->octets)
        r = -EIO; /* it has grown */
    if (r == 0)
        *ret_octets = span_skip(octets, skip < octets.size ? (size_t)skip : octets.size);
    return r;
}

int remote_message_read(struct remote_message *message, unsigned char *room,
                        struct span *ret_octets, char *ret_digest)
{
    long size = read_piece(message, room);
    bool last = size == 0;
    int r;

    if (last)
        size = (long)newline_to_wire_end(&message->newline, room);
    r = size < 0 ? (int)size : take_octets(message, span_of(room, (size_t)size), ret_octets);
    if (r == 0 && !last)
        return REMOTE_MESSAGE_MORE;
    if (r == 0 && message->read != message->octets)
        r = -EIO;
    if (r == 0)
        r = digest_end(message->digest, ret_digest);
    close_text(message);
    return r < 0 ? r : REMOTE_MESSAGE_LAST;
}
