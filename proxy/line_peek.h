/* Looks at the next line before it is taken: an inspector that cannot act on a line yet leaves it
 * where it is.
 *
 * PURE. Stands on proxy/base/line.h and shares its state: what ends, spoils and voids a line is
 * said there. */
#ifndef GATEPOST_PROXY_LINE_PEEK_H
#define GATEPOST_PROXY_LINE_PEEK_H

#include "proxy/base/line.h"

struct line_ahead {
    struct span line; /* without its line end; borrowed until the line is taken */
    struct span raw;  /* with its line end, where it stands whole in the input; data is NULL where
                         its beginning is held */
};

/* Uses up what cannot end a line. Returns LINE_MORE (*in is empty; what it held is kept in `line`),
 * LINE_READY
 * (*ret_ahead is the line that line_take() takes), LINE_SPOILED (the next line_next() takes a line
 * that is spoiled or too long, and says which), or -ENOMEM. Unless LINE_MORE, *in is not empty. */
int line_peek(struct line *line, struct span *in, struct line_ahead *ret_ahead);

/* Takes the line that line_peek() has just shown; what was held of it is wiped and freed, so
 * `ahead` is void then. 0 or -ENOMEM. */
int line_take(struct line *line, struct span *in, const struct line_ahead *ahead);

#endif
