/* Certificates on disk: what a section's files and folders are found to hold, what is said of those
 * that cannot be used, and what comes out of the bundle in a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/certificate_directory.h"
#include "proxy/certificates.h"
#include "proxy/tls_profile.h"
#include "tests/lib/tls_fixture.h"

static struct pem_pair own, a, a_rsa, a_newer, b, b_star, old, weak, nameless;
static char root[] = "/tmp/gatepost-certificates-XXXXXX"; /* what all paths begin with */

/* --- files --- */

struct file {
    const char *path;            /* below the root; a folder where it ends with / */
    const struct pem_pair *pair; /* NULL: `what` is the content */
    const char *what;            /* "c", "k" or "ck": certificate, key */
};

static void write_file(const struct file *file)
{
    char path[300];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", root, file->path);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(path, 0700);
    }
    if (path[strlen(path) - 1] == '/')
        return;
    if (path[strlen(path) - 1] == '|') {
        path[strlen(path) - 1] = '\0';
        assert_int_equal(mkfifo(path, 0600), 0);
        return;
    }
    out = fopen(path, "w");
    assert_non_null(out);
    if (!file->pair)
        fputs(file->what, out);
    if (file->pair && strchr(file->what, 'c'))
        fputs(file->pair->certificate, out);
    if (file->pair && strchr(file->what, 'k'))
        fputs(file->pair->key, out);
    fclose(out);
    chmod(path, 0600);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind;
    return where->level > 0 ? remove(path) : 0;
}

static void clear_root(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- loading --- */

/* Puts the root in the place of every "@". */
static void expand(const char *text, char *into, size_t room)
{
    size_t used = 0;

    for (; *text && used + sizeof(root) < room; text++) {
        if (*text == '@')
            used += (size_t)snprintf(into + used, room - used, "%s", root);
        else
            into[used++] = *text;
    }
    into[used] = '\0';
}

/* Words of the diagnostics alone: no place, no line, no caret, no page to read. */
static void words_of(const struct diagnostics *diagnostics, char *into, size_t room)
{
    char *printed;
    size_t size, used = 0;
    FILE *out = open_memstream(&printed, &size);

    diagnostics_print(diagnostics, out);
    fclose(out);
    *into = '\0';
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
        char *words = strstr(line, "error: ");

        words = words ? words : strstr(line, "warning: ");
        if (words && *line != ' ')
            used += (size_t)snprintf(into + used, room - used, "%s\n", words);
    }
    free(printed);
}

struct loaded {
    struct settings *settings;
    struct certificates *certificates;
    struct file_stamps stamps;
    struct diagnostics diagnostics;
};

/* `before` may be NULL. */
static void load_over(struct loaded *loaded, const char *tls,
                      const struct certificates_before *before)
{
    char text[1500], expanded[3000];

    snprintf(text, sizeof(text),
             "[gatepost]\nhostname = own.example\n[backend smtp]\naddress = unix:/s\n[tls "
             "default]\ncertificate = @/own.pem\nkey = @/own.key\n%s",
             tls);
    expand(text, expanded, sizeof(expanded));
    diagnostics_init(&loaded->diagnostics);
    assert_int_equal(settings_load_text(expanded, strlen(expanded), "f", &loaded->diagnostics,
                                        &loaded->settings),
                     0);
    loaded->stamps = (struct file_stamps){ 0 };
    diagnostics_deinit(&loaded->diagnostics); /* passwords without TLS and the like */
    diagnostics_init(&loaded->diagnostics);
    assert_int_equal(certificates_load(loaded->settings, &loaded->diagnostics, &loaded->stamps,
                                       before, &loaded->certificates),
                     0);
}

static void load(struct loaded *loaded, const char *tls)
{
    load_over(loaded, tls, NULL);
}

static void unload(struct loaded *loaded)
{
    certificates_free(loaded->certificates);
    file_stamps_deinit(&loaded->stamps);
    settings_free(loaded->settings);
    diagnostics_deinit(&loaded->diagnostics);
}

static void bundle_of(const struct loaded *loaded, struct bundle *ret_bundle)
{
    int fd = bundle_create();

    assert_int_equal(certificates_add(loaded->certificates, fd), 0);
    assert_int_equal(bundle_seal(fd), 0);
    assert_int_equal(bundle_read(fd, ret_bundle), 0);
    close(fd);
}

/* The store that a worker makes of the bundle. */
static struct tls_store *store_of(const struct loaded *loaded)
{
    struct tls_store *store;
    struct bundle bundle;

    bundle_of(loaded, &bundle);
    assert_int_equal(tls_store_new(loaded->settings, &bundle, &store), 0);
    bundle_free(&bundle);
    return store;
}

/* --- rows --- */

#define SITES   "[tls sites]\ndirectory = @/d\n"
#define OLD     "the certificate has expired on "
#define AT(end) "warning: [tls sites] directory: @/d/" end

static const struct row {
    const char *name, *tls;
    struct file files[6];
    const char *words; /* what is said; of what ends with a date, the beginning */
    /* What a client gets who asks for a name: kinds of keys; 0: it is the default's. */
    unsigned a, b, b_star;
} rows[] = {
    /* certificate and key */
    { "one section", "", { { 0 } }, "", 0, 0, 0 },
    { "RSA and ECDSA side by side",
      "[tls a]\ncertificate = @/a.pem, @/r.pem\nkey = @/a.key, @/r.key\n",
      { { "a.pem", &a, "c" },
        { "a.key", &a, "k" },
        { "r.pem", &a_rsa, "c" },
        { "r.key", &a_rsa, "k" } },
      "",
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      0,
      0 },
    { "all of it in one file",
      "[tls a]\ncertificate = @/a.pem\nkey = @/a.pem\n",
      { { "a.pem", &a, "ck" } },
      "",
      TLS_KIND_ECDSA,
      0,
      0 },
    { "a file that is missing",
      "[tls a]\ncertificate = @/a.pem, @/r.pem\nkey = @/a.pem, @/r.key\n",
      { { "a.pem", &a, "ck" }, { "r.pem", &a_rsa, "c" } },
      "error: [tls a] key = @/r.key: No such file or directory\n",
      0,
      0,
      0 },
    { "keys in another order",
      "[tls a]\ncertificate = @/a.pem, @/r.pem\nkey = @/r.pem, @/a.pem\n",
      { { "a.pem", &a, "ck" }, { "r.pem", &a_rsa, "ck" } },
      "error: [tls a] key = @/r.pem: the private key does not belong to the certificate "
      "(key type mismatch)\n"
      "error: [tls a] key = @/a.pem: the private key does not belong to the certificate "
      "(key type mismatch)\n",
      0,
      0,
      0 },
    { "one kind of key twice",
      "[tls a]\ncertificate = @/a.pem, @/n.pem\nkey = @/a.pem, @/n.pem\n",
      { { "a.pem", &a, "ck" }, { "n.pem", &a_newer, "ck" } },
      "error: [tls a] certificate = @/n.pem: it has an ECDSA key, as @/a.pem has; side by side "
      "stand different kinds\n",
      0,
      0,
      0 },
    { "other names side by side",
      "[tls a]\ncertificate = @/b.pem, @/r.pem\nkey = @/b.pem, @/r.pem\n",
      { { "b.pem", &b, "ck" }, { "r.pem", &a_rsa, "ck" } },
      "warning: [tls a] certificate = @/r.pem: it is not for the same names as @/b.pem: some "
      "clients get one, some the other\n",
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      0 },
    { "an expired one",
      "[tls a]\ncertificate = @/o.pem\nkey = @/o.pem\n",
      { { "o.pem", &old, "ck" } },
      "error: [tls a] certificate = @/o.pem: " OLD,
      0,
      0,
      0 },
    { "a folder for a file",
      "[tls a]\ncertificate = @/d\nkey = @/a.pem\n",
      { { "d/", NULL, "" }, { "a.pem", &a, "ck" } },
      "error: [tls a] certificate = @/d: Is a directory\n",
      0,
      0,
      0 },
    /* directories */
    { "one file each",
      SITES,
      { { "d/a.pem", &a, "ck" }, { "d/b.pem", &b, "kc" } },
      "",
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA,
      0 },
    { "two files each",
      SITES,
      { { "d/a.pem", &a, "c" },
        { "d/a.key", &a, "k" },
        { "d/b.crt", &b, "c" },
        { "d/b.key", &b, "k" } },
      "",
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA,
      0 },
    { "folders, as certbot writes them",
      SITES,
      { { "d/a.example/fullchain.pem", &a, "c" },
        { "d/a.example/privkey.pem", &a, "k" },
        { "d/b/fullchain.pem", &b, "c" },
        { "d/b/privkey.pem", &b, "k" },
        { "d/README", NULL, "keep out" },
        { "d/archive/a.pem", &b, "c" } },
      "",
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA,
      0 },
    { "the folder of one certificate",
      SITES,
      { { "d/fullchain.pem", &a, "c" },
        { "d/privkey.pem", &a, "k" },
        { "d/cert.pem", &a, "c" },
        { "d/chain.pem", &b, "c" } },
      "",
      TLS_KIND_ECDSA,
      0,
      0 },
    { "what one client writes three times",
      SITES,
      { { "d/a.crt", &a, "c" },
        { "d/a.key", &a, "k" },
        { "d/a.pem", &a, "ck" },
        { "d/a.issuer.crt", &b, "c" },
        { "d/a.json", NULL, "{}" } },
      "",
      TLS_KIND_ECDSA,
      0,
      0 },
    { "both kinds of keys",
      SITES,
      { { "d/a.pem", &a, "ck" },
        { "d/x/fullchain.pem", &a_rsa, "c" },
        { "d/x/privkey.pem", &a_rsa, "k" } },
      "",
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      0,
      0 },
    { "a wildcard beside a name",
      SITES,
      { { "d/1.pem", &b_star, "ck" }, { "d/2.pem", &b, "ck" } },
      "",
      0,
      TLS_KIND_ECDSA,
      TLS_KIND_RSA },
    { "hidden files and other endings",
      SITES,
      { { "d/.a.pem", &a, "ck" },
        { "d/a.pem.new", &a, "ck" },
        { "d/a.pem~", &a, "ck" },
        { "d/a.key", &a, "k" },
        { "d/b.crt", &b, "c" } },
      "warning: [tls sites] directory: @/d: there is no certificate in it\n",
      0,
      0,
      0 },
    { "an empty folder",
      SITES,
      { { "d/", NULL, "" } },
      "warning: [tls sites] directory: @/d: there is no certificate in it\n",
      0,
      0,
      0 },
    { "no folder",
      SITES,
      { { 0 } },
      "error: [tls sites] directory: @/d: No such file or directory\n",
      0,
      0,
      0 },
    { "a file for a folder",
      SITES,
      { { "d", &a, "ck" } },
      "error: [tls sites] directory: @/d: Not a directory\n",
      0,
      0,
      0 },
    { "a bad one spoils no other",
      SITES,
      { { "d/0.pem", NULL, "hello\n" }, { "d/a.pem", &a, "ck" }, { "d/b.pem", NULL, "" } },
      AT("0.pem: there is no private key in it, and no file .key beside it\n")
          AT("b.pem: there is no private key in it, and no file .key beside it\n"),
      TLS_KIND_ECDSA,
      0,
      0 },
    { "a key without a certificate",
      SITES,
      { { "d/b.pem", &b, "k" }, { "d/a.pem", &a, "ck" } },
      AT("b.pem: the certificate does not parse: here is a private key (no start line)\n"),
      TLS_KIND_ECDSA,
      0,
      0 },
    { "a key of another",
      SITES,
      { { "d/b.pem", &b, "c" }, { "d/b.key", &a, "k" } },
      AT("b.key: the private key does not belong to the certificate (key values mismatch)\n"),
      0,
      0,
      0 },
    { "no key in a folder",
      SITES,
      { { "d/b/fullchain.pem", &b, "c" } },
      AT("b/privkey.pem: No such file or directory\n"),
      0,
      0,
      0 },
    { "a pipe in a folder, which nobody writes to",
      SITES,
      { { "d/b.pem|", NULL, "" }, { "d/b.key", &b, "k" }, { "d/a.pem", &a, "ck" } },
      AT("b.pem: it is no regular file\n"),
      TLS_KIND_ECDSA,
      0,
      0 },
    { "an expired one in a folder",
      SITES,
      { { "d/b.pem", &old, "ck" } },
      AT("b.pem: " OLD),
      0,
      0,
      0 },
    { "a weak one in a folder",
      SITES,
      { { "d/b.pem", &weak, "ck" } },
      AT("b.pem: the certificate cannot be used (ee key too small)\n"),
      0,
      0,
      0 },
    { "one without a name",
      SITES,
      { { "d/b.pem", &nameless, "ck" } },
      AT("b.pem: there is no DNS name in it, so that no client would get it\n"),
      0,
      0,
      0 },
    { "a newer one before an older",
      SITES,
      { { "d/1.pem", &a_newer, "ck" }, { "d/2.pem", &a, "ck" } },
      AT("2.pem: @/d/1.pem is for the same names and valid longer\n"),
      TLS_KIND_ECDSA,
      0,
      0 },
    { "a newer one behind an older",
      SITES,
      { { "d/1.pem", &a, "ck" }, { "d/2.pem", &a_newer, "ck" }, { "d/3.pem", &a_rsa, "ck" } },
      AT("1.pem: @/d/2.pem is for the same names and valid longer\n"),
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      0,
      0 },
    { "the same one twice",
      SITES,
      { { "d/1.pem", &a, "ck" }, { "d/2.pem", &a, "ck" } },
      AT("2.pem: @/d/1.pem is for the same names and comes before it\n"),
      TLS_KIND_ECDSA,
      0,
      0 },
};

static void assert_kinds(const struct tls_store *store, const char *name, unsigned kinds)
{
    const struct tls_identity *identity = tls_store_choose(store, span_of_text(name));

    if (kinds == 0)
        assert_ptr_equal(identity, tls_store_default(store));
    else
        assert_int_equal(tls_identity_kinds(identity), kinds);
}

/* Lines about files of the directory. */
static size_t count_of(const char *words, const char *folder)
{
    char begin[100];
    size_t count = 0;

    snprintf(begin, sizeof(begin), "directory: %s%s", root, folder);
    for (const char *at = words; (at = strstr(at, begin)); at++)
        count++;
    return count;
}

static void files_and_folders_are_read_and_what_is_bad_is_told(void **state)
{
    static const struct file own_files[] = { { "own.pem", &own, "c" }, { "own.key", &own, "k" } };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        char words[4000], expected[4000];
        struct loaded loaded;

        print_message("  %s\n", row->name);
        write_file(&own_files[0]);
        write_file(&own_files[1]);
        for (size_t j = 0; j < 6 && row->files[j].path; j++)
            write_file(&row->files[j]);
        load(&loaded, row->tls);
        words_of(&loaded.diagnostics, words, sizeof(words));
        expand(row->words, expected, sizeof(expected));
        if (*expected && expected[strlen(expected) - 1] != '\n')
            words[strlen(expected)] = '\0';
        assert_string_equal(words, expected);
        assert_int_equal(certificates_left_out(loaded.certificates), count_of(words, "/d/"));
        if (loaded.diagnostics.errors == 0) {
            struct tls_store *store = store_of(&loaded);

            assert_kinds(store, "own.example", 0);
            assert_kinds(store, "a.example", row->a);
            assert_kinds(store, "b.example", row->b);
            assert_kinds(store, "x.b.example", row->b_star);
            assert_kinds(store, "old.example", 0);
            tls_store_free(store);
        }
        unload(&loaded);
        clear_root();
    }
}

/* What happens to the files between two readings, and what becomes of it. */
static const struct change_row {
    const char *name;
    struct file before[4], then[4]; /* a path that ends with "-": that file is removed */
    const char *words;              /* of the second reading */
    bool unsettled;
    unsigned a, b; /* as of row */
} changes[] = {
    { "nothing",
      { { "d/a.pem", &a, "ck" } },
      { { NULL, NULL, NULL } },
      "",
      false,
      TLS_KIND_ECDSA,
      0 },
    { "a newer certificate",
      { { "d/a.pem", &a, "ck" } },
      { { "d/a.pem", &a_newer, "ck" } },
      "",
      false,
      TLS_KIND_ECDSA,
      0 },
    { "half of a file",
      { { "d/a.pem", &a, "ck" }, { "d/b.pem", &b, "ck" } },
      { { "d/a.pem", &a_newer, "c" } },
      AT("a.pem: there is no private key in it, and no file .key beside it\n")
          AT("a.pem: what was there before stays in use\n"),
      true,
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA },
    { "a key of another certificate, beside a new one of somebody else",
      { { "d/a.crt", &a, "c" }, { "d/a.key", &a, "k" } },
      { { "d/a.key", &a_newer, "k" }, { "d/b.pem", &b, "ck" } },
      AT("a.key: the private key does not belong to the certificate (key values mismatch)\n")
          AT("a.crt: what was there before stays in use\n"),
      true,
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA },
    { "one of two kinds is broken",
      { { "d/1.pem", &a, "ck" }, { "d/2.pem", &a_rsa, "ck" }, { "d/3.pem", &b, "ck" } },
      { { "d/2.pem", NULL, "" } },
      AT("2.pem: there is no private key in it, and no file .key beside it\n")
          AT("2.pem: what was there before stays in use\n"),
      true,
      TLS_KIND_ECDSA | TLS_KIND_RSA,
      TLS_KIND_ECDSA },
    { "a new file is of no use",
      { { "d/a.pem", &a, "ck" } },
      { { "d/b.pem", &b, "c" } },
      AT("b.pem: there is no private key in it, and no file .key beside it\n"),
      true,
      TLS_KIND_ECDSA,
      0 },
    { "a file that was of no use before is none now",
      { { "d/a.pem", &a, "ck" }, { "d/b.pem", &b, "c" } },
      { { "d/b.pem", &b_star, "c" } },
      AT("b.pem: there is no private key in it, and no file .key beside it\n"),
      false,
      TLS_KIND_ECDSA,
      0 },
    { "a file that was of no use before is good now",
      { { "d/a.pem", &a, "ck" }, { "d/b.pem", &b, "c" } },
      { { "d/b.pem", &b, "ck" } },
      "",
      false,
      TLS_KIND_ECDSA,
      TLS_KIND_ECDSA },
    { "a file is removed",
      { { "d/a.pem", &a, "ck" }, { "d/b.pem", &b, "ck" } },
      { { "d/b.pem-", NULL, "" } },
      "",
      true,
      TLS_KIND_ECDSA,
      0 },
    { "one that has expired meanwhile",
      { { "d/a.pem", &a, "ck" } },
      { { "d/a.pem", &old, "ck" } },
      AT("a.pem: " OLD),
      true,
      TLS_KIND_ECDSA,
      0 },
};

static void change(const struct file *file)
{
    char path[300];
    size_t size = strlen(file->path);

    if (file->path[size - 1] != '-') {
        write_file(file);
        return;
    }
    snprintf(path, sizeof(path), "%s/%.*s", root, (int)size - 1, file->path);
    assert_int_equal(unlink(path), 0);
}

static void what_is_bad_in_a_folder_does_not_replace_what_was_good(void **state)
{
    static const struct file own_files[] = { { "own.pem", &own, "c" }, { "own.key", &own, "k" } };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const struct change_row *row = &changes[i];
        char words[4000], expected[4000];
        struct loaded before, now, again;
        struct certificates_before former;
        struct bundle bundle, next;
        struct tls_store *store;

        print_message("  %s\n", row->name);
        write_file(&own_files[0]);
        write_file(&own_files[1]);
        for (size_t j = 0; j < 4 && row->before[j].path; j++)
            write_file(&row->before[j]);
        load(&before, SITES);
        bundle_of(&before, &bundle);
        certificates_forget(before.certificates);
        for (size_t j = 0; j < 4 && row->then[j].path; j++)
            change(&row->then[j]);
        former = (struct certificates_before){ before.certificates, &bundle };
        load_over(&now, SITES, &former);
        words_of(&now.diagnostics, words, sizeof(words));
        expand(row->words, expected, sizeof(expected));
        if (*expected && expected[strlen(expected) - 1] != '\n')
            words[strlen(expected)] = '\0';
        assert_string_equal(words, expected);
        assert_int_equal(certificates_unsettled(now.certificates, before.certificates),
                         row->unsettled);
        store = store_of(&now);
        assert_kinds(store, "a.example", row->a);
        assert_kinds(store, "b.example", row->b);
        tls_store_free(store);
        bundle_of(&now, &next); /* and once more: what was kept is kept again, and settled */
        certificates_forget(now.certificates);
        former = (struct certificates_before){ now.certificates, &next };
        load_over(&again, SITES, &former);
        assert_false(certificates_unsettled(again.certificates, now.certificates));
        store = store_of(&again);
        assert_kinds(store, "b.example", row->b);
        tls_store_free(store);
        bundle_free(&bundle);
        bundle_free(&next);
        unload(&before);
        unload(&now);
        unload(&again);
        clear_root();
    }
}

static void a_folder_has_a_limit(void **state)
{
    char path[300];
    struct certificate_files *files = NULL;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < CERTIFICATE_DIRECTORY_MAX; i++) {
        snprintf(path, sizeof(path), "d/%d.pem", i);
        write_file(&(struct file){ path, NULL, "" });
    }
    snprintf(path, sizeof(path), "%s/d", root);
    assert_int_equal(certificate_directory_read(path, &files, &count), 0);
    assert_int_equal(count, CERTIFICATE_DIRECTORY_MAX);
    certificate_directory_free(files, count);
    write_file(&(struct file){ "d/one-more.pem", NULL, "" });
    files = NULL;
    assert_int_equal(certificate_directory_read(path, &files, &count), -E2BIG);
    assert_null(files);
    clear_root();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_folders_are_read_and_what_is_bad_is_told),
        cmocka_unit_test(what_is_bad_in_a_folder_does_not_replace_what_was_good),
        cmocka_unit_test(a_folder_has_a_limit),
    };
    int failed;

    if (!mkdtemp(root))
        return 1;
    log_set_level(LOG_LEVEL_ERROR);
    make_pair(&own, "DNS:own.example", 90, false);
    make_pair(&a, "DNS:a.example,DNS:www.a.example", 60, false);
    make_pair_of(&a_rsa, "DNS:www.a.example,DNS:A.example", 60, make_key("RSA"));
    make_pair(&a_newer, "DNS:a.example,DNS:www.a.example", 90, false);
    make_pair(&b, "DNS:b.example", 60, false);
    make_pair_of(&b_star, "DNS:*.b.example", 60, make_key("RSA"));
    make_pair(&old, "DNS:old.example", -1, false);
    make_pair(&weak, "DNS:old.example", 60, true);
    make_pair(&nameless, NULL, 60, false);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(root);
    return failed;
}
