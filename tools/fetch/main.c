/* gatepost-fetch: keeps a local Maildir in step with a mailbox (remote-mail(7)).
 *
 *   options.c    the command line               link.c       the connection, TLS
 *   fetch.c      a run: joins the rest          dialogue.c   what is said on it (PURE)
 *   mirror.c     the local Maildir              mirror_open.c  what a killed run has left
 *   incoming.c   one message on its way         journal.c    what must outlive a crash
 *   stored.c     what the server may delete     report.c     how it went
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

/* The second one ends the program at once. */
static void catch_signals(void)
{
    const struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    const struct sigaction again = { .sa_handler = on_signal };
    const struct sigaction ignore = { .sa_handler = SIG_IGN };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGALRM, &again, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
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

static void summarize(const struct options *options, const struct report *report)
{
    if (options->quiet || !(options->verbose || isatty(STDERR_FILENO)))
        return;
    fetch_tell("%llu received, %llu sent", (unsigned long long)report->received.messages,
               (unsigned long long)report->sent.messages);
}

int main(int argc, char **argv)
{
    struct options options;
    struct report report = { .exit = EX_OK };
    char password[PASSWORD_ROOM], room[512];
    struct text words = TEXT_OVER(room);

    options_parse(&options, argc, argv);
    umask(077);
    catch_signals();
    if (options.link.plain)
        fetch_tell("--plain: without TLS everybody on the way to %s can read the password and "
                   "all mail",
                   options.host);
    if (get_password(&options, password, &words) < 0)
        report_end(&report, EX_NOPERM, "no password: %s", text_str(&words));
    else
        fetch_run(&options, span_of_text(password), &stopped, &report);
    explicit_bzero(password, sizeof(password));
    if (report.error[0])
        fetch_tell("%s", report.error);
    summarize(&options, &report);
    options_free(&options);
    return report.exit;
}
