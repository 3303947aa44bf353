/* What no single value shows: settings that are missing, refer to nothing, or contradict each
 * other. Private to conf/.
 */
#ifndef GATEPOST_CONF_SETTINGS_CHECK_H
#define GATEPOST_CONF_SETTINGS_CHECK_H

#include "conf/settings.h"

/* Judges complete settings; all that is found goes to `diagnostics`, with the place of the setting
 * to change. */
void settings_check(const struct settings *settings, struct diagnostics *diagnostics);

#endif
