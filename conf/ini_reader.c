/* Feeds INI text to inih one checked line at a time.
 *
 * Happy path: inih asks give_line() for a line, gets it, splits it and calls take_entry(). A line
 * that is refused, and every whole-line comment, reaches inih as an empty line, so nothing in them
 * can become a setting. Whatever inih itself still objects to (its result is not 0) is an error as
 * well. */
#include "conf/ini_reader.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "conf/utf8.h"

#define INIH_NO_MEMORY (-2)

static const char byte_order_mark[3] = { '\xef', '\xbb', '\xbf' };

enum line_kind { LINE_EMPTY, LINE_SECTION, LINE_SETTING, LINE_CONTINUED };

struct reading {
    const struct ini_listener *listener;
    struct diagnostics *diagnostics;
    const char *rest; /* what is not read yet */
    size_t rest_size;
    const char *file;
    unsigned line_number;
    const char *whole;           /* the current line without its end, not terminated */
    size_t size;                 /* of `whole` */
    char line[INI_LINE_MAX + 1]; /* the same, terminated, cut where it is too long */
    unsigned value_column;
    enum line_kind kind;
    bool any_section;   /* below a section line, good or refused */
    bool in_section;    /* below a good section line: entries are told */
    bool in_entry;      /* below a good setting: it may be continued */
    bool below_refused; /* below a refused line: a continuation is not worth a second complaint */
};

static bool begins_with_mark(const char *text, size_t size)
{
    return size >= sizeof(byte_order_mark) &&
           memcmp(text, byte_order_mark, sizeof(byte_order_mark)) == 0;
}

static struct diagnostic_place place_at(const struct reading *reading, size_t offset)
{
    return (struct diagnostic_place){ reading->file, reading->line_number, (unsigned)offset + 1,
                                      reading->line, NULL };
}

/* Complains about the current line at `offset`; inih gets an empty one. */
static enum line_kind refuse(struct reading *reading, size_t offset, const char *words)
{
    struct diagnostic_place place = place_at(reading, offset);

    place.topic = INI_FORMAT_TOPIC;
    diagnostics_add(reading->diagnostics, DIAGNOSTIC_ERROR, &place, "%s", words);
    reading->in_entry = false;
    reading->below_refused = true;
    return LINE_EMPTY;
}

static size_t skip_blanks(const char *line, size_t offset)
{
    while (line[offset] == ' ' || line[offset] == '\t')
        offset++;
    return offset;
}

/* The first of `ends` or of an inline comment from `offset` on, or the line's end: the same places
 * as inih finds. */
static size_t find_end(const char *line, size_t offset, const char *ends)
{
    bool was_blank = false;

    for (; line[offset] && !strchr(ends, line[offset]); offset++) {
        if (was_blank && line[offset] == ';')
            break;
        was_blank = line[offset] == ' ' || line[offset] == '\t';
    }
    return offset;
}

/* What stands below a section line that is refused is not of the section above. */
static void leave_section(struct reading *reading)
{
    reading->any_section = true;
    reading->in_section = false;
}

/* `[name]`: tells the listener. inih would ignore what follows the ] and cut a long name. */
static enum line_kind judge_section(struct reading *reading)
{
    const char *line = reading->line;
    size_t end = find_end(line, 1, "]"), behind;
    struct diagnostic_place place = place_at(reading, 0);
    char name[INI_SECTION_MAX + 1];

    leave_section(reading);
    if (line[end] != ']')
        return refuse(reading, end, "the section's ] is missing");
    if (end - 1 > INI_SECTION_MAX)
        return refuse(reading, INI_SECTION_MAX + 1, "a section's name has at most 49 octets");
    behind = skip_blanks(line, end + 1);
    if (line[behind] && line[behind] != ';' && line[behind] != '#')
        return refuse(reading, behind, "nothing may follow a section's ] in its line");
    memcpy(name, line + 1, end - 1);
    name[end - 1] = '\0';
    reading->in_section = true;
    reading->in_entry = false;
    reading->below_refused = false;
    reading->listener->section(reading->listener->user, name, &place);
    return LINE_SECTION;
}

/* `key = value` at the first column. */
static enum line_kind judge_setting(struct reading *reading)
{
    const char *line = reading->line;
    size_t end = find_end(line, 0, "=:");

    if (line[end] == ':')
        return refuse(reading, end, "a key and its value are joined by =, not by :");
    if (line[end] != '=')
        return refuse(reading, end, "a setting is written as key = value; here the = is missing");
    if (end == 0)
        return refuse(reading, 0, "a key is missing before the =");
    reading->value_column = (unsigned)skip_blanks(line, end + 1) + 1;
    reading->in_entry = true;
    reading->below_refused = false;
    return LINE_SETTING;
}

/* "[2001:db8::1]:25" is an item of a list, "[smtp]" a section. */
static bool begins_with_section(const char *text)
{
    size_t end = strcspn(text, "] \t");

    return *text == '[' && strncmp(text + end, "]:", 2) != 0;
}

/* An indented line: inih takes whatever it holds, also a setting or a section, for more of the
 * value above. */
static enum line_kind judge_continued(struct reading *reading, size_t start)
{
    const char *line = reading->line;

    if (begins_with_section(line + start)) {
        leave_section(reading);
        return refuse(reading, start, "a section begins at the start of its line");
    }
    if (line[find_end(line, start, "=:/")] == '=') /* a path may hold one */
        return refuse(reading, start,
                      "a setting begins at the start of its line; an indented line goes on with "
                      "the value above");
    if (reading->below_refused)
        return LINE_EMPTY;
    if (!reading->in_entry)
        return refuse(reading, start,
                      "an indented line goes on with a setting, but there is none above it");
    reading->value_column = (unsigned)start + 1;
    return LINE_CONTINUED;
}

static enum line_kind refuse_control_character(struct reading *reading, size_t offset)
{
    if (reading->whole[offset] == '\r')
        return refuse(reading, offset, "a CR stands within the line; lines end with LF or CRLF");
    if (reading->whole[offset])
        return refuse(reading, offset, "the line holds a control character");
    return refuse(reading, offset, "the line holds a NUL; a settings file is plain text in UTF-8");
}

/* A settings file is UTF-8; an editor that saves something else has changed what is seen. */
static enum line_kind judge_encoding(struct reading *reading)
{
    bool mark = begins_with_mark(reading->whole, reading->size);
    size_t offset = 0, size = 1;

    while (size > 0 && offset < reading->size) {
        size = utf8_size(reading->whole + offset, reading->size - offset);
        offset += size;
    }
    if (size > 0 && !mark)
        return LINE_SETTING;
    if (reading->line[mark ? sizeof(byte_order_mark) : 0] == '[') /* terminated; whole is not */
        leave_section(reading);
    if (mark)
        return refuse(reading, 0,
                      "the line begins with a byte order mark, which is not seen; only the first "
                      "line may");
    return refuse(reading, offset, "the line is not UTF-8 from here on");
}

/* What the current line is. */
static enum line_kind judge_line(struct reading *reading)
{
    const char *line = reading->line;
    size_t start = skip_blanks(line, 0);

    for (size_t i = 0; i < reading->size; i++)
        if (iscntrl((unsigned char)reading->whole[i]) && reading->whole[i] != '\t')
            return refuse_control_character(reading, i);
    if (start == reading->size)
        return LINE_EMPTY;
    if (line[start] == ';' || line[start] == '#')
        return LINE_EMPTY;
    if (reading->size > INI_LINE_MAX)
        return refuse(
            reading, INI_LINE_MAX,
            "the line is too long: at most 198 octets (a list may go on in indented lines)");
    if (judge_encoding(reading) == LINE_EMPTY)
        return LINE_EMPTY;
    if (start > 0)
        return judge_continued(reading, start);
    return line[0] == '[' ? judge_section(reading) : judge_setting(reading);
}

/* Takes the next line off the rest, without LF or CRLF. */
static void cut_line(struct reading *reading)
{
    const char *line = reading->rest, *end = memchr(line, '\n', reading->rest_size);
    size_t size = end ? (size_t)(end - line) : reading->rest_size;
    size_t kept;

    reading->rest += size + (end != NULL);
    reading->rest_size -= size + (end != NULL);
    if (size > 0 && line[size - 1] == '\r')
        size--;
    reading->line_number++;
    reading->whole = line;
    reading->size = size;
    kept = size < INI_LINE_MAX ? size : INI_LINE_MAX;
    memcpy(reading->line, line, kept);
    reading->line[kept] = '\0';
}

/* What inih gets of the current line: all but a comment behind a continued value, which inih 55
 * would keep. */
static size_t given_size(const struct reading *reading)
{
    return reading->kind == LINE_CONTINUED ? find_end(reading->line, 0, "") : reading->size;
}

/* inih's fgets. A buffer that a legal line does not fit would make inih cut it: then the line is
 * refused. */
static char *give_line(char *into, int room, void *stream)
{
    struct reading *reading = stream;
    size_t size = 0;

    if (reading->rest_size == 0 || room < 2)
        return NULL;
    cut_line(reading);
    reading->kind = judge_line(reading);
    if (reading->kind != LINE_EMPTY && reading->size + 2 > (size_t)room)
        reading->kind =
            refuse(reading, (size_t)room - 2, "the line is too long for the INI library");
    if (reading->kind != LINE_EMPTY)
        size = given_size(reading);
    memcpy(into, reading->line, size);
    strcpy(into + size, "\n");
    return into;
}

/* inih's handler. The section that inih names is the one told last, or none. */
static int take_entry(void *user, const char *section, const char *key, const char *value)
{
    struct reading *reading = user;
    struct ini_entry entry = { key, value, reading->kind == LINE_CONTINUED, place_at(reading, 0),
                               reading->value_column };

    (void)section;
    if (!reading->any_section)
        refuse(reading, 0, "a setting stands before the first [section]");
    else if (reading->in_section)
        reading->listener->entry(reading->listener->user, &entry);
    return 1;
}

/* Windows calls it Unicode. Each of its lines would be refused for a NUL. */
static bool is_utf16(const char *text, size_t size)
{
    return size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}

int ini_reader_read(const char *text, size_t size, const char *file,
                    const struct ini_listener *listener, struct diagnostics *diagnostics)
{
    struct reading reading = { .listener = listener,
                               .diagnostics = diagnostics,
                               .file = file,
                               .rest = text,
                               .rest_size = size };
    size_t errors_before = diagnostics->errors;
    int result;

    if (is_utf16(text, size)) {
        struct diagnostic_place place = { file, 1, 0, NULL, INI_FORMAT_TOPIC };

        diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, &place,
                        "the file is UTF-16; save it as UTF-8");
        return -EINVAL;
    }
    if (begins_with_mark(text, size)) {
        reading.rest += sizeof(byte_order_mark);
        reading.rest_size -= sizeof(byte_order_mark);
    }
    result = ini_parse_stream(give_line, &reading, take_entry, &reading);
    if (result == INIH_NO_MEMORY)
        return -ENOMEM;
    if (result != 0 && diagnostics->errors == errors_before) {
        struct diagnostic_place place = { file, result > 0 ? (unsigned)result : 0, 0, NULL,
                                          INI_FORMAT_TOPIC };

        diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, &place,
                        "the INI library does not understand this line");
    }
    return diagnostics->errors == errors_before ? 0 : -EINVAL;
}
