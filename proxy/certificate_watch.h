/* Watches the folders of certificates, keys and authorities, so that what an ACME client puts there
 * is taken up without anybody asking for it.
 *
 * What happens in the folders (also in those that symbolic links lead to) is looked at a second
 * later; should nothing be heard of a change, it is found within a minute. */
#ifndef GATEPOST_PROXY_CERTIFICATE_WATCH_H
#define GATEPOST_PROXY_CERTIFICATE_WATCH_H

#include <uv.h>

#include "proxy/file_stamps.h"

struct certificate_watch;

/* `changed` is called when a file is not what its stamp says. It is to call
 * certificate_watch_follow() then, or is called again and again. 0 or -ENOMEM. */
int certificate_watch_new(uv_loop_t *loop, void (*changed)(void *owner), void *owner,
                          struct certificate_watch **ret_watch);

/* Watches these files from now on; borrowed until the next call. */
void certificate_watch_follow(struct certificate_watch *watch, const struct file_stamps *stamps);

/* NULL is fine. The handles close in the loop. */
void certificate_watch_close(struct certificate_watch *watch);

#endif
