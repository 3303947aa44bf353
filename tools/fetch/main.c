/* gatepost-fetch: keeps a local Maildir in step with a mailbox, and sends an outbox
 * (remote-mail(7)).
 *
 *   options.c      the command line          password.c     the password
 *   fetch.c        a run, its retries        report.c       how it went
 *   talk.c         one connection            dialogue.c     what is answered on it, and
 *                                            dialogue_say.c said (PURE)
 *   link.c         TCP and TLS               progress.c     the line at a terminal
 *   mirror.c       the local Maildir         mirror_open.c  what a killed run has left
 *   incoming.c     one message on its way    journal.c      what must outlive a crash
 *   stored.c       what the server may       deliver.c      --mda, by mda.c
 *                  delete (PURE)             sending.c      uploads, from outbox.c
 *
 * Happy path: options, password, run, summary. Ends with a code of sysexits(3) and, unless it is 0,
 * one sentence on standard error. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "tools/fetch/fetch.h"
#include "tools/fetch/password.h"

static volatile int stopped;

static void on_signal(int number)
{
    if (number != SIGALRM)
        stopped = 1;
    alarm(1); /* one that comes just before a wait begins would not end it */
}

/* Not one that nohup(1) has us ignore. */
static void catch_unless_ignored(int number, const struct sigaction *action)
{
    struct sigaction before;

    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, action, NULL);
}

/* The second one ends the program at once. */
static void catch_signals(void)
{
    const struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    const struct sigaction again = { .sa_handler = on_signal };
    const struct sigaction ignore = { .sa_handler = SIG_IGN };

    catch_unless_ignored(SIGINT, &action);
    sigaction(SIGTERM, &action, NULL);
    catch_unless_ignored(SIGHUP, &action);
    sigaction(SIGALRM, &again, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* as a disk that is full */
}

static int get_password(const struct options *options, char *into, struct text *words)
{
    char prompt[512];

    if (options->password_fd >= 0)
        return password_from_descriptor(options->password_fd, into, words);
    if (options->password_command)
        return password_from_command(options->password_command, into, words);
    snprintf(prompt, sizeof(prompt), "Password of %s at %s: ", options->user, options->link.host);
    return password_ask(prompt, into, words);
}

static void put_count(struct text *text, const char *verb, const struct report_count *count)
{
    text_printf(text, "%s %llu message%s", verb, (unsigned long long)count->messages,
                count->messages == 1 ? "" : "s");
    if (count->octets == 0)
        return;
    text_puts(text, " (");
    progress_put_octets(text, count->octets);
    text_puts(text, ")");
}

static void summarize(const struct options *options, struct report *report)
{
    char room[256];
    struct text text = TEXT_OVER(room);

    if (report->error[0])
        report_tell(report, "%s", report->error);
    if (options->json && report_print_json(report, options->host, options->user) < 0)
        report_end(report, EX_IOERR, "standard output cannot be written");
    if (options->quiet || options->json || !(options->verbose || isatty(STDERR_FILENO)))
        return;
    put_count(&text, "received", &report->received);
    put_count(&text, ", sent", &report->sent);
    report_tell(report, "%s", text_str(&text));
}

int main(int argc, char **argv)
{
    struct options options;
    struct report report;
    char password[PASSWORD_ROOM], room[512];
    struct text words = TEXT_OVER(room);
    int code;

    options_parse(&options, argc, argv);
    umask(077);
    catch_signals();
    report_begin(&report, options.quiet);
    if (options.link.plain)
        report_tell(&report,
                    "--plain: without TLS everybody on the way to %s can read the password and "
                    "all mail, and change it",
                    options.host);
    if (get_password(&options, password, &words) < 0)
        report_end(&report, EX_NOPERM, "no password: %s", text_str(&words));
    else
        fetch_run(&options, span_of_text(password), &stopped, &report);
    explicit_bzero(password, sizeof(password));
    summarize(&options, &report);
    code = report.exit;
    report_free(&report);
    options_free(&options);
    return code;
}
