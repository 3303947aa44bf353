/* Reads one SASL login of a client and keeps it for the replay; see login.h.
 *
 * Happy path: the AUTH command says the mechanism and may bring the first answer; every answer that
 * is still missing is asked for by a challenge of ours; the answer that names the user is decoded,
 * the name kept, the rest wiped at once. In the replay each challenge of the server takes the next
 * line that was kept.
 *
 * Failures: what is no base64 or names nobody is refused in words; a server that asks for other
 * things than the client was asked for gets nothing. */
#include "proxy/login.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/sasl_plain.h"
#include "proxy/dialogue.h"

#define LINES_MAX   3                       /* AUTH LOGIN, the name, the password */
#define DECODED_MAX (AUTH_LINE_MAX / 4 * 3) /* octets of the longest answer, decoded */

struct kept {
    unsigned char *data; /* with CRLF; NULL: none */
    size_t size;
};

struct login {
    enum port_protocol protocol;
    bool plain; /* PLAIN: one answer; else LOGIN: two */
    bool ready;
    bool due;         /* in the replay: a challenge of the server waits for login_next() */
    bool name_due;    /* it asks for the name that AUTH LOGIN brought, ... */
    bool name_given;  /* ... which is given once more, and no more */
    uint8_t answers;  /* that have come */
    uint8_t count;    /* of lines */
    uint8_t replayed; /* lines behind the first that were given back */
    struct kept lines[LINES_MAX];
    struct kept name; /* LOGIN: the name where AUTH brought it, as an answer of its own */
    unsigned char user[LOGIN_USER_MAX];
    uint8_t user_size;
};

bool login_reads(struct span mechanism)
{
    return span_equal_nocase(mechanism, SPAN_LIT("PLAIN")) ||
           span_equal_nocase(mechanism, SPAN_LIT("LOGIN"));
}

struct login *login_new(enum port_protocol protocol)
{
    struct login *login = calloc(1, sizeof(*login));

    if (login)
        login->protocol = protocol;
    return login;
}

static void drop(struct kept *kept)
{
    if (kept->data)
        explicit_bzero(kept->data, kept->size);
    free(kept->data);
    *kept = (struct kept){ NULL, 0 };
}

void login_free(struct login *login)
{
    if (!login)
        return;
    for (size_t i = 0; i < LINES_MAX; i++)
        drop(&login->lines[i]);
    drop(&login->name);
    explicit_bzero(login, sizeof(*login));
    free(login);
}

static int keep(struct kept *kept, struct span line)
{
    kept->data = malloc(line.size + 2);
    if (!kept->data)
        return -ENOMEM;
    if (line.size > 0)
        memcpy(kept->data, line.data, line.size);
    memcpy(kept->data + line.size, "\r\n", 2);
    kept->size = line.size + 2;
    return 0;
}

static struct span kept_span(const struct kept *kept)
{
    return span_of(kept->data, kept->size);
}

static bool keep_user(struct login *login, struct span name)
{
    if (name.size == 0 || name.size > LOGIN_USER_MAX || span_find(name, '\0') < name.size ||
        span_find(name, '\r') < name.size || span_find(name, '\n') < name.size)
        return false;
    memcpy(login->user, name.data, name.size);
    login->user_size = (uint8_t)name.size;
    return true;
}

/* For whom somebody would act is the server's to judge. */
static bool read_plain(struct login *login, struct span clear)
{
    struct sasl_plain plain;

    return sasl_plain_parse(clear, &plain) && keep_user(login, plain.authcid);
}

/* One answer, in base64. False: it is none, or names nobody. */
static bool read_answer(struct login *login, struct span answer)
{
    unsigned char clear[DECODED_MAX];
    long size = base64_decode(answer, clear, sizeof(clear));
    bool good = size >= 0;

    if (good && login->plain)
        good = read_plain(login, span_of(clear, (size_t)size));
    else if (good && login->answers == 0)
        good = keep_user(login, span_of(clear, (size_t)size));
    explicit_bzero(clear, sizeof(clear));
    login->answers++;
    return good;
}

/* The AUTH command itself. False: it brought an answer that cannot be read. */
static int read_command(struct login *login, struct span line)
{
    struct span rest = line, initial;
    int r;

    span_take_word(&rest); /* AUTH */
    login->plain = span_equal_nocase(span_take_word(&rest), SPAN_LIT("PLAIN"));
    initial = span_trim(rest);
    if (initial.size == 0)
        return 0;
    if (!login->plain) {
        r = keep(&login->name, initial);
        if (r < 0)
            return r;
    }
    if (span_equal(initial, SPAN_LIT("="))) /* empty; RFC 4954 section 4, RFC 5034 section 4 */
        initial.size = 0;
    return read_answer(login, initial) ? 0 : LOGIN_BAD;
}

static const char *challenge(const struct login *login)
{
    bool smtp = login->protocol == PROTOCOL_SMTP;

    if (login->plain)
        return smtp ? "334 " : "+ ";
    if (login->answers == 0)
        return smtp ? "334 VXNlcm5hbWU6" : "+ VXNlcm5hbWU6"; /* "Username:" */
    return smtp ? "334 UGFzc3dvcmQ6" : "+ UGFzc3dvcmQ6";     /* "Password:" */
}

static int say(const struct login *login, int verdict, struct text *reply)
{
    bool smtp = login->protocol == PROTOCOL_SMTP;

    if (verdict == LOGIN_MORE)
        text_puts(reply, challenge(login));
    else if (verdict == LOGIN_CANCELLED)
        text_puts(reply,
                  smtp ? "501 5.7.0 The login was cancelled" : "-ERR The login was cancelled");
    else
        text_puts(reply,
                  smtp ? "501 5.5.2 The login cannot be read" : "-ERR The login cannot be read");
    return verdict;
}

int login_line(struct login *login, struct span line, struct text *reply)
{
    int r;

    if (login->count > 0 && span_equal(line, SPAN_LIT("*")))
        return say(login, LOGIN_CANCELLED, reply);
    r = keep(&login->lines[login->count], line);
    if (r < 0)
        return r;
    if (login->count++ == 0)
        r = read_command(login, line);
    else
        r = read_answer(login, line) ? 0 : LOGIN_BAD;
    if (r < 0)
        return r;
    if (r > 0)
        return say(login, r, reply);
    login->ready = login->answers == (login->plain ? 1 : 2);
    return login->ready ? LOGIN_READY : say(login, LOGIN_MORE, reply);
}

bool login_ready(const struct login *login)
{
    return login->ready;
}

struct span login_user(const struct login *login)
{
    return span_of(login->user, login->user_size);
}

/* Replay */

struct span login_command(const struct login *login)
{
    return kept_span(&login->lines[0]);
}

/* Takes "334 " or "+ " off the line. False: it is no challenge. RFC 4954 section 4, RFC 5034
 * section 4. */
static bool take_challenge(const struct login *login, struct span *line)
{
    struct span word = span_take_word(line);

    return span_equal(word, login->protocol == PROTOCOL_SMTP ? SPAN_LIT("334") : SPAN_LIT("+"));
}

/* Does this challenge of LOGIN ask for the name? Then a password in its place would be taken for
 * one, and logged. */
static bool asks_for_name(struct span challenge)
{
    unsigned char room[64];
    long size = base64_decode(span_trim(challenge), room, sizeof(room));
    struct span clear = span_of(room, size > 0 ? (size_t)size : 0);

    if (!span_starts_nocase(clear, SPAN_LIT("user")))
        return false;
    for (; clear.size > 0; clear = span_skip(clear, 1))
        if (span_starts_nocase(clear, SPAN_LIT("pass")))
            return false;
    return true;
}

bool login_answers(struct login *login, struct span reply)
{
    struct span text = span_first(reply, span_find(reply, '\n'));
    bool password_next;

    text = span_first(text, span_find(text, '\r'));
    if (login_replayed(login) || !take_challenge(login, &text))
        return false;
    password_next = !login->plain && login->replayed + 2 == login->count;
    if (!password_next || !asks_for_name(text)) {
        login->due = true;
        return true;
    }
    /* A server that does not look at what AUTH LOGIN brings asks for it. */
    if (!login->name.data || login->name_given)
        return false;
    login->due = login->name_due = login->name_given = true;
    return true;
}

struct span login_next(struct login *login)
{
    if (!login->due)
        return span_of(NULL, 0);
    login->due = false;
    if (login->name_due) {
        login->name_due = false;
        return kept_span(&login->name);
    }
    return kept_span(&login->lines[++login->replayed]);
}

bool login_replayed(const struct login *login)
{
    return login->replayed + 1 >= login->count;
}
