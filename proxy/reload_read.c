/* What a reload reads: all of the settings, or keys and authorities alone.
 *
 * Happy path: the files are good, the next generation is opened, or the next bundle made. Each line
 * of what is wrong goes to the log. Keys that cannot be used may be half-written, as may a folder
 * of certificates that has become worse: they are read again for a while before anything is said.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/bundle.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/bundle_changes.h"
#include "proxy/reload_private.h"
#include "proxy/supervisor.h"

#define HALF_MS     10000 /* a client writes key and certificate one behind the other */
#define HALF_TRY_MS 1000
#define WORDS_ROOM  8192 /* of one result; what is more is cut */

/* Each line of the diagnostics goes to the log. Returns all of them; NULL: no memory. */
static char *log_diagnostics(const struct diagnostics *diagnostics)
{
    char *words = NULL;
    size_t size;
    FILE *out = open_memstream(&words, &size);
    enum log_level level = LOG_LEVEL_WARNING;

    if (!out)
        return NULL;
    diagnostics_print(diagnostics, out);
    if (fclose(out) != 0) {
        free(words);
        return NULL;
    }
    for (struct span rest = span_of(words, size); rest.size > 0;) {
        struct span line = span_first(rest, span_find(rest, '\n'));

        if (span_search(line, SPAN_LIT("error: ")) < line.size)
            level = LOG_LEVEL_ERROR;
        else if (span_search(line, SPAN_LIT("warning: ")) < line.size)
            level = LOG_LEVEL_WARNING;
        log_line(level, "%.*s", (int)line.size, (const char *)line.data);
        rest = span_skip(rest, line.size + 1);
    }
    return words;
}

static void tell_fixed(const char *key)
{
    log_line(LOG_LEVEL_WARNING,
             "[gatepost] %s: a change needs a restart; until then it stays as it is", key);
}

/* 0 or -ENOMEM. */
static int keep_text(const char *key, char **now, const char *before)
{
    char *kept;

    if (strcmp(*now, before) == 0)
        return 0;
    tell_fixed(key);
    kept = strdup(before);
    if (!kept)
        return -ENOMEM;
    free(*now);
    *now = kept;
    return 0;
}

static bool same_list(const struct settings_list *a, const struct settings_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

static void free_list(struct settings_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

/* 0 or -ENOMEM. */
static int keep_list(const char *key, struct settings_list *now, const struct settings_list *before)
{
    struct settings_list kept = { .count = 0 };

    if (same_list(now, before))
        return 0;
    tell_fixed(key);
    kept.items = calloc(before->count + 1, sizeof(*kept.items));
    while (kept.items && kept.count < before->count &&
           (kept.items[kept.count] = strdup(before->items[kept.count])))
        kept.count++;
    if (!kept.items || kept.count < before->count) {
        free_list(&kept);
        return -ENOMEM;
    }
    free_list(now);
    *now = kept;
    return 0;
}

/* What the processes are made of at the start stays as it is. 0 or -ENOMEM. */
static int keep_fixed(struct configuration *now, const struct configuration *before)
{
    struct settings_gatepost *settings = &now->settings->gatepost;
    const struct settings_gatepost *former = &before->settings->gatepost;

    now->privileges = before->privileges;
    return keep_text("user", &settings->user, former->user) < 0 ||
                   keep_text("mail_user", &settings->mail_user, former->mail_user) < 0 ||
                   keep_list("groups", &settings->groups, &former->groups) < 0 ||
                   keep_text("runtime_dir", &settings->runtime_dir, former->runtime_dir) < 0 ||
                   keep_text("state_dir", &settings->state_dir, former->state_dir) < 0 ||
                   keep_text("control_socket", &settings->control_socket, former->control_socket) <
                       0 ||
                   keep_text("control_group", &settings->control_group, former->control_group) < 0
               ? -ENOMEM
               : 0;
}

/* In what the bundle differs from that in use; NULL: no memory, or no difference in words. */
static char *describe_changes(int before_fd, int now_fd)
{
    char room[LOG_LINE_MAX - 64];
    struct text words = TEXT_OVER(room);
    struct bundle before, now;
    int r = bundle_read(before_fd, &before);

    if (r < 0)
        return NULL;
    r = bundle_read(now_fd, &now);
    if (r == 0) {
        bundle_changes(&before, &now, &words);
        bundle_free(&now);
    }
    bundle_free(&before);
    return strdup(words.size > 0 ? text_str(&words) : "");
}

void reload_read_settings(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    struct configuration_before before = { &supervisor->current->configuration,
                                           supervisor->current->proxy_bundle };
    struct configuration configuration;
    struct diagnostics diagnostics;
    char room[WORDS_ROOM], *words;
    struct text text = TEXT_OVER(room);
    int r;

    diagnostics_init(&diagnostics);
    r = configuration_load(supervisor->path, &before, &diagnostics, &configuration);
    words = log_diagnostics(&diagnostics);
    diagnostics_deinit(&diagnostics);
    if (r < 0) {
        reload_fail(supervisor, words);
        return;
    }
    free(words);
    if (keep_fixed(&configuration, &supervisor->current->configuration) < 0) {
        configuration_deinit(&configuration);
        reload_fail(supervisor, strdup(err_text(-ENOMEM)));
        return;
    }
    if (generation_new(supervisor, &configuration, reload->number, &text, &reload->next) !=
        SUPERVISOR_DONE) {
        reload_fail(supervisor, strdup(text_str(&text)));
        return;
    }
    if (bundle_same(supervisor->current->proxy_bundle, reload->next->proxy_bundle)) {
        reload_undo(supervisor);
        reload_unchanged(supervisor);
        return;
    }
    reload->changes =
        describe_changes(supervisor->current->proxy_bundle, reload->next->proxy_bundle);
    reload_set_phase(supervisor, RELOAD_NAMES);
    reload_step(supervisor);
}

static void half_due(uv_timer_t *timer)
{
    reload_begin(timer->data, RELOAD_CERTIFICATES);
}

/* What is wrong may be half-written: nothing is said at first. */
static bool may_be_at_work(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    uint64_t now_ms = uv_now(&supervisor->loop);

    if (reload->half_since_ms == 0)
        reload->half_since_ms = now_ms;
    return !reload->half_told && now_ms - reload->half_since_ms < HALF_MS;
}

/* It is no reload that anybody is told of. */
static void end_silently(struct supervisor *supervisor)
{
    supervisor->reload.number--;
    reload_end(supervisor);
}

static void read_them_later(struct supervisor *supervisor)
{
    uv_timer_start(&supervisor->reload.half, half_due, HALF_TRY_MS, 0);
    end_silently(supervisor);
}

static void certificates_are_bad(struct supervisor *supervisor,
                                 const struct diagnostics *diagnostics)
{
    struct reload *reload = &supervisor->reload;

    if (reload->half_told) { /* another state, as bad as the one before */
        end_silently(supervisor);
        return;
    }
    reload->half_told = true;
    reload_fail(supervisor, log_diagnostics(diagnostics));
}

static void certificates_are_the_same(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    if (reload->half_told)
        log_line(LOG_LEVEL_NOTICE, "certificates and keys are as they were again");
    reload->half_told = false;
    reload->half_since_ms = 0;
    end_silently(supervisor);
}

/* They were read, and may be put in use. */
static void compare_certificates(struct supervisor *supervisor, bool unsettled,
                                 const struct diagnostics *diagnostics)
{
    struct generation *current = supervisor->current;
    int fd = generation_make_bundle(current);

    if (fd < 0) {
        certificates_are_bad(supervisor, diagnostics);
    } else if (bundle_same(current->proxy_bundle, fd)) {
        close(fd);
        if (unsettled) /* what is bad in a folder did not replace what was good */
            free(log_diagnostics(diagnostics));
        certificates_are_the_same(supervisor);
    } else {
        free(log_diagnostics(diagnostics)); /* warnings */
        supervisor->reload.changes = describe_changes(current->proxy_bundle, fd);
        supervisor->reload.half_told = false;
        supervisor->reload.half_since_ms = 0;
        reload_put_bundle_in_use(supervisor, fd);
        reload_step(supervisor);
    }
}

void reload_read_certificates(struct supervisor *supervisor)
{
    struct configuration *configuration = &supervisor->current->configuration;
    struct diagnostics diagnostics;
    bool unsettled;
    int r;

    diagnostics_init(&diagnostics);
    r = configuration_load_keys(configuration, supervisor->current->proxy_bundle, &diagnostics);
    certificate_watch_follow(supervisor->reload.watch, &configuration->files);
    unsettled = r < 0 || configuration_unsettled(configuration);
    if (unsettled && may_be_at_work(supervisor)) {
        if (r == 0)
            configuration_settle_keys(configuration, false);
        read_them_later(supervisor);
    } else if (r < 0) {
        certificates_are_bad(supervisor, &diagnostics);
    } else {
        configuration_settle_keys(configuration, true);
        compare_certificates(supervisor, unsettled, &diagnostics);
    }
    diagnostics_deinit(&diagnostics);
}
