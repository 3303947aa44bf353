/* SMTP sessions from random octets: the first octet chooses the facts, the rest is the dialogue.
 *
 * Invariants: whole, byte by byte and in uneven pieces give the same replies and the same calls; no
 * relaying without a login and a relay, no write outside a delivery, no delivery left open
 * (tests/lib/smtp_recorder.h aborts on those). */
#include "tests/lib/smtp_recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int play(uint8_t facts, struct span input, size_t piece, struct recorder *recorder)
{
    recorder_init(recorder);
    recorder->facts.tls = facts & 1;
    recorder->facts.auth_without_tls = facts & 2;
    recorder->facts.relay = facts & 4;
    recorder->facts.limit_bytes = facts & 8 ? 40 : 1000;
    if (facts & 16)
        recorder->room_bytes = 30;
    recorder->begin_result = facts & 32 ? -EIO : 0;
    recorder->commit_result = facts & 64 ? -ENOSPC : 0;
    recorder->login_result = facts & 128 ? SMTP_LOGIN_WRONG : 0;
    return recorder_play(recorder, input, piece);
}

static void check_same(const struct recorder *a, const struct recorder *b)
{
    if (a->trace_size == b->trace_size && memcmp(a->trace_text, b->trace_text, a->trace_size) == 0)
        return;
    fprintf(stderr, "--- whole\n%s\n--- in pieces\n%s\n", a->trace_text, b->trace_text);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recorder whole, pieces;
    struct span input = size > 0 ? span_of(data + 1, size - 1) : span_of(NULL, 0);
    uint8_t facts = size > 0 ? data[0] : 0;
    int r = play(facts, input, SIZE_MAX, &whole);

    for (size_t piece = 1; piece <= 7; piece += 6) {
        if (play(facts, input, piece, &pieces) != r)
            abort();
        check_same(&whole, &pieces);
        recorder_deinit(&pieces);
    }
    recorder_deinit(&whole);
    return 0;
}
