/* Explains keys in words for `gatepost explain`.
 *
 * Happy path: the name is split into section and key, every key of that name is printed. A name
 * that nothing bears gets the nearest one. */
#include <errno.h>
#include <string.h>

#include "conf/ini_reader.h"
#include "conf/settings_value.h"

#define NAME_MAX_SIZE 64 /* longer than any key */

struct asked {
    char section[NAME_MAX_SIZE]; /* "": any */
    char key[NAME_MAX_SIZE];     /* "": all of the section */
};

/* Takes "key", "section.key", "[section] key", "[section NAME] key" and "[section]". */
static void split_name(const char *name, struct asked *asked)
{
    memset(asked, 0, sizeof(*asked));
    if (sscanf(name, " [%63[a-z]%*[^]]] %63s", asked->section, asked->key) == 2 ||
        sscanf(name, " [%63[a-z]] %63s", asked->section, asked->key) >= 1 ||
        sscanf(name, " %63[a-z].%63s", asked->section, asked->key) == 2)
        return;
    memset(asked, 0, sizeof(*asked));
    sscanf(name, "%63s", asked->key);
}

static void explain_key(const struct settings_section_info *info, const struct settings_key *key,
                        FILE *out)
{
    fprintf(out, "[%s%s] %s\n    %s\n    Type: ", info->name, info->named ? " NAME" : "", key->name,
            key->help);
    settings_value_print_type(key, out);
    fprintf(out, ". Default: %s.\n", settings_value_default(key));
}

/* Every key that is asked for. Returns how many. */
static size_t explain_asked(const struct asked *asked, FILE *out)
{
    size_t found = 0;

    for (int i = 0; i < SECTION_COUNT; i++) {
        const struct settings_section_info *info = &settings_sections[i];

        if (*asked->section && strcmp(asked->section, info->name) != 0)
            continue;
        for (size_t j = 0; j < info->key_count; j++) {
            if (*asked->key && strcmp(asked->key, info->keys[j].name) != 0)
                continue;
            explain_key(info, &info->keys[j], out);
            found++;
        }
    }
    return found;
}

/* The nearest key of the section asked for, of all sections where that gives none. */
static void explain_nearest(const struct asked *asked, FILE *out)
{
    const char *nearest = NULL;
    int nearest_section = 0;

    for (int pass = 0; pass < 2 && !nearest; pass++) {
        for (int i = 0; i < SECTION_COUNT && !nearest; i++) {
            if (pass == 0 && strcmp(asked->section, settings_sections[i].name) != 0)
                continue;
            nearest = settings_key_nearest((enum settings_section)i, asked->key);
            nearest_section = i;
        }
    }
    fprintf(out, "There is no key \"%s\".", asked->key);
    if (nearest)
        fprintf(out, " Did you mean \"%s.%s\"?", settings_sections[nearest_section].name, nearest);
    putc('\n', out);
}

int settings_explain(const char *key, FILE *out)
{
    struct asked asked;
    size_t found = 0;

    split_name(key, &asked);
    if (!*asked.section && *asked.key) { /* the name of a section asks for all of it */
        struct asked whole = { "", "" };

        strcpy(whole.section, asked.key);
        found = explain_asked(&whole, out);
    }
    if (*asked.section || *asked.key)
        found += explain_asked(&asked, out);
    if (found > 0)
        return 0;
    explain_nearest(&asked, out);
    return -ENOENT;
}
