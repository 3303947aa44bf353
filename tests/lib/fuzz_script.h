/* What both fuzz targets of the inspectors do with their input. It begins with three octets: what
 * is tried ('S': a script, 'M': a client's octets in front of a server that behaves), how the
 * session starts (bits), and a seed for what the server answers. In a script, octet 1 begins what
 * the client says, octet 2 what the server says. */
#ifndef GATEPOST_TESTS_FUZZ_SCRIPT_H
#define GATEPOST_TESTS_FUZZ_SCRIPT_H

#include "tests/lib/inspect_drive.h"

struct fuzz_case {
    bool pop3;
    struct dialogue_rule rule;
    struct inspect_start start;
    uint8_t seed;
    struct span rest;
    /* A server that behaves: takes what has come off `in`, writes its replies. `state` is its own,
     * zeroed at first. */
    void (*serve)(const struct fuzz_case *fuzz, void *state, struct span *in,
                  struct bytes *replies);
    size_t state_size;
};

static inline void fuzz_check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static inline bool fuzz_begin(struct fuzz_case *fuzz, bool pop3, const uint8_t *data, size_t size)
{
    uint8_t bits;

    if (size < 3)
        return false;
    bits = data[1];
    memset(fuzz, 0, sizeof(*fuzz));
    fuzz->pop3 = pop3;
    fuzz->seed = data[2];
    fuzz->rest = span_of(data + 3, size - 3);
    fuzz->rule = (struct dialogue_rule){
        .protocol = pop3 ? PROTOCOL_POP3 : PROTOCOL_SMTP,
        .hostname = "gate.example",
        .tls_available = bits & 1,
        .require_tls = bits & 2 ? REQUIRE_TLS_AUTH : REQUIRE_TLS_NO,
        .require_auth = bits & 4,
        .apop = bits & 4,
        .reads_login = bits & 128,
        .bare_newline = bits & 8 ? BARE_NEWLINE_REJECT : BARE_NEWLINE_NORMALIZE,
        .max_errors = 10,
        .implicit_port = 995,
        .starttls_port = 110,
    };
    fuzz->start = (struct inspect_start){
        .rule = &fuzz->rule,
        .said_hello = true,
        .tls = bits & 16,
        .pipelining = bits & 32,
        .chunking = bits & 64,
    };
    return true;
}

static inline void fuzz_play_script(const struct fuzz_case *fuzz, struct drive *drive)
{
    struct span rest = fuzz->rest;

    while (rest.size > 0) {
        unsigned char side = rest.data[0];
        size_t size = 0;
        struct span said;

        rest = span_skip(rest, side == 1 || side == 2 ? 1 : 0);
        while (size < rest.size && rest.data[size] != 1 && rest.data[size] != 2)
            size++;
        said = span_first(rest, size);
        rest = span_skip(rest, size);
        (side == 2 ? drive_server : drive_client)(drive, said);
    }
}

/* A server that behaves never breaks the rules, whatever the client says, and when it has answered
 * all, nothing is outstanding. */
static inline void fuzz_play_model(const struct fuzz_case *fuzz, struct drive *drive)
{
    struct bytes replies = { 0 };
    size_t served = 0;
    void *state = calloc(1, fuzz->state_size);

    fuzz_check(state != NULL, "memory");
    drive_client(drive, fuzz->rest);
    while (!drive->end && served < drive->to_server.size) {
        struct span in = span_skip(bytes_span(&drive->to_server), served);
        size_t before = in.size;

        replies.size = 0;
        fuzz->serve(fuzz, state, &in, &replies);
        served += before - in.size;
        if (replies.size == 0)
            break; /* half a message */
        drive_server(drive, bytes_span(&replies));
    }
    if (drive_facts(drive)->violation)
        fuzz_check(strncmp(drive_facts(drive)->violation, "the server", 10) != 0,
                   "the server is innocent");
    free(replies.data);
    free(state);
}

static inline void fuzz_play(const struct fuzz_case *fuzz, bool script, size_t step,
                             struct drive *drive)
{
    drive_start(drive, fuzz->pop3, &fuzz->start, step);
    if (fuzz->rule.reads_login)
        drive_hand_back(drive);
    if (script)
        fuzz_play_script(fuzz, drive);
    else
        fuzz_play_model(fuzz, drive);
}

static inline void fuzz_compare(const struct drive *a, const struct drive *b)
{
    const struct inspect_facts *x = drive_facts(a), *y = drive_facts(b);

    fuzz_check(span_equal(bytes_span(&a->to_server), bytes_span(&b->to_server)),
               "the server gets the same");
    fuzz_check(span_equal(bytes_span(&a->to_client), bytes_span(&b->to_client)),
               "the client gets the same");
    fuzz_check(a->end == b->end, "it ends the same");
    fuzz_check(strcmp(x->login, y->login) == 0 && x->logins_failed == y->logins_failed &&
                   x->messages == y->messages && x->quit == y->quit && x->errors == y->errors &&
                   x->bare_newlines == y->bare_newlines && x->violation == y->violation,
               "the facts are the same");
    fuzz_check((a->waiting.size > 0) == (b->waiting.size > 0), "it waits the same");
    if (!a->end && a->waiting.size == 0) /* a session asks only where nothing waits */
        fuzz_check(drive_phase(a) == drive_phase(b) && drive_client_end(a) == drive_client_end(b),
                   "it stands the same");
}

/* A line of a server's input that ends in CRLF, or false. */
static inline bool model_line(struct span *in, struct span *ret_line)
{
    size_t end = span_search(*in, SPAN_LIT("\r\n"));

    if (end == in->size)
        return false;
    *ret_line = span_first(*in, end);
    *in = span_skip(*in, end + 2);
    return true;
}

static inline void model_say(struct bytes *replies, const char *text)
{
    bytes_add(replies, span_of_text(text));
}

#endif
