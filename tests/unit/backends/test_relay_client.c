/* The relay client against a relay that answers by a list, over a real UNIX or TCP socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/relay_client.h"

#define MODERN  "250-relay\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
#define MESSAGE "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n"

/* ---- the relay ---- */

/* Answers each line that comes with the next of `answers`; NULL closes. Behind 354 a line is "." or
 * message. Writes all that it got to `transcript`. */
static void serve(int fd, const char *const *answers, int transcript)
{
    FILE *in = fdopen(fd, "r");
    char line[4096];
    bool message = false;

    dprintf(fd, "%s", *answers++);
    while (*answers && fgets(line, sizeof(line), in)) {
        dprintf(transcript, "%s", line);
        if (message && strcmp(line, ".\r\n") != 0)
            continue;
        message = strncmp(*answers, "354", 3) == 0;
        dprintf(fd, "%s", *answers++);
    }
    if (!*answers) /* the client goes on or not: what it says now is in the transcript too */
        shutdown(fd, SHUT_WR);
    while (fgets(line, sizeof(line), in))
        dprintf(transcript, "%s", line);
    fclose(in);
}

struct relay {
    char folder[64], address[128], path[100];
    int transcript;
    pid_t pid;
};

static int listen_on(struct relay *relay, bool tcp)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof(in);
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", relay->path);
    assert_int_equal(tcp ? bind(fd, (struct sockaddr *)&in, sizeof(in))
                         : bind(fd, (struct sockaddr *)&un, sizeof(un)),
                     0);
    assert_int_equal(listen(fd, 1), 0);
    snprintf(relay->address, sizeof(relay->address), "unix:%s", relay->path);
    if (tcp) {
        assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
        snprintf(relay->address, sizeof(relay->address), "localhost:%u", ntohs(in.sin_port));
    }
    return fd;
}

static void relay_start(struct relay *relay, const char *const *answers, bool tcp)
{
    int ends[2], fd;

    strcpy(relay->folder, "/tmp/test-relay-XXXXXX");
    assert_non_null(mkdtemp(relay->folder));
    snprintf(relay->path, sizeof(relay->path), "%s/s", relay->folder);
    fd = listen_on(relay, tcp);
    assert_int_equal(pipe(ends), 0);
    relay->pid = fork();
    if (relay->pid == 0) {
        close(ends[0]);
        serve(accept(fd, NULL, NULL), answers, ends[1]);
        _exit(0);
    }
    close(fd);
    close(ends[1]);
    relay->transcript = ends[0];
}

/* Ends it, and gives what it heard. */
static void relay_stop(struct relay *relay, char *heard, size_t room)
{
    size_t size = 0;
    ssize_t n;

    while ((n = read(relay->transcript, heard + size, room - 1 - size)) > 0)
        size += (size_t)n;
    heard[size] = '\0';
    close(relay->transcript);
    waitpid(relay->pid, NULL, 0);
    unlink(relay->path);
    rmdir(relay->folder);
}

/* ---- one transaction ---- */

struct row {
    const char *name;
    const char *answers[10]; /* greeting, then one for each line */
    bool tcp, utf8, eight_bit, abandon;
    uint64_t declared_bytes;
    const char *outcome; /* the step that was not SMTP_TAKEN and the reply, or "taken" */
    const char *heard;
};

static int write_in_pieces(struct relay_client *client, struct span message, size_t piece)
{
    int r = 0;

    while (message.size > 0 && r == 0) {
        r = relay_client_write(client, span_first(message, piece));
        message = span_skip(message, piece);
    }
    return r;
}

static const char *step_name(int step)
{
    static const char *const names[] = { "mail", "rcpt", "data", "message", "end" };

    return names[step];
}

static int take_step(int step, struct relay_client *client, const struct smtp_transaction *mail,
                     size_t piece, struct text *reply)
{
    switch (step) {
    case 0:
        return relay_client_mail(client, mail, reply);
    case 1:
        return relay_client_recipient(client, "x@y.z", reply);
    case 2:
        return relay_client_begin(client, reply);
    case 3:
        return write_in_pieces(client, SPAN_LIT(MESSAGE), piece) == 0 ? SMTP_TAKEN : -EPIPE;
    default:
        return relay_client_finish(client, reply);
    }
}

static void transact(const struct row *row, const char *address, size_t piece, struct text *outcome)
{
    struct smtp_transaction mail = { .from = "b@c.d",
                                     .utf8 = row->utf8,
                                     .eight_bit = row->eight_bit,
                                     .declared_bytes = row->declared_bytes };
    struct relay_client *client;
    int r = relay_client_open(address, "mail.example.org", 10000, &client);

    if (r < 0) {
        text_printf(outcome, "open error");
        return;
    }
    r = SMTP_TAKEN;
    for (int step = 0; step < (row->abandon ? 4 : 5) && r == SMTP_TAKEN; step++) {
        char room[SMTP_REPLY_MAX];
        struct text reply = TEXT_OVER(room);

        r = take_step(step, client, &mail, piece, &reply);
        if (r == SMTP_REFUSED)
            text_printf(outcome, "%s %s", step_name(step), text_str(&reply));
        else if (r < 0)
            text_printf(outcome, "%s error", step_name(step));
    }
    if (r == SMTP_TAKEN)
        text_puts(outcome, "taken");
    relay_client_close(client);
}

static void play(const struct row *row, size_t piece)
{
    struct relay relay;
    char heard[8192], room[1024];
    struct text outcome = TEXT_OVER(room);

    relay_start(&relay, row->answers, row->tcp);
    transact(row, relay.address, piece, &outcome);
    relay_stop(&relay, heard, sizeof(heard));
    if (strcmp(text_str(&outcome), row->outcome) != 0 ||
        (row->heard && strcmp(heard, row->heard) != 0))
        fail_msg("%s (pieces of %zu): %s\n%s", row->name, piece, text_str(&outcome), heard);
}

#define OK      "250 ok\r\n"
#define E       "EHLO mail.example.org\r\n"
#define M       "MAIL FROM:<b@c.d>\r\n"
#define R       "RCPT TO:<x@y.z>\r\n"
#define D       "DATA\r\n"
#define STUFFED "Subject: x\r\n\r\n..dot\r\n...\r\nend\r\n"
#define Q       "QUIT\r\n"

static void a_transaction_is_handed_on_or_refused(void **state)
{
    static const struct row rows[] = {
        { .name = "all well",
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n", OK, OK },
          .outcome = "taken",
          .heard = E M R D STUFFED ".\r\n" Q },
        { .name = "over TCP",
          .tcp = true,
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n", OK, OK },
          .outcome = "taken",
          .heard = E M R D STUFFED ".\r\n" Q },
        { .name = "parameters",
          .utf8 = true,
          .eight_bit = true,
          .declared_bytes = 7,
          .answers = { "220-a\r\n220 b\r\n", MODERN, OK, "251 forwards\r\n", "354 go\r\n", OK, OK },
          .outcome = "taken",
          .heard = E "MAIL FROM:<b@c.d> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n" R D STUFFED ".\r\n" Q },
        { .name = "a relay from before EHLO",
          .declared_bytes = 7,
          .answers = { "220 x\r\n", "502 what\r\n", OK, OK, OK, "354 go\r\n", OK, OK },
          .outcome = "taken",
          .heard = E "HELO mail.example.org\r\n" M R D STUFFED ".\r\n" Q },
        { .name = "no SMTPUTF8",
          .utf8 = true,
          .answers = { "220 x\r\n", OK, OK },
          .outcome = "mail 550 5.6.7 The relay cannot take SMTPUTF8",
          .heard = E Q },
        { .name = "no 8BITMIME",
          .eight_bit = true,
          .answers = { "220 x\r\n", OK, OK },
          .outcome = "mail 554 5.6.3 The relay cannot take 8BITMIME",
          .heard = E Q },
        { .name = "MAIL refused",
          .answers = { "220 x\r\n", MODERN, "552 5.3.4 too big\r\n", OK },
          .outcome = "mail 552 5.3.4 too big",
          .heard = E M Q },
        { .name = "RCPT refused without an enhanced code",
          .answers = { "220 x\r\n", MODERN, OK, "550-no\r\n550 such\x1b user\r\n", OK },
          .outcome = "rcpt 550 5.0.0 such? user",
          .heard = E M R Q },
        { .name = "an enhanced code of another class is none",
          .answers = { "220 x\r\n", MODERN, OK, "450 5.1.1 later\r\n", OK },
          .outcome = "rcpt 450 4.0.0 5.1.1 later" },
        { .name = "421 is not passed on",
          .answers = { "220 x\r\n", MODERN, OK, "421 bye\r\n" },
          .outcome = "rcpt 451 4.4.2 The relay broke off, try later" },
        { .name = "DATA refused",
          .answers = { "220 x\r\n", MODERN, OK, OK, "554 no\r\n", OK },
          .outcome = "data 554 5.0.0 no",
          .heard = E M R D Q },
        { .name = "250 to DATA is no 354",
          .answers = { "220 x\r\n", MODERN, OK, OK, OK, OK },
          .outcome = "data 451 4.4.2 The relay broke off, try later" },
        { .name = "the message refused",
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n", "554 5.7.1 spam\r\n", OK },
          .outcome = "end 554 5.7.1 spam",
          .heard = E M R D STUFFED ".\r\n" Q },
        { .name = "354 at the end is no 250",
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n", "354 what\r\n", OK },
          .outcome = "end 451 4.4.2 The relay broke off, try later" },
        { .name = "p4_closed instead of the last reply",
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n" },
          .outcome = "end error" },
        { .name = "p3_abandoned: neither a final dot nor QUIT",
          .abandon = true,
          .answers = { "220 x\r\n", MODERN, OK, OK, "354 go\r\n", OK, OK },
          .outcome = "taken",
          .heard = E M R D },
        { .name = "closed at RCPT",
          .answers = { "220 x\r\n", MODERN, OK },
          .outcome = "rcpt error" },
        { .name = "a greeting that refuses",
          .answers = { "554 no\r\n", OK },
          .outcome = "open error",
          .heard = "" },
        { .name = "garbage for a greeting",
          .answers = { "hello\r\n", OK },
          .outcome = "open error" },
        { .name = "EHLO refused for now",
          .answers = { "220 x\r\n", "421 later\r\n" },
          .outcome = "open error",
          .heard = E },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        play(&rows[i], SIZE_MAX);
        play(&rows[i], 1);
    }
}

static void a_reply_without_end_is_no_reply(void **state)
{
    static char greeting[4000], lines[120 * 9 + 1];
    struct row row = { .name = "2,048 octets and more",
                       .answers = { greeting, OK },
                       .outcome = "open error" };

    (void)state;
    snprintf(greeting, sizeof(greeting), "220 %03000d\r\n", 0);
    play(&row, 1);
    for (int i = 0; i < 120; i++)
        strcat(lines, "250-more\r");
    for (int i = 0; i < 120; i++)
        lines[9 * i + 8] = '\n';
    row = (struct row){ .name = "more than 100 lines",
                        .answers = { "220 x\r\n", lines, OK },
                        .outcome = "open error" };
    play(&row, 1);
}

static void nobody_there_is_an_error(void **state)
{
    static const char *const addresses[] = {
        "unix:/nonexistent/socket", "unix:",   "localhost", "localhost:", ":25",
        "localhost:smtp",           "[::1:25", "::1:25",    "127.0.0.1:1"
    };
    struct relay_client *client = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        assert_true(relay_client_open(addresses[i], "h", 1000, &client) < 0);
    assert_null(client);
    relay_client_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_is_handed_on_or_refused),
        cmocka_unit_test(a_reply_without_end_is_no_reply),
        cmocka_unit_test(nobody_there_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
