/* Conversations in tables for the unit tests of both inspectors. A row is played whole, one octet
 * at a time, and in pieces of three, and must give the same every time. */
#ifndef GATEPOST_TESTS_INSPECT_TALK_H
#define GATEPOST_TESTS_INSPECT_TALK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/lib/inspect_drive.h"

#define TALK_STEPS_MAX 14

struct talk_step {
    char side; /* 'C' or 'S': who speaks */
    struct span said;
    struct span to_server, to_client; /* all that has to come out of it */
};

#define T(text)                                                                                    \
    {                                                                                              \
        (const unsigned char *)("" text), sizeof("" text) - 1,                                     \
    }
/* What one side says reaches the other as it is. */
#define C(text)                                                                                    \
    {                                                                                              \
        'C', T(text), T(text), T("")                                                               \
    }
#define S(text)                                                                                    \
    {                                                                                              \
        'S', T(text), T(""), T(text)                                                               \
    }
/* What one side says has other effects: what reaches the server, what reaches the client. */
#define CX(text, to_server, to_client)                                                             \
    {                                                                                              \
        'C', T(text), T(to_server), T(to_client)                                                   \
    }
#define SX(text, to_server, to_client)                                                             \
    {                                                                                              \
        'S', T(text), T(to_server), T(to_client)                                                   \
    }

struct talk {
    const char *name;
    struct talk_step steps[TALK_STEPS_MAX];
    /* how the session starts; what is 0 is the usual */
    bool tls, no_tls, no_hello, no_pipelining, no_chunking, require_auth, apop, no_other_ports;
    bool hands_back; /* logins, behind the first step */
    enum require_tls require_tls;
    enum bare_newline bare_newline;
    unsigned max_errors, errors_before;
    uint64_t size_limit;
    const char *user;
    /* how it stands at the end */
    int end;                  /* INSPECT_TLS, INSPECT_HAND_BACK or INSPECT_CLOSE; 0: it goes on */
    enum inspect_phase phase; /* looked at where it goes on */
    enum inspect_end client_end; /* the same */
    bool waits;                  /* the client must not be read */
    bool secret;
    const char *login; /* NULL: none */
    unsigned failed, messages, errors;
    bool quit, bare;
    bool violation; /* there are words why it ended */
    bool in_clear;  /* a login was refused for want of TLS */
};

static inline void talk_expect(const struct talk *talk, unsigned step, const char *what,
                               struct bytes *got, struct span expected)
{
    if (!span_equal(bytes_span(got), expected))
        fail_msg("%s, step %u: %s\n%.*s--- but it is\n%.*s---", talk->name, step + 1, what,
                 (int)expected.size, (const char *)expected.data, (int)got->size,
                 (const char *)got->data);
    got->size = 0;
}

static inline void talk_number(const struct talk *talk, const char *what, long got, long expected)
{
    if (got != expected)
        fail_msg("%s: %s is %ld, but %ld was expected", talk->name, what, got, expected);
}

static inline void talk_end(const struct talk *talk, const struct drive *drive)
{
    const struct inspect_facts *facts = drive_facts(drive);

    talk_number(talk, "end", drive->end, talk->end);
    talk_number(talk, "errors", facts->errors, talk->errors + talk->errors_before);
    talk_number(talk, "logins_failed", facts->logins_failed, talk->failed);
    talk_number(talk, "messages", facts->messages, talk->messages);
    talk_number(talk, "login_in_clear", facts->login_in_clear, talk->in_clear);
    talk_number(talk, "quit", facts->quit, talk->quit);
    talk_number(talk, "bare_newlines", facts->bare_newlines, talk->bare);
    talk_number(talk, "violation", facts->violation != NULL, talk->violation);
    if (strcmp(facts->login, talk->login ? talk->login : "") != 0)
        fail_msg("%s: login is \"%s\"", talk->name, facts->login);
    if (talk->end)
        return;
    talk_number(talk, "phase", drive_phase(drive), talk->phase);
    talk_number(talk, "client_end", drive_client_end(drive), talk->client_end);
    talk_number(talk, "waits", drive->waits, talk->waits);
    talk_number(talk, "secret", drive_secret(drive), talk->secret);
}

static inline void talk_play(const struct talk *talk, bool pop3, size_t step_size)
{
    struct dialogue_rule rule = {
        .protocol = pop3 ? PROTOCOL_POP3 : PROTOCOL_SMTP,
        .hostname = "gate.example",
        .tls_available = !talk->no_tls,
        .require_tls = talk->require_tls,
        .require_auth = talk->require_auth,
        .apop = talk->apop,
        .bare_newline = talk->bare_newline,
        .max_errors = talk->max_errors ? talk->max_errors : 10,
        .size_limit = talk->size_limit,
        .implicit_port = talk->no_other_ports ? 0 : 995,
        .starttls_port = talk->no_other_ports ? 0 : 110,
    };
    struct inspect_start start = {
        .rule = &rule,
        .tls = talk->tls,
        .errors = (uint8_t)talk->errors_before,
        .said_hello = !talk->no_hello,
        .pipelining = !talk->no_pipelining,
        .chunking = !talk->no_chunking,
        .user = span_of_text(talk->user ? talk->user : ""),
    };
    struct drive drive;

    drive_start(&drive, pop3, &start, step_size);
    for (unsigned i = 0; i < TALK_STEPS_MAX && talk->steps[i].side; i++) {
        const struct talk_step *step = &talk->steps[i];

        if (i == 1 && talk->hands_back)
            drive_hand_back(&drive);
        (step->side == 'C' ? drive_client : drive_server)(&drive, step->said);
        talk_expect(talk, i, "the server should get", &drive.to_server, step->to_server);
        talk_expect(talk, i, "the client should get", &drive.to_client, step->to_client);
    }
    talk_end(talk, &drive);
    drive_stop(&drive);
}

static inline void talk_play_all(const struct talk *talks, size_t count, bool pop3)
{
    for (size_t i = 0; i < count; i++) {
        talk_play(&talks[i], pop3, SIZE_MAX);
        talk_play(&talks[i], pop3, 1);
        talk_play(&talks[i], pop3, 3);
    }
}

#define PLAY(table, pop3) talk_play_all(table, sizeof(table) / sizeof((table)[0]), pop3)

#endif
