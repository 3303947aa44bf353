/* The POP3 inspector: whole and cut input give the same; nothing bare reaches the server; a server
 * that behaves is never accused, whatever its bodies hold. */
#include "tests/lib/fuzz_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    bool in_auth;
    unsigned counter;
};

static unsigned choose(const struct fuzz_case *fuzz, struct model *model, unsigned count)
{
    return (fuzz->seed * 31u + model->counter++ * 7u + fuzz->seed / 16u) % count;
}

/* +OK with a body, or a refusal. Lines that begin with a dot are stuffed, lines end in CRLF; what
 * looks like an end by bare newlines is content. */
static void serve_body(const struct fuzz_case *fuzz, struct model *model, struct bytes *replies)
{
    static const char *const bodies[] = { "",
                                          "a\r\n",
                                          "..\r\n",
                                          "-ERR\r\n+OK\r\n",
                                          "a\n.\nb\r\n",
                                          "\n.\r\nb\r\n",
                                          "a\r.\r\r\n",
                                          "\r\n\r\n",
                                          "..\r\r\n.a\r\n",
                                          "\n\r\n" };

    if (choose(fuzz, model, 5) == 0) {
        model_say(replies, "-ERR no\r\n");
        return;
    }
    model_say(replies, "+OK\r\n");
    for (unsigned lines = choose(fuzz, model, 4); lines > 0; lines--)
        model_say(replies, bodies[choose(fuzz, model, 10)]);
    model_say(replies, ".\r\n");
}

static void serve_auth(const struct fuzz_case *fuzz, struct model *model, struct bytes *replies)
{
    unsigned choice = choose(fuzz, model, 3);

    model->in_auth = choice == 0;
    model_say(replies, choice == 0 ? "+ \r\n" : choice == 1 ? "+OK in\r\n" : "-ERR no\r\n");
}

static bool has_body(struct span verb, bool argument)
{
    static const char *const always[] = { "RETR", "TOP" };
    static const char *const alone[] = { "LIST", "UIDL", "LANG" };

    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        if (span_equal_nocase(verb, span_of_text(always[i])))
            return true;
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        if (!argument && span_equal_nocase(verb, span_of_text(alone[i])))
            return true;
    return false;
}

static void serve_line(const struct fuzz_case *fuzz, struct model *model, struct span line,
                       struct bytes *replies)
{
    struct span rest = line, verb = span_take_word(&rest);
    bool auth = span_equal_nocase(verb, SPAN_LIT("AUTH"));

    if (model->in_auth || (auth && rest.size > 0))
        serve_auth(fuzz, model, replies);
    else if (auth)
        model_say(replies, "+OK\r\nPLAIN\r\nNTLM\r\n.\r\n");
    else if (span_equal_nocase(verb, SPAN_LIT("CAPA")))
        model_say(replies,
                  choose(fuzz, model, 3) ? "+OK\r\nTOP\r\nSTLS\r\nX-Y z\r\n.\r\n" : "-ERR\r\n");
    else if (has_body(verb, rest.size > 0))
        serve_body(fuzz, model, replies);
    else
        model_say(replies, choose(fuzz, model, 4) ? "+OK 1 2\r\n" : "-ERR no\r\n");
}

static void serve(const struct fuzz_case *fuzz, void *state, struct span *in, struct bytes *replies)
{
    struct span line;

    while (model_line(in, &line))
        serve_line(fuzz, state, line, replies);
}

static void check_newlines(struct span sent)
{
    for (size_t i = 0; i < sent.size; i++) {
        bool after_cr = i > 0 && sent.data[i - 1] == '\r';

        if (sent.data[i] == '\n')
            fuzz_check(after_cr, "lines end in CRLF");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_case fuzz;
    struct drive whole, parts;
    bool script;

    if (!fuzz_begin(&fuzz, true, data, size))
        return 0;
    script = data[0] != 'M';
    fuzz.serve = serve;
    fuzz.state_size = sizeof(struct model);
    fuzz.start.user = SPAN_LIT("joe");
    fuzz_play(&fuzz, script, SIZE_MAX, &whole);
    fuzz_play(&fuzz, script, 1, &parts);
    fuzz_compare(&whole, &parts);
    drive_stop(&parts);
    fuzz_play(&fuzz, script, 5, &parts);
    fuzz_compare(&whole, &parts);
    drive_stop(&parts);
    check_newlines(bytes_span(&whole.to_server));
    drive_stop(&whole);
    return 0;
}
