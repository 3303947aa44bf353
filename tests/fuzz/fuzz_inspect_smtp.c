/* The SMTP inspector: whole and cut input give the same; nothing bare reaches the server; a server
 * that behaves is never accused and agrees on what was a message; and the message scanner agrees
 * with its reference. */
#include "tests/lib/fuzz_script.h"
#include "tests/lib/message_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    bool in_message, in_auth;
    bool chunk_open, chunk_last;
    uint64_t chunk_left;
    unsigned accepted;
    unsigned counter;
};

static unsigned choose(const struct fuzz_case *fuzz, struct model *model, unsigned count)
{
    return (fuzz->seed * 31u + model->counter++ * 7u + fuzz->seed / 16u) % count;
}

static void end_of_message(const struct fuzz_case *fuzz, struct model *model, struct bytes *replies)
{
    bool accept = choose(fuzz, model, 4) != 0;

    model->accepted += accept;
    model_say(replies, accept ? "250 2.0.0 Ok\r\n" : "554-5.7.1 No\r\n554 5.7.1 never\r\n");
}

static void serve_auth(const struct fuzz_case *fuzz, struct model *model, struct bytes *replies)
{
    unsigned choice = choose(fuzz, model, 3);

    model->in_auth = choice == 0;
    model_say(replies, choice == 0 ? "334 \r\n" : choice == 1 ? "235 in\r\n" : "535 no\r\n");
}

static void serve_line(const struct fuzz_case *fuzz, struct model *model, struct span line,
                       struct bytes *replies)
{
    struct span rest = line, verb = span_take_word(&rest);

    if (model->in_auth || span_equal_nocase(verb, SPAN_LIT("AUTH"))) {
        serve_auth(fuzz, model, replies);
    } else if (span_equal_nocase(verb, SPAN_LIT("DATA"))) {
        model->in_message = choose(fuzz, model, 3) != 0;
        model_say(replies, model->in_message ? "354 Go\r\n" : "503 No\r\n");
    } else if (span_equal_nocase(verb, SPAN_LIT("BDAT"))) {
        fuzz_check(span_parse_u64(span_take_word(&rest), &model->chunk_left), "BDAT has a size");
        model->chunk_last = rest.size > 0;
        model->chunk_open = true;
    } else if (span_equal_nocase(verb, SPAN_LIT("EHLO"))) {
        static const char *const lists[] = { "250 srv\r\n",
                                             "250-srv\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
                                             "250-srv\r\n250-XCLIENT NAME\r\n250 CHUNKING\r\n",
                                             "502 no\r\n" };

        model_say(replies, lists[choose(fuzz, model, 4)]);
    } else {
        static const char *const plain[] = { "250 Ok\r\n", "250-a\r\n250 b\r\n", "550 no\r\n",
                                             "452\r\n" };

        model_say(replies, plain[choose(fuzz, model, 4)]);
    }
}

static bool serve_chunk(const struct fuzz_case *fuzz, struct model *model, struct span *in,
                        struct bytes *replies)
{
    size_t size = model->chunk_left < in->size ? (size_t)model->chunk_left : in->size;

    *in = span_skip(*in, size);
    model->chunk_left -= size;
    if (model->chunk_left > 0)
        return false;
    model->chunk_open = false;
    if (model->chunk_last)
        end_of_message(fuzz, model, replies);
    else
        model_say(replies, "250 more\r\n");
    return true;
}

/* Takes only what a strict server takes: lines by CRLF, a message up to CRLF.CRLF. */
static void serve(const struct fuzz_case *fuzz, void *state, struct span *in, struct bytes *replies)
{
    struct model *model = state;
    struct span line;

    for (;;) {
        if (model->chunk_open) {
            if (!serve_chunk(fuzz, model, in, replies))
                return;
            continue;
        }
        if (!model_line(in, &line))
            return;
        if (!model->in_message) {
            serve_line(fuzz, model, line, replies);
        } else if (span_equal(line, SPAN_LIT("."))) {
            model->in_message = false;
            end_of_message(fuzz, model, replies);
        }
    }
}

/* No octet of a command or a message that reached the server is a bare CR or LF. */
static void check_newlines(struct span sent)
{
    for (size_t i = 0; i < sent.size; i++) {
        bool after_cr = i > 0 && sent.data[i - 1] == '\r';

        fuzz_check((sent.data[i] == '\n') == after_cr, "newlines are CRLF");
    }
}

static void check_scanner(struct span input)
{
    size_t size = input.size + 5;
    unsigned char *in = malloc(size), *out = malloc(size * 3 + 3),
                  *reference_out = malloc(size * 3 + 3);
    struct reference reference = { .out = reference_out };
    struct span rest = span_of(in, size), piece;
    struct message_scan scan;
    size_t out_size = 0;
    int r;

    fuzz_check(in && out && reference_out, "memory");
    if (input.size > 0)
        memcpy(in, input.data, input.size);
    memcpy(in + input.size, "\r\n.\r\n", 5);
    message_scan_init(&scan, BARE_NEWLINE_NORMALIZE);
    do {
        r = message_scan_next(&scan, &rest, &piece);
        if (r == MESSAGE_PASS || r == MESSAGE_ENDED) {
            memcpy(out + out_size, piece.data, piece.size);
            out_size += piece.size;
        }
    } while (r == MESSAGE_PASS);
    reference_normalize(&reference, span_of(in, size));
    fuzz_check(r == MESSAGE_ENDED && reference.ended, "the message ends");
    fuzz_check(size - rest.size == reference.taken, "it ends in the same place");
    fuzz_check(span_equal(span_of(out, out_size), span_of(reference_out, reference.out_size)),
               "it is the same");
    fuzz_check(reference_dots(span_of(out, out_size)) == 1, "it has one end for any reader");
    fuzz_check(scan.bare == reference.bare, "bare newlines are seen");
    free(in);
    free(out);
    free(reference_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_case fuzz;
    struct drive whole, parts;
    bool script;

    if (!fuzz_begin(&fuzz, false, data, size))
        return 0;
    script = data[0] != 'M';
    fuzz.serve = serve;
    fuzz.state_size = sizeof(struct model);
    fuzz_play(&fuzz, script, SIZE_MAX, &whole);
    fuzz_play(&fuzz, script, 1, &parts);
    fuzz_compare(&whole, &parts);
    drive_stop(&parts);
    fuzz_play(&fuzz, script, 5, &parts);
    fuzz_compare(&whole, &parts);
    drive_stop(&parts);
    if (span_search(bytes_span(&whole.to_server), SPAN_LIT("BDAT")) == whole.to_server.size &&
        span_search(bytes_span(&whole.to_server), SPAN_LIT("bdat")) == whole.to_server.size &&
        !fuzz.start.chunking)
        check_newlines(bytes_span(&whole.to_server));
    drive_stop(&whole);
    check_scanner(fuzz.rest);
    return 0;
}
