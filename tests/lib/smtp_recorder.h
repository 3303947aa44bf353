/* A host for smtp_session that writes down what it is asked and what is replied, for the unit test
 * and the fuzz target.
 *
 * It knows a small world: anna@example.org (password "secret"), bert@example.org and postmaster are
 * local; the users cannot be looked up for broken@example.org; every other address of example.org
 * is unknown; the relay refuses no@..., is not there for off@..., and takes the rest. `room_bytes`
 * is the space of its disk. */
#ifndef GATEPOST_TESTS_SMTP_RECORDER_H
#define GATEPOST_TESTS_SMTP_RECORDER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/smtp_session.h"

struct recorder {
    struct smtp_session session;
    struct smtp_facts facts;
    FILE *trace;   /* replies as "S: ...", calls as their names */
    FILE *message; /* what was written since begin(); dropped by abort() */
    char *trace_text, *message_text;
    size_t trace_size, message_size;
    size_t room_bytes;
    int begin_result, commit_result, login_result; /* 0: as it should be */
    bool delivering;                               /* for the order of calls */
    unsigned commits;
};

static int recorder_send(void *context, struct span reply)
{
    struct recorder *recorder = context;

    while (reply.size > 0) {
        size_t size = span_find(reply, '\n') + 1;

        if (size > reply.size || reply.size > SMTP_REPLY_MAX)
            abort(); /* no whole line */
        fprintf(recorder->trace, "S: %.*s", (int)size, (const char *)reply.data);
        reply = span_skip(reply, size);
    }
    return 0;
}

static int recorder_login(void *context, struct span name, struct span password, char *ret_user)
{
    struct recorder *recorder = context;

    fprintf(recorder->trace, "login %.*s/%.*s\n", (int)name.size, (const char *)name.data,
            (int)password.size, (const char *)password.data);
    if (recorder->login_result)
        return recorder->login_result;
    if (!span_equal(name, SPAN_LIT("anna")) || !span_equal(password, SPAN_LIT("secret")))
        return SMTP_LOGIN_WRONG;
    strcpy(ret_user, "anna@example.org");
    return SMTP_LOGIN_OK;
}

static int recorder_recipient(void *context, const char *address)
{
    struct recorder *recorder = context;

    fprintf(recorder->trace, "recipient %s\n", address);
    if (strcmp(address, "anna@example.org") == 0 || strcmp(address, "bert@example.org") == 0 ||
        strncasecmp(address, "postmaster", 10) == 0)
        return SMTP_RECIPIENT_LOCAL;
    if (strcmp(address, "broken@example.org") == 0)
        return -EIO;
    if (strcasecmp(smtp_path_domain(address), "example.org") == 0)
        return SMTP_RECIPIENT_UNKNOWN;
    return SMTP_RECIPIENT_ELSEWHERE;
}

static int recorder_relay(void *context, const struct smtp_transaction *mail, const char *address,
                          struct text *reply)
{
    struct recorder *recorder = context;

    if (!recorder->facts.relay || recorder->session.user[0] == '\0')
        abort(); /* an open relay */
    fprintf(recorder->trace, "relay %s -> %s\n", mail->from, address);
    if (strncmp(address, "off@", 4) == 0)
        return -ECONNREFUSED;
    if (strncmp(address, "no@", 3) != 0)
        return SMTP_TAKEN;
    text_puts(reply, "550 5.1.1 The relay says no");
    return SMTP_REFUSED;
}

static void recorder_drop_message(struct recorder *recorder)
{
    if (recorder->message)
        fclose(recorder->message);
    free(recorder->message_text);
    recorder->message = NULL;
    recorder->message_text = NULL;
    recorder->message_size = 0;
}

static int recorder_begin(void *context, const struct smtp_transaction *mail, struct text *reply)
{
    struct recorder *recorder = context;

    fprintf(recorder->trace, "begin %s <%s>%s%s%s", mail->id, mail->from,
            mail->eight_bit ? " 8bit" : "", mail->utf8 ? " utf8" : "",
            mail->relayed ? " relayed" : "");
    for (size_t i = 0; i < mail->recipient_count; i++)
        fprintf(recorder->trace, " %s", mail->recipients[i]);
    fprintf(recorder->trace, "\n");
    if (recorder->delivering || mail->recipient_count == 0)
        abort();
    if (recorder->begin_result == SMTP_REFUSED)
        text_puts(reply, "554 5.7.0 Not begun");
    if (recorder->begin_result)
        return recorder->begin_result;
    recorder_drop_message(recorder);
    recorder->message = open_memstream(&recorder->message_text, &recorder->message_size);
    recorder->delivering = true;
    return SMTP_TAKEN;
}

static int recorder_write(void *context, struct span octets)
{
    struct recorder *recorder = context;

    if (!recorder->delivering)
        abort();
    fwrite(octets.data, 1, octets.size, recorder->message);
    fflush(recorder->message);
    return recorder->message_size > recorder->room_bytes ? -ENOSPC : 0;
}

static int recorder_commit(void *context, struct text *reply)
{
    struct recorder *recorder = context;

    if (!recorder->delivering)
        abort();
    recorder->delivering = false;
    fprintf(recorder->trace, "commit [%.*s]\n", (int)recorder->message_size,
            recorder->message_text);
    if (recorder->commit_result == SMTP_REFUSED)
        text_puts(reply, "554 5.6.0 Not committed");
    if (recorder->commit_result)
        return recorder->commit_result;
    recorder->commits++;
    return SMTP_TAKEN;
}

static void recorder_abort(void *context)
{
    struct recorder *recorder = context;

    if (!recorder->delivering)
        abort();
    recorder->delivering = false;
    recorder_drop_message(recorder);
    fprintf(recorder->trace, "abort\n");
}

static void recorder_end(void *context, const struct smtp_transaction *mail, struct span verdict)
{
    struct recorder *recorder = context;

    if (recorder->delivering)
        abort();
    fprintf(recorder->trace, "end %s bytes=%llu %.*s\n", mail->id, (unsigned long long)mail->bytes,
            (int)verdict.size, (const char *)verdict.data);
}

static const struct smtp_host recorder_host = {
    .send = recorder_send,
    .login = recorder_login,
    .recipient = recorder_recipient,
    .relay = recorder_relay,
    .begin = recorder_begin,
    .write = recorder_write,
    .commit = recorder_commit,
    .abort = recorder_abort,
    .end = recorder_end,
};

static void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){ .room_bytes = SIZE_MAX };
    recorder->facts = (struct smtp_facts){
        .hostname = "mail.example.org",
        .id = "id",
        .auth_without_tls = true,
        .limit_bytes = 1000,
        .max_recipients = 3,
        .max_errors = 10,
    };
    recorder->trace = open_memstream(&recorder->trace_text, &recorder->trace_size);
}

/* Plays `input` cut into pieces of `piece` bytes, each with its own end, and the client's leaving.
 * Returns what the last feed returned; the trace is complete then. */
static int recorder_play(struct recorder *recorder, struct span input, size_t piece)
{
    int r = SMTP_SESSION_OPEN;

    smtp_session_init(&recorder->session, &recorder->facts, &recorder_host, recorder);
    while (input.size > 0 && r == SMTP_SESSION_OPEN) {
        size_t size = piece < input.size ? piece : input.size;
        unsigned char *copy = malloc(size); /* exact, so that the address sanitizer sees the end */

        if (!copy)
            abort();
        memcpy(copy, input.data, size);
        r = smtp_session_feed(&recorder->session, span_of(copy, size));
        free(copy);
        input = span_skip(input, size);
    }
    smtp_session_deinit(&recorder->session);
    if (recorder->delivering)
        abort();
    fflush(recorder->trace);
    return r;
}

static void recorder_deinit(struct recorder *recorder)
{
    recorder_drop_message(recorder);
    fclose(recorder->trace);
    free(recorder->trace_text);
}

#endif
