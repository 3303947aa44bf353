/* What settings_report() is made of, for the loader and the checks. Private to conf/. */
#ifndef GATEPOST_CONF_SETTINGS_REPORT_H
#define GATEPOST_CONF_SETTINGS_REPORT_H

#include <stdarg.h>

#include "conf/settings_keys.h"

#define SETTINGS_TOPIC_SIZE 64

/* Writes the heading of gatepost.ini(5) and the key below it: "[listen NAME] detect". `key` may be
 * NULL. Returns `into`. */
const char *settings_topic(enum settings_section section, const char *key,
                           char into[SETTINGS_TOPIC_SIZE]);

/* settings_report() with a va_list. */
void settings_report_words(const struct settings *settings, struct diagnostics *diagnostics,
                           enum diagnostic_kind kind, const struct settings_ref *ref,
                           const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

#endif
