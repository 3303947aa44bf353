/* From an upload that is whole to the record that it is delivered.
 *
 * Happy path: ID.deliver, the digest, the message under its name in every recipient's Maildir,
 * ID.done; each durable before the next. After a crash ID.deliver says what was being done; the
 * name makes that it happens once, and ID.done that it does not happen again. A relay is asked anew
 * where its yes did not reach ID.done: such a message is never lost, and doubled only then. Fails
 * with the -errno of the call that failed; the upload is kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "backends/relay_client.h"
#include "backends/smtp_data.h"
#include "backends/uploads_private.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define PIECE_BYTES 16384
#define TRY_NS      20000000
#define TRIES       100 /* two seconds: an fsync of a slow disk, not a relay (guessed) */

int upload_record_whole(struct uploads *uploads, const char *trace)
{
    char *meta, *record;
    int size, r = upload_read_record(uploads, UPLOAD_FILE(uploads->id, "meta"), &meta);

    if (r < 0)
        return r;
    size = asprintf(&record, "%s\n%lld.R%s.gatepost\n%s", meta, (long long)time(NULL), uploads->id,
                    trace);
    free(meta);
    if (size < 0)
        return -ENOMEM;
    r = size > UPLOAD_RECORD_MAX ? -E2BIG
                                 : upload_write_record(uploads, UPLOAD_FILE(uploads->id, "deliver"),
                                                       span_of(record, (size_t)size));
    free(record);
    return r;
}

/* Reads all of the part. 0 or -errno of a read or of `each`. */
static int read_part(const struct uploads *uploads, int (*each)(void *context, struct span octets),
                     void *context)
{
    unsigned char octets[PIECE_BYTES];
    off_t at = 0;
    int r = 0;

    while (r == 0) {
        ssize_t size = pread(uploads->part, octets, sizeof(octets), at);

        if (size < 0)
            return -errno;
        if (size == 0)
            return 0;
        at += size;
        r = each(context, span_of(octets, (size_t)size));
    }
    return r;
}

struct looked_at {
    struct digest *digest;
    struct smtp_data lines;
    bool eight_bit;
};

static int look_at(void *context, struct span octets)
{
    struct looked_at *looked = context;

    smtp_data_watch_chunk(&looked->lines, octets);
    for (size_t i = 0; i < octets.size; i++)
        looked->eight_bit |= octets.data[i] >= 0x80;
    return digest_add(looked->digest, octets);
}

/* Is it the message that was announced, and one that can be delivered? */
static int verify(struct uploads *uploads, struct span digest, bool *ret_eight_bit,
                  struct text *reason)
{
    struct looked_at looked = { .digest = digest_new() };
    char digits[DIGEST_DIGITS];
    int r;

    if (!looked.digest)
        return -ENOMEM;
    smtp_data_init(&looked.lines);
    r = read_part(uploads, look_at, &looked);
    if (r == 0)
        r = digest_end(looked.digest, digits);
    digest_free(looked.digest);
    if (r < 0)
        return r;
    *ret_eight_bit = looked.eight_bit;
    smtp_data_end_chunks(&looked.lines);
    if (!span_equal(digest, span_of(digits, sizeof(digits))))
        return upload_refuse(uploads, reason, "CONFLICT", "the octets have another digest");
    if (looked.lines.bare)
        return upload_refuse(uploads, reason, "PERM", "lines of a message must end in CR LF");
    return UPLOAD_TAKEN;
}

static int write_local(void *context, struct span octets)
{
    return delivery_write(context, octets);
}

static int deliver_local(struct uploads *uploads, const struct upload_envelope *envelope,
                         const char *name, struct span trace)
{
    char room[SMTP_ADDRESS_MAX + 32];
    struct delivery *delivery;
    int size, r = delivery_begin_named(uploads->settings->mailstore.path,
                                       (const char *const *)envelope->users.names,
                                       envelope->users.count, name, &delivery);

    if (r < 0)
        return r;
    size = snprintf(room, sizeof(room), "Return-Path: <%s>\r\n", envelope->mail.from);
    r = delivery_write(delivery, span_of(room, (size_t)size));
    if (r == 0)
        r = delivery_write(delivery, trace);
    if (r == 0)
        r = read_part(uploads, write_local, delivery);
    if (r == 0)
        return delivery_commit(delivery) < 0 ? -EIO : UPLOAD_DONE;
    delivery_abort(delivery);
    return r;
}

static int write_relay(void *context, struct span octets)
{
    return relay_client_write(context, octets);
}

/* The steps of one message through the relay. SMTP_TAKEN, SMTP_REFUSED or -errno. */
static int talk_to_relay(struct uploads *uploads, struct relay_client *relay,
                         const struct smtp_transaction *mail, struct span trace, struct text *reply)
{
    int r = relay_client_mail(relay, mail, reply);

    for (size_t i = 0; r == SMTP_TAKEN && i < mail->recipient_count; i++)
        r = relay_client_recipient(relay, mail->recipients[i], reply);
    if (r == SMTP_TAKEN)
        r = relay_client_begin(relay, reply);
    if (r != SMTP_TAKEN)
        return r;
    r = relay_client_write(relay, trace);
    if (r == 0)
        r = read_part(uploads, write_relay, relay);
    return r < 0 ? r : relay_client_finish(relay, reply);
}

static int deliver_relayed(struct uploads *uploads, const struct upload_envelope *envelope,
                           struct span trace, struct text *reason)
{
    const struct settings *settings = uploads->settings;
    char room[SMTP_REPLY_MAX];
    struct text reply = TEXT_OVER(room);
    struct relay_client *relay;
    int r = relay_client_open(settings->mailstore.relay, settings->gatepost.hostname,
                              (int)settings->limits.smtp_reply_timeout_ms, &relay);

    if (r < 0)
        return upload_refuse(uploads, reason, "TEMP", "the relay cannot be reached now");
    r = talk_to_relay(uploads, relay, &envelope->mail, trace, &reply);
    relay_client_close(relay);
    if (r == SMTP_REFUSED)
        return upload_refuse(uploads, reason, room[0] == '5' ? "PERM" : "TEMP", text_str(&reply));
    if (r < 0)
        return upload_refuse(uploads, reason, "TEMP", "the relay has broken off");
    return UPLOAD_DONE;
}

/* Cuts the record of a whole upload into its parts. */
static bool cut_record(struct span record, struct span *ret_digest, struct span *ret_envelope,
                       char *name, size_t room, struct span *ret_trace)
{
    struct span head = upload_take_line(&record);
    size_t end = span_search(record, SPAN_LIT("\n\n"));
    struct span line;

    span_take_word(&head);
    *ret_digest = span_take_word(&head);
    *ret_envelope = span_first(record, end + 1);
    if (end == record.size)
        return false;
    record = span_skip(record, end + 2);
    line = upload_take_line(&record);
    snprintf(name, room, "%.*s", (int)line.size, (const char *)line.data);
    *ret_trace = record;
    return line.size > 0 && !strchr(name, '/') && ret_digest->size == DIGEST_DIGITS;
}

static int deliver_record(struct uploads *uploads, struct span record, struct text *reason)
{
    struct span digest, text, trace;
    struct upload_envelope envelope;
    char name[128];
    int r;

    if (!cut_record(record, &digest, &text, name, sizeof(name), &trace))
        return -EBADMSG;
    r = upload_read_envelope(uploads, text, &envelope, reason);
    if (r == UPLOAD_TAKEN)
        r = verify(uploads, digest, &envelope.mail.eight_bit, reason);
    if (r == UPLOAD_TAKEN)
        r = envelope.mail.relayed ? deliver_relayed(uploads, &envelope, trace, reason)
                                  : deliver_local(uploads, &envelope, name, trace);
    upload_envelope_free(&envelope);
    return r;
}

/* What ID.done has made needless. Without ID.part there is no lock, so ID.deliver goes last. */
static void drop_delivered(struct uploads *uploads)
{
    unlinkat(uploads->folder, UPLOAD_FILE(uploads->id, "part"), 0);
    unlinkat(uploads->folder, UPLOAD_FILE(uploads->id, "deliver"), 0);
}

/* It is delivered: from now on that is all that is known of it. */
static int record_done(struct uploads *uploads)
{
    int r = 0;

    if (renameat(uploads->folder, UPLOAD_FILE(uploads->id, "meta"), uploads->folder,
                 UPLOAD_FILE(uploads->id, "done")) < 0)
        r = -errno;
    if (r == 0)
        r = upload_sync_folder(uploads);
    if (r < 0)
        return r;
    drop_delivered(uploads);
    return UPLOAD_DONE;
}

int upload_deliver(struct uploads *uploads, struct text *reason)
{
    char *record;
    int r = upload_read_record(uploads, UPLOAD_FILE(uploads->id, "deliver"), &record);

    if (r < 0)
        return r;
    r = deliver_record(uploads, span_of_text(record), reason);
    free(record);
    if (r == UPLOAD_DONE)
        return record_done(uploads);
    if (r == UPLOAD_REFUSED && span_starts_nocase(text_span(reason), SPAN_LIT("[TEMP]")))
        unlinkat(uploads->folder, UPLOAD_FILE(uploads->id, "deliver"),
                 0); /* it is kept, to be tried again */
    else if (r == UPLOAD_REFUSED)
        upload_forget(uploads);
    return r;
}

/* Waits a moment for whoever is completing it now. */
static int open_part_patiently(struct uploads *uploads)
{
    static const struct timespec wait = { .tv_nsec = TRY_NS };
    int r = upload_open_part(uploads, 0);

    for (int i = 0; r == -EBUSY && i < TRIES; i++) {
        nanosleep(&wait, NULL);
        r = upload_open_part(uploads, 0);
    }
    return r;
}

void upload_complete(struct uploads *uploads)
{
    char room[REMOTE_LINE_MAX] = "";
    struct text reason = TEXT_OVER(room);
    int r = open_part_patiently(uploads);

    if ((r == 0 || r == -ENOENT) && upload_exists(uploads, UPLOAD_FILE(uploads->id, "done"))) {
        drop_delivered(uploads); /* its recipients may have read and deleted it: not once more */
        r = UPLOAD_DONE;
    } else if (r == 0) {
        r = upload_deliver(uploads, &reason);
    }
    if (r == UPLOAD_REFUSED)
        log_line(LOG_LEVEL_WARNING, "upload %s of %s is not delivered: %s", uploads->id,
                 uploads->user, text_str(&reason));
    else if (r < 0 && r != -EBUSY)
        log_line(LOG_LEVEL_ERROR, "upload %s of %s cannot be delivered: %s", uploads->id,
                 uploads->user, err_text(r));
    upload_close_part(uploads);
}
