/* Writes what tells about settings: the manual page gatepost.ini(5) and the completion for bash.
 * Each is a hand-written template, with tables from the code in place of its marks.
 *
 *   settings_man TEMPLATE > gatepost.ini.5
 *
 * A line "@keys SECTION@" of the template becomes a paragraph for each key of settings.def,
 * "@ports@" a row for each port of port_rules.c; "@words keys@", "@words sections@" and "@words
 * qualified@" become the names of all keys, of the sections that are none of those, and
 * "SECTION.KEY" for each, one a line. It fails, with words on standard error, where the template
 * cannot be read or a mark is unknown. Runs while Gatepost is built and is not installed.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/port_rules.h"
#include "conf/settings_value.h"

#define LINE_SIZE 512

/* mdoc takes a backslash, and a dot or quote at the start of a line, for its own; a sentence begins
 * a line. */
static void print_text(const char *text)
{
    char before = '\n', last = '\n'; /* what is printed already */

    for (; *text; before = last, last = *text, text++) {
        if (*text == ' ' && last == '.' && before != ' ')
            putchar('\n');
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            printf("%s%c", last == '\n' && strchr(".'", *text) ? "\\&" : "", *text);
    }
}

static void print_key(const struct settings_key *key)
{
    printf(".It Ic %s\n", key->name);
    print_text(key->help);
    fputs("\n.br\n", stdout);
    fputs("Type: ", stdout);
    settings_value_print_type(key, stdout);
    fputs(".\nDefault: ", stdout);
    print_text(settings_value_default(key));
    fputs(".\n", stdout);
}

static int print_keys(const char *section)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(settings_sections[i].name, section) != 0)
            continue;
        puts(".Bl -tag -width Ds");
        for (size_t j = 0; j < settings_sections[i].key_count; j++)
            print_key(&settings_sections[i].keys[j]);
        puts(".El");
        return 0;
    }
    fprintf(stderr, "settings_man: there is no section %s\n", section);
    return -1;
}

static int print_ports(void)
{
    static const char *const protocols[] = { "smtp", "pop3", "remote", "opaque" };
    static const char *const rules[] = { "starttls", "implicit", "off" };

    puts(".Bl -column \"submission\" \"port\" \"protocol\" \"starttls\" \"backend\"");
    puts(".It Sy name Ta Sy port Ta Sy protocol Ta Sy tls Ta Sy backend");
    for (size_t i = 0; i < PORT_RULES_COUNT; i++)
        printf(".It %s Ta %u Ta %s Ta %s Ta %s\n", port_rules[i].name, port_rules[i].port,
               protocols[port_rules[i].protocol], rules[port_rules[i].tls], port_rules[i].backend);
    puts(".El");
    return 0;
}

/* Is there a key of that name in a section before this one? */
static bool named_before(int section, const char *name)
{
    for (int i = 0; i < section; i++)
        if (settings_key_find((enum settings_section)i, name))
            return true;
    return false;
}

static void print_word(const char *kind, int section, const char *key)
{
    if (strcmp(kind, "qualified") == 0)
        printf("%s.%s\n", settings_sections[section].name, key);
    else if (strcmp(kind, "keys") == 0 && !named_before(section, key))
        puts(key);
}

static int print_words(const char *kind)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(kind, "sections") == 0 &&
            !named_before(SECTION_COUNT, settings_sections[i].name))
            puts(settings_sections[i].name);
        for (size_t j = 0; j < settings_sections[i].key_count; j++)
            print_word(kind, i, settings_sections[i].keys[j].name);
    }
    return 0;
}

/* Prints one line of the template, or what its mark stands for. */
static int print_line(const char *line)
{
    char section[32];

    if (line[0] != '@')
        return fputs(line, stdout) < 0 ? -1 : 0;
    if (strcmp(line, "@ports@\n") == 0)
        return print_ports();
    if (sscanf(line, "@keys %31[a-z]@", section) == 1)
        return print_keys(section);
    if (sscanf(line, "@words %31[a-z]@", section) == 1)
        return print_words(section);
    fprintf(stderr, "settings_man: unknown mark %s", line);
    return -1;
}

int main(int argc, char **argv)
{
    FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
    char line[LINE_SIZE];
    int result = 0;

    if (!template) {
        fputs("settings_man: needs a template that can be read\n", stderr);
        return EXIT_FAILURE;
    }
    while (result == 0 && fgets(line, sizeof(line), template))
        result = print_line(line);
    if (ferror(template) || fflush(stdout) != 0)
        result = -1;
    fclose(template);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
