/* How a line of the log looks where it goes: on a terminal, in the journal, for syslog. */
#ifndef GATEPOST_PROXY_LOG_FORM_H
#define GATEPOST_PROXY_LOG_FORM_H

#include "proxy/base/log.h"
#include "proxy/base/text.h"

/* The longest form of a line: all of it escaped, with fields. */
#define LOG_FORM_MAX (LOG_TERMINAL_MAX + LOG_FIELDS_MAX + 256)

/* `line` is "NAME: text"; `fields` are lines of KEY=VALUE, of which only the journal is told. */
void log_form_terminal(struct text *into, enum log_level level, struct span line,
                       struct span fields);
void log_form_stream(struct text *into, enum log_level level, struct span line, struct span fields);
void log_form_syslog(struct text *into, enum log_level level, struct span line, struct span fields);
void log_form_journal(struct text *into, enum log_level level, struct span line,
                      struct span fields);

#endif
