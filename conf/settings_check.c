/* Looks for what is missing, refers to nothing, or contradicts itself. */
#include "conf/settings_check.h"
void settings_check(const struct settings *settings, const struct settings_origins *origins,
                    struct diagnostics *diagnostics)
{
    (void)settings, (void)origins, (void)diagnostics;
}
