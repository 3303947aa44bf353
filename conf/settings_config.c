/* Shows the effective settings, and where each comes from, as INI text.
 *
 * Happy path: every key of every section is told; its line goes out with the origin behind it, or
 * above it where the line would get longer than the reader takes. Fails where the stream does, or
 * for lack of memory. */
#include "conf/settings_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/ini_reader.h"
#include "conf/port_rules.h"
#include "conf/settings_defaults.h"
#include "conf/settings_value.h"
#include "conf/utf8.h"

#define ORIGIN_COLUMN 40

/* Would the section be there if no file named it? */
static bool exists_anyway(enum settings_section section, const char *name)
{
    if (!settings_sections[section].named)
        return true;
    if (section == SECTION_LISTEN)
        return port_rules_find(name) != NULL;
    return section == SECTION_BACKEND &&
           (strcmp(name, "smtp") == 0 || strcmp(name, "pop3") == 0 || strcmp(name, "remote") == 0);
}

static int walk_keys(const struct settings *settings, enum settings_section section, size_t index,
                     const char *name, const struct config_listener *listener)
{
    const struct settings_section_info *info = &settings_sections[section];
    const void *item = settings_section_at(settings, section, index);

    for (size_t i = 0; i < info->key_count; i++) {
        const struct settings_key *key = &info->keys[i];
        const struct settings_origin *origin =
            settings_origins_find(settings->origins, section, name, key->name);
        int result = settings_defaults_hold(settings, section, index, key);
        struct config_key told = { key, settings_member(item, key),
                                   origin && !origin->unused ? origin : NULL, result == 1 };

        if (result >= 0)
            result = listener->key(listener->user, &told);
        if (result != 0)
            return result;
    }
    return 0;
}

int settings_config_walk(const struct settings *settings, const struct config_listener *listener)
{
    int result = 0;

    for (int i = 0; i < SECTION_COUNT; i++) {
        enum settings_section section = (enum settings_section)i;
        const struct settings_section_info *info = &settings_sections[i];

        for (size_t j = 0; j < settings_section_size(settings, section) && result == 0; j++) {
            const char *name =
                info->named ? *(char *const *)settings_section_at(settings, section, j) : "";

            result = listener->section(listener->user, info, name, !exists_anyway(section, name));
            if (result == 0)
                result = walk_keys(settings, section, j, name, listener);
        }
    }
    return result;
}

/* As INI text */

struct printing {
    FILE *out;
    bool only_changed;
    const struct settings_section_info *info; /* of the current section */
    const char *name;
    bool begun; /* its [line] is printed */
};

static void begin_section(struct printing *printing)
{
    const struct settings_section_info *info = printing->info;

    if (!printing->begun)
        fprintf(printing->out, "\n[%s%s%s]\n", info->name, info->named ? " " : "", printing->name);
    printing->begun = true;
}

static int print_section(void *user, const struct settings_section_info *info, const char *name,
                         bool needed)
{
    struct printing *printing = user;

    printing->info = info;
    printing->name = name;
    printing->begun = false;
    if (needed || !printing->only_changed)
        begin_section(printing);
    return 0;
}

static void print_origin(const struct settings_origin *origin, FILE *out)
{
    if (!origin) {
        fputs("default", out);
        return;
    }
    utf8_print_harmless(origin->place.file, out);
    fprintf(out, ":%u", origin->place.line);
}

/* Returns the text that `print` makes of the key, without the line end, or NULL. */
static char *text_of(const struct config_key *key)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    settings_value_print(key->key, key->member, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    text[size - 1] = '\0';
    return text;
}

/* Does the origin fit behind the value, in its line? */
static bool fits_behind(const char *text, const struct settings_origin *origin)
{
    size_t size = strlen(text), column = size < ORIGIN_COLUMN ? ORIGIN_COLUMN : size;
    size_t origin_size = origin ? strlen(origin->place.file) + 11 : 7; /* :4294967295 */

    return !strchr(text, '\n') && column + strlen(" ; ") + origin_size <= INI_LINE_MAX;
}

static int print_key(void *user, const struct config_key *key)
{
    struct printing *printing = user;
    char *text;

    if (printing->only_changed && key->at_default)
        return 0;
    text = text_of(key);
    if (!text)
        return -ENOMEM;
    begin_section(printing);
    if (fits_behind(text, key->origin)) {
        fprintf(printing->out, "%-*s ; ", ORIGIN_COLUMN, text);
        print_origin(key->origin, printing->out);
        putc('\n', printing->out);
    } else {
        fputs("; ", printing->out);
        print_origin(key->origin, printing->out);
        fprintf(printing->out, "\n%s\n", text);
    }
    free(text);
    return 0;
}

int settings_print_origins(const struct settings *settings, bool only_changed, FILE *out)
{
    struct printing printing = { .out = out, .only_changed = only_changed };
    struct config_listener listener = { &printing, print_section, print_key };
    const struct settings_list *files = &settings->origins->files;
    int result;

    for (size_t i = 0; i < files->count; i++) {
        fputs("; read: ", out);
        utf8_print_harmless(files->items[i], out);
        putc('\n', out);
    }
    result = settings_config_walk(settings, &listener);
    if (result == 0 && (fflush(out) != 0 || ferror(out)))
        result = -EIO;
    return result;
}
