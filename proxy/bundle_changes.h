/* In what two configurations differ, in a few words for the log, told by their bundles
 * (base/bundle.h). PURE. */
#ifndef GATEPOST_PROXY_BUNDLE_CHANGES_H
#define GATEPOST_PROXY_BUNDLE_CHANGES_H

#include "proxy/base/bundle.h"
#include "proxy/base/text.h"

/* Puts "listeners +smtp 127.0.0.1:25 -pop3 [::]:110; certificates default; [backend smtp],
 * [limits]", or nothing where they are equal. Keys and certificates are named, never shown. */
void bundle_changes(const struct bundle *before, const struct bundle *now, struct text *into);

#endif
