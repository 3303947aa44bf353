/* Settings from random octets.
 *
 * Invariants: what does not load is told as an error; what loads is printed as a text that loads
 * without an error and is printed the same; diagnostics can be printed and show no control
 * character. */
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
    diagnostics_deinit(&diagnostics);
    return settings;
}

static char *print(const struct settings *settings)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out || settings_print(settings, out) < 0)
        abort();
    fclose(out);
    return text;
}

static void check_round_trip(const struct settings *settings)
{
    char *words, *first = print(settings), *second;
    struct settings *again = load(first, strlen(first), &words);

    if (!again)
        give_up(words, first);
    second = print(again);
    if (strcmp(first, second) != 0)
        give_up(first, second);
    settings_free(again);
    free(first);
    free(second);
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words;
    struct settings *settings = load((const char *)data, size, &words);

    free(words);
    if (settings)
        check_round_trip(settings);
    settings_free(settings);
    return 0;
}
