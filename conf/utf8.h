/* UTF-8 as far as it is looked at (RFC 3629). PURE. */
#ifndef GATEPOST_CONF_UTF8_H
#define GATEPOST_CONF_UTF8_H

#include <stddef.h>
#include <stdio.h>

/* The octets of the character at `text`, of which there are `size`: 1 to 4; 0 where it is none, as
 * also at the end. */
size_t utf8_size(const char *text, size_t size);

/* Prints a text of whatever origin: control characters (except tab) and octets that are no UTF-8
 * come out as ?, so that nothing moves a terminal's cursor or breaks a log. */
void utf8_print_harmless(const char *text, FILE *out);

#endif
