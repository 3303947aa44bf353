/* The command table of Remote Mail and what stands behind each request.
 *
 * Happy path: RM/1, AUTH, PULL with its frames, ACK and SYNC while they come, QUIT. A request that
 * cannot be done is refused with a code and counted; the last one that is allowed ends the session.
 * What breaks the lines themselves (too long, a bare LF, a NUL), a first line that is no RM/1, and
 * an ACK that names no uid end it at once: nothing behind them can be trusted. While a frame is
 * being sent nothing can be said: the session is then closed without words, and the client sees a
 * frame that is not whole.
 *
 * Deletion happens in complete() only: at SYNC, at QUIT, and before the mailbox is listed anew. */
#include "backends/remote_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_PER_PUMP 64 /* of a LIST, at most 50 octets each: some KiB at a time */

/* Each of these and of the requests returns 0 to go on, REMOTE_ENDED, or -errno. */

static int reply(struct remote_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- replies ---- */

static int reply(struct remote_session *session, const char *format, ...)
{
    char room[REMOTE_LINE_MAX + 1];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(room, sizeof(room) - 2, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(room) - 2)
        return -EOVERFLOW;
    memcpy(room + size, "\r\n", 2);
    return session->caller->write(session->context, span_of(room, (size_t)size + 2));
}

/* "[CODE] words". */
static int refuse(struct remote_session *session, const char *words)
{
    int r = reply(session, "- %s", words);

    session->errors++;
    return r < 0 || session->errors < session->facts->max_errors ? r : REMOTE_ENDED;
}

/* A refusal after which nothing is understood. Inside a frame there is no place for it. */
static int refuse_and_end(struct remote_session *session, const char *words)
{
    int r = session->inside ? 0 : refuse(session, words);

    return r < 0 ? r : REMOTE_ENDED;
}

static int refuse_store(struct remote_session *session)
{
    return refuse(session, "[TEMP] the mailbox cannot be read now, please try again");
}

/* ---- the first lines ---- */

static int do_greeting(struct remote_session *session, struct span line)
{
    struct span verb = span_take_word(&line), agent = span_take_word(&line),
                id = span_take_word(&line);

    if (!span_equal_nocase(verb, SPAN_LIT("RM/1")))
        return refuse_and_end(session, "[SYNTAX] versions: RM/1");
    if (agent.size == 0 || !span_starts_nocase(id, SPAN_LIT("id=")) || line.size > 0 ||
        !remote_is_hex(span_skip(id, 3), REMOTE_MIRROR_MAX))
        return refuse_and_end(session, "[SYNTAX] write RM/1 agent id=, and 16 of 0-9a-f");
    memcpy(session->mirror, id.data + 3, REMOTE_MIRROR_MAX);
    session->state = REMOTE_LOGGED_OUT;
    return reply(session, "+ RM/1 %.200s SIZE=%llu WAIT=%d PUSH", session->facts->hostname,
                 (unsigned long long)session->facts->limit_bytes, REMOTE_WAIT_MAX);
}

static int refresh(struct remote_session *session)
{
    int r = session->caller->refresh(session->context, &session->mailbox);

    if (r < 0)
        session->mailbox = (struct remote_mailbox){ .messages = NULL };
    return r;
}

static uint64_t last_number(const struct remote_session *session)
{
    const struct remote_mailbox *mailbox = &session->mailbox;

    return mailbox->count > 0 ? mailbox->messages[mailbox->count - 1].number : 0;
}

static int tell_mailbox(struct remote_session *session)
{
    uint64_t octets = 0;

    for (size_t i = 0; i < session->mailbox.count; i++)
        octets += session->mailbox.messages[i].octets;
    session->seen = last_number(session);
    return reply(session, "+ %zu messages %llu octets", session->mailbox.count,
                 (unsigned long long)octets);
}

static int login(struct remote_session *session, struct span name, struct span password)
{
    struct span mirror = span_of(session->mirror, REMOTE_MIRROR_MAX);

    switch ((enum remote_login)session->caller->login(session->context, name, password, mirror)) {
    case REMOTE_LOGIN_DONE:
        if (refresh(session) < 0)
            return refuse_store(session);
        session->state = REMOTE_READY;
        return tell_mailbox(session);
    case REMOTE_LOGIN_WRONG:
        return refuse(session, "[AUTH] wrong name or password");
    case REMOTE_LOGIN_PERMANENT:
        return refuse(session,
                      "[PERM] the mail store is out of order, please tell its administrator");
    case REMOTE_LOGIN_TEMPORARY:
        break;
    }
    return refuse_store(session);
}

/* authzid NUL authcid NUL passwd (RFC 4616 section 2). */
static int login_plain(struct remote_session *session, struct span decoded)
{
    size_t first = span_find(decoded, '\0');
    struct span authzid = span_first(decoded, first), rest = span_skip(decoded, first + 1);
    size_t second = span_find(rest, '\0');
    struct span authcid = span_first(rest, second), password = span_skip(rest, second + 1);

    if (first == decoded.size || second == rest.size || authcid.size == 0 ||
        span_find(password, '\0') < password.size)
        return refuse(session, "[SYNTAX] this is no PLAIN response");
    if (authzid.size > 0 && !span_equal_nocase(authzid, authcid))
        return refuse(session, "[AUTH] nobody can act for another user here");
    return login(session, authcid, password);
}

static int do_auth(struct remote_session *session, struct span args)
{
    unsigned char decoded[REMOTE_LINE_MAX];
    struct span mechanism = span_take_word(&args), response = span_take_word(&args);
    long size;
    int r;

    if (!session->facts->passwords) {
        session->login_in_clear = true;
        return refuse(session, "[TLS] passwords are not taken without TLS");
    }
    if (!span_equal_nocase(mechanism, SPAN_LIT("PLAIN")))
        return refuse(session, "[SYNTAX] PLAIN is the only mechanism here");
    size = base64_decode(response, decoded, sizeof(decoded));
    if (size < 0)
        return refuse(session, "[SYNTAX] this is no base64");
    r = login_plain(session, span_of(decoded, (size_t)size));
    explicit_bzero(decoded, (size_t)size);
    return r;
}

/* ---- LIST and PULL ---- */

/* Index of the first message behind number `after`. */
static size_t find_after(const struct remote_session *session, uint64_t after)
{
    size_t low = 0, high = session->mailbox.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (session->mailbox.messages[middle].number <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Lists the mailbox anew and reads where to begin. 0: *ret_uid is of this epoch, or before all.
 * Positive: refused, and *ret_result is what the request returns. */
static int begin(struct remote_session *session, struct span word, struct remote_uid *ret_uid,
                 int *ret_result)
{
    struct remote_uid uid = { 0, 0 };

    if (word.size > 0 && !remote_uid_parse(word, true, &uid)) {
        *ret_result = refuse(session, "[SYNTAX] a uid is 8 of 0-9a-f, a dot and a number");
        return 1;
    }
    if (refresh(session) < 0) {
        *ret_result = refuse_store(session);
        return 1;
    }
    if (uid.number > 0 && uid.epoch != session->mailbox.epoch) {
        char words[64];

        snprintf(words, sizeof(words), "[NOSUCH] epoch %08x", session->mailbox.epoch);
        *ret_result = refuse(session, words);
        return 1;
    }
    *ret_uid = uid;
    return 0;
}

static int do_list(struct remote_session *session, struct span args)
{
    struct remote_uid after;
    int r = 0;

    if (begin(session, args, &after, &r) != 0)
        return r;
    session->next = find_after(session, after.number);
    session->done = 0;
    session->state = REMOTE_LISTING;
    return 0;
}

/* Inside the message `uid` itself, which must be there and have that many octets. */
static int begin_inside(struct remote_session *session, struct remote_uid uid, uint64_t offset)
{
    size_t index = find_after(session, uid.number - 1);
    uint64_t octets;
    int r = -ENOENT;

    if (index < session->mailbox.count && session->mailbox.messages[index].number == uid.number)
        r = session->caller->open_message(session->context, index, offset, &octets);
    if (r == -ENOENT)
        return refuse(session, "[NOSUCH] message");
    if (r == -ERANGE)
        return refuse(session, "[NOSUCH] offset");
    if (r < 0)
        return refuse(session, "[TEMP] this message cannot be read now");
    session->next = index;
    session->offset = offset;
    session->state = REMOTE_PULLING;
    return 0;
}

static int do_pull(struct remote_session *session, struct span args)
{
    struct span word = span_take_word(&args), second = span_take_word(&args);
    struct remote_uid uid;
    uint64_t offset = 0;
    int r = 0;

    if (second.size > 0 && (!span_parse_u64(second, &offset) || span_equal(word, SPAN_LIT("0"))))
        return refuse(session, "[SYNTAX] an offset is a number of octets of one message");
    if (begin(session, word, &uid, &r) != 0)
        return r;
    session->done = session->offset = 0;
    if (second.size > 0)
        return begin_inside(session, uid, offset);
    session->next = find_after(session, uid.number);
    session->state = REMOTE_PULLING;
    return 0;
}

/* ---- the other requests ---- */

/* Not answered. What cannot be a uid shows that the two are of different minds about what was
 * deleted. */
static int do_ack(struct remote_session *session, struct span args)
{
    struct remote_uid uid;
    size_t index;

    if (!remote_uid_parse(args, false, &uid))
        return refuse_and_end(session, "[SYNTAX] ACK needs a uid");
    index = find_after(session, uid.number - 1);
    if (uid.epoch == session->mailbox.epoch && index < session->mailbox.count &&
        session->mailbox.messages[index].number == uid.number)
        session->mailbox.messages[index].deleted = true;
    return 0;
}

static int answer_sync(struct remote_session *session)
{
    uint64_t deleted;

    if (session->caller->complete(session->context, &deleted) < 0)
        return refuse(session, "[TEMP] the deletion cannot be made durable now");
    return reply(session, "+ SYNC %llu", (unsigned long long)deleted);
}

static int do_sync(struct remote_session *session, struct span args)
{
    (void)args;
    if (session->state != REMOTE_PULLING)
        return answer_sync(session);
    session->syncs++;
    return 0;
}

static int do_wait(struct remote_session *session, struct span args)
{
    uint64_t seconds;

    if (!span_parse_u64(args, &seconds))
        return refuse(session, "[SYNTAX] WAIT needs a number of seconds");
    session->state = REMOTE_WAITING;
    session->caller->wait(session->context,
                          seconds < REMOTE_WAIT_MAX ? (uint32_t)seconds : REMOTE_WAIT_MAX);
    return 0;
}

/* ---- uploads ---- */

static int do_have(struct remote_session *session, struct span id)
{
    uint64_t octets;
    int r;

    if (!remote_is_hex(id, REMOTE_UPLOAD_MAX))
        return refuse(session, "[SYNTAX] the id of an upload is 32 of 0-9a-f");
    r = session->caller->have(session->context, id, &octets);
    if (r < 0)
        return refuse(session, "[TEMP] uploads cannot be looked up now");
    if (r == REMOTE_PUSH_DONE)
        return reply(session, "+ HAVE %.*s DONE", (int)id.size, (const char *)id.data);
    return reply(session, "+ HAVE %.*s %llu", (int)id.size, (const char *)id.data,
                 (unsigned long long)octets);
}

/* What is no PUSH leaves unknown how many octets follow. */
static int do_push(struct remote_session *session, struct span args)
{
    struct span id = span_take_word(&args), octets = span_take_word(&args),
                digest = span_take_word(&args);

    session->upload_offset = 0;
    if (!remote_is_hex(id, REMOTE_UPLOAD_MAX) || !remote_is_hex(digest, REMOTE_DIGEST_MAX) ||
        !span_parse_u64(octets, &session->upload_octets) ||
        (args.size > 0 && !span_parse_u64(args, &session->upload_offset)) ||
        session->upload_octets > INT64_MAX || session->upload_offset > session->upload_octets)
        return refuse_and_end(session,
                              "[SYNTAX] write PUSH id octets sha256, and perhaps an offset");
    session->envelope = malloc(REMOTE_ENVELOPE_MAX);
    if (!session->envelope)
        return -ENOMEM;
    memcpy(session->upload_id, id.data, REMOTE_UPLOAD_MAX);
    memcpy(session->upload_digest, digest.data, REMOTE_DIGEST_MAX);
    session->left = session->upload_octets - session->upload_offset;
    session->envelope_size = 0;
    session->envelope_too_long = false;
    session->state = REMOTE_ENVELOPE;
    return 0;
}

/* An answer to PUSH other than DONE, wherever it has got to. */
static int refuse_push(struct remote_session *session, const char *code, const char *words)
{
    char room[256];

    snprintf(room, sizeof(room), "[%s] PUSH %.32s %s", code, session->upload_id, words);
    return refuse(session, room);
}

/* Reads and forgets the octets that the client has announced, as it may have sent them already. */
static void discard(struct remote_session *session)
{
    session->discarded = 0;
    session->state = session->left > 0 ? REMOTE_DISCARD : REMOTE_READY;
}

static int answer_push(struct remote_session *session, int result, const struct text *reason)
{
    char room[REMOTE_LINE_MAX];

    if (result == REMOTE_PUSH_DONE) {
        session->pushed++;
        return reply(session, "+ PUSH %.32s DONE", session->upload_id);
    }
    if (result != REMOTE_PUSH_REFUSED)
        return refuse_push(session, "TEMP", "it cannot be taken now, please try again");
    snprintf(room, sizeof(room), "%.*s", (int)reason->size, reason->data);
    return refuse(session, room);
}

static int end_upload(struct remote_session *session)
{
    char room[REMOTE_LINE_MAX - 8];
    struct text reason = TEXT_OVER(room);

    session->state = REMOTE_READY;
    return answer_push(session, session->caller->push_end(session->context, &reason), &reason);
}

static int begin_upload(struct remote_session *session)
{
    char room[REMOTE_LINE_MAX - 8];
    struct text reason = TEXT_OVER(room);
    const struct remote_upload upload = {
        .id = span_of(session->upload_id, REMOTE_UPLOAD_MAX),
        .octets = session->upload_octets,
        .offset = session->upload_offset,
        .digest = span_of(session->upload_digest, REMOTE_DIGEST_MAX),
        .envelope = span_of(session->envelope, session->envelope_size),
    };
    int r = session->envelope_too_long
                ? 0
                : session->caller->push_begin(session->context, &upload, &reason);

    if (r == REMOTE_PUSH_TAKEN) {
        session->state = REMOTE_UPLOAD;
        return session->left > 0 ? 0 : end_upload(session);
    }
    discard(session);
    if (session->envelope_too_long)
        return refuse_push(session, "LIMIT", "the envelope is too long");
    return answer_push(session, r, &reason);
}

static int take_envelope_line(struct remote_session *session, struct span line)
{
    int r;

    if (line.size == 0) {
        r = begin_upload(session);
        free(session->envelope);
        session->envelope = NULL;
        return r;
    }
    if (session->envelope_size + line.size + 1 > REMOTE_ENVELOPE_MAX) {
        session->envelope_too_long = true;
        return 0;
    }
    memcpy(session->envelope + session->envelope_size, line.data, line.size);
    session->envelope_size += line.size;
    session->envelope[session->envelope_size++] = '\n';
    return 0;
}

static int take_upload(struct remote_session *session, struct span octets)
{
    int r = session->caller->push_write(session->context, octets);

    session->left -= octets.size;
    if (r == 0)
        return session->left > 0 ? 0 : end_upload(session);
    session->caller->push_stop(session->context);
    discard(session);
    return answer_push(session, r, NULL);
}

static int take_discarded(struct remote_session *session, struct span octets)
{
    session->left -= octets.size;
    session->discarded += octets.size;
    if (session->left == 0)
        session->state = REMOTE_READY;
    return session->discarded > REMOTE_DISCARD_MAX && session->left > 0 ? REMOTE_ENDED : 0;
}

/* Octets, not lines. */
static bool takes_octets(const struct remote_session *session)
{
    return session->state == REMOTE_UPLOAD || session->state == REMOTE_DISCARD;
}

static int take_octets(struct remote_session *session, struct span *in)
{
    struct span octets =
        span_first(*in, session->left < in->size ? (size_t)session->left : in->size);

    *in = span_skip(*in, octets.size);
    return session->state == REMOTE_UPLOAD ? take_upload(session, octets)
                                           : take_discarded(session, octets);
}

static int do_noop(struct remote_session *session, struct span args)
{
    (void)args;
    return reply(session, "+ NOOP");
}

static int do_quit(struct remote_session *session, struct span args)
{
    uint64_t deleted;
    int r = 0;

    (void)args;
    if (session->state == REMOTE_READY)
        r = session->caller->complete(session->context, &deleted);
    r = r < 0 ? reply(session, "- [TEMP] the deletion cannot be made durable now")
              : reply(session, "+ BYE");
    return r < 0 ? r : REMOTE_ENDED;
}

/* ---- the table ---- */

enum where { BEFORE_LOGIN = 1, AFTER_LOGIN = 2, ANYWHERE = 3 };

static const struct request {
    char name[5];
    uint8_t where;
    uint8_t least_words, most_words;
    int (*run)(struct remote_session *session, struct span args);
} requests[] = {
    { "AUTH", BEFORE_LOGIN, 2, 2, do_auth }, { "LIST", AFTER_LOGIN, 0, 1, do_list },
    { "PULL", AFTER_LOGIN, 0, 2, do_pull },  { "ACK", AFTER_LOGIN, 0, UINT8_MAX, do_ack },
    { "SYNC", AFTER_LOGIN, 0, 0, do_sync },  { "WAIT", AFTER_LOGIN, 1, 1, do_wait },
    { "HAVE", AFTER_LOGIN, 1, 1, do_have },  { "PUSH", AFTER_LOGIN, 3, 4, do_push },
    { "NOOP", ANYWHERE, 0, 0, do_noop },     { "QUIT", ANYWHERE, 0, 0, do_quit },
};

static const struct request *find_request(struct span word)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        if (span_equal_nocase(word, span_of_text(requests[i].name)))
            return &requests[i];
    return NULL;
}

static unsigned count_words(struct span args)
{
    unsigned count = 0;

    while (count < UINT8_MAX && span_take_word(&args).size > 0)
        count++;
    return count;
}

static int run_request(struct remote_session *session, struct span line)
{
    size_t space = span_find(line, ' ');
    struct span args = span_trim(span_skip(line, space + 1));
    const struct request *request = find_request(span_first(line, space));
    unsigned words = count_words(args);

    if (!request)
        return refuse(session, "[SYNTAX] unknown request");
    if (session->state == REMOTE_LOGGED_OUT && !(request->where & BEFORE_LOGIN))
        return refuse(session, "[STATE] AUTH comes first");
    if (session->state != REMOTE_LOGGED_OUT && !(request->where & AFTER_LOGIN))
        return refuse(session, "[STATE] you are logged in already");
    if ((words < request->least_words || words > request->most_words) && request->run != do_push)
        return refuse(session, "[SYNTAX] wrong number of words");
    return request->run(session, args);
}

/* A request while a LIST or PULL goes out. */
static int run_beside(struct remote_session *session, struct span line)
{
    struct span verb = span_first(line, span_find(line, ' '));

    if (span_equal_nocase(verb, SPAN_LIT("ACK")))
        return run_request(session, line);
    if (session->state == REMOTE_PULLING && span_equal_nocase(line, SPAN_LIT("SYNC")))
        return run_request(session, line);
    session->quitting =
        session->state == REMOTE_PULLING && span_equal_nocase(line, SPAN_LIT("QUIT"));
    memcpy(session->kept, line.data, line.size);
    session->kept_size = line.size;
    session->is_kept = true;
    return 0;
}

/* ---- WAIT ---- */

static int end_wait(struct remote_session *session, const char *words)
{
    session->state = REMOTE_READY;
    return reply(session, "+ %s", words);
}

/* 0, or what a request returns. */
static int look_for_new(struct remote_session *session, bool over)
{
    int r = 0;

    if (session->state != REMOTE_WAITING)
        return 0;
    if (refresh(session) == 0 && last_number(session) > session->seen) {
        session->seen = last_number(session);
        r = end_wait(session, "NEW");
    } else if (over) {
        r = end_wait(session, "NONE");
    }
    return r;
}

int remote_session_wake(struct remote_session *session, bool over)
{
    int r = look_for_new(session, over);

    return r == 0 ? REMOTE_MORE : r;
}

/* ---- the session ---- */

void remote_session_init(struct remote_session *session, const struct remote_facts *facts,
                         const struct remote_caller *caller, void *context)
{
    *session = (struct remote_session){ .facts = facts, .caller = caller, .context = context };
    line_init(&session->line, LINE_STRICT, REMOTE_LINE_MAX);
}

void remote_session_deinit(struct remote_session *session)
{
    if (session->state == REMOTE_UPLOAD)
        session->caller->push_stop(session->context);
    free(session->envelope);
    session->envelope = NULL;
    line_reset(&session->line);
    explicit_bzero(session->kept, sizeof(session->kept));
}

static int run_line(struct remote_session *session, struct span line)
{
    switch (session->state) {
    case REMOTE_GREETING:
        return do_greeting(session, line);
    case REMOTE_LISTING:
    case REMOTE_PULLING:
        return run_beside(session, line);
    case REMOTE_ENVELOPE:
        return take_envelope_line(session, line);
    case REMOTE_LOGGED_OUT:
    case REMOTE_READY:
    case REMOTE_WAITING:
    case REMOTE_UPLOAD:
    case REMOTE_DISCARD:
    case REMOTE_STATE_COUNT:
        break;
    }
    return run_request(session, line);
}

bool remote_session_listening(const struct remote_session *session)
{
    return !session->is_kept;
}

int remote_session_feed(struct remote_session *session, struct span *in)
{
    int r = 0;

    if (in->size > 0) /* any octet ends a wait */
        r = look_for_new(session, true);
    while (r == 0 && remote_session_listening(session)) {
        struct span line;

        if (takes_octets(session) && in->size == 0)
            return REMOTE_MORE;
        if (takes_octets(session)) {
            r = take_octets(session, in);
            continue;
        }
        r = line_next(&session->line, in, &line);
        if (r == LINE_MORE)
            return REMOTE_MORE;
        if (r > 0)
            r = r == LINE_READY
                    ? run_line(session, line)
                    : refuse_and_end(session,
                                     "[SYNTAX] a line is at most 512 octets, ended by CR LF");
        if (r == 0 && in->size > 0)
            r = look_for_new(session, true);
    }
    return r == 0 ? REMOTE_MORE : r;
}

bool remote_session_pumping(const struct remote_session *session)
{
    return session->state == REMOTE_LISTING || session->state == REMOTE_PULLING;
}

/* The LIST or PULL is over; the kept request has its turn. */
static int finish(struct remote_session *session, const char *verb)
{
    int r = reply(session, "+ %s %llu", verb, (unsigned long long)session->done);

    session->seen = last_number(session);
    session->state = REMOTE_READY;
    if (r < 0 || !session->is_kept)
        return r;
    session->is_kept = session->quitting = false;
    return run_request(session, span_of(session->kept, session->kept_size));
}

static int pump_list(struct remote_session *session)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < LINES_PER_PUMP && session->next < session->mailbox.count;
         i++) {
        const struct maildrop_message *message = &session->mailbox.messages[session->next++];

        r = reply(session, "* %s %llu", message->uid, (unsigned long long)message->octets);
        session->done++;
    }
    return r == 0 && session->next == session->mailbox.count ? finish(session, "LIST") : r;
}

static int answer_syncs(struct remote_session *session)
{
    int r = 0;

    for (; r == 0 && session->syncs > 0; session->syncs--)
        r = answer_sync(session);
    return r;
}

static int begin_frame(struct remote_session *session)
{
    char room[128];
    struct text head = TEXT_OVER(room);
    struct remote_frame frame = { .offset = session->offset };
    int r =
        session->caller->open_message(session->context, session->next, frame.offset, &frame.octets);

    if (r == -ENOENT) { /* another client has removed it meanwhile */
        session->next++;
        session->offset = 0;
        return 0;
    }
    if (r < 0)
        return r;
    frame.uid = (struct remote_uid){ session->mailbox.epoch,
                                     session->mailbox.messages[session->next].number };
    remote_frame_put_head(&head, &frame);
    session->inside = true;
    return session->caller->write(session->context, text_span(&head));
}

static int end_frame(struct remote_session *session, const char *digest)
{
    char room[256];
    struct text tail = TEXT_OVER(room);
    struct remote_uid uid = { session->mailbox.epoch,
                              session->mailbox.messages[session->next].number };

    remote_frame_put_tail(&tail, uid, span_of(digest, REMOTE_DIGEST_MAX));
    session->inside = false;
    session->offset = 0;
    session->next++;
    session->done++;
    session->pulled++;
    return session->caller->write(session->context, text_span(&tail));
}

static int pump_pull(struct remote_session *session)
{
    char digest[REMOTE_DIGEST_MAX];
    int r;

    if (session->inside) {
        r = session->caller->send_piece(session->context, digest);
        if (r != REMOTE_PIECE_LAST)
            return r == REMOTE_PIECE_MORE ? 0 : r;
        r = end_frame(session, digest);
        return r == 0 ? answer_syncs(session) : r;
    }
    r = answer_syncs(session);
    if (r != 0)
        return r;
    /* Deleted: acknowledged while it was waiting here, by a client that had it already. */
    while (session->next < session->mailbox.count &&
           session->mailbox.messages[session->next].deleted) {
        session->next++;
        session->offset = 0;
    }
    if (session->next == session->mailbox.count || session->quitting)
        return finish(session, "PULL");
    return begin_frame(session);
}

int remote_session_pump(struct remote_session *session)
{
    int r = 0;

    if (session->state == REMOTE_LISTING)
        r = pump_list(session);
    else if (session->state == REMOTE_PULLING)
        r = pump_pull(session);
    return r == 0 ? REMOTE_MORE : r;
}
