/* Words for error numbers. Errors inside Gatepost are negative errno values, as libuv has them. */
#ifndef GATEPOST_BASE_ERR_H
#define GATEPOST_BASE_ERR_H

/* "connection refused" for -ECONNREFUSED. Static text, never NULL, no trailing punctuation. */
const char *err_text(int error);

#endif
