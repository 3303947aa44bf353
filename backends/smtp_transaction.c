/* MAIL, RCPT, DATA and BDAT: one transaction, from the sender to the reply that takes the
 * responsibility.
 *
 * Happy path: the sender and the recipients are kept, the host begins a delivery (or hands on to
 * the relay), is given the octets, and commits; only then 250 is said. A message that cannot be
 * taken (too big, bare CR or LF, no room) is aborted at once, read to its end without being kept,
 * and then refused. Chunks of BDAT are counted to their end whatever the answer will be (RFC 3030
 * section 2). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/smtp_commands.h"

#define TOO_BIG       "552 5.3.4 Message too big"
#define BARE_IN_DATA  "550 5.5.2 Bare CR or LF in message"
#define BARE_IN_CHUNK "550 5.6.0 Lines of a message must end in CR LF"

static const char *reply_for_error(const struct smtp_session *session, int error)
{
    if (session->mail.relayed)
        return "451 4.4.2 Lost the relay, try later";
    if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
        return "452 4.3.1 No space left, try later";
    return "451 4.3.0 Cannot keep mail now, try later";
}

void smtp_end_transaction(struct smtp_session *session, const char *verdict)
{
    struct smtp_transaction *mail = &session->mail;

    if (!session->in_transaction)
        return;
    if (session->delivering)
        session->host->abort(session->context);
    session->host->end(session->context, mail, span_of_text(verdict));
    for (size_t i = 0; i < mail->recipient_count; i++)
        free(mail->recipients[i]);
    free(mail->recipients);
    *mail = (struct smtp_transaction){ .recipients = NULL };
    session->in_transaction = session->delivering = session->chunking = false;
    session->verdict[0] = '\0';
}

static bool has_keyword(const struct smtp_parameter *parameter, const char *keyword)
{
    return span_equal_nocase(parameter->keyword, span_of_text(keyword));
}

/* Takes one parameter of MAIL. Returns NULL or a refusal. `*seen` guards against repetition. */
static const char *take_mail_parameter(struct smtp_session *session,
                                       const struct smtp_parameter *parameter, unsigned *seen)
{
    static const char *const known[] = { "SIZE", "BODY", "SMTPUTF8", "AUTH" };
    struct smtp_transaction *mail = &session->mail;
    unsigned which = 0;

    while (which < 4 && !has_keyword(parameter, known[which]))
        which++;
    if (which == 4)
        return "555 5.5.4 Unknown parameter";
    if (*seen & 1u << which || parameter->has_value != (which != 2))
        return "501 5.5.4 Bad parameter";
    *seen |= 1u << which;
    if (which == 0 && !span_parse_u64(parameter->value, &mail->declared_bytes))
        return "501 5.5.4 SIZE is a number of octets";
    if (which == 0 && mail->declared_bytes > session->facts->limit_bytes)
        return TOO_BIG;
    mail->eight_bit |= which == 1 && span_equal_nocase(parameter->value, SPAN_LIT("8BITMIME"));
    if (which == 1 && !mail->eight_bit && !span_equal_nocase(parameter->value, SPAN_LIT("7BIT")))
        return "501 5.5.4 BODY is 7BIT or 8BITMIME";
    mail->utf8 |= which == 2;
    /* Who submitted the mail elsewhere is nothing that this server would act on (RFC 4954 section
     * 5). */
    if (which == 3 && !smtp_path_is_xtext(parameter->value))
        return "501 5.5.4 AUTH is xtext or <>";
    return NULL;
}

/* Fills session->mail from the argument of MAIL. Returns NULL or a refusal. */
static const char *read_sender(struct smtp_session *session, struct span argument)
{
    struct smtp_path path = { .ascii = true };
    struct smtp_parameter parameter;
    const char *refusal = NULL;
    unsigned seen = 0;

    if (!span_starts_nocase(argument, SPAN_LIT("FROM:")))
        return "501 5.5.4 Write MAIL FROM:<address>";
    argument = span_skip(argument, 5);
    switch (smtp_path_take(&argument, &path)) {
    case SMTP_PATH_SYNTAX:
        return "501 5.1.7 Write the sender as <name@domain>";
    case SMTP_PATH_NO_DOMAIN:
        return "501 5.1.7 The sender needs a domain";
    default:
        break;
    }
    while (!refusal && smtp_path_parameter(&argument, &parameter))
        refusal = take_mail_parameter(session, &parameter, &seen);
    if (refusal)
        return refusal;
    if (argument.size > 0)
        return "501 5.5.4 Bad parameter";
    if (!path.ascii && !session->mail.utf8)
        return "553 5.6.7 That address needs SMTPUTF8";
    memcpy(session->mail.from, path.address, sizeof(path.address));
    return NULL;
}

/* A refusal of what is said well but cannot be done is no bad command. */
static int refuse(struct smtp_session *session, const char *reply)
{
    if (strncmp(reply, "50", 2) == 0 || strncmp(reply, "555", 3) == 0)
        return smtp_reply_error(session, reply);
    return smtp_reply(session, "%s", reply);
}

int smtp_command_mail(struct smtp_session *session, struct span argument)
{
    const char *refusal;

    if (session->in_transaction)
        return smtp_reply_error(session, "503 5.5.1 A transaction is open; RSET ends it");
    session->mail = (struct smtp_transaction){ .recipients = NULL };
    refusal = read_sender(session, argument);
    if (refusal)
        return refuse(session, refusal);
    session->in_transaction = true;
    snprintf(session->mail.id, sizeof(session->mail.id), "%.80s.%u", session->facts->id,
             (unsigned)++session->transactions);
    return smtp_reply(session, "250 2.1.0 Sender ok");
}

static int keep_recipient(struct smtp_transaction *mail, const char *address)
{
    size_t count = mail->recipient_count;
    char *copy = strdup(address);

    if (!copy)
        return -ENOMEM;
    if ((count & (count - 1)) == 0) { /* full: the room is always the next power of two */
        size_t room = count ? 2 * count : 1;
        char **grown = reallocarray(mail->recipients, room, sizeof(*grown));

        if (!grown) {
            free(copy);
            return -ENOMEM;
        }
        mail->recipients = grown;
    }
    mail->recipients[mail->recipient_count++] = copy;
    return 0;
}

static int refuse_recipient(struct smtp_session *session, const char *reply)
{
    session->mail.refused_count++;
    return refuse(session, reply);
}

static int accept_recipient(struct smtp_session *session, const char *address, bool relayed)
{
    int r = keep_recipient(&session->mail, address);

    if (r < 0)
        return r;
    session->mail.relayed = relayed;
    return smtp_reply(session, "250 2.1.5 Recipient ok");
}

static int relay_recipient(struct smtp_session *session, const char *address)
{
    char room[SMTP_REPLY_MAX - 2];
    struct text reply = TEXT_OVER(room);
    int r;

    if (session->user[0] == '\0')
        return refuse_recipient(session, "550 5.7.1 Mail to other domains only after a login");
    if (!session->facts->relay)
        return refuse_recipient(session, "550 5.7.1 Mail to other domains is not taken here");
    if (session->mail.recipient_count > 0 && !session->mail.relayed)
        return refuse_recipient(session, "452 4.5.3 Other domains in a message of their own");
    r = session->host->relay(session->context, &session->mail, address, &reply);
    if (r == SMTP_TAKEN)
        return accept_recipient(session, address, true);
    if (r == SMTP_REFUSED) {
        session->mail.refused_count++;
        return smtp_reply(session, "%s", text_str(&reply));
    }
    return refuse_recipient(session, "451 4.4.1 The relay does not answer, try later");
}

static int local_recipient(struct smtp_session *session, const char *address)
{
    if (session->mail.recipient_count > 0 && session->mail.relayed)
        return refuse_recipient(session, "452 4.5.3 This domain in a message of its own");
    return accept_recipient(session, address, false);
}

/* Reads the argument of RCPT. Returns NULL or a refusal. */
static const char *read_recipient(const struct smtp_session *session, struct span argument,
                                  struct smtp_path *ret_path)
{
    struct smtp_parameter parameter;

    if (!span_starts_nocase(argument, SPAN_LIT("TO:")))
        return "501 5.5.4 Write RCPT TO:<address>";
    argument = span_skip(argument, 3);
    switch (smtp_path_take(&argument, ret_path)) {
    case SMTP_PATH_OK:
        break;
    case SMTP_PATH_NO_DOMAIN:
        if (!span_equal_nocase(span_of_text(ret_path->address), SPAN_LIT("postmaster")))
            return "501 5.1.3 The recipient needs a domain";
        break;
    default:
        return "501 5.1.3 Write the recipient as <name@domain>";
    }
    if (smtp_path_parameter(&argument, &parameter))
        return "555 5.5.4 Unknown parameter";
    if (argument.size > 0)
        return "501 5.5.4 Bad parameter";
    if (!ret_path->ascii && !session->mail.utf8)
        return "553 5.6.7 That address needs SMTPUTF8";
    return NULL;
}

int smtp_command_rcpt(struct smtp_session *session, struct span argument)
{
    struct smtp_path path;
    const char *refusal;

    if (!session->in_transaction)
        return smtp_reply_error(session, "503 5.5.1 Say MAIL first");
    if (session->chunking)
        return smtp_reply_error(session, "503 5.5.1 The message has begun");
    refusal = read_recipient(session, argument, &path);
    if (refusal)
        return refuse_recipient(session, refusal);
    if (session->mail.recipient_count >= session->facts->max_recipients)
        return refuse_recipient(session, "452 4.5.3 Too many recipients");
    switch (session->host->recipient(session->context, path.address)) {
    case SMTP_RECIPIENT_LOCAL:
        return local_recipient(session, path.address);
    case SMTP_RECIPIENT_ELSEWHERE:
        return relay_recipient(session, path.address);
    case SMTP_RECIPIENT_UNKNOWN:
        return refuse_recipient(session, "550 5.1.1 No such user here");
    default:
        return refuse_recipient(session, "451 4.3.0 Cannot look up users now, try later");
    }
}

/* Why no message may begin, or NULL. */
static const char *message_refusal(const struct smtp_session *session)
{
    if (!session->in_transaction)
        return "503 5.5.1 Say MAIL first";
    if (session->mail.recipient_count > 0)
        return NULL;
    if (session->mail.refused_count > 0)
        return "554 5.5.1 No valid recipients"; /* what pipelining runs into (RFC 2920 section 3.1)
                                                 */
    return "503 5.5.1 Say RCPT first";
}

/* The message is not wanted any more: gives up what was begun; its rest is read and dropped. The
 * first reason stays. */
static void discard(struct smtp_session *session, const char *verdict)
{
    if (session->verdict[0] == '\0')
        snprintf(session->verdict, sizeof(session->verdict), "%s", verdict);
    if (session->delivering)
        session->host->abort(session->context);
    session->delivering = false;
}

static void begin_message(struct smtp_session *session)
{
    char room[SMTP_REPLY_MAX - 2];
    struct text reply = TEXT_OVER(room);
    int r = session->host->begin(session->context, &session->mail, &reply);

    session->delivering = r == SMTP_TAKEN;
    if (r == SMTP_REFUSED)
        discard(session, text_str(&reply));
    else if (r != SMTP_TAKEN)
        discard(session, reply_for_error(session, r));
}

/* Counts all octets, and hands on those within the limit: so the outcome does not depend on how the
 * input was cut. */
static void keep_octets(struct smtp_session *session, struct span octets)
{
    uint64_t limit = session->facts->limit_bytes, bytes = session->mail.bytes;
    uint64_t room = bytes < limit ? limit - bytes : 0;
    struct span fitting = span_first(octets, room < octets.size ? (size_t)room : octets.size);
    int r;

    session->mail.bytes += octets.size;
    if (session->verdict[0] == '\0' && fitting.size > 0) {
        r = session->host->write(session->context, fitting);
        if (r < 0)
            discard(session, reply_for_error(session, r));
    }
    if (session->mail.bytes > limit)
        discard(session, TOO_BIG);
}

/* A bare CR or LF anywhere is told rather than what else went wrong with the message. */
static void judge_line_ends(struct smtp_session *session, const char *refusal)
{
    if (!session->data.bare)
        return;
    discard(session, refusal);
    snprintf(session->verdict, sizeof(session->verdict), "%s", refusal);
}

/* All octets are here. Nothing but what commit() answers is ever turned into 250. */
static int finish_message(struct smtp_session *session)
{
    char room[SMTP_REPLY_MAX - 2], verdict[SMTP_REPLY_MAX];
    struct text reply = TEXT_OVER(room);
    int r;

    session->phase = SMTP_PHASE_COMMAND;
    if (session->verdict[0] == '\0') {
        r = session->host->commit(session->context, &reply);
        session->delivering = false;
        if (r == SMTP_TAKEN)
            snprintf(session->verdict, sizeof(session->verdict), "250 2.0.0 Taken as %s",
                     session->mail.id);
        else if (r == SMTP_REFUSED)
            discard(session, text_str(&reply));
        else
            discard(session, reply_for_error(session, r));
    }
    memcpy(verdict, session->verdict, sizeof(verdict));
    smtp_end_transaction(session, verdict);
    return smtp_reply(session, "%s", verdict);
}

int smtp_command_data(struct smtp_session *session, struct span argument)
{
    const char *refusal = message_refusal(session);

    if (argument.size > 0)
        return smtp_reply_error(session, "501 5.5.4 DATA takes no argument");
    if (refusal)
        return refuse(session, refusal);
    if (session->chunking)
        return smtp_reply_error(session, "503 5.5.1 BDAT has begun this message");
    smtp_data_init(&session->data);
    begin_message(session);
    if (!session->delivering)
        return finish_message(session);
    session->phase = SMTP_PHASE_DATA;
    return smtp_reply(session, "354 Send the message, end with CR LF . CR LF");
}

int smtp_take_data(struct smtp_session *session, struct span *in)
{
    struct span piece;
    int r = smtp_data_next(&session->data, in, &piece);

    judge_line_ends(session, BARE_IN_DATA);
    if (r == SMTP_DATA_TEXT)
        keep_octets(session, piece);
    return r == SMTP_DATA_END ? finish_message(session) : 0;
}

/* "n" or "n LAST". A size that is none leaves unknown what follows: commands, or octets of a
 * message. */
static bool read_chunk_size(struct smtp_session *session, struct span argument)
{
    struct span size = span_take_word(&argument), last = span_take_word(&argument);

    if (!span_parse_u64(size, &session->chunk_size) || session->chunk_size > INT64_MAX)
        return false;
    if (argument.size > 0 || (last.size > 0 && !span_equal_nocase(last, SPAN_LIT("LAST"))))
        return false;
    session->chunk_left = session->chunk_size;
    session->chunk_last = last.size > 0;
    return true;
}

static int finish_chunk(struct smtp_session *session)
{
    char verdict[SMTP_REPLY_MAX];

    session->phase = SMTP_PHASE_COMMAND;
    if (session->chunking && session->chunk_last) {
        bool unended = session->mail.bytes > 0 && smtp_data_end_chunks(&session->data);

        judge_line_ends(session, BARE_IN_CHUNK);
        if (unended && !session->data.bare)
            keep_octets(session, SPAN_LIT("\r\n"));
        return finish_message(session);
    }
    if (session->verdict[0] == '\0')
        return smtp_reply(session, "250 2.0.0 %llu octets received",
                          (unsigned long long)session->chunk_size);
    /* A chunk that fails ends its transaction: those that are on their way get 503. */
    memcpy(verdict, session->verdict, sizeof(verdict));
    session->verdict[0] = '\0';
    smtp_end_transaction(session, verdict);
    return refuse(session, verdict);
}

int smtp_command_bdat(struct smtp_session *session, struct span argument)
{
    const char *refusal = message_refusal(session);

    if (!read_chunk_size(session, argument)) {
        smtp_end_transaction(session, "no message");
        session->phase = SMTP_PHASE_CLOSED;
        return smtp_reply(session, "501 5.5.4 Write BDAT octets [LAST]; closing");
    }
    session->phase = SMTP_PHASE_CHUNK;
    if (refusal) {
        discard(session, refusal);
    } else if (!session->chunking) {
        smtp_data_init(&session->data);
        begin_message(session);
        session->chunking = true;
    }
    return session->chunk_left == 0 ? finish_chunk(session) : 0;
}

int smtp_take_chunk(struct smtp_session *session, struct span *in)
{
    uint64_t left = session->chunk_left;
    struct span octets = span_first(*in, left < in->size ? (size_t)left : in->size);

    *in = span_skip(*in, octets.size);
    session->chunk_left -= octets.size;
    if (session->chunking) {
        smtp_data_watch_chunk(&session->data, octets);
        judge_line_ends(session, BARE_IN_CHUNK);
        keep_octets(session, octets);
    }
    return session->chunk_left == 0 ? finish_chunk(session) : 0;
}
