/* Collects errors and warnings about a configuration and prints them with the line and a caret.
 *
 * Happy path: diagnostics_add() copies what it is given, diagnostics_print() writes all in the
 * order of the files and their lines. It fails in one way: no memory; then a diagnostic is counted
 * and its words are lost. At most DIAGNOSTICS_MAX are kept, so that a file that is no INI file at
 * all fills neither memory nor screen. */
#include "conf/diagnostics.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/utf8.h"

#define DIAGNOSTICS_MAX 500
#define TEXT_MAX        240 /* octets of a line that are shown; longer than any legal line */
#define WORD_MAX        64  /* longer words are nobody's typing mistake */

struct diagnostic {
    enum diagnostic_kind kind;
    char *file; /* NULL: the whole configuration */
    unsigned line, column;
    char *text; /* NULL: no line to show */
    char *words;
    char *topic; /* NULL: none */
};

/* One of those that are printed, with what it is sorted by. */
struct printed {
    const struct diagnostic *diagnostic;
    size_t file; /* the files are numbered as they were first named */
    size_t number;
};

void diagnostics_init(struct diagnostics *diagnostics)
{
    memset(diagnostics, 0, sizeof(*diagnostics));
}

static void diagnostic_deinit(struct diagnostic *diagnostic)
{
    free(diagnostic->file);
    free(diagnostic->text);
    free(diagnostic->words);
    free(diagnostic->topic);
}

void diagnostics_deinit(struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++)
        diagnostic_deinit(&diagnostics->items[i]);
    free(diagnostics->items);
    diagnostics_init(diagnostics);
}

static struct diagnostic *make_room(struct diagnostics *diagnostics)
{
    struct diagnostic *items;
    size_t room;

    if (diagnostics->count == DIAGNOSTICS_MAX)
        return NULL;
    if (diagnostics->count == diagnostics->room) {
        room = diagnostics->room ? 2 * diagnostics->room : 8;
        items = realloc(diagnostics->items, room * sizeof(*items));
        if (!items)
            return NULL;
        diagnostics->items = items;
        diagnostics->room = room;
    }
    return memset(&diagnostics->items[diagnostics->count], 0, sizeof(struct diagnostic));
}

void diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_kind kind,
                     const struct diagnostic_place *place, const char *format, ...)
{
    struct diagnostic *diagnostic = make_room(diagnostics);
    va_list arguments;
    int printed;

    if (kind == DIAGNOSTIC_ERROR)
        diagnostics->errors++;
    else
        diagnostics->warnings++;
    if (!diagnostic)
        return;
    va_start(arguments, format);
    printed = vasprintf(&diagnostic->words, format, arguments);
    va_end(arguments);
    if (printed < 0) {
        diagnostic->words = NULL; /* vasprintf leaves it undefined */
        return;
    }
    diagnostic->kind = kind;
    if (place && place->topic)
        diagnostic->topic = strdup(place->topic);
    if (place && place->file) {
        diagnostic->file = strdup(place->file);
        diagnostic->line = place->line;
        diagnostic->column = place->column;
        diagnostic->text = place->text ? strndup(place->text, TEXT_MAX) : NULL;
    }
    diagnostics->count++;
}

/* The caret stands below column `column`: tabs stay tabs, a character of UTF-8 is one place wide,
 * and so is an octet that is none. */
static void print_caret(const char *text, unsigned column, FILE *out)
{
    size_t rest = strlen(text), size;

    for (unsigned i = 1; i < column && rest > 0; i += (unsigned)size, text += size, rest -= size) {
        putc(*text == '\t' ? '\t' : ' ', out);
        size = utf8_size(text, rest);
        if (size == 0)
            size = 1;
    }
    fputs("^\n", out);
}

static void print_text(const struct diagnostic *diagnostic, FILE *out)
{
    fputs("    ", out);
    utf8_print_harmless(diagnostic->text, out);
    putc('\n', out);
    if (!diagnostic->column)
        return;
    fputs("    ", out);
    print_caret(diagnostic->text, diagnostic->column, out);
}

static void print_one(const struct diagnostic *diagnostic, FILE *out)
{
    if (diagnostic->file) {
        utf8_print_harmless(diagnostic->file, out);
        if (diagnostic->line)
            fprintf(out, ":%u", diagnostic->line);
        fputs(": ", out);
    }
    fputs(diagnostic->kind == DIAGNOSTIC_ERROR ? "error: " : "warning: ", out);
    utf8_print_harmless(diagnostic->words, out);
    putc('\n', out);
    if (diagnostic->text)
        print_text(diagnostic, out);
    if (diagnostic->topic)
        fprintf(out, "    see gatepost.ini(5), %s\n", diagnostic->topic);
}

/* The number of the first one that names the same file; SIZE_MAX, which is the last, where none is
 * named. */
static size_t file_of(const struct diagnostics *diagnostics, size_t number)
{
    const char *file = diagnostics->items[number].file;

    for (size_t i = 0; file && i < number; i++)
        if (diagnostics->items[i].file && strcmp(diagnostics->items[i].file, file) == 0)
            return i;
    return file ? number : SIZE_MAX;
}

static int by_place(const void *a, const void *b)
{
    const struct printed *one = a, *other = b;

    if (one->file != other->file)
        return one->file < other->file ? -1 : 1;
    if (one->diagnostic->line != other->diagnostic->line)
        return one->diagnostic->line < other->diagnostic->line ? -1 : 1;
    return one->number < other->number ? -1 : 1;
}

/* Without memory, in the order of adding. */
void diagnostics_print(const struct diagnostics *diagnostics, FILE *out)
{
    size_t count = diagnostics->count, lost = diagnostics->errors + diagnostics->warnings - count;
    struct printed *printed = calloc(count + 1, sizeof(*printed));

    for (size_t i = 0; printed && i < count; i++)
        printed[i] = (struct printed){ &diagnostics->items[i], file_of(diagnostics, i), i };
    if (printed)
        qsort(printed, count, sizeof(*printed), by_place);
    for (size_t i = 0; i < count; i++)
        print_one(printed ? printed[i].diagnostic : &diagnostics->items[i], out);
    if (lost)
        fprintf(out, "error: %zu more are not shown\n", lost);
    free(printed);
}

static void print_number(size_t count, const char *what, FILE *out)
{
    fprintf(out, "%zu %s%s", count, what, count == 1 ? "" : "s");
}

void diagnostics_print_count(const struct diagnostics *diagnostics, FILE *out)
{
    if (diagnostics->errors == 0 && diagnostics->warnings == 0)
        fputs("nothing is wrong", out);
    if (diagnostics->errors > 0)
        print_number(diagnostics->errors, "error", out);
    if (diagnostics->errors > 0 && diagnostics->warnings > 0)
        fputs(", ", out);
    if (diagnostics->warnings > 0)
        print_number(diagnostics->warnings, "warning", out);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* How many letters are changed, added, left out or swapped with their neighbour between `a` and
 * `b`, both at most WORD_MAX long; upper and lower case are alike. */
static size_t word_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1]; /* the row before last, the last, this one */
    size_t *older = rows[0], *old = rows[1], *now = rows[2], *swap;
    size_t a_size = strlen(a), b_size = strlen(b);

    memset(rows, 0, sizeof(rows));
    for (size_t j = 0; j <= b_size; j++)
        now[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        swap = older, older = old, old = now, now = swap;
        now[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            now[j] = smallest(old[j] + 1, now[j - 1] + 1,
                              old[j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1));
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1]))
                now[j] = smallest(now[j], older[j - 2] + 1, now[j]);
        }
    }
    return now[b_size];
}

const char *diagnostics_nearest(const char *word, const char *const *candidates, size_t count)
{
    size_t size = strlen(word), best = size / 3 + 1, distance;
    const char *nearest = NULL;

    if (size > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidates[i]) > WORD_MAX)
            continue;
        distance = word_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
