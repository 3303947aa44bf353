/* What gatepostctl prints for people, by command. */
#ifndef GATEPOST_TOOLS_CTL_SHOW_H
#define GATEPOST_TOOLS_CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

/* Prints a text that came from others, line by line, each behind `margin`. */
void ctl_put_lines(const char *text, const char *margin, FILE *out);

/* `document` is what ctl_merge() made of an answer without an error. 0 or -errno. */
int ctl_show(const json_t *document);

#endif
