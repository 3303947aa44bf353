/* Opening what a configuration needs: folders, sockets, programs, bundles, names and maps.
 *
 * Happy path: each is opened in turn; what the generation in use has as well is shared. The first
 * that fails (a port in use, a folder that cannot be made) undoes those before it. */
#include "proxy/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/bundle.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/supervisor.h"
#include "proxy/supervisor_private.h"

/* A generation that is being made. */
struct making {
    struct supervisor *supervisor;
    struct generation *generation;
    const struct generation *before; /* NULL: this is the first */
    struct text *words;
};

static void say(const struct making *making, const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "%s: %s", what, err_text(error));
    if (making->words)
        text_printf(making->words, "%s: %s\n", what, err_text(error));
}

/* -- embedded workers -- */

/* Appends the section of that name out of a whole text of settings. */
static void put_section(FILE *out, const char *text, const char *head)
{
    const char *start = strstr(text, head), *end = start ? strstr(start, "\n\n") : NULL;

    if (end)
        fwrite(start, 1, (size_t)(end - start), out);
}

/* The settings that an embedded worker uses. NULL: no memory. */
static char *embedded_settings(const struct settings *settings)
{
    char *all = NULL, *used = NULL;
    size_t size;
    FILE *out = open_memstream(&all, &size);

    if (!out)
        return NULL;
    settings_print(settings, out);
    if (fclose(out) != 0)
        goto done;
    out = open_memstream(&used, &size);
    if (!out)
        goto done;
    fprintf(out, "%s %d\n", settings->gatepost.hostname, settings->gatepost.log_level);
    put_section(out, all, "[limits]\n");
    put_section(out, all, "[mailstore]\n");
    if (fclose(out) != 0) {
        free(used);
        used = NULL;
    }
done:
    free(all);
    return used;
}

size_t generation_find_embedded(const struct generation *generation, const char *path)
{
    size_t number = 0;

    while (number < generation->listeners.embedded_count &&
           (generation->listeners.embedded[number].fd < 0 ||
            strcmp(generation->listeners.embedded[number].path, path) != 0))
        number++;
    return number;
}

bool generation_same_embedded(const struct generation *a, size_t a_number,
                              const struct generation *b, size_t b_number)
{
    return a->listeners.embedded[a_number].protocol == b->listeners.embedded[b_number].protocol &&
           strcmp(a->embedded[a_number].wanted, b->embedded[b_number].wanted) == 0;
}

/* One that is leaving goes on as it was begun. */
static int keep_embedded(const struct making *making, size_t number)
{
    struct generation *generation = making->generation;
    struct embedded_worker *worker = &generation->embedded[number];
    size_t former =
        generation_find_embedded(making->before, generation->listeners.embedded[number].path);
    const struct embedded_worker *before = &making->before->embedded[former];

    worker->bundle_fd = fcntl(before->bundle_fd, F_DUPFD_CLOEXEC, 0);
    worker->child = before->child;
    worker->left = before->left ? before->left : generation->number;
    worker->wanted = strdup(before->wanted);
    return worker->bundle_fd < 0 ? -errno : worker->wanted ? 0 : -ENOMEM;
}

static int make_embedded(const struct making *making)
{
    struct generation *generation = making->generation;
    const struct listener_set *listeners = &generation->listeners;
    int r = 0;

    generation->embedded = calloc(listeners->embedded_count + 1, sizeof(*generation->embedded));
    if (!generation->embedded)
        return -ENOMEM;
    generation->embedded_count = listeners->embedded_count;
    for (size_t i = 0; i < listeners->embedded_count; i++)
        generation->embedded[i].bundle_fd = -1;
    for (size_t i = 0; r >= 0 && i < listeners->embedded_count; i++) {
        struct embedded_worker *worker = &generation->embedded[i];

        if (listeners->embedded[i].leaving) {
            r = keep_embedded(making, i);
            continue;
        }
        worker->wanted = embedded_settings(generation->configuration.settings);
        r = worker->wanted
                ? configuration_embedded_bundle(&generation->configuration, &listeners->embedded[i])
                : -ENOMEM;
        worker->bundle_fd = r;
    }
    return r < 0 ? r : 0;
}

/* Programs are opened at the start; one that was missing then, and not wanted, may be there now. */
static int open_programs(const struct making *making)
{
    const struct listener_set *listeners = &making->generation->listeners;
    int *fds = making->supervisor->program_fds;

    for (size_t i = 0; i < listeners->embedded_count; i++) {
        enum control_program program = supervisor_embedded_program(listeners->embedded[i].protocol);

        if (fds[program] < 0)
            fds[program] = control_open_program(program, true);
        if (fds[program] < 0) {
            if (making->words)
                text_printf(making->words, "program %s: %s\n", control_program_name(program),
                            err_text(fds[program]));
            return fds[program];
        }
    }
    return 0;
}

/* -- all of it -- */

static void assign_slots(const struct making *making)
{
    struct generation *generation = making->generation;
    const struct generation *before = making->before;
    struct address_slots_of former = { before ? before->configuration.settings : NULL,
                                       before ? before->configuration.slots : NULL };

    generation->slots = making->supervisor->slots;
    address_slots_assign(&generation->slots, generation->number + 1, &former,
                         generation->configuration.settings, generation->configuration.slots,
                         generation->fresh);
}

static int make_bundles(const struct making *making)
{
    struct generation *generation = making->generation;
    int r = make_embedded(making);

    generation->proxy_bundle = r < 0 ? r : generation_make_bundle(generation);
    configuration_drop_keys(&generation->configuration);
    return generation->proxy_bundle < 0 ? generation->proxy_bundle : 0;
}

static int make_bulletin(const struct making *making)
{
    struct generation *generation = making->generation;
    struct bulletin_start start = {
        .settings = generation->configuration.settings,
        .slots = generation->configuration.slots,
        .children = &making->supervisor->children,
        .number = generation->number,
        .before = making->before ? making->before->bulletin : NULL,
        .settled = reload_names_settled,
        .owner = making->supervisor,
    };

    return bulletin_new(&start, &generation->bulletin);
}

/* An exit code. */
static int make(const struct making *making)
{
    struct generation *generation = making->generation;
    const struct configuration *configuration = &generation->configuration;
    struct listener_set_start listeners = {
        .settings = configuration->settings,
        .privileges = &configuration->privileges,
        .before = making->before ? &making->before->listeners : NULL,
        .activation = &making->supervisor->activation,
        .words = making->words,
    };
    int r = configuration_make_folders(configuration);

    if (r < 0) {
        if (making->words)
            text_printf(making->words, "a folder cannot be made: %s\n", err_text(r));
        return SUPERVISOR_CANNOT_CREATE;
    }
    activation_offer(&making->supervisor->activation);
    if (listener_set_open(&listeners, &generation->listeners) < 0)
        return SUPERVISOR_UNAVAILABLE;
    if (activation_check(&making->supervisor->activation, configuration->settings, making->words) <
        0)
        return SUPERVISOR_CONFIGURATION;
    assign_slots(making);
    if (open_programs(making) < 0)
        return SUPERVISOR_OS;
    r = make_bundles(making);
    if (r == 0)
        r = make_bulletin(making);
    if (r < 0) {
        say(making, "the configuration cannot be put to work", r);
        return SUPERVISOR_OS;
    }
    return SUPERVISOR_DONE;
}

int generation_new(struct supervisor *supervisor, struct configuration *configuration,
                   uint32_t number, struct text *words, struct generation **ret_generation)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    struct making making = { supervisor, generation, supervisor->current, words };
    int code;

    if (!generation) {
        configuration_deinit(configuration);
        say(&making, "the configuration cannot be put to work", -ENOMEM);
        return SUPERVISOR_OS;
    }
    generation->number = number;
    generation->loaded = time(NULL);
    generation->proxy_bundle = -1;
    generation->configuration = *configuration;
    *configuration = (struct configuration){ .settings = NULL };
    code = make(&making);
    if (code != SUPERVISOR_DONE)
        generation_free(generation);
    else
        *ret_generation = generation;
    return code;
}

int generation_make_bundle(struct generation *generation)
{
    int fd = configuration_proxy_bundle(&generation->configuration, &generation->listeners);

    configuration_drop_keys(&generation->configuration);
    return fd;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    bulletin_close(generation->bulletin);
    for (size_t i = 0; i < generation->embedded_count; i++) {
        if (generation->embedded[i].bundle_fd >= 0)
            close(generation->embedded[i].bundle_fd);
        free(generation->embedded[i].wanted);
    }
    free(generation->embedded);
    listener_set_deinit(&generation->listeners);
    if (generation->proxy_bundle >= 0)
        close(generation->proxy_bundle);
    configuration_deinit(&generation->configuration);
    free(generation);
}
