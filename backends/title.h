/* What ps(1) and top(1) show of a process. */
#ifndef GATEPOST_BACKENDS_TITLE_H
#define GATEPOST_BACKENDS_TITLE_H

/* Shows `title` as the command line, and its first 15 characters as the name. Where there is no
 * memory for it, only the name changes. Once in a process; never text from a peer. */
void title_set(const char *title);

#endif
