/* From [tls] sections to pairs of PEM texts that have been judged, each with the number of the
 * identity that it belongs to.
 *
 * Happy path: the pairs of `certificate` and `key` are one identity; of a `directory`, those for
 * the same names with different kinds of keys. What is wrong with one that a section names is an
 * error; in a directory it is a warning, and the pair stays what it was or is left out, because
 * others must not pay for it. Of two that would do the same, the one that is valid longer stays. */
#include "proxy/certificates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/bundle.h"
#include "proxy/base/err.h"
#include "proxy/base/text.h"
#include "proxy/certificate_directory.h"
#include "proxy/configuration_check.h"
#include "proxy/pem_file.h"
#include "proxy/tls_profile.h"
#include "proxy/tls_store.h"

struct pair {
    const char *certificate_path, *key_path; /* NULL: not set */
    struct pem_file certificate, key;
    struct tls_card card;
    size_t number; /* of its identity */
    bool good;
    bool kept; /* the files are of no use: it is what they held before */
};

struct section {
    const struct settings_tls *tls;
    struct certificate_files *files; /* of a directory */
    size_t file_count;
    struct pair *pairs;
    size_t count, numbers;
};

struct certificates {
    struct section *sections; /* one for each of settings->tls */
    size_t count;
};

/* What is being loaded, and where to tell of it. */
struct load {
    const struct settings *settings;
    struct diagnostics *diagnostics;
    struct file_stamps *stamps;
    const struct certificates_before *before; /* NULL: none */
    struct section *section;
};

/* --- words --- */

static void tell(const struct load *load, enum diagnostic_kind kind, const char *key,
                 const char *path, const char *words)
{
    struct settings_ref ref = { "tls", load->section->tls->name, key, path };
    bool directory = strcmp(key, "directory") == 0;

    settings_report(load->settings, load->diagnostics, kind, &ref, "[tls %s] %s%s %s: %s", ref.name,
                    key, directory ? ":" : " =", path, words);
}

/* About one of the two files of a pair; `key` is the setting that names it. */
static void tell_of_pair(const struct load *load, const char *key, const char *path,
                         const char *words)
{
    if (load->section->files)
        tell(load, DIAGNOSTIC_WARNING, "directory", path, words);
    else
        tell(load, DIAGNOSTIC_ERROR, key, path, words);
}

/* --- one pair --- */

/* Nothing is read from a path that the settings' own check refuses. */
static void read_pem(const struct load *load, const char *key, const char *path,
                     struct pem_file *file)
{
    int r = path && *path == '/' ? pem_file_read(path, load->stamps, file) : 0;
    char room[512];
    struct text words = TEXT_OVER(room);

    if (r == 0)
        return;
    configuration_put_unreadable(path, r, &words);
    tell_of_pair(load, key, path, text_str(&words));
}

/* In a directory, NAME.pem alone is to hold both. */
static bool lacks_key(const struct load *load, const struct pair *pair)
{
    static const char mark[] = " PRIVATE KEY-----";

    return load->section->files && strcmp(pair->certificate_path, pair->key_path) == 0 &&
           !memmem(pair->key.data, pair->key.size, mark, sizeof(mark) - 1);
}

/* The files of a pair have been read: is it of use? */
static bool judge(const struct load *load, struct pair *pair)
{
    char room[512];
    struct text words = TEXT_OVER(room);
    int r;

    if (lacks_key(load, pair)) {
        tell_of_pair(load, "key", pair->key_path,
                     "there is no private key in it, and no file .key beside it");
        return false;
    }
    r = tls_store_judge(pem_file_span(&pair->certificate), pem_file_span(&pair->key), &words,
                        &pair->card);
    if (r == -EKEYREJECTED)
        tell_of_pair(load, "key", pair->key_path, text_str(&words));
    else if (r < 0)
        tell_of_pair(load, "certificate", pair->certificate_path, text_str(&words));
    return r == 0;
}

static void load_pair(const struct load *load, struct pair *pair)
{
    const struct settings_tls *tls = load->section->tls;
    const char *key = load->section->files ? "directory" : "key";
    const char *certificate = load->section->files ? "directory" : "certificate";

    read_pem(load, "certificate", pair->certificate_path, &pair->certificate);
    read_pem(load, "key", pair->key_path, &pair->key);
    if (pair->key.data && !lacks_key(load, pair))
        configuration_check_key(load->settings, tls, key, pair->key_path, load->diagnostics);
    if (pair->certificate.data)
        configuration_check_certificate(load->settings, tls, certificate, pair->certificate_path,
                                        pem_file_span(&pair->certificate), load->diagnostics);
    pair->good = pair->certificate.data && pair->key.data && judge(load, pair);
}

/* --- certificate and key --- */

/* Side by side must stand different kinds of keys, for the same names. */
static void compare(const struct load *load, const struct pair *one, const struct pair *other)
{
    char words[400];

    if (one->card.kind == other->card.kind) {
        snprintf(words, sizeof(words),
                 "it has an %s key, as %s has; side by side stand different kinds",
                 tls_kind_name(other->card.kind), one->certificate_path);
        tell(load, DIAGNOSTIC_ERROR, "certificate", other->certificate_path, words);
    } else if (load->section->tls->names.count == 0 &&
               strcmp(one->card.names, other->card.names) != 0) {
        snprintf(words, sizeof(words),
                 "it is not for the same names as %s: some clients get one, some the other",
                 one->certificate_path);
        tell(load, DIAGNOSTIC_WARNING, "certificate", other->certificate_path, words);
    }
}

static int load_list(const struct load *load)
{
    struct section *section = load->section;
    const struct settings_list *certificates = &section->tls->certificate;
    const struct settings_list *keys = &section->tls->key;
    size_t count = certificates->count > keys->count ? certificates->count : keys->count;

    section->pairs = calloc(count + 1, sizeof(*section->pairs));
    if (!section->pairs)
        return -ENOMEM;
    section->count = count;
    section->numbers = 1;
    for (size_t i = 0; i < count; i++) {
        struct pair *pair = &section->pairs[i];

        pair->certificate_path = i < certificates->count ? certificates->items[i] : NULL;
        pair->key_path = i < keys->count ? keys->items[i] : NULL;
        load_pair(load, pair);
        for (size_t j = 0; j < i && pair->good; j++)
            if (section->pairs[j].good)
                compare(load, &section->pairs[j], pair);
    }
    return 0;
}

/* --- directory --- */

/* `worse` serves the same names with the same kind of key as `better`. */
static void leave_out(const struct load *load, struct pair *worse, const struct pair *better)
{
    char words[400];

    snprintf(words, sizeof(words), "%s is for the same names and %s", better->certificate_path,
             better->card.ends > worse->card.ends ? "valid longer" : "comes before it");
    tell(load, DIAGNOSTIC_WARNING, "directory", worse->certificate_path, words);
    worse->good = false;
}

/* Finds the identity that the pair belongs to: a new one, unless an earlier pair has its names. */
static void number(const struct load *load, struct pair *pair)
{
    struct section *section = load->section;

    pair->number = section->numbers;
    for (struct pair *other = section->pairs; other < pair && pair->good; other++) {
        if (!other->good || strcmp(other->card.names, pair->card.names) != 0)
            continue;
        pair->number = other->number;
        if (other->card.kind != pair->card.kind)
            continue;
        if (pair->card.ends > other->card.ends)
            leave_out(load, other, pair);
        else
            leave_out(load, pair, other);
    }
    if (pair->good && pair->number == section->numbers)
        section->numbers++;
}

/* The same folder among others. */
static const struct section *find_section(const struct certificates *certificates,
                                          const struct section *wanted)
{
    for (size_t i = 0; i < certificates->count; i++) {
        const struct section *section = &certificates->sections[i];

        if (section->files && strcmp(section->tls->name, wanted->tls->name) == 0)
            return section;
    }
    return NULL;
}

static const struct pair *find_pair(const struct section *section, const struct pair *wanted)
{
    for (size_t i = 0; section && i < section->count; i++)
        if (strcmp(section->pairs[i].certificate_path, wanted->certificate_path) == 0)
            return &section->pairs[i];
    return NULL;
}

/* Copies one of the two halves of a pair out of the bundle that it is in. */
static bool copy_former(const struct certificates_before *before, const struct section *section,
                        const struct pair *pair, const char *what, struct pem_file *ret_file)
{
    char name[300];
    size_t place = 0; /* of those with the same number, one for each kind of key */
    struct span content;

    for (const struct pair *other = section->pairs; other < pair; other++)
        place += other->good && other->number == pair->number;
    snprintf(name, sizeof(name), "tls/%s/%zu/%s", section->tls->name, pair->number, what);
    if (!bundle_find(before->bundle, name, place, &content))
        return false;
    pem_file_drop(ret_file);
    ret_file->data = malloc(content.size + 1);
    if (!ret_file->data)
        return false;
    memcpy(ret_file->data, content.data, content.size);
    ret_file->size = content.size;
    return true;
}

/* A bad certificate never replaces a good one: what the files held stays in use. */
static void keep_former(const struct load *load, struct pair *pair)
{
    const struct section *section =
        load->before ? find_section(load->before->certificates, load->section) : NULL;
    const struct pair *former = find_pair(section, pair);
    char room[512];
    struct text words = TEXT_OVER(room);

    if (!former || !former->good ||
        !copy_former(load->before, section, former, "certificate", &pair->certificate) ||
        !copy_former(load->before, section, former, "key", &pair->key))
        return;
    pair->good = pair->kept = tls_store_judge(pem_file_span(&pair->certificate),
                                              pem_file_span(&pair->key), &words, &pair->card) == 0;
    if (pair->kept)
        tell(load, DIAGNOSTIC_WARNING, "directory", pair->certificate_path,
             "what was there before stays in use");
}

static void load_from_directory(const struct load *load, struct pair *pair)
{
    load_pair(load, pair);
    if (!pair->good)
        keep_former(load, pair);
    if (pair->good && !*pair->card.names) {
        tell(load, DIAGNOSTIC_WARNING, "directory", pair->certificate_path,
             "there is no DNS name in it, so that no client would get it");
        pair->good = false;
    }
    if (pair->good)
        number(load, pair);
}

static int load_directory(const struct load *load)
{
    struct section *section = load->section;
    const char *path = section->tls->directory;
    struct stat status;
    int r = file_stamps_add(load->stamps, path, stat(path, &status) == 0 ? &status : NULL);

    if (r == 0)
        r = certificate_directory_read(path, &section->files, &section->file_count);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        tell(load, DIAGNOSTIC_ERROR, "directory", path,
             r == -E2BIG ? "there are more than 1000 certificates in it" : err_text(r));
        return 0;
    }
    if (section->file_count == 0)
        tell(load, DIAGNOSTIC_WARNING, "directory", path, "there is no certificate in it");
    section->pairs = calloc(section->file_count + 1, sizeof(*section->pairs));
    if (!section->pairs)
        return -ENOMEM;
    section->count = section->file_count;
    for (size_t i = 0; i < section->count; i++) {
        section->pairs[i].certificate_path = section->files[i].certificate;
        section->pairs[i].key_path = section->files[i].key;
        load_from_directory(load, &section->pairs[i]);
    }
    return 0;
}

/* --- all of them --- */

int certificates_load(const struct settings *settings, struct diagnostics *diagnostics,
                      struct file_stamps *stamps, const struct certificates_before *before,
                      struct certificates **ret_certificates)
{
    struct certificates *certificates = calloc(1, sizeof(*certificates));
    int r = 0;

    if (!certificates)
        return -ENOMEM;
    certificates->sections = calloc(settings->tls_count + 1, sizeof(*certificates->sections));
    if (!certificates->sections)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < settings->tls_count; i++) {
        struct load load = { settings, diagnostics, stamps, before, &certificates->sections[i] };

        certificates->count++;
        load.section->tls = &settings->tls[i];
        r = *load.section->tls->directory ? load_directory(&load) : load_list(&load);
    }
    if (r < 0)
        certificates_free(certificates);
    else
        *ret_certificates = certificates;
    return r;
}

static bool is_bad(const struct pair *pair)
{
    return !pair->good || pair->kept;
}

static bool is_unsettled(const struct section *now, const struct section *before)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct pair *former = find_pair(before, &now->pairs[i]);

        if (is_bad(&now->pairs[i]) && !(former && is_bad(former)))
            return true;
    }
    for (size_t i = 0; i < before->count; i++)
        if (before->pairs[i].good && !find_pair(now, &before->pairs[i]))
            return true;
    return false;
}

bool certificates_unsettled(const struct certificates *now, const struct certificates *before)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct section *section = &now->sections[i];
        const struct section *former = section->files ? find_section(before, section) : NULL;

        if (former && is_unsettled(section, former))
            return true;
    }
    return false;
}

size_t certificates_left_out(const struct certificates *certificates)
{
    size_t count = 0;

    for (size_t i = 0; i < certificates->count; i++) {
        const struct section *section = &certificates->sections[i];

        for (size_t j = 0; section->files && j < section->count; j++)
            count += !section->pairs[j].good;
    }
    return count;
}

static int add_pem(int fd, const struct section *section, size_t number, const char *what,
                   const struct pem_file *file)
{
    char name[300];

    snprintf(name, sizeof(name), "tls/%s/%zu/%s", section->tls->name, number, what);
    return bundle_add(fd, name, pem_file_span(file));
}

static int add_section(int fd, const struct section *section)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < section->count; i++) {
        const struct pair *pair = &section->pairs[i];

        if (!pair->good)
            continue;
        r = add_pem(fd, section, pair->number, "certificate", &pair->certificate);
        if (r == 0)
            r = add_pem(fd, section, pair->number, "key", &pair->key);
    }
    return r;
}

int certificates_add(const struct certificates *certificates, int fd)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < certificates->count; i++)
        r = add_section(fd, &certificates->sections[i]);
    return r;
}

static void forget_section(struct section *section)
{
    for (size_t i = 0; i < section->count; i++) {
        pem_file_drop(&section->pairs[i].certificate);
        pem_file_drop(&section->pairs[i].key);
    }
}

void certificates_forget(struct certificates *certificates)
{
    for (size_t i = 0; certificates && i < certificates->count; i++)
        forget_section(&certificates->sections[i]);
}

static void drop_section(struct section *section)
{
    forget_section(section);
    for (size_t i = 0; i < section->count; i++)
        free(section->pairs[i].card.names);
    free(section->pairs);
    certificate_directory_free(section->files, section->file_count);
}

void certificates_free(struct certificates *certificates)
{
    if (!certificates)
        return;
    for (size_t i = 0; i < certificates->count; i++)
        drop_section(&certificates->sections[i]);
    free(certificates->sections);
    free(certificates);
}
