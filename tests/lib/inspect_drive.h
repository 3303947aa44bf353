/* Drives an inspector as a session does: what the client said and could not pass yet waits until
 * the server has spoken. Every piece of input is a heap block of its own, freed when the call is
 * over, so that the address sanitizer sees a byte that is read beyond it or kept. Used by the unit
 * tests and the fuzz targets of both inspectors. */
#ifndef GATEPOST_TESTS_INSPECT_DRIVE_H
#define GATEPOST_TESTS_INSPECT_DRIVE_H

#include <stdio.h>
#include <stdlib.h>

#include "proxy/inspect_pop3.h"
#include "proxy/inspect_smtp.h"

struct bytes {
    unsigned char *data;
    size_t size, room;
};

static inline void bytes_add(struct bytes *bytes, struct span more)
{
    if (more.size == 0)
        return;
    if (bytes->size + more.size > bytes->room) {
        bytes->room = (bytes->size + more.size) * 2;
        bytes->data = realloc(bytes->data, bytes->room);
        if (!bytes->data)
            abort();
    }
    memcpy(bytes->data + bytes->size, more.data, more.size);
    bytes->size += more.size;
}

static inline void bytes_drop(struct bytes *bytes, size_t count)
{
    bytes->size -= count;
    if (bytes->size > 0)
        memmove(bytes->data, bytes->data + count, bytes->size);
}

static inline struct span bytes_span(const struct bytes *bytes)
{
    return span_of(bytes->data, bytes->size);
}

struct drive {
    bool pop3;
    size_t step; /* octets given in one call; SIZE_MAX: all that there are */
    struct inspect_smtp smtp;
    struct inspect_pop3 pop3_inspect;
    struct bytes waiting; /* from the client, not taken yet */
    struct bytes to_server, to_client;
    int end; /* INSPECT_TLS, INSPECT_HAND_BACK, INSPECT_CLOSE or INSPECT_CUT; 0: it goes on */
    bool waits;
    unsigned pieces;
};

static inline void drive_start(struct drive *drive, bool pop3, const struct inspect_start *start,
                               size_t step)
{
    memset(drive, 0, sizeof(*drive));
    drive->pop3 = pop3;
    drive->step = step;
    if ((pop3 ? inspect_pop3_init(&drive->pop3_inspect, start)
              : inspect_smtp_init(&drive->smtp, start)) != 0)
        abort();
}

static inline void drive_stop(struct drive *drive)
{
    if (drive->pop3)
        inspect_pop3_deinit(&drive->pop3_inspect);
    else
        inspect_smtp_deinit(&drive->smtp);
    free(drive->waiting.data);
    free(drive->to_server.data);
    free(drive->to_client.data);
}

static inline void drive_hand_back(struct drive *drive)
{
    if (drive->pop3)
        drive->pop3_inspect.hands_back = true;
    else
        drive->smtp.hands_back = true;
}

static inline int drive_call(struct drive *drive, bool client, struct span *in, struct span *piece)
{
    if (drive->pop3)
        return (client ? inspect_pop3_client : inspect_pop3_server)(&drive->pop3_inspect, in,
                                                                    piece);
    return (client ? inspect_smtp_client : inspect_smtp_server)(&drive->smtp, in, piece);
}

/* Gives one block. Returns how many octets were taken. */
static inline size_t drive_block(struct drive *drive, bool client, struct span block)
{
    unsigned char *copy = malloc(block.size);
    struct span in = span_of(copy, block.size);

    if (!copy)
        abort();
    memcpy(copy, block.data, block.size);
    drive->waits = false;
    while (in.size > 0 && !drive->end && !drive->waits) {
        size_t before = in.size;
        struct span piece;
        int r = drive_call(drive, client, &in, &piece);

        if (in.size > before || r < 0)
            abort();
        if (piece.size > 0)
            drive->pieces++;
        switch (r) {
        case INSPECT_MORE:
            if (in.size > 0 || piece.size > 0)
                abort(); /* a session would call again and again */
            break;
        case INSPECT_FORWARD:
            if (piece.size == 0)
                abort();
            bytes_add(client ? &drive->to_server : &drive->to_client, piece);
            break;
        case INSPECT_ANSWER:
            if (!client || in.size == before)
                abort();
            bytes_add(&drive->to_client, piece);
            break;
        case INSPECT_WAIT:
            if (!client || in.size == 0 || piece.size > 0)
                abort();
            drive->waits = true;
            break;
        case INSPECT_TLS:
        case INSPECT_HAND_BACK: /* the line comes back to who gave it */
            if (!client ||
                (r == INSPECT_HAND_BACK && (piece.size < 2 || piece.data[piece.size - 1] != '\n')))
                abort();
            /* fall through */
        case INSPECT_CLOSE:
        case INSPECT_CUT:
            bytes_add(&drive->to_client, piece);
            drive->end = r;
            break;
        default:
            abort();
        }
    }
    free(copy);
    return block.size - in.size;
}

static inline void drive_waiting(struct drive *drive)
{
    drive->waits = false;
    while (drive->waiting.size > 0 && !drive->end && !drive->waits)
        bytes_drop(&drive->waiting,
                   drive_block(drive, true, span_first(bytes_span(&drive->waiting), drive->step)));
}

static inline void drive_client(struct drive *drive, struct span said)
{
    bytes_add(&drive->waiting, said);
    drive_waiting(drive);
}

static inline void drive_server(struct drive *drive, struct span said)
{
    while (said.size > 0 && !drive->end) {
        size_t taken = drive_block(drive, false, span_first(said, drive->step));

        said = span_skip(said, taken);
    }
    drive_waiting(drive);
}

static inline const struct inspect_facts *drive_facts(const struct drive *drive)
{
    return drive->pop3 ? inspect_pop3_facts(&drive->pop3_inspect)
                       : inspect_smtp_facts(&drive->smtp);
}

static inline int drive_phase(const struct drive *drive)
{
    return (int)(drive->pop3 ? inspect_pop3_phase(&drive->pop3_inspect)
                             : inspect_smtp_phase(&drive->smtp));
}

static inline int drive_client_end(const struct drive *drive)
{
    return (int)(drive->pop3 ? inspect_pop3_client_end(&drive->pop3_inspect)
                             : inspect_smtp_client_end(&drive->smtp));
}

static inline bool drive_secret(const struct drive *drive)
{
    return drive->pop3 ? inspect_pop3_secret(&drive->pop3_inspect)
                       : inspect_smtp_secret(&drive->smtp);
}

#endif
