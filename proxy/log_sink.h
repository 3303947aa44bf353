/* Where the log's lines go, in the supervisor: standard error, the journal, or syslog.
 *
 * Nothing here blocks, and nothing fails the caller. What is not taken at once waits in a backlog
 * of LOG_SINK_BACKLOG octets; what finds no room there is lost, counted, and the count is told with
 * the next line that does. A journal or a syslog daemon that is gone is connected anew; standard
 * error says so once. */
#ifndef GATEPOST_PROXY_LOG_SINK_H
#define GATEPOST_PROXY_LOG_SINK_H

#include <uv.h>

#define LOG_SINK_BACKLOG (1024 * 1024) /* thousands of lines; guessed */

/* From now on all lines of this process and of its children go to `where`, a value of [gatepost]
 * log: "stderr"; "journald" or "syslog", or one of these with ":/path" of its socket. The same
 * `where` again changes nothing.
 *
 *   stderr    "TIME LEVEL NAME: text"; where that is a stream of the journal (JOURNAL_STREAM,
 *             systemd.exec(5)), as with journald
 *   journald  its native protocol, with fields: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER,
 *             SYSLOG_FACILITY 2 (mail), and the GATEPOST_ ones of the line
 *   syslog    RFC 3164, facility mail
 *
 * The identifier is gatepost, but for lines under the name dovecot, which keep that. */
void log_sink_open(const char *where);

/* From now on what waits is tried again by a timer of `loop`, too, and not only with the next line.
 * NULL: no more; the loop has to run once to close the timer. */
void log_sink_watch(uv_loop_t *loop);

/* The journal's native socket. A variable for the unit tests, which must not write to the machine's
 * journal. */
extern const char *log_sink_journal_path;

/* Lines that were lost on their way out. */
unsigned long log_sink_lost(void);

/* Lines go to the terminal again. A reader that is only slow is waited for, a second at most. */
void log_sink_close(void);

#endif
