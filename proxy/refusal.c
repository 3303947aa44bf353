/* Refused clients: the words, and the wait for the end of what they say.
 *
 * Happy path: what has come is read, the words and FIN go out, and the next tick sees the client's
 * own FIN. Without it the socket is closed after a second, or when its place is needed. Nothing
 * here waits, and no failure matters: the client sees the end of its connection in any case. */
#include "proxy/refusal.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/negotiate.h"
#include "proxy/stream.h"

#define TLS_RECORD_HANDSHAKE 0x16 /* RFC 8446 section 5.1 */

/* Drops what has come. True: nothing more can, or too much has. */
static bool drop_input(int fd)
{
    unsigned char octets[4096];
    size_t room = STREAM_LINGER_OCTETS;
    ssize_t size;

    do {
        size = recv(fd, octets, sizeof(octets), MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
            return true;
    } while (size > 0 && (room -= (size_t)size) >= sizeof(octets));
    return size > 0;
}

/* Where Remote Mail is spoken, TLS or not, the client speaks first; elsewhere it awaits words. */
static void put_words(const struct dialogue_rule *rule, const unsigned char *first,
                      struct text *words)
{
    if (first && *first == TLS_RECORD_HANDSHAKE)
        return;
    if (rule->protocol == PROTOCOL_REMOTE && first)
        text_puts(words, "- [TEMP] too many sessions, please try again later\r\n");
    else if (!rule->implicit_tls)
        negotiate_event(rule, NEGOTIATE_TOO_MANY, words);
}

static void say(const struct dialogue_rule *rule, int fd)
{
    char room[128];
    struct text words = TEXT_OVER(room);
    unsigned char first;
    bool spoken = recv(fd, &first, 1, MSG_DONTWAIT) == 1;

    put_words(rule, spoken ? &first : NULL, &words);
    if (words.size > 0) /* the kernel has room for so few */
        (void)!send(fd, words.data, words.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
}

static void close_oldest(struct refusals *refusals)
{
    int fd = refusals->kept[refusals->oldest].fd;

    drop_input(fd);
    close(fd);
    refusals->oldest = (refusals->oldest + 1) % REFUSALS_KEPT;
    refusals->count--;
}

void refusal_say(struct refusals *refusals, const struct dialogue_rule *rule, int fd,
                 uint64_t now_ms)
{
    size_t place;

    if (refusals->count == REFUSALS_KEPT)
        close_oldest(refusals);
    say(rule, fd);
    place = (refusals->oldest + refusals->count++) % REFUSALS_KEPT;
    refusals->kept[place].fd = fd;
    refusals->kept[place].until_ms = now_ms + STREAM_LINGER_MS;
}

void refusals_tick(struct refusals *refusals, uint64_t now_ms)
{
    size_t count = refusals->count;

    while (count-- > 0) { /* each in turn; who stays goes behind the others */
        size_t place = refusals->oldest;
        int fd = refusals->kept[place].fd;
        uint64_t until_ms = refusals->kept[place].until_ms;

        refusals->oldest = (place + 1) % REFUSALS_KEPT;
        refusals->count--;
        if (drop_input(fd) || now_ms >= until_ms) {
            close(fd);
            continue;
        }
        place = (refusals->oldest + refusals->count++) % REFUSALS_KEPT;
        refusals->kept[place].fd = fd;
        refusals->kept[place].until_ms = until_ms;
    }
}

void refusals_close(struct refusals *refusals)
{
    while (refusals->count > 0)
        close_oldest(refusals);
}
