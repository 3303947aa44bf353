/* One login and its replay, from random octets: the first octet chooses the protocol and where the
 * client's lines end, then come the client's lines, then the server's.
 *
 * Invariants: a login that is ready has a name of 1 to 255 octets without NUL, CR and LF; as many
 * lines were kept as challenges were given, and one; nothing is replayed but what the client said,
 * each line once and in its order, but for the name of LOGIN; nothing without a challenge of the
 * server, and nothing behind a reply that is none; a password is never the answer to a challenge
 * that asks for a name. Whole and byte by byte give the same. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/line.h"
#include "proxy/dialogue.h"
#include "proxy/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES_MAX 3

struct play {
    struct login *login;
    uint64_t hash; /* of all that came out */
    unsigned char said[LINES_MAX][AUTH_LINE_MAX];
    size_t said_size[LINES_MAX];
    unsigned count, challenges;
    bool login_mechanism, ready, over;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void note(struct play *play, struct span bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        play->hash = (play->hash ^ bytes.data[i]) * 1099511628211u; /* FNV-1a */
    play->hash = (play->hash ^ '|') * 1099511628211u;
}

static void check_name(struct span name)
{
    check(name.size >= 1 && name.size <= LOGIN_USER_MAX, "a name of no size, or too long");
    check(span_find(name, '\0') == name.size && span_find(name, '\r') == name.size &&
              span_find(name, '\n') == name.size,
          "a name with a control");
}

static void client_line(struct play *play, struct span line)
{
    char room[128];
    struct text reply = TEXT_OVER(room);
    struct span rest = line, mechanism;
    int verdict;

    if (play->count == 0) { /* what negotiate.c has checked */
        span_take_word(&rest);
        mechanism = span_take_word(&rest);
        play->over = !login_reads(mechanism);
        play->login_mechanism = span_equal_nocase(mechanism, SPAN_LIT("LOGIN"));
    }
    if (play->over)
        return;
    verdict = login_line(play->login, line, &reply);
    note(play, text_span(&reply));
    check(verdict > 0 && !reply.overflow, "no verdict");
    check((verdict == LOGIN_READY) == (reply.size == 0), "a reply too many, or none");
    check(span_find(text_span(&reply), '\n') == reply.size, "a reply of two lines");
    check((verdict == LOGIN_READY) == login_ready(play->login), "ready or not");
    if (verdict == LOGIN_MORE || verdict == LOGIN_READY) {
        check(play->count < LINES_MAX, "a login without an end");
        if (line.size > 0)
            memcpy(play->said[play->count], line.data, line.size);
        play->said_size[play->count++] = line.size;
    }
    play->challenges += verdict == LOGIN_MORE;
    play->ready = verdict == LOGIN_READY;
    play->over = verdict != LOGIN_MORE;
    if (!play->ready)
        return;
    check(play->count == play->challenges + 1, "a challenge without a line, or a line without one");
    check_name(login_user(play->login));
    note(play, login_user(play->login));
}

static bool is_said(const struct play *play, unsigned number, struct span line)
{
    return line.size == play->said_size[number] + 2 &&
           memcmp(line.data, play->said[number], line.size - 2) == 0 &&
           memcmp(line.data + line.size - 2, "\r\n", 2) == 0;
}

/* Plays the server's lines as they stand: a line of its own is a challenge only where it begins as
 * one. */
static void server_lines(struct play *play, struct span rest, bool pop3)
{
    unsigned next = 1;
    bool named = false;

    check(is_said(play, 0, login_command(play->login)), "another command");
    while (rest.size > 0) {
        size_t end = span_find(rest, '\n');
        struct span line = span_first(rest, end < rest.size ? end + 1 : end), answer;

        rest = span_skip(rest, line.size);
        if (!login_answers(play->login, line)) {
            check(login_next(play->login).size == 0, "an answer to what is no challenge");
            return;
        }
        check(pop3 ? line.data[0] == '+' || line.data[0] == ' ' || line.data[0] == '\t'
                   : span_find(line, '3') < line.size,
              "a challenge that is none");
        answer = login_next(play->login);
        note(play, answer);
        /* A password may be the same as the name. */
        if (next < play->count && is_said(play, next, answer) &&
            login_replayed(play->login) == (next + 1 == play->count)) {
            next++;
        } else {
            check(play->login_mechanism && !named && next == 1 && play->count == 2,
                  "a line that was not said");
            named = true;
        }
        check(login_next(play->login).size == 0, "two answers to one challenge");
        check(login_replayed(play->login) == (next == play->count), "replayed or not");
    }
}

static uint64_t play_all(bool pop3, struct span client, struct span server, size_t piece)
{
    static struct play play;
    struct line cut;

    memset(&play, 0, sizeof(play));
    play.hash = 14695981039346656037u;
    play.login = login_new(pop3 ? PROTOCOL_POP3 : PROTOCOL_SMTP);
    check(play.login != NULL, "no memory");
    line_init(&cut, pop3 ? LINE_LENIENT : LINE_STRICT, AUTH_LINE_MAX);
    while (client.size > 0 && !play.over) {
        struct span in = span_first(client, piece), line;
        int result;

        client = span_skip(client, in.size);
        while (!play.over && (result = line_next(&cut, &in, &line)) != LINE_MORE) {
            if (result == LINE_READY)
                client_line(&play, line);
            else
                play.over = true; /* negotiate.c drops the login */
        }
    }
    if (play.ready)
        server_lines(&play, server, pop3);
    line_reset(&cut);
    login_free(play.login);
    return play.hash;
}

/* "client lines" 0x01 "server lines" */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span client, server;
    uint64_t whole;

    if (size < 2)
        return 0;
    client = span_of(data + 1, size - 1);
    server = span_skip(client, span_find(client, 1) + 1);
    client = span_first(client, span_find(client, 1));
    whole = play_all(data[0] & 1, client, server, SIZE_MAX);
    check(play_all(data[0] & 1, client, server, 1) == whole, "byte by byte is not the same");
    check(play_all(data[0] & 1, client, server, 7) == whole, "in pieces is not the same");
    return 0;
}
