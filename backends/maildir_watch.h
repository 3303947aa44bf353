/* Tells that something may have come into a Maildir. */
#ifndef GATEPOST_BACKENDS_MAILDIR_WATCH_H
#define GATEPOST_BACKENDS_MAILDIR_WATCH_H

/* A descriptor that becomes readable when a name appears in new/ or cur/ of the user's Maildir; -1:
 * the kernel cannot tell, and somebody has to look from time to time. */
int maildir_watch_open(const char *store, const char *user);

/* It has been heard. */
void maildir_watch_drain(int watch);

#endif
