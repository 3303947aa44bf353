/* Collects errors and warnings about a configuration and prints them with the line and a caret.
 *
 * Happy path: diagnostics_add() copies what it is given, diagnostics_print() writes all in the
 * order of adding. It fails in one way: no memory; then a diagnostic is counted and its words are
 * lost. At most DIAGNOSTICS_MAX are kept, so that a file that is no INI file at all fills neither
 * memory nor screen. */
#include "conf/diagnostics.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIAGNOSTICS_MAX 500
#define TEXT_MAX        240 /* octets of a line that are shown; longer than any legal line */
#define WORD_MAX        64  /* longer words are nobody's typing mistake */

struct diagnostic {
    enum diagnostic_kind kind;
    char *file; /* NULL: the whole configuration */
    unsigned line, column;
    char *text; /* NULL: no line to show */
    char *words;
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
    if (place && place->file) {
        diagnostic->file = strdup(place->file);
        diagnostic->line = place->line;
        diagnostic->column = place->column;
        diagnostic->text = place->text ? strndup(place->text, TEXT_MAX) : NULL;
    }
    diagnostics->count++;
}

/* A line of a file may hold anything, also what moves a terminal's cursor. */
static void print_harmless(const char *text, FILE *out)
{
    for (; *text; text++)
        putc(iscntrl((unsigned char)*text) && *text != '\t' ? '?' : *text, out);
}

/* The caret stands below column `column`: tabs stay tabs, a UTF-8 sequence is one place wide. */
static void print_caret(const char *text, unsigned column, FILE *out)
{
    for (unsigned i = 1; i < column && *text; i++, text++)
        if (((unsigned char)*text & 0xc0) != 0x80)
            putc(*text == '\t' ? '\t' : ' ', out);
    fputs("^\n", out);
}

static void print_one(const struct diagnostic *diagnostic, FILE *out)
{
    if (diagnostic->file) {
        print_harmless(diagnostic->file, out);
        if (diagnostic->line)
            fprintf(out, ":%u", diagnostic->line);
        fputs(": ", out);
    }
    fputs(diagnostic->kind == DIAGNOSTIC_ERROR ? "error: " : "warning: ", out);
    print_harmless(diagnostic->words, out);
    putc('\n', out);
    if (!diagnostic->text)
        return;
    fputs("    ", out);
    print_harmless(diagnostic->text, out);
    putc('\n', out);
    if (!diagnostic->column)
        return;
    fputs("    ", out);
    print_caret(diagnostic->text, diagnostic->column, out);
}

void diagnostics_print(const struct diagnostics *diagnostics, FILE *out)
{
    size_t lost = diagnostics->errors + diagnostics->warnings - diagnostics->count;

    for (size_t i = 0; i < diagnostics->count; i++)
        print_one(&diagnostics->items[i], out);
    if (lost)
        fprintf(out, "error: %zu more are not shown\n", lost);
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
