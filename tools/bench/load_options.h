/* What the load generator is asked to do. Filled once from the command line, constant from then on.
 */
#ifndef GATEPOST_BENCH_LOAD_OPTIONS_H
#define GATEPOST_BENCH_LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/bench/processes.h"

#define LOAD_PROCESSES_MAX 16

enum load_protocol { LOAD_POP3, LOAD_SMTP };
enum load_tls { LOAD_TLS_FIRST, LOAD_TLS_STARTTLS, LOAD_TLS_NONE };

enum load_mode {
    LOAD_SESSION, /* whole sessions, one after the other */
    LOAD_PING,    /* NOOP */
    LOAD_RETR,
    LOAD_DATA,
    LOAD_BDAT,
    LOAD_IDLE,  /* connections that stay; see load_stage */
    LOAD_BURST, /* connections that all come in a moment, and stay */
};

/* What an idle connection has done before. */
enum load_stage {
    LOAD_GREETED,
    LOAD_LOGGED_IN,
    LOAD_USED,   /* a message moved */
    LOAD_STALLED /* stopped reading in the middle of one */
};

struct load_options {
    enum load_protocol protocol;
    enum load_tls tls;
    enum load_mode mode;
    enum load_stage stage;
    bool login;    /* whole sessions log in (those of POP3 that do more than that always do) */
    bool resume;   /* TLS sessions */
    bool hold;     /* idle: stay until standard input ends */
    bool gated;    /* say "ready" and "done", and await a line each, around what is measured */
    int tls_minor; /* of 1.2 or 1.3 */
    unsigned sessions, processes, sources;
    uint64_t operations; /* measure at least so many */
    uint64_t message_octets;
    double warmup_s, seconds, settle_s;
    double within_s;     /* burst: all connections come in this time */
    double patience_s;   /* how long without any progress is a failure */
    unsigned pause_ms;   /* between the operations of a session */
    const char *ciphers; /* NULL: OpenSSL's */
    const char *label;
    struct sockaddr_in target;
    struct processes *proxy; /* whose CPU and memory is looked at; maybe none */
};

/* Reads the command line. Ends the program where it is wrong. */
void load_options_read(struct load_options *options, int argc, char **argv);

/* The words of the command line for what was chosen, for the output. */
const char *load_mode_word(enum load_mode mode);
const char *load_protocol_word(enum load_protocol protocol);
const char *load_tls_word(enum load_tls tls);
const char *load_stage_word(enum load_stage stage);

#endif
