/* Writes settings as the INI text that gives the same settings. Fails only where the stream does.
 */
#include <errno.h>

#include "conf/settings_value.h"

static void print_section(const struct settings_section_info *info, const void *section, FILE *out)
{
    if (info->named)
        fprintf(out, "[%s %s]\n", info->name, *(char *const *)section);
    else
        fprintf(out, "[%s]\n", info->name);
    for (size_t i = 0; i < info->key_count; i++)
        settings_value_print(&info->keys[i], settings_member(section, &info->keys[i]), out);
    putc('\n', out);
}

int settings_print(const struct settings *settings, FILE *out)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        enum settings_section section = (enum settings_section)i;

        for (size_t j = 0; j < settings_section_size(settings, section); j++)
            print_section(&settings_sections[i], settings_section_at(settings, section, j), out);
    }
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
