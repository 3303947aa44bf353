/* The envelope of an upload: "FROM:<...>", then "TO:<...>" lines.
 *
 * Happy path: every recipient is of this machine, or every one is the relay's. Refused where a path
 * is none, the user may not send there, or they are too many: all recipients or none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "backends/smtp_path.h"
#include "backends/uploads_private.h"

void upload_envelope_free(struct upload_envelope *envelope)
{
    for (size_t i = 0; i < envelope->mail.recipient_count; i++)
        free(envelope->mail.recipients[i]);
    free(envelope->mail.recipients);
    name_list_deinit(&envelope->users);
}

struct span upload_take_line(struct span *rest)
{
    size_t size = span_find(*rest, '\n');
    struct span line = span_first(*rest, size);

    *rest = span_skip(*rest, size + 1);
    return line;
}

/* "FROM:<...>" or "TO:<...>": the path, alone on its line. */
static int read_path(struct span line, const char *keyword, struct smtp_path *ret_path)
{
    struct span prefix = span_of_text(keyword);
    int r;

    if (!span_starts_nocase(line, prefix))
        return SMTP_PATH_SYNTAX;
    line = span_skip(line, prefix.size);
    r = smtp_path_take(&line, ret_path);
    return line.size > 0 || (r != SMTP_PATH_SYNTAX && r != SMTP_PATH_NULL && !ret_path->ascii)
               ? SMTP_PATH_SYNTAX
               : r;
}

static int add_recipient(struct uploads *uploads, struct upload_envelope *envelope,
                         struct span line, struct text *reason)
{
    const struct settings_mailstore *mailstore = &uploads->settings->mailstore;
    struct smtp_transaction *mail = &envelope->mail;
    struct smtp_path path = { .ascii = true };
    int r = read_path(line, "TO:", &path);
    char words[380];
    bool elsewhere;

    if (r != SMTP_PATH_OK &&
        !(r == SMTP_PATH_NO_DOMAIN && strcasecmp(path.address, "postmaster") == 0))
        return upload_refuse(uploads, reason, "SYNTAX",
                             "write recipients as TO:<name@domain>, in ASCII");
    if (mail->recipient_count >= mailstore->max_recipients)
        return upload_refuse(uploads, reason, "LIMIT", "too many recipients");
    r = recipients_find(&uploads->recipients, path.address, &envelope->users);
    if (r < 0)
        return r;
    snprintf(words, sizeof(words), "no such user here: <%s>", path.address);
    if (r == RECIPIENTS_UNKNOWN)
        return upload_refuse(uploads, reason, "PERM", words);
    elsewhere = r == RECIPIENTS_ELSEWHERE;
    snprintf(words, sizeof(words), "mail to other domains is not taken here: <%s>", path.address);
    if (elsewhere && !mailstore->relay[0])
        return upload_refuse(uploads, reason, "PERM", words);
    snprintf(words, sizeof(words), "this domain and others need messages of their own: <%s>",
             path.address);
    if (mail->recipient_count > 0 && mail->relayed != elsewhere)
        return upload_refuse(uploads, reason, "PERM", words);
    mail->relayed = elsewhere;
    mail->recipients[mail->recipient_count] = strdup(path.address);
    if (!mail->recipients[mail->recipient_count])
        return -ENOMEM;
    mail->recipient_count++;
    return UPLOAD_TAKEN;
}

int upload_read_envelope(struct uploads *uploads, struct span text,
                         struct upload_envelope *envelope, struct text *reason)
{
    struct smtp_path path = { .ascii = true };
    int r = read_path(upload_take_line(&text), "FROM:", &path);

    *envelope = (struct upload_envelope){ .users = { NULL, 0 } };
    snprintf(envelope->mail.id, sizeof(envelope->mail.id), "%s", uploads->id);
    if (r != SMTP_PATH_OK && r != SMTP_PATH_NULL)
        return upload_refuse(uploads, reason, "SYNTAX",
                             "write the sender as FROM:<name@domain>, in ASCII");
    strcpy(envelope->mail.from, r == SMTP_PATH_NULL ? "" : path.address);
    envelope->mail.recipients =
        calloc(uploads->settings->mailstore.max_recipients + 1, sizeof(*envelope->mail.recipients));
    if (!envelope->mail.recipients)
        return -ENOMEM;
    if (text.size == 0)
        return upload_refuse(uploads, reason, "SYNTAX", "no recipients");
    for (r = UPLOAD_TAKEN; r == UPLOAD_TAKEN && text.size > 0;)
        r = add_recipient(uploads, envelope, upload_take_line(&text), reason);
    return r;
}
