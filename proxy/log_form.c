/* Puts lines into their forms. A peer's octets came here escaped; what a child sends is made
 * harmless once more. Cannot fail: LOG_FORM_MAX is enough for all. */
#include "proxy/log_form.h"

#include <time.h>
#include <unistd.h>

#define FACILITY_MAIL 2

/* Priorities of syslog(3), by enum log_level. */
static unsigned priority(enum log_level level)
{
    static const unsigned char numbers[] = { 3, 4, 5, 6, 7 };

    return numbers[level];
}

/* Takes the identifier off the line: what a log's reader selects by. */
static const char *take_identifier(struct span *line)
{
    static const char *const own[] = { "gatepost", "dovecot" };

    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        struct span name = span_of_text(own[i]), after = span_skip(*line, name.size);

        if (!span_equal(span_first(*line, name.size), name) ||
            !span_equal(span_first(after, 2), SPAN_LIT(": ")))
            continue;
        *line = span_skip(after, 2);
        return own[i];
    }
    return own[0];
}

void log_form_terminal(struct text *into, enum log_level level, struct span line,
                       struct span fields)
{
    (void)fields;
    log_put_terminal(into, level, line);
}

/* What systemd makes of a stream: sd-daemon(3). */
void log_form_stream(struct text *into, enum log_level level, struct span line, struct span fields)
{
    (void)fields;
    text_printf(into, "<%u>", priority(level));
    log_put_clean(into, line);
    text_puts(into, "\n");
}

void log_form_syslog(struct text *into, enum log_level level, struct span line, struct span fields)
{
    const char *identifier = take_identifier(&line);
    time_t now = time(NULL);
    char when[32];
    struct tm local;

    (void)fields;
    localtime_r(&now, &local);
    strftime(when, sizeof(when), "%b %e %H:%M:%S", &local);
    text_printf(into, "<%u>%s %s[%d]: ", FACILITY_MAIL << 3 | priority(level), when, identifier,
                (int)getpid());
    log_put_clean(into, line);
}

/* A field that a child sent: only those that are ours pass, and only as one line. */
static bool is_field(struct span field)
{
    struct span key = span_first(field, span_find(field, '=')), prefix = SPAN_LIT("GATEPOST_");

    if (key.size == field.size || !span_equal(span_first(key, prefix.size), prefix))
        return false;
    for (size_t i = prefix.size; i < key.size; i++)
        if ((key.data[i] < 'A' || key.data[i] > 'Z') && key.data[i] != '_')
            return false;
    for (size_t i = key.size; i < field.size; i++)
        if (field.data[i] < 0x20 || field.data[i] >= 0x7f)
            return false;
    return true;
}

void log_form_journal(struct text *into, enum log_level level, struct span line, struct span fields)
{
    text_printf(into,
                "PRIORITY=%u\nSYSLOG_FACILITY=%u\nSYSLOG_IDENTIFIER=%s\nMESSAGE=", priority(level),
                FACILITY_MAIL, take_identifier(&line));
    log_put_clean(into, line);
    text_puts(into, "\n");
    while (fields.size > 0) {
        struct span field = span_first(fields, span_find(fields, '\n'));

        fields = span_skip(fields, field.size + 1);
        if (!is_field(field))
            continue;
        text_put(into, field);
        text_puts(into, "\n");
    }
}
