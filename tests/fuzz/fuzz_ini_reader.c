/* Settings from random octets.
 *
 * Invariants: what does not load is told as an error; what loads is printed as a text that loads
 * without an error and is printed the same, and so does what is shown with origins, of all and of
 * what differs from the defaults; diagnostics can be printed, show no control character, and each
 * names what to read. */
#include "conf/settings.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *why, const char *text)
{
    fprintf(stderr, "%s:\n%s\n", why, text);
    abort();
}

static char *print_diagnostics(const struct diagnostics *diagnostics)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    diagnostics_print(diagnostics, out);
    fclose(out);
    for (size_t i = 0; i < size; i++)
        if (iscntrl((unsigned char)text[i]) && text[i] != '\n' && text[i] != '\t')
            give_up("a diagnostic shows a control character", text);
    return text;
}

/* A line of the text may look like such a line: there are at least as many. */
static void check_topics(const char *words, size_t count)
{
    static const char begin[] = "\n    see gatepost.ini(5), ";
    size_t found = 0;

    for (const char *at = words; (at = strstr(at, begin)); at++)
        found++;
    if (found < count)
        give_up("a diagnostic names nothing to read", words);
}

/* NULL where the text does not load; *ret_words, to be freed, are the diagnostics. */
static struct settings *load(const char *text, size_t size, char **ret_words)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    int result;

    diagnostics_init(&diagnostics);
    result = settings_load_text(text, size, "f", &diagnostics, &settings);
    *ret_words = print_diagnostics(&diagnostics);
    if ((result == 0) != (diagnostics.errors == 0) || (result == 0) != (settings != NULL))
        give_up("the result does not agree with the diagnostics", *ret_words);
    check_topics(*ret_words, diagnostics.count);
    diagnostics_deinit(&diagnostics);
    return settings;
}

enum form { PLAIN, ORIGINS, CHANGED, FORM_COUNT };

static char *print(const struct settings *settings, enum form form)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out || (form == PLAIN ? settings_print(settings, out)
                               : settings_print_origins(settings, form == CHANGED, out)) < 0)
        abort();
    fclose(out);
    return text;
}

static void check_round_trip(const struct settings *settings, enum form form)
{
    char *words, *first = print(settings, PLAIN), *shown = print(settings, form), *second;
    struct settings *again = load(shown, strlen(shown), &words);

    if (!again)
        give_up(words, shown);
    second = print(again, PLAIN);
    if (strcmp(first, second) != 0)
        give_up(first, second);
    settings_free(again);
    free(first);
    free(shown);
    free(second);
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words;
    struct settings *settings = load((const char *)data, size, &words);

    free(words);
    for (int form = 0; settings && form < FORM_COUNT; form++)
        check_round_trip(settings, (enum form)form);
    settings_free(settings);
    return 0;
}
