/* One request of gatepostctl: a line of JSON, read and judged.
 *
 * { "command": "who", "user": "anna@example.org", "port": "pop3", "from": "192.0.2.0/24" }
 *
 * Nothing is done here. Members that the command does not take are refused, so that a misspelt one
 * never widens what is meant. */
#ifndef GATEPOST_PROXY_OPERATOR_REQUEST_H
#define GATEPOST_PROXY_OPERATOR_REQUEST_H

#include "proxy/base/child.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

#define OPERATOR_REQUEST_MAX 4096 /* octets of the line */

enum operator_command {
    OPERATOR_STATUS,
    OPERATOR_WHO,
    OPERATOR_BACKENDS,
    OPERATOR_STATS,
    OPERATOR_KICK,
    OPERATOR_DRAIN,
    OPERATOR_RELOAD,
    OPERATOR_UPGRADE,
    OPERATOR_LOG,
};
#define OPERATOR_COMMANDS (OPERATOR_LOG + 1)

struct operator_request {
    enum operator_command command;
    struct child_selection selection; /* of who and kick */
    int worker;                       /* of drain: its number; -1: all of gatepost */
    int level;                        /* of log: enum log_level; -1: it is only asked for */
};

const char *operator_command_name(enum operator_command command);

/* Does it only look? */
bool operator_only_looks(const struct operator_request *request);

/* Reads the line, without its end. 0; or -EINVAL and words for a person in `words`; or -ENOMEM. */
int operator_request_read(struct span line, struct operator_request *ret_request,
                          struct text *words);

#endif
