/* Passes a message up to its end.
 *
 * Happy path: pass_run() finds long runs in which every newline is a CRLF, sixteen octets at a
 * time, and near anything else with one memchr for CR and one for LF a line. An octet whose meaning
 * depends on the next one is held in the state while the next one has not come: a CR, and a dot at
 * the start of a line. Cannot fail. */
#include "proxy/message_scan.h"

#include "proxy/base/lanes.h"

/* What the octets before are. "Held": taken off the input, not passed yet. */
enum {
    SCAN_START,  /* start of a line, behind CRLF as it was sent */
    SCAN_DOT,    /* a dot is held that stands at such a start */
    SCAN_DOT_CR, /* such a dot and a CR are held */
    SCAN_LINE,   /* inside a line */
    SCAN_CR,     /* a CR is held */
    SCAN_MADE,   /* start of a line that the sender did not begin by CRLF, or only NULs since the
                    start */
};

/* Octets that are looked through for one newline at a time: bounds what is read again after each
 * bare newline. */
#define WINDOW_BYTES 1024

void message_scan_init(struct message_scan *scan, enum bare_newline rule)
{
    *scan = (struct message_scan){ .state = SCAN_START,
                                   .rule = (uint8_t)rule,
                                   .end = MESSAGE_END_START };
}

/* A newline that the sender did not send as CRLF: `words` stand for it and for what is held. */
static int make_newline(struct message_scan *scan, struct span words, struct span *ret_piece)
{
    scan->bare = true;
    if (scan->rule == BARE_NEWLINE_REJECT)
        return MESSAGE_BARE;
    scan->state = SCAN_MADE;
    *ret_piece = words;
    return MESSAGE_PASS;
}

static int pass_words(struct message_scan *scan, uint8_t state, struct span words,
                      struct span *ret_piece)
{
    scan->state = state;
    *ret_piece = words;
    return MESSAGE_PASS;
}

static size_t count_nuls(struct span in)
{
    size_t count = 0;

    while (count < in.size && in.data[count] == '\0')
        count++;
    return count;
}

/* A bare LF is replaced, so it is taken; a bare CR was taken before, and the octet behind it stays.
 */
static int take_bare_lf(struct message_scan *scan, struct span *in, struct span words,
                        struct span *ret_piece)
{
    int r = make_newline(scan, words, ret_piece);

    if (r == MESSAGE_PASS)
        *in = span_skip(*in, 1);
    return r;
}

/* The octet behind a dot that stands at the start of a line. 0: go on. */
static int behind_dot(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    switch (in->data[0]) {
    case '\r':
        *in = span_skip(*in, 1);
        scan->state = SCAN_DOT_CR;
        return 0;
    case '\n':
        return take_bare_lf(scan, in, SPAN_LIT("..\r\n"), ret_piece);
    case '\0':
        return pass_words(scan, SCAN_LINE, SPAN_LIT(".."), ret_piece);
    default:
        return pass_words(scan, SCAN_LINE, SPAN_LIT("."), ret_piece);
    }
}

/* The first octet of a line that the sender did not begin. 0: go on. */
static int behind_made(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    size_t nuls;

    switch (in->data[0]) {
    case '.':
        *in = span_skip(*in, 1);
        return pass_words(scan, SCAN_LINE, SPAN_LIT(".."), ret_piece);
    case '\r':
        *in = span_skip(*in, 1);
        scan->state = SCAN_CR;
        return 0;
    case '\n':
        return take_bare_lf(scan, in, SPAN_LIT("\r\n"), ret_piece);
    case '\0':
        nuls = count_nuls(*in);
        *ret_piece = span_first(*in, nuls);
        *in = span_skip(*in, nuls);
        return MESSAGE_PASS;
    default:
        scan->state = SCAN_LINE;
        return 0;
    }
}

/* Goes on behind what is held. 0: nothing is held any more, or more is; go on. */
static int settle(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    bool lf = in->data[0] == '\n';

    switch (scan->state) {
    case SCAN_DOT:
        return behind_dot(scan, in, ret_piece);
    case SCAN_MADE:
        return behind_made(scan, in, ret_piece);
    case SCAN_DOT_CR:
        if (!lf)
            return make_newline(scan, SPAN_LIT("..\r\n"), ret_piece);
        *in = span_skip(*in, 1);
        *ret_piece = SPAN_LIT(".\r\n");
        return MESSAGE_ENDED;
    default: /* SCAN_CR */
        if (!lf)
            return make_newline(scan, SPAN_LIT("\r\n"), ret_piece);
        *in = span_skip(*in, 1);
        return pass_words(scan, SCAN_START, SPAN_LIT("\r\n"), ret_piece);
    }
}

/* Where a run of octets that pass as they are ends, and why. */
struct run {
    size_t pass; /* octets that pass */
    size_t held; /* octets behind them that are taken and held */
    bool stop;   /* the run goes no further */
    bool ended;  /* the message has ended */
};

static void stop_run(struct message_scan *scan, struct run *run, uint8_t state, size_t held)
{
    scan->state = state;
    run->held = held;
    run->stop = true;
}

/* At the start of a line, at run->pass. */
static void run_over_start(struct message_scan *scan, struct span in, struct run *run)
{
    struct span rest = span_skip(in, run->pass);
    unsigned char next = rest.size > 1 ? rest.data[1] : '\0';

    scan->state = SCAN_LINE;
    if (rest.data[0] == '\0') {
        stop_run(scan, run, SCAN_MADE, 0);
    } else if (rest.data[0] == '.') {
        if (next == '\r' && rest.size > 2 && rest.data[2] == '\n') {
            run->pass += 3;
            run->stop = run->ended = true;
        } else if (next == '\r') {
            stop_run(scan, run, SCAN_DOT_CR, 2);
        } else if (next == '\n' || next == '\0') { /* or nothing yet */
            stop_run(scan, run, SCAN_DOT, 1);
        } else {
            run->pass++;
        }
    }
}

/* Where a CR has no LF, an LF has no CR, or a line begins with a dot or with NUL. */
static lanes snags(const unsigned char *octets)
{
    lanes here = lanes_load(octets), next = lanes_load(octets + 1);
    lanes bare = lanes_equal(here, '\r') ^ lanes_equal(next, '\n');

    return bare | (lanes_equal(here, '\n') & (lanes_equal(next, '.') | lanes_equal(next, '\0')));
}

static bool block_has_snag(const unsigned char *octets)
{
    return lanes_any(snags(octets) | snags(octets + LANES) | snags(octets + 2 * LANES) |
                     snags(octets + 3 * LANES));
}

/* How many octets, from inside a line, hold nothing but whole lines without a snag. */
static size_t plain_prefix(struct span in)
{
    size_t size = 0;

    if (in.size == 0 || in.data[0] == '\n')
        return 0;
    while (size + LANES_BLOCK < in.size && !block_has_snag(in.data + size))
        size += LANES_BLOCK;
    while (size + LANES < in.size && !lanes_any(snags(in.data + size)))
        size += LANES;
    return size > 0 && in.data[size - 1] == '\r' ? size - 1 : size;
}

/* Inside a line, at run->pass: up to the start of the next, or to what does not pass as it is. */
static void run_over_line(struct message_scan *scan, struct span in, struct run *run)
{
    size_t plain = plain_prefix(span_skip(in, run->pass)), lf, cr;
    struct span window;

    if (plain > 0) {
        run->pass += plain;
        scan->state = in.data[run->pass - 1] == '\n' ? SCAN_START : SCAN_LINE;
        return;
    }
    window = span_first(span_skip(in, run->pass), WINDOW_BYTES);
    lf = span_find(window, '\n');
    cr = span_find(span_first(window, lf), '\r');
    run->pass += cr;
    if (cr < lf) {
        bool crlf = run->pass + 1 < in.size && in.data[run->pass + 1] == '\n';

        if (!crlf) {
            stop_run(scan, run, SCAN_CR, 1);
            return;
        }
        run->pass += 2;
        scan->state = SCAN_START;
    } else if (lf < window.size) {
        run->stop = true; /* a bare LF */
    }
}

/* Nothing is held: the longest run that passes as it is. 0: there is none here, but the state has
 * moved. */
static int pass_run(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    struct run run = { 0 };

    if (scan->state == SCAN_LINE && in->data[0] == '\n')
        return take_bare_lf(scan, in, SPAN_LIT("\r\n"), ret_piece);
    while (!run.stop && run.pass < in->size) {
        if (scan->state == SCAN_START)
            run_over_start(scan, *in, &run);
        else
            run_over_line(scan, *in, &run);
    }
    *ret_piece = span_first(*in, run.pass);
    *in = span_skip(*in, run.pass + run.held);
    if (run.ended)
        return MESSAGE_ENDED;
    return run.pass > 0 ? MESSAGE_PASS : 0;
}

static int pass_all(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    size_t size;
    bool ended = message_end_find(&scan->end, *in, &size);

    *ret_piece = span_first(*in, size);
    *in = span_skip(*in, size);
    return ended ? MESSAGE_ENDED : MESSAGE_PASS;
}

int message_scan_next(struct message_scan *scan, struct span *in, struct span *ret_piece)
{
    while (in->size > 0) {
        bool flowing = scan->state == SCAN_START || scan->state == SCAN_LINE;
        int r;

        if (scan->rule == BARE_NEWLINE_PASS)
            return pass_all(scan, in, ret_piece);
        r = flowing ? pass_run(scan, in, ret_piece) : settle(scan, in, ret_piece);
        if (r != 0)
            return r;
    }
    return MESSAGE_MORE;
}
