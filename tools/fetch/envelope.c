/* From the octets of a header to an envelope.
 *
 * Happy path: each line is cut into name and value; values of fields with addresses are kept, up to
 * a limit; at the empty line the fields that count are chosen and their addresses read. What cannot
 * be understood in a field that does not count (the To of a message that is resent) harms nobody.
 * The first thing that is wrong ends it all, with words. */
#include "tools/fetch/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "proxy/base/text.h"
#include "tools/fetch/address_list.h"
#include "tools/fetch/wire.h"

_Static_assert(ENVELOPE_ADDRESS_MAX == ADDRESS_MAX, "an address is an address");

/* "FROM:<" and ">\n" around an address: what PUSH sends takes one octet more. */
#define LINE_ROOM  (ADDRESS_MAX + 8)
#define LINES_ROOM ((ENVELOPE_RECIPIENTS_MAX + 1) * LINE_ROOM + 1)

#define FIELD_COUNT_MAX 256 /* fields with addresses; guessed: mail has three */
#define NAME_ROOM       32  /* longer than any name below */
#define WORDS_ROOM      320
#define EXCERPT         60 /* octets of what is wrong, in the words */

enum kind {
    OTHER,
    DATE,
    MESSAGE_ID,
    RECEIVED,
    RETURN_PATH,
    FROM,
    SENDER,
    TO,
    CC,
    BCC,
    RESENT_FROM,
    RESENT_SENDER,
    RESENT_TO,
    RESENT_CC,
    RESENT_BCC,
    RESENT_DATE,
    RESENT_MESSAGE_ID,
    KINDS
};

static const char *const names[KINDS] = {
    [OTHER] = "",
    [DATE] = "Date",
    [MESSAGE_ID] = "Message-ID",
    [RECEIVED] = "Received",
    [RETURN_PATH] = "Return-Path",
    [FROM] = "From",
    [SENDER] = "Sender",
    [TO] = "To",
    [CC] = "Cc",
    [BCC] = "Bcc",
    [RESENT_FROM] = "Resent-From",
    [RESENT_SENDER] = "Resent-Sender",
    [RESENT_TO] = "Resent-To",
    [RESENT_CC] = "Resent-Cc",
    [RESENT_BCC] = "Resent-Bcc",
    [RESENT_DATE] = "Resent-Date",
    [RESENT_MESSAGE_ID] = "Resent-Message-ID",
};

struct field {
    enum kind kind;
    size_t at, size; /* of its value in `values` */
};

enum place { IN_NAME, BEHIND_NAME, IN_VALUE };

struct envelope {
    int result;
    char *sender; /* that was given, or NULL */

    struct wire_lines lines;
    uint64_t octets; /* of the header */
    uint64_t number; /* of the line, from 0 */
    bool in_line, any_field, keeping;
    enum place place;
    char name[NAME_ROOM];
    size_t name_size; /* NAME_ROOM: longer */

    bool has[KINDS];
    bool resent;      /* a Resent- field was there */
    bool resent_over; /* and the topmost block of them is over */
    struct field fields[FIELD_COUNT_MAX];
    size_t field_count;
    char *values;
    size_t values_size, values_room;

    char out[LINES_ROOM];
    size_t recipients;
    char words[WORDS_ROOM];
};

int envelope_new(const char *sender, struct envelope **ret_envelope)
{
    struct envelope *envelope = calloc(1, sizeof(*envelope));

    if (!envelope)
        return -ENOMEM;
    envelope->result = ENVELOPE_MORE;
    if (sender && !(envelope->sender = strdup(sender))) {
        envelope_free(envelope);
        return -ENOMEM;
    }
    *ret_envelope = envelope;
    return 0;
}

void envelope_free(struct envelope *envelope)
{
    if (!envelope)
        return;
    free(envelope->sender);
    free(envelope->values);
    free(envelope);
}

/* "FIELD: why: what". Returns ENVELOPE_REFUSED. */
static int refuse(struct envelope *envelope, const char *field, const char *why, struct span what)
{
    struct text words = TEXT_OVER(envelope->words);

    text_printf(&words, "%s%s%s", field, field[0] ? ": " : "", why);
    what = span_trim(what);
    if (what.size > 0) {
        text_puts(&words, ": ");
        text_put_escaped(&words, what, EXCERPT);
    }
    text_str(&words);
    envelope->result = ENVELOPE_REFUSED;
    return ENVELOPE_REFUSED;
}

static int refuse_line(struct envelope *envelope, const char *why)
{
    char words[96];

    snprintf(words, sizeof(words), "line %llu of the header %s",
             (unsigned long long)envelope->number + 1, why);
    return refuse(envelope, "", words, span_of(envelope->name, envelope->name_size));
}

/* ---- the fields that count ---- */

static struct span value_of(const struct envelope *envelope, const struct field *field)
{
    return field->size > 0 ? span_of(envelope->values + field->at, field->size) : span_of("", 0);
}

static const struct field *first_field(const struct envelope *envelope, enum kind kind)
{
    for (size_t i = 0; i < envelope->field_count; i++)
        if (envelope->fields[i].kind == kind)
            return &envelope->fields[i];
    return NULL;
}

static void put_line(struct envelope *envelope, const char *keyword, const char *address)
{
    size_t size = strlen(envelope->out);

    snprintf(envelope->out + size, sizeof(envelope->out) - size, "%s:<%s>\n", keyword, address);
}

/* The first address of a list. 0 or ENVELOPE_REFUSED. `null` is allowed as "<>" or nothing. */
static int take_sender(struct envelope *envelope, const char *field, struct span value, bool null)
{
    struct address_list list;
    struct address address = { "" };
    struct span trimmed = span_trim(value);
    int r;

    address_list_init(&list, value);
    if (null && (trimmed.size == 0 || span_equal(trimmed, SPAN_LIT("<>"))))
        r = ADDRESS_FOUND;
    else
        r = address_list_next(&list, &address);
    if (r == ADDRESS_BAD)
        return refuse(envelope, field, list.why, list.what);
    if (r == ADDRESS_END)
        return refuse(envelope, field, "no address", value);
    put_line(envelope, "FROM", address.text);
    return 0;
}

static int choose_sender(struct envelope *envelope)
{
    static const enum kind own[] = { RETURN_PATH, SENDER, FROM };
    static const enum kind resent[] = { RESENT_SENDER, RESENT_FROM };
    const enum kind *kinds = envelope->resent ? resent : own;
    size_t count = envelope->resent ? 2 : 3;

    if (envelope->sender)
        return take_sender(envelope, "the sender that was given", span_of_text(envelope->sender),
                           true);
    for (size_t i = 0; i < count; i++) {
        const struct field *field = first_field(envelope, kinds[i]);

        if (field)
            return take_sender(envelope, names[kinds[i]], value_of(envelope, field),
                               kinds[i] == RETURN_PATH);
    }
    return refuse(envelope, "", envelope->resent ? "no Resent-From" : "no From", span_of(NULL, 0));
}

/* The same mailbox: domains know no case, local parts may (RFC 5321 section 2.4). */
static bool same_address(struct span a, struct span b)
{
    size_t local = a.size;

    while (local > 0 && a.data[local - 1] != '@')
        local--;
    return a.size == b.size && span_equal(span_first(a, local), span_first(b, local)) &&
           span_equal_nocase(span_skip(a, local), span_skip(b, local));
}

static bool is_known(const struct envelope *envelope, struct span address)
{
    struct span rest = span_of_text(envelope->out);

    while (rest.size > 0) {
        size_t size = span_find(rest, '\n');
        struct span line = span_first(rest, size);

        rest = span_skip(rest, size + 1);
        if (line.size > 5 && span_starts_nocase(line, SPAN_LIT("TO:<")) &&
            same_address(span_of(line.data + 4, line.size - 5), address))
            return true;
    }
    return false;
}

static int take_recipients(struct envelope *envelope, const struct field *field)
{
    const char *name = names[field->kind];
    struct address_list list;
    struct address address;
    int r;

    address_list_init(&list, value_of(envelope, field));
    while ((r = address_list_next(&list, &address)) == ADDRESS_FOUND) {
        if (is_known(envelope, span_of_text(address.text)))
            continue;
        if (envelope->recipients++ == ENVELOPE_RECIPIENTS_MAX)
            return refuse(envelope, name, "more than 100 recipients", span_of(NULL, 0));
        put_line(envelope, "TO", address.text);
    }
    return r == ADDRESS_BAD ? refuse(envelope, name, list.why, list.what) : 0;
}

static int choose_recipients(struct envelope *envelope)
{
    enum kind first = envelope->resent ? RESENT_TO : TO, last = envelope->resent ? RESENT_BCC : BCC;

    for (size_t i = 0; i < envelope->field_count; i++) {
        const struct field *field = &envelope->fields[i];
        int r = field->kind >= first && field->kind <= last ? take_recipients(envelope, field) : 0;

        if (r != 0)
            return r;
    }
    if (envelope->recipients > 0)
        return 0;
    return refuse(envelope, "",
                  envelope->resent ? "no recipient in Resent-To, Resent-Cc or Resent-Bcc"
                                   : "no recipient in To, Cc or Bcc",
                  span_of(NULL, 0));
}

static int finish(struct envelope *envelope)
{
    if (!envelope->any_field)
        return refuse(envelope, "", "there is no header", span_of(NULL, 0));
    if (choose_sender(envelope) == 0 && choose_recipients(envelope) == 0)
        envelope->result = ENVELOPE_READY;
    return envelope->result;
}

/* ---- octets ---- */

static enum kind kind_of(const char *name, size_t size)
{
    for (int kind = OTHER + 1; kind < KINDS; kind++)
        if (strlen(names[kind]) == size && strncasecmp(names[kind], name, size) == 0)
            return (enum kind)kind;
    return OTHER;
}

/* Resent- fields are put on top of all others at each resending: the topmost block is over where
 * one of its names comes again, or where the path of an earlier journey begins (RFC 5322
 * section 3.6.6). Does this field belong to the block, or is it none of these? */
static bool counts(struct envelope *envelope, enum kind kind)
{
    if (kind < RESENT_FROM) {
        envelope->resent_over |= envelope->resent && (kind == RECEIVED || kind == RETURN_PATH);
        return true;
    }
    envelope->resent_over |= envelope->has[kind];
    envelope->resent = true;
    return !envelope->resent_over;
}

static int begin_value(struct envelope *envelope)
{
    enum kind kind = kind_of(envelope->name, envelope->name_size);
    bool used = counts(envelope, kind);

    envelope->place = IN_VALUE;
    envelope->any_field = true;
    envelope->has[kind] = true;
    envelope->keeping =
        used && kind >= RETURN_PATH && kind != RESENT_DATE && kind != RESENT_MESSAGE_ID;
    if (!envelope->keeping)
        return 0;
    if (envelope->field_count == FIELD_COUNT_MAX)
        return refuse(envelope, names[kind], "too many fields with addresses", span_of(NULL, 0));
    envelope->fields[envelope->field_count++] = (struct field){ kind, envelope->values_size, 0 };
    return 0;
}

static int keep(struct envelope *envelope, unsigned char octet)
{
    struct field *field = &envelope->fields[envelope->field_count - 1];

    if (envelope->values_size == ENVELOPE_FIELDS_MAX)
        return refuse(envelope, names[field->kind], "too many addresses", span_of(NULL, 0));
    if (envelope->values_size == envelope->values_room) {
        size_t room = envelope->values_room ? 2 * envelope->values_room : 512;
        char *values = realloc(envelope->values, room);

        if (!values)
            return -ENOMEM;
        envelope->values = values;
        envelope->values_room = room;
    }
    envelope->values[envelope->values_size++] = (char)octet;
    field->size++;
    return 0;
}

static int put_in_name(struct envelope *envelope, unsigned char octet)
{
    if (octet == ':')
        return envelope->name_size > 0 ? begin_value(envelope)
                                       : refuse_line(envelope, "has no name");
    if (octet == ' ' || octet == '\t') {
        envelope->place = BEHIND_NAME;
        return 0;
    }
    if (envelope->name_size < NAME_ROOM)
        envelope->name[envelope->name_size++] = (char)octet;
    if (envelope->place == BEHIND_NAME || octet < 33 || octet > 126)
        return refuse_line(envelope, "is no field");
    return 0;
}

static int put_first(struct envelope *envelope, unsigned char octet)
{
    envelope->in_line = true;
    if (octet != ' ' && octet != '\t') {
        envelope->place = IN_NAME;
        envelope->name_size = 0;
        return put_in_name(envelope, octet);
    }
    envelope->name_size = 0;
    envelope->place = IN_VALUE;
    if (!envelope->any_field)
        return refuse_line(envelope, "begins with a blank");
    return envelope->keeping ? keep(envelope, octet) : 0;
}

/* 0, ENVELOPE_REFUSED or -ENOMEM. */
static int put(struct envelope *envelope, unsigned char octet)
{
    if (octet == '\0')
        return refuse_line(envelope, "has a NUL");
    if (!envelope->in_line)
        return put_first(envelope, octet);
    if (envelope->place != IN_VALUE)
        return put_in_name(envelope, octet);
    return envelope->keeping ? keep(envelope, octet) : 0;
}

static int end_line(struct envelope *envelope)
{
    if (!envelope->in_line)
        return finish(envelope);
    if (envelope->place != IN_VALUE)
        return refuse_line(envelope, "is no field");
    envelope->in_line = false;
    envelope->number++;
    return 0;
}

/* 0, ENVELOPE_READY, ENVELOPE_REFUSED or -ENOMEM. */
static int take_octet(struct envelope *envelope, unsigned char octet)
{
    bool text;
    int r = 0;

    if (++envelope->octets > ENVELOPE_HEADER_MAX)
        return refuse(envelope, "", "the header is longer than 1 MiB", span_of(NULL, 0));
    for (unsigned ends = wire_lines_step(&envelope->lines, octet, &text); r == 0 && ends > 0;
         ends--)
        r = end_line(envelope);
    return r == 0 && text ? put(envelope, octet) : r;
}

int envelope_feed(struct envelope *envelope, struct span octets)
{
    for (size_t i = 0; i < octets.size && envelope->result == ENVELOPE_MORE; i++) {
        int r = take_octet(envelope, octets.data[i]);

        if (r < 0)
            return r;
    }
    return envelope->result;
}

int envelope_end(struct envelope *envelope)
{
    int r = 0;

    if (envelope->result != ENVELOPE_MORE)
        return envelope->result;
    for (unsigned ends = wire_lines_end(&envelope->lines); r == 0 && ends > 0; ends--)
        r = end_line(envelope);
    if (r == 0 && envelope->in_line)
        r = end_line(envelope);
    return r == 0 ? finish(envelope) : r;
}

const char *envelope_lines(const struct envelope *envelope)
{
    return envelope->out;
}

const char *envelope_words(const struct envelope *envelope)
{
    return envelope->words;
}

bool envelope_has_date(const struct envelope *envelope)
{
    return envelope->has[DATE];
}

bool envelope_has_message_id(const struct envelope *envelope)
{
    return envelope->has[MESSAGE_ID];
}
