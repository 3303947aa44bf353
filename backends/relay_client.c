/* Hands a transaction on to the relay: one command, one reply, a timeout on each wait.
 *
 * Happy path: connect, 220, EHLO, MAIL, RCPT for each recipient, DATA, 354, the message, 250.
 * Refusals of the relay become replies to our own client. Fails (-errno) when the relay cannot be
 * reached, closes, is silent for too long, or answers what is no SMTP; then our client hears a
 * temporary refusal and nothing is lost, as nothing was taken. */
#include "backends/relay_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define CONNECT_TIMEOUT_MS 30000 /* a local MTA accepts at once (guessed) */
#define OUT_BYTES          16384
#define REPLY_LINES_MAX    100
#define REPLY_LINE_MAX                                                                             \
    2048              /* octets; RFC 5321 section 4.5.3.1.5 has 512, some servers send more        \
                       */
#define WORDS_MAX 300 /* bytes of the relay's words that are passed on */

struct relay_client {
    int fd;
    int timeout_ms;
    bool offers_size, offers_8bitmime, offers_smtputf8;
    bool inside_message;
    bool at_line_start, after_cr; /* of the message, for the dots */
    size_t out_size;
    unsigned char out[OUT_BYTES];
    size_t in_start, in_end;
    unsigned char in[REPLY_LINE_MAX];
};

/* One reply: the code and the last line's text, borrowed from relay->in until the next read. */
struct answer {
    unsigned code;
    struct span words;
};

/* ---- octets ---- */

/* Waits until `fd` is ready for `events`. 0 or -errno. */
static int wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd wait = { .fd = fd, .events = events };
    int r;

    do
        r = poll(&wait, 1, timeout_ms);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

static int flush_out(struct relay_client *relay)
{
    size_t sent = 0;

    while (sent < relay->out_size) {
        ssize_t n = send(relay->fd, relay->out + sent, relay->out_size - sent, MSG_NOSIGNAL);
        int r = 0;

        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            r = wait_for(relay->fd, POLLOUT, relay->timeout_ms);
        else if (errno != EINTR)
            r = -errno;
        if (r < 0)
            return r;
    }
    relay->out_size = 0;
    return 0;
}

static int put_out(struct relay_client *relay, struct span octets)
{
    while (octets.size > 0) {
        size_t room = OUT_BYTES - relay->out_size;
        struct span part = span_first(octets, room);

        memcpy(relay->out + relay->out_size, part.data, part.size);
        relay->out_size += part.size;
        octets = span_skip(octets, part.size);
        if (relay->out_size == OUT_BYTES) {
            int r = flush_out(relay);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Reads more behind what is held. 0 or -errno. */
static int fill_in(struct relay_client *relay)
{
    ssize_t n;
    int r;

    memmove(relay->in, relay->in + relay->in_start, relay->in_end - relay->in_start);
    relay->in_end -= relay->in_start;
    relay->in_start = 0;
    if (relay->in_end == sizeof(relay->in))
        return -EPROTO; /* a line without end */
    r = wait_for(relay->fd, POLLIN, relay->timeout_ms);
    if (r < 0)
        return r;
    n = recv(relay->fd, relay->in + relay->in_end, sizeof(relay->in) - relay->in_end, 0);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    relay->in_end += (size_t)n;
    return 0;
}

/* ---- replies ---- */

/* Reads one line, without its end; borrowed until the next call. */
static int read_line(struct relay_client *relay, struct span *ret_line)
{
    for (;;) {
        struct span held = span_of(relay->in + relay->in_start, relay->in_end - relay->in_start);
        size_t end = span_find(held, '\n');
        int r;

        if (end < held.size) {
            *ret_line = span_first(held, end > 0 && held.data[end - 1] == '\r' ? end - 1 : end);
            relay->in_start += end + 1;
            return 0;
        }
        r = fill_in(relay);
        if (r < 0)
            return r;
    }
}

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Reads one reply. `each` is called for every line's text where it is not NULL. */
static int read_answer(struct relay_client *relay, struct answer *ret_answer,
                       void (*each)(struct relay_client *relay, struct span text))
{
    for (unsigned lines = 0; lines < REPLY_LINES_MAX; lines++) {
        struct span line;
        int r = read_line(relay, &line);

        if (r < 0)
            return r;
        if (line.size < 3 || !is_digit(line.data[0]) || !is_digit(line.data[1]) ||
            !is_digit(line.data[2]))
            return -EPROTO;
        if (each)
            each(relay, span_skip(line, 4));
        if (line.size > 3 && line.data[3] == '-')
            continue;
        ret_answer->code = 100u * (line.data[0] - '0') + 10u * (line.data[1] - '0') +
                           (line.data[2] - (unsigned)'0');
        ret_answer->words = span_trim(span_skip(line, 4));
        return 0;
    }
    return -EPROTO;
}

/* Sends `command` and what is held, and reads the reply. */
static int ask(struct relay_client *relay, const char *command, struct answer *ret_answer,
               void (*each)(struct relay_client *relay, struct span text))
{
    int r = put_out(relay, span_of_text(command));

    if (r == 0)
        r = put_out(relay, SPAN_LIT("\r\n"));
    if (r == 0)
        r = flush_out(relay);
    return r < 0 ? r : read_answer(relay, ret_answer, each);
}

/* Does it begin with an enhanced code (RFC 2034) of this class: "5.1.1"? */
static bool has_enhanced_code(struct span words, unsigned class)
{
    struct span rest = words, code = span_take_word(&rest);
    unsigned dots = 0;

    for (size_t i = 1; i < code.size; i++) {
        dots += code.data[i] == '.';
        if (code.data[i] != '.' && !is_digit(code.data[i]))
            return false;
    }
    return dots == 2 && code.data[0] == '0' + class && code.data[1] == '.' &&
           is_digit(code.data[code.size - 1]);
}

/* Turns the relay's refusal into ours. 421 ends its session, not ours; what is no refusal is one
 * that may pass. */
static int refuse(const struct answer *answer, struct text *reply)
{
    unsigned code = answer->code, class = code / 100;
    struct span words = span_first(answer->words, WORDS_MAX);

    if ((class != 4 && class != 5) || code == 421) {
        text_puts(reply, "451 4.4.2 The relay broke off, try later");
        return SMTP_REFUSED;
    }
    text_printf(reply, "%u ", code);
    if (!has_enhanced_code(words, class))
        text_printf(reply, "%u.0.0 ", class);
    for (size_t i = 0; i < words.size; i++) {
        bool printable = words.data[i] >= 0x20 && words.data[i] < 0x7f;

        text_put(reply, printable ? span_of(words.data + i, 1) : SPAN_LIT("?"));
    }
    return SMTP_REFUSED;
}

static int judge(int r, const struct answer *answer, unsigned wanted, struct text *reply)
{
    if (r < 0)
        return r;
    if (answer->code == wanted)
        return SMTP_TAKEN;
    return refuse(answer, reply);
}

/* ---- connecting ---- */

static int connect_with_timeout(int fd, const struct sockaddr *address, socklen_t size)
{
    int error = 0;
    socklen_t error_size = sizeof(error);
    int r;

    if (connect(fd, address, size) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    r = wait_for(fd, POLLOUT, CONNECT_TIMEOUT_MS);
    if (r < 0)
        return r;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0)
        return -errno;
    return -error;
}

/* Returns a connected descriptor or -errno. */
static int connect_to(const struct sockaddr *address, socklen_t size)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0)
        return -errno;
    r = connect_with_timeout(fd, address, size);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    return connect_to((const struct sockaddr *)&address, sizeof(address));
}

/* Splits "host:port" or "[address]:port" into texts of `room` bytes each. */
static bool split_host(const char *address, char *host, char *port, size_t room)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : 0;

    if (size == 0 || size >= room || strlen(colon + 1) >= room || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    if (address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    } else if (memchr(address, ':', size)) {
        return false;
    }
    memcpy(host, address, size);
    host[size] = '\0';
    strcpy(port, colon + 1);
    return size > 0;
}

static int connect_host(const char *address)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found;
    char host[256], port[256];
    int r = -EHOSTUNREACH;

    if (!split_host(address, host, port, sizeof(host)))
        return -EINVAL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EHOSTUNREACH;
    for (const struct addrinfo *each = found; each && r < 0; each = each->ai_next)
        r = connect_to(each->ai_addr, each->ai_addrlen);
    freeaddrinfo(found);
    return r;
}

/* ---- the dialogue ---- */

static void note_extension(struct relay_client *relay, struct span text)
{
    struct span keyword = span_take_word(&text);

    relay->offers_size |= span_equal_nocase(keyword, SPAN_LIT("SIZE"));
    relay->offers_8bitmime |= span_equal_nocase(keyword, SPAN_LIT("8BITMIME"));
    relay->offers_smtputf8 |= span_equal_nocase(keyword, SPAN_LIT("SMTPUTF8"));
}

/* Greeting and EHLO. 0 or -errno. */
static int introduce(struct relay_client *relay, const char *hostname)
{
    char command[300];
    struct answer answer;
    int r = read_answer(relay, &answer, NULL);

    if (r < 0)
        return r;
    if (answer.code != 220)
        return -EPROTO;
    snprintf(command, sizeof(command), "EHLO %.255s", hostname);
    r = ask(relay, command, &answer, note_extension);
    if (r == 0 && answer.code / 100 == 5) { /* a server from before RFC 1869 */
        relay->offers_size = relay->offers_8bitmime = relay->offers_smtputf8 = false;
        memcpy(command, "HELO", 4);
        r = ask(relay, command, &answer, NULL);
    }
    if (r < 0)
        return r;
    return answer.code == 250 ? 0 : -EPROTO;
}

int relay_client_open(const char *address, const char *hostname, int timeout_ms,
                      struct relay_client **ret_relay)
{
    struct relay_client *relay = malloc(sizeof(*relay));
    int r = -ENOMEM;

    if (!relay)
        return r;
    *relay = (struct relay_client){ .timeout_ms = timeout_ms };
    relay->fd =
        strncmp(address, "unix:", 5) == 0 ? connect_unix(address + 5) : connect_host(address);
    r = relay->fd < 0 ? relay->fd : introduce(relay, hostname);
    if (r < 0) {
        log_line(LOG_LEVEL_WARNING, "the relay %s takes no mail: %s", address, err_text(r));
        if (relay->fd >= 0)
            close(relay->fd);
        free(relay);
        return r;
    }
    *ret_relay = relay;
    return 0;
}

int relay_client_mail(struct relay_client *relay, const struct smtp_transaction *mail,
                      struct text *reply)
{
    char room[SMTP_ADDRESS_MAX + 128];
    struct text command = TEXT_OVER(room);
    struct answer answer;
    int r;

    if (mail->utf8 && !relay->offers_smtputf8) {
        text_puts(reply, "550 5.6.7 The relay cannot take SMTPUTF8");
        return SMTP_REFUSED;
    }
    if (mail->eight_bit && !relay->offers_8bitmime) {
        text_puts(reply, "554 5.6.3 The relay cannot take 8BITMIME");
        return SMTP_REFUSED;
    }
    text_printf(&command, "MAIL FROM:<%s>", mail->from);
    if (mail->declared_bytes > 0 && relay->offers_size)
        text_printf(&command, " SIZE=%llu", (unsigned long long)mail->declared_bytes);
    text_puts(&command, mail->eight_bit ? " BODY=8BITMIME" : "");
    text_puts(&command, mail->utf8 ? " SMTPUTF8" : "");
    r = ask(relay, text_str(&command), &answer, NULL);
    return judge(r, &answer, 250, reply);
}

int relay_client_recipient(struct relay_client *relay, const char *address, struct text *reply)
{
    char command[SMTP_ADDRESS_MAX + 16];
    struct answer answer;
    int r;

    snprintf(command, sizeof(command), "RCPT TO:<%s>", address);
    r = ask(relay, command, &answer, NULL);
    if (r == 0 && answer.code == 251) /* will be forwarded (RFC 5321 section 3.4) */
        return SMTP_TAKEN;
    return judge(r, &answer, 250, reply);
}

int relay_client_begin(struct relay_client *relay, struct text *reply)
{
    struct answer answer;
    int r = judge(ask(relay, "DATA", &answer, NULL), &answer, 354, reply);

    relay->inside_message = r == SMTP_TAKEN;
    relay->at_line_start = true;
    relay->after_cr = false;
    return r;
}

int relay_client_write(struct relay_client *relay, struct span octets)
{
    while (octets.size > 0) {
        size_t lf = span_find(octets, '\n');
        struct span part = span_first(octets, lf < octets.size ? lf + 1 : lf);
        int r = 0;

        if (relay->at_line_start && part.data[0] == '.')
            r = put_out(relay, SPAN_LIT("."));
        if (r == 0)
            r = put_out(relay, part);
        if (r < 0)
            return r;
        /* A line ends in CR LF only; the CR may be the last octet of the piece before. */
        relay->at_line_start = part.data[part.size - 1] == '\n' &&
                               (part.size > 1 ? part.data[part.size - 2] == '\r' : relay->after_cr);
        relay->after_cr = part.data[part.size - 1] == '\r';
        octets = span_skip(octets, part.size);
    }
    return 0;
}

int relay_client_finish(struct relay_client *relay, struct text *reply)
{
    struct answer answer;
    int r = relay->at_line_start ? 0 : put_out(relay, SPAN_LIT("\r\n"));

    if (r == 0)
        r = ask(relay, ".", &answer, NULL);
    relay->inside_message = r < 0;
    return judge(r, &answer, 250, reply);
}

void relay_client_close(struct relay_client *relay)
{
    if (!relay)
        return;
    if (!relay->inside_message) {
        relay->out_size = 0;
        (void)!send(relay->fd, "QUIT\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(relay->fd);
    free(relay);
}
