/* Builds struct settings from INI files.
 *
 * Happy path: the defaults, then each file's entries in order, each parsed into its member and its
 * place noted; then what was left open is filled in and settings_check() looks for contradictions.
 * Mistakes in a file are diagnostics and reading goes on, so that one run tells all of them;
 * -EINVAL comes at the end. The other failure is a lack of memory. */
#include "conf/settings.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/ini_reader.h"
#include "conf/settings_check.h"
#include "conf/settings_defaults.h"
#include "conf/settings_origins.h"
#include "conf/settings_report.h"
#include "conf/settings_value.h"

#define FILE_MAX_BYTES (256 * 1024)
#define SECTIONS_MAX                                                                               \
    500 /* named sections of a kind; far more than anyone writes, so that a bad file costs little  \
         */

struct loader {
    struct settings *settings;
    struct diagnostics *diagnostics;
    unsigned file_number;
    int error; /* -ENOMEM once memory ran out */
    /* the current section */
    bool skip; /* it was refused: so are its entries, silently */
    enum settings_section section;
    char name[INI_SECTION_MAX + 1]; /* "" where the section has none */
    bool skip_continued;            /* the entry above was refused, or is of no interest */
};

/* Complains at `place`. `key` NULL: about the section. */
static void complain(struct loader *loader, const struct diagnostic_place *place, const char *key,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

static void complain_about(struct loader *loader, const struct diagnostic_place *place,
                           const char *topic, const char *format, va_list arguments)
{
    struct diagnostic_place there = *place;
    char words[640];

    vsnprintf(words, sizeof(words), format, arguments);
    there.topic = topic;
    diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &there, "%s", words);
}

static void complain(struct loader *loader, const struct diagnostic_place *place, const char *key,
                     const char *format, ...)
{
    char topic[SETTINGS_TOPIC_SIZE];
    va_list arguments;

    va_start(arguments, format);
    complain_about(loader, place, settings_topic(loader->section, key, topic), format, arguments);
    va_end(arguments);
}

/* About what a file may look like at all. */
static void complain_form(struct loader *loader, const struct diagnostic_place *place,
                          const char *format, ...) __attribute__((format(printf, 3, 4)));

static void complain_form(struct loader *loader, const struct diagnostic_place *place,
                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain_about(loader, place, INI_FORMAT_TOPIC, format, arguments);
    va_end(arguments);
}

static void note_origin(struct loader *loader, const char *key,
                        const struct diagnostic_place *place, unsigned value_column, bool continued)
{
    struct settings_origin origin = { .section = loader->section,
                                      .name = loader->name,
                                      .key = key,
                                      .file_number = loader->file_number,
                                      .place = *place,
                                      .value_column = value_column,
                                      .continued = continued };

    if (settings_origins_set(loader->settings->origins, &origin) < 0)
        loader->error = -ENOMEM;
}

/* Has this file said it before? Then both lines are named. */
static bool said_before(struct loader *loader, const char *key,
                        const struct diagnostic_place *place)
{
    const struct settings_origin *earlier =
        settings_origins_find(loader->settings->origins, loader->section, loader->name, key);

    if (!earlier || earlier->file_number != loader->file_number)
        return false;
    complain_form(loader, place, "%s is already %s in line %u", key ? key : "this section",
                  key ? "set" : "begun", earlier->place.line);
    return true;
}

/* Splits "listen  pop3" into two words. Returns how many there are, 3 for more than two. */
static int split_section(const char *text, char *first, char *second)
{
    char third[2];
    int words;

    *first = *second = '\0';
    words = sscanf(text, "%49s %49s %1s", first, second, third); /* INI_SECTION_MAX is 49 */
    return words < 0 ? 0 : words;
}

static bool name_is_good(const char *name)
{
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("-_.", *name))
            return false;
    return true;
}

static void complain_section(struct loader *loader, const struct diagnostic_place *place,
                             const char *first)
{
    static const char *const names[] = { "gatepost", "tls",    "listen",
                                         "backend",  "limits", "mailstore" };
    const char *nearest = diagnostics_nearest(first, names, SECTION_COUNT);

    if (nearest)
        complain_form(loader, place, "there is no section [%s]; did you mean \"%s\"?", first,
                      nearest);
    else
        complain_form(
            loader, place,
            "there is no section [%s]; there are gatepost, tls, listen, backend, limits and "
            "mailstore",
            first);
}

static int find_section(const char *name)
{
    for (int i = 0; i < SECTION_COUNT; i++)
        if (strcmp(settings_sections[i].name, name) == 0)
            return i;
    return -ENOENT;
}

/* Sets loader->section and ->name. Returns false where the line is refused. */
static bool judge_section(struct loader *loader, const char *text,
                          const struct diagnostic_place *place)
{
    char first[INI_SECTION_MAX + 1], second[INI_SECTION_MAX + 1];
    int words = split_section(text, first, second), found = find_section(first);

    if (found < 0) {
        complain_section(loader, place, first);
        return false;
    }
    loader->section = (enum settings_section)found;
    strcpy(loader->name, second);
    if (settings_sections[found].named && words == 1) {
        complain(loader, place, NULL, "this section needs a name: [%s %s]", first,
                 found == SECTION_TLS ? "default" : "smtp");
        return false;
    }
    if (words != (settings_sections[found].named ? 2 : 1) || !name_is_good(second)) {
        complain(loader, place, NULL,
                 settings_sections[found].named
                     ? "the name of a [%s] section is one word of letters, digits, - _ and ."
                     : "the section [%s] takes no name",
                 first);
        return false;
    }
    return !said_before(loader, NULL, place);
}

/* Makes the struct of a named section unless it is there. */
static bool open_section(struct loader *loader, const struct diagnostic_place *place)
{
    if (settings_section_find(loader->settings, loader->section, loader->name))
        return true;
    if (settings_section_size(loader->settings, loader->section) >= SECTIONS_MAX) {
        complain(loader, place, NULL, "there are too many sections of this kind");
        return false;
    }
    if (settings_section_add(loader->settings, loader->section, loader->name) < 0) {
        loader->error = -ENOMEM;
        return false;
    }
    return true;
}

static void take_section(void *user, const char *text, const struct diagnostic_place *place)
{
    struct loader *loader = user;
    struct diagnostic_place inside = *place;

    inside.column = 2; /* behind the [ */
    loader->skip = !judge_section(loader, text, &inside) || !open_section(loader, &inside);
    loader->skip_continued = true;
    if (!loader->skip)
        note_origin(loader, NULL, &inside, 0, false);
}

/* The sections that have a key of that name: "[listen NAME] and [backend NAME]". Returns the first
 * one; SECTION_COUNT where there is none. */
static enum settings_section sections_of(const char *key, char *into, size_t room)
{
    enum settings_section first = SECTION_COUNT;
    size_t used = 0;

    *into = '\0';
    for (int i = SECTION_COUNT - 1; i >= 0; i--)
        if (settings_key_find((enum settings_section)i, key))
            first = (enum settings_section)i;
    for (int i = first; i < SECTION_COUNT && used < room; i++)
        if (settings_key_find((enum settings_section)i, key))
            used += (size_t)snprintf(into + used, room - used, "%s[%s%s]", used ? " and " : "",
                                     settings_sections[i].name,
                                     settings_sections[i].named ? " NAME" : "");
    return first;
}

/* A key that stands in the wrong section: what is to be read is in the right one. False: it is in
 * none. */
static bool complain_misplaced(struct loader *loader, const struct ini_entry *entry)
{
    enum settings_section here = loader->section, there;
    char sections[120];

    there = sections_of(entry->key, sections, sizeof(sections));
    if (there == SECTION_COUNT)
        return false;
    loader->section = there;
    complain(loader, &entry->place, entry->key, "there is no key \"%s\" in [%s]; it belongs to %s",
             entry->key, settings_sections[here].name, sections);
    loader->section = here;
    return true;
}

/* An unknown key: it may be a typing mistake, or stand in the wrong section. */
static void complain_key(struct loader *loader, const struct ini_entry *entry)
{
    const char *section = settings_sections[loader->section].name;
    const char *nearest = settings_key_nearest(loader->section, entry->key);

    if (nearest)
        complain(loader, &entry->place, nearest,
                 "there is no key \"%s\" in [%s]; did you mean \"%s\"?", entry->key, section,
                 nearest);
    else if (strncmp(entry->key, "x_", 2) == 0)
        complain_form(loader, &entry->place,
                      "there is no key \"%s\" in [%s]; keys of your own begin with x-", entry->key,
                      section);
    else if (!complain_misplaced(loader, entry))
        complain(loader, &entry->place, NULL, "there is no key \"%s\" in [%s]", entry->key,
                 section);
}

/* What a later program's file means cannot be known: this comes before all that looks wrong in it.
 */
static bool version_is_known(struct loader *loader, const struct settings_key *key,
                             const struct diagnostic_place *place)
{
    const struct settings_gatepost *gatepost = &loader->settings->gatepost;

    if (loader->section != SECTION_GATEPOST || strcmp(key->name, "config_version") != 0 ||
        gatepost->config_version <= SETTINGS_VERSION)
        return true;
    complain(loader, place, key->name,
             "this program is too old for the file: it knows config_version %d, and the file is of "
             "version %u",
             SETTINGS_VERSION, gatepost->config_version);
    return false;
}

static void take_value(struct loader *loader, const struct settings_key *key,
                       const struct ini_entry *entry)
{
    void *section = settings_section_find(loader->settings, loader->section, loader->name);
    struct diagnostic_place place = entry->place;
    struct settings_origin *origin;
    struct value_fault fault;
    int result = (entry->continued ? settings_value_append : settings_value_parse)(
        key, entry->value, settings_member(section, key), &fault);

    if (result < 0)
        loader->error = result;
    place.column = entry->value_column + (result == VALUE_BAD ? (unsigned)fault.offset : 0);
    if (result == VALUE_BAD)
        complain(loader, &place, key->name, "%s", fault.words);
    else if (version_is_known(loader, key, &place))
        return;
    origin =
        settings_origins_find(loader->settings->origins, loader->section, loader->name, key->name);
    if (origin)
        origin->unused = true;
}

static void take_entry(void *user, const struct ini_entry *entry)
{
    struct loader *loader = user;
    const struct settings_key *key;

    if (loader->skip || loader->error || (entry->continued && loader->skip_continued))
        return;
    loader->skip_continued = true;
    if (strncmp(entry->key, "x-", 2) == 0)
        return;
    key = settings_key_find(loader->section, entry->key);
    if (!key) {
        complain_key(loader, entry);
        return;
    }
    if (!entry->continued && said_before(loader, key->name, &entry->place))
        return;
    note_origin(loader, key->name, &entry->place, entry->value_column, entry->continued);
    loader->skip_continued = false;
    take_value(loader, key, entry);
}

static void load_text(struct loader *loader, const char *text, size_t size, const char *name)
{
    struct ini_listener listener = { loader, take_section, take_entry };
    struct diagnostic_place place = { name, 0, 0, NULL, NULL };

    loader->file_number++;
    loader->skip = true;
    if (settings_origins_add_file(loader->settings->origins, name) < 0)
        loader->error = -ENOMEM;
    if (size > FILE_MAX_BYTES)
        diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &place,
                        "the file is larger than 256 KiB");
    else if (ini_reader_read(text, size, name, &listener, loader->diagnostics) == -ENOMEM)
        loader->error = -ENOMEM;
}

/* A pipe may be (-c <(...) of a shell); one that nobody writes to is at its end, not waited for. */
static FILE *open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    FILE *file = fd < 0 || fcntl(fd, F_SETFL, 0) < 0 ? NULL : fdopen(fd, "r");

    if (!file && fd >= 0)
        close(fd);
    return file;
}

static bool is_pipe(FILE *file)
{
    struct stat status;

    return fstat(fileno(file), &status) == 0 && S_ISFIFO(status.st_mode);
}

static void load_file(struct loader *loader, const char *path)
{
    struct diagnostic_place place = { path, 0, 0, NULL, NULL };
    char *text = malloc(FILE_MAX_BYTES + 1);
    FILE *file = open_file(path);
    size_t size;

    if (!text) {
        loader->error = -ENOMEM;
    } else if (!file) {
        diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &place, "cannot open the file: %s",
                        strerror(errno));
    } else {
        size = fread(text, 1, FILE_MAX_BYTES + 1, file);
        if (ferror(file))
            diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &place,
                            "cannot read the file: %s", strerror(errno));
        else if (size == 0 && is_pipe(file))
            diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &place,
                            "the file is a pipe that nobody writes to");
        else
            load_text(loader, text, size, path);
    }
    if (file)
        fclose(file);
    free(text);
}

/* Files of conf.d that count: NAME.ini, and not an editor's hidden copy. */
static int is_settings_file(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');

    return entry->d_name[0] != '.' && end && strcmp(end, ".ini") == 0;
}

/* alphasort() would follow the locale; the order of files must not. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Loads conf.d/NAME.ini beside the file `path`. A folder that is not there is no error. */
static void load_folder(struct loader *loader, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct dirent **entries;
    char folder[PATH_MAX];
    char *file;
    int count;

    snprintf(folder, sizeof(folder), "%.*sconf.d", slash ? (int)(slash - path + 1) : 0, path);
    count = scandir(folder, &entries, is_settings_file, by_name);
    if (count < 0 && errno != ENOENT) {
        struct diagnostic_place place = { folder, 0, 0, NULL, NULL };

        diagnostics_add(loader->diagnostics, DIAGNOSTIC_ERROR, &place, "cannot read the folder: %s",
                        strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        if (asprintf(&file, "%s/%s", folder, entries[i]->d_name) < 0) {
            loader->error = -ENOMEM;
        } else {
            load_file(loader, file);
            free(file);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* [tls default] without a certificate says the same as no such section. */
static void drop_empty_tls(struct settings *settings)
{
    if (settings->tls_count > 0 && settings->tls[0].certificate.count == 0)
        settings_section_remove(settings, SECTION_TLS, 0);
}

static int loader_init(struct loader *loader, struct diagnostics *diagnostics)
{
    memset(loader, 0, sizeof(*loader));
    loader->diagnostics = diagnostics;
    loader->settings = calloc(1, sizeof(*loader->settings));
    if (!loader->settings)
        return -ENOMEM;
    loader->settings->origins = calloc(1, sizeof(*loader->settings->origins));
    return loader->settings->origins ? settings_defaults_add(loader->settings) : -ENOMEM;
}

/* Ends a load: complete and check what was read, give it out or free it. */
static int loader_end(struct loader *loader, struct settings **ret_settings)
{
    int result = loader->error;

    if (result == 0)
        result = settings_defaults_complete(loader->settings, loader->diagnostics);
    if (result < 0) {
        settings_free(loader->settings);
        return result;
    }
    settings_check(loader->settings, loader->diagnostics);
    drop_empty_tls(loader->settings);
    *ret_settings = loader->settings;
    return 0;
}

int settings_read_file(const char *path, struct diagnostics *diagnostics,
                       struct settings **ret_settings)
{
    struct loader loader;

    loader.error = loader_init(&loader, diagnostics);
    if (!loader.error) {
        load_file(&loader, path);
        load_folder(&loader, path);
    }
    return loader_end(&loader, ret_settings);
}

/* Gives out what was read only where it may be used. */
static int give_if_good(struct settings *settings, const struct diagnostics *diagnostics,
                        size_t errors_before, struct settings **ret_settings)
{
    if (diagnostics->errors > errors_before) {
        settings_free(settings);
        return -EINVAL;
    }
    *ret_settings = settings;
    return 0;
}

int settings_load_file(const char *path, struct diagnostics *diagnostics,
                       struct settings **ret_settings)
{
    size_t errors_before = diagnostics->errors;
    struct settings *settings;
    int result = settings_read_file(path, diagnostics, &settings);

    return result < 0 ? result : give_if_good(settings, diagnostics, errors_before, ret_settings);
}

int settings_load_text(const char *text, size_t size, const char *name,
                       struct diagnostics *diagnostics, struct settings **ret_settings)
{
    size_t errors_before = diagnostics->errors;
    struct settings *settings;
    struct loader loader;
    int result;

    loader.error = loader_init(&loader, diagnostics);
    if (!loader.error)
        load_text(&loader, text, size, name);
    result = loader_end(&loader, &settings);
    return result < 0 ? result : give_if_good(settings, diagnostics, errors_before, ret_settings);
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    for (int i = 0; i < SECTION_COUNT; i++) {
        enum settings_section section = (enum settings_section)i;

        if (!settings_sections[i].named) {
            settings_value_deinit(&settings_sections[i], settings_section_at(settings, section, 0));
            continue;
        }
        while (settings_section_size(settings, section) > 0)
            settings_section_remove(settings, section,
                                    settings_section_size(settings, section) - 1);
    }
    free(settings->tls);
    free(settings->listens);
    free(settings->backends);
    if (settings->origins)
        settings_origins_deinit(settings->origins);
    free(settings->origins);
    free(settings);
}

const struct settings_backend *settings_backend(const struct settings *settings, const char *name)
{
    return settings_section_find(settings, SECTION_BACKEND, name);
}

const struct settings_tls *settings_tls(const struct settings *settings, const char *name)
{
    return settings_section_find(settings, SECTION_TLS, name);
}

bool settings_listen_open(const struct settings *settings, const struct settings_listen *listen)
{
    const struct settings_backend *backend = settings_backend(settings, listen->backend);

    return listen->enabled && backend && backend->address.count > 0;
}

bool settings_listen_reaches(const struct settings *settings, const struct settings_listen *listen,
                             const struct settings_backend *backend)
{
    if (!settings_listen_open(settings, listen))
        return false;
    if (strcmp(listen->backend, backend->name) == 0)
        return true;
    if (!*listen->route)
        return false;
    for (size_t i = 0; i < listen->route_backends.count; i++)
        if (strcmp(listen->route_backends.items[i], backend->name) == 0)
            return true;
    return strcmp(listen->default_backend, backend->name) == 0;
}

bool settings_backend_protocol(const struct settings *settings,
                               const struct settings_backend *backend,
                               enum port_protocol *ret_protocol)
{
    bool reached = false;

    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct settings_listen *listen = &settings->listens[i];

        if (!settings_listen_reaches(settings, listen, backend))
            continue;
        if (!reached || listen->protocol < *ret_protocol)
            *ret_protocol = listen->protocol;
        reached = true;
    }
    return reached;
}

unsigned settings_listen_port(const struct settings *settings, const struct settings_listen *listen)
{
    return listen->port + settings->gatepost.port_offset;
}
