/* Diagnostics about settings: from the name of a setting to the place where it is written and the
 * paragraph of gatepost.ini(5) that tells about it.
 *
 * A setting that is written nowhere has no place; then the words have to say which one it is. What
 * can fail is the memory of diagnostics_add(). */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/settings_origins.h"
#include "conf/settings_report.h"

const char *settings_topic(enum settings_section section, const char *key,
                           char into[SETTINGS_TOPIC_SIZE])
{
    const struct settings_section_info *info = &settings_sections[section];

    snprintf(into, SETTINGS_TOPIC_SIZE, "[%s%s]%s%s", info->name, info->named ? " NAME" : "",
             key ? " " : "", key ? key : "");
    return into;
}

static enum settings_section section_of(const struct settings_ref *ref)
{
    for (int i = 0; i < SECTION_COUNT; i++)
        if (strcmp(settings_sections[i].name, ref->section) == 0)
            return (enum settings_section)i;
    abort();
}

/* Where to point: at the item, the key's value, or the section's line. */
static struct diagnostic_place place_of(const struct settings_origins *origins,
                                        const struct settings_ref *ref)
{
    enum settings_section section = section_of(ref);
    struct diagnostic_place place = { NULL, 0, 0, NULL, NULL };
    const struct settings_origin *origin = NULL;
    unsigned column = 0;

    if (ref->key && ref->item)
        origin =
            settings_origins_find_item(origins, section, ref->name, ref->key, ref->item, &column);
    if (!origin)
        origin = settings_origins_find(origins, section, ref->name, ref->key);
    if (!origin)
        origin = settings_origins_find(origins, section, ref->name, NULL);
    if (!origin)
        return place;
    place = origin->place;
    if (column || origin->value_column)
        place.column = column ? column : origin->value_column;
    return place;
}

void settings_report_words(const struct settings *settings, struct diagnostics *diagnostics,
                           enum diagnostic_kind kind, const struct settings_ref *ref,
                           const char *format, va_list arguments)
{
    struct diagnostic_place place = place_of(settings->origins, ref);
    char topic[SETTINGS_TOPIC_SIZE], words[640];

    vsnprintf(words, sizeof(words), format, arguments);
    place.topic = settings_topic(section_of(ref), ref->key, topic);
    diagnostics_add(diagnostics, kind, &place, "%s", words);
}

void settings_report(const struct settings *settings, struct diagnostics *diagnostics,
                     enum diagnostic_kind kind, const struct settings_ref *ref, const char *format,
                     ...)
{
    va_list arguments;

    va_start(arguments, format);
    settings_report_words(settings, diagnostics, kind, ref, format, arguments);
    va_end(arguments);
}

bool settings_written(const struct settings *settings, const struct settings_ref *ref)
{
    const struct settings_origin *origin =
        settings_origins_find(settings->origins, section_of(ref), ref->name, ref->key);

    return origin && !origin->unused;
}

bool settings_refused(const struct settings *settings, const struct settings_ref *ref)
{
    const struct settings_origin *origin =
        settings_origins_find(settings->origins, section_of(ref), ref->name, ref->key);

    return origin && origin->unused;
}
