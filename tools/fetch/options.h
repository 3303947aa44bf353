/* The command line of gatepost-fetch. */
#ifndef GATEPOST_TOOLS_FETCH_OPTIONS_H
#define GATEPOST_TOOLS_FETCH_OPTIONS_H

#include "tools/fetch/link.h"

#define OPTIONS_RETRIES 5

struct options {
    struct link_options link;
    const char *user;
    char *maildir; /* owned, as all that is no const */
    char *outbox;  /* NULL: nothing is sent */
    const char *sent;
    const char *sender; /* of all messages; NULL: as each one says */
    const char *mda;
    int password_fd;              /* -1: none was named */
    const char *password_command; /* NULL: none was */
    unsigned retries;
    bool keep, watch, json, quiet, verbose;

    char host[256], port[8], fingerprint[LINK_FINGERPRINT + 1]; /* what link points at */
};

/* Reads them; ends the program, with 64, where they are wrong (and with 0 after --help). */
void options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif
