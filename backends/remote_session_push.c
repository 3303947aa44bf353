/* What comes up in a session of Remote Mail: HAVE and PUSH.
 *
 * Happy path: the line of PUSH, the lines of its envelope, its octets, DONE. A refusal is said as
 * soon as it is known; what the client has announced is then read and forgotten, as it may have
 * sent it already, up to a limit, which ends the session. A line of PUSH that is none ends it at
 * once: nobody knows what follows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/remote_session_private.h"

int remote_do_have(struct remote_session *session, struct span id)
{
    uint64_t octets;
    int r;

    if (!remote_is_hex(id, REMOTE_UPLOAD_MAX))
        return remote_refuse(session, "[SYNTAX] the id of an upload is 32 of 0-9a-f");
    r = session->caller->have(session->context, id, &octets);
    if (r < 0)
        return remote_refuse(session, "[TEMP] uploads cannot be looked up now");
    if (r == REMOTE_PUSH_DONE)
        return remote_reply(session, "+ HAVE %.*s DONE", (int)id.size, (const char *)id.data);
    return remote_reply(session, "+ HAVE %.*s %llu", (int)id.size, (const char *)id.data,
                        (unsigned long long)octets);
}

/* What is no PUSH leaves unknown how many octets follow. */
int remote_do_push(struct remote_session *session, struct span args)
{
    struct span id = span_take_word(&args), octets = span_take_word(&args),
                digest = span_take_word(&args);

    session->upload_offset = 0;
    if (!remote_is_hex(id, REMOTE_UPLOAD_MAX) || !remote_is_hex(digest, REMOTE_DIGEST_MAX) ||
        !span_parse_u64(octets, &session->upload_octets) ||
        (args.size > 0 && !span_parse_u64(args, &session->upload_offset)) ||
        session->upload_octets > INT64_MAX || session->upload_offset > session->upload_octets)
        return remote_refuse_and_end(session,
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
    return remote_refuse(session, room);
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
        return remote_reply(session, "+ PUSH %.32s DONE", session->upload_id);
    }
    if (result != REMOTE_PUSH_REFUSED)
        return refuse_push(session, "TEMP", "it cannot be taken now, please try again");
    snprintf(room, sizeof(room), "%.*s", (int)reason->size, reason->data);
    return remote_refuse(session, room);
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

int remote_push_envelope(struct remote_session *session, struct span line)
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

bool remote_push_takes(const struct remote_session *session)
{
    return session->state == REMOTE_UPLOAD || session->state == REMOTE_DISCARD;
}

int remote_push_take(struct remote_session *session, struct span *in)
{
    struct span octets =
        span_first(*in, session->left < in->size ? (size_t)session->left : in->size);

    *in = span_skip(*in, octets.size);
    return session->state == REMOTE_UPLOAD ? take_upload(session, octets)
                                           : take_discarded(session, octets);
}
