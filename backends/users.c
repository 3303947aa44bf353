/* The users of the mail store: one file, "name@domain:hash" a line, replaced by rename.
 *
 * Happy path: the file is read line by line until the name is found; crypt_r() judges the password.
 * Fails when the file cannot be read or replaced. A missing file is an error, not an empty list: a
 * disk that is not mounted must not make mail bounce as addressed to nobody. */
#include "backends/users.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The setting that a password is checked against when there is no such user: of the same cost as
 * those that gatepost-user makes, and no hash, so that nothing matches it. */
#define DUMMY_SETTING "$y$j9T$0nobodysSalt0nobodys/1$"

/* ---- names ---- */

/* May `byte` stand in a name? No separator of the users file or of paths, nothing that is not
 * printable ASCII. */
static bool name_byte(unsigned char byte)
{
    return byte > 0x20 && byte < 0x7f && byte != '/' && byte != ':' && byte != '\\';
}

static bool name_part_valid(struct span part)
{
    if (part.size == 0 || part.data[0] == '.')
        return false;
    for (size_t i = 0; i < part.size; i++)
        if (!name_byte(part.data[i]) || part.data[i] == '@')
            return false;
    return true;
}

int users_normalize(struct span name, const char *default_domain, char *ret_name)
{
    size_t at = span_find(name, '@');
    struct span local = span_first(name, at);
    struct span domain = at < name.size ? span_skip(name, at + 1)
                                        : span_of_text(default_domain ? default_domain : "");
    size_t size = local.size + 1 + domain.size;

    if (!name_part_valid(local) || !name_part_valid(domain) || size > USER_NAME_MAX)
        return USERS_UNKNOWN;
    memcpy(ret_name, local.data, local.size);
    ret_name[local.size] = '@';
    memcpy(ret_name + local.size + 1, domain.data, domain.size);
    ret_name[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (ret_name[i] >= 'A' && ret_name[i] <= 'Z')
            ret_name[i] = (char)(ret_name[i] + ('a' - 'A'));
    return USERS_OK;
}

/* ---- the file ---- */

static char *path_in(const char *store, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", store, name) < 0 ? NULL : path;
}

static int open_in(const char *store, const char *name, int flags, FILE **ret_file)
{
    char *path = path_in(store, name);
    FILE *file = NULL;
    int fd, r = 0;

    if (!path)
        return -ENOMEM;
    fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        r = -errno;
    } else {
        file = fdopen(fd, (flags & O_ACCMODE) == O_RDONLY ? "r" : "w");
        if (!file) {
            r = -errno;
            close(fd);
        }
    }
    free(path);
    if (r == 0)
        *ret_file = file;
    return r;
}

/* One line at a time of the users file. */
struct entry {
    char *line; /* NUL-terminated, without newline */
    size_t room;
    char *name, *hash; /* within line; hash is "" where there is none */
};

static void entry_deinit(struct entry *entry)
{
    if (entry->line)
        explicit_bzero(entry->line, entry->room);
    free(entry->line);
}

/* Returns 1 for an entry, 0 at the end, or -errno. */
static int entry_next(struct entry *entry, FILE *file)
{
    long size;
    char *colon;

    errno = 0;
    size = getline(&entry->line, &entry->room, file);
    if (size < 0)
        return ferror(file) ? -(errno ? errno : EIO) : feof(file) ? 0 : -ENOMEM;
    if (size > 0 && entry->line[size - 1] == '\n')
        entry->line[size - 1] = '\0';
    colon = strchr(entry->line, ':');
    entry->name = entry->line;
    entry->hash = entry->line + strlen(entry->line);
    if (colon) {
        *colon = '\0';
        entry->hash = colon + 1;
    }
    return 1;
}

/* Finds `name`: USERS_OK and its hash in *ret_hash (malloc; the caller wipes and frees),
 * USERS_UNKNOWN, or -errno. */
static int find_hash(const char *store, const char *name, char **ret_hash)
{
    struct entry entry = { 0 };
    FILE *file;
    int r = open_in(store, "users", O_RDONLY, &file);

    if (r < 0)
        return r;
    while ((r = entry_next(&entry, file)) > 0)
        if (entry.name[0] != '\0' && strcmp(entry.name, name) == 0)
            break;
    if (r == 0) {
        r = USERS_UNKNOWN;
    } else if (r > 0) {
        *ret_hash = strdup(entry.hash);
        r = *ret_hash ? USERS_OK : -ENOMEM;
    }
    entry_deinit(&entry);
    fclose(file);
    return r;
}

int users_lookup(const char *store, const char *name)
{
    char *hash = NULL;
    int r = find_hash(store, name, &hash);

    if (r == USERS_OK)
        explicit_bzero(hash, strlen(hash));
    free(hash);
    return r;
}

/* ---- passwords ---- */

static bool equal_in_constant_time(const char *a, const char *b)
{
    size_t size = strlen(a);
    unsigned char differs = 0;

    if (size != strlen(b))
        return false;
    for (size_t i = 0; i < size; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}

/* A password as crypt(3) takes it: NUL-terminated. -EINVAL for what crypt cannot take: NUL inside,
 * empty, too long. */
static int password_copy(struct span password, char into[CRYPT_MAX_PASSPHRASE_SIZE])
{
    if (password.size == 0 || password.size >= CRYPT_MAX_PASSPHRASE_SIZE ||
        span_find(password, '\0') < password.size)
        return -EINVAL;
    memcpy(into, password.data, password.size);
    into[password.size] = '\0';
    return 0;
}

/* Hashes `password` with the setting (or hash) `setting` into a malloc'ed text. 0, -EINVAL or
 * -ENOMEM. */
static int password_hash(struct span password, const char *setting, char **ret_hash)
{
    char text[CRYPT_MAX_PASSPHRASE_SIZE];
    struct crypt_data *data;
    const char *hash;
    int r = password_copy(password, text);

    if (r < 0)
        return r;
    data = calloc(1, sizeof(*data));
    hash = data ? crypt_r(text, setting, data) : NULL;
    if (!data)
        r = -ENOMEM;
    else if (!hash || hash[0] == '*')
        r = errno == ENOMEM ? -ENOMEM : -EINVAL;
    else if (!(*ret_hash = strdup(hash)))
        r = -ENOMEM;
    if (data)
        explicit_bzero(data, sizeof(*data));
    free(data);
    explicit_bzero(text, sizeof(text));
    return r;
}

static int password_matches(struct span password, const char *hash)
{
    char *computed = NULL;
    int r;

    if (hash[0] != '$') /* no method, or one from before 1990 */
        return USERS_WRONG;
    r = password_hash(password, hash, &computed);
    if (r == 0)
        r = equal_in_constant_time(computed, hash) ? USERS_OK : USERS_WRONG;
    else if (r == -EINVAL)
        r = USERS_WRONG;
    free(computed);
    return r;
}

int users_check(const char *store, const char *name, struct span password)
{
    char *hash = NULL;
    int r = find_hash(store, name, &hash), checked;

    if (r < 0)
        return r;
    checked = password_matches(password, r == USERS_OK ? hash : DUMMY_SETTING);
    if (hash)
        explicit_bzero(hash, strlen(hash));
    free(hash);
    return r == USERS_OK || checked < 0 ? checked : USERS_UNKNOWN;
}

/* ---- changes ---- */

enum change { CHANGE_ADD, CHANGE_PASSWORD, CHANGE_DELETE };

/* Copies the users file to `into` with one change. */
static int copy_changed(FILE *from, FILE *into, enum change change, const char *name,
                        const char *hash)
{
    struct entry entry = { 0 };
    bool found = false;
    int r;

    while ((r = entry_next(&entry, from)) > 0) {
        bool same = strcmp(entry.name, name) == 0;

        found = found || same;
        if (entry.name[0] == '\0' || (same && change == CHANGE_DELETE))
            continue;
        fprintf(into, "%s:%s\n", entry.name, same && hash ? hash : entry.hash);
    }
    entry_deinit(&entry);
    if (r < 0)
        return r;
    if (found == (change == CHANGE_ADD))
        return found ? USERS_EXISTS : USERS_UNKNOWN;
    if (change == CHANGE_ADD)
        fprintf(into, "%s:%s\n", name, hash);
    return USERS_OK;
}

/* Makes the new file durable and puts it in the old one's place. */
static int replace_users(const char *store, FILE *written)
{
    char *from = path_in(store, "users.new"), *to = path_in(store, "users");
    int folder = -1, r = 0;

    if (!from || !to)
        r = -ENOMEM;
    else if (fflush(written) != 0 || fsync(fileno(written)) < 0)
        r = -errno;
    else if (rename(from, to) < 0)
        r = -errno;
    else if ((folder = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(folder) < 0)
        r = -errno;
    if (folder >= 0)
        close(folder);
    free(from);
    free(to);
    return r;
}

/* Opens the present file (an empty one is made first) and a new one beside it. */
static int open_both(const char *store, FILE **ret_from, FILE **ret_into)
{
    int r = open_in(store, "users", O_RDONLY | O_CREAT, ret_from);

    if (r < 0)
        return r;
    r = open_in(store, "users.new", O_WRONLY | O_CREAT | O_TRUNC, ret_into);
    if (r < 0)
        fclose(*ret_from);
    return r;
}

static int change_locked(const char *store, enum change change, const char *name, const char *hash)
{
    FILE *from, *into;
    int r = open_both(store, &from, &into);

    if (r < 0)
        return r;
    r = copy_changed(from, into, change, name, hash);
    if (r == USERS_OK) {
        int replaced = replace_users(store, into);

        r = replaced < 0 ? replaced : USERS_OK;
    }
    fclose(into);
    fclose(from);
    if (r != USERS_OK) {
        char *path = path_in(store, "users.new");

        if (path)
            unlink(path);
        free(path);
    }
    return r;
}

static int change_users(const char *store, enum change change, const char *name, const char *hash)
{
    FILE *lock;
    int r = open_in(store, "users.lock", O_WRONLY | O_CREAT, &lock);

    if (r < 0)
        return r;
    while ((r = flock(fileno(lock), LOCK_EX)) < 0 && errno == EINTR)
        ;
    r = r < 0 ? -errno : change_locked(store, change, name, hash);
    fclose(lock); /* unlocks */
    return r;
}

static int change_with_password(const char *store, enum change change, const char *name,
                                struct span password)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], *hash = NULL;
    int r;

    if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof(setting)))
        return -errno;
    r = password_hash(password, setting, &hash);
    if (r == 0)
        r = change_users(store, change, name, hash);
    free(hash);
    return r;
}

int users_add(const char *store, const char *name, struct span password)
{
    return change_with_password(store, CHANGE_ADD, name, password);
}

int users_set_password(const char *store, const char *name, struct span password)
{
    return change_with_password(store, CHANGE_PASSWORD, name, password);
}

int users_delete(const char *store, const char *name)
{
    return change_users(store, CHANGE_DELETE, name, NULL);
}

int users_list(const char *store, void (*each)(const char *name, void *context), void *context)
{
    struct entry entry = { 0 };
    FILE *file;
    int r = open_in(store, "users", O_RDONLY, &file);

    if (r < 0)
        return r;
    while ((r = entry_next(&entry, file)) > 0)
        if (entry.name[0] != '\0')
            each(entry.name, context);
    entry_deinit(&entry);
    fclose(file);
    return r;
}
