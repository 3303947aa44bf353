/* What a run has done. Nothing here can fail. */
#include "tools/fetch/report.h"

#include <stdarg.h>
#include <stdio.h>

int report_end(struct report *report, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(report->error, sizeof(report->error), format, args);
    va_end(args);
    report->exit = code;
    return code;
}
