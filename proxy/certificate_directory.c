/* Lists the certificates of a folder. Files that are none of them are passed over: an ACME client's
 * README, account and archive; hidden files and half-written ones with other endings too. Fails
 * where the folder cannot be read. */
#include "proxy/certificate_directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct list {
    struct certificate_files *files;
    size_t count;
    int error; /* 0, -ENOMEM or -E2BIG */
};

static bool is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Takes both texts, which may be NULL where memory ran out. */
static void add(struct list *list, char *certificate, char *key)
{
    struct certificate_files *files = NULL;

    if (list->error == 0 && list->count == CERTIFICATE_DIRECTORY_MAX)
        list->error = -E2BIG;
    if (list->error == 0 && certificate && key)
        files = reallocarray(list->files, list->count + 1, sizeof(*files));
    if (!files) {
        list->error = list->error ? list->error : -ENOMEM;
        free(certificate);
        free(key);
        return;
    }
    list->files = files;
    files[list->count++] = (struct certificate_files){ certificate, key };
}

/* `folder`/`name``end`, or NULL. */
static char *join(const char *folder, size_t name_size, const char *name, const char *end)
{
    char *path;

    return asprintf(&path, "%s/%.*s%s", folder, (int)name_size, name, end) < 0 ? NULL : path;
}

static bool exists(const char *folder, size_t name_size, const char *name, const char *end)
{
    char *path = join(folder, name_size, name, end);
    bool found = path && access(path, F_OK) == 0;

    free(path);
    return found;
}

/* Where the key is missing, that shows when it is read. */
static bool take_folder(struct list *list, const char *folder)
{
    if (!exists(folder, 0, "", "fullchain.pem"))
        return false;
    add(list, join(folder, 0, "", "fullchain.pem"), join(folder, 0, "", "privkey.pem"));
    return true;
}

/* Some clients write both NAME.crt and NAME.pem: the former, then, has no key in it. */
static void take_file(struct list *list, const char *folder, const char *name)
{
    const char *end = strrchr(name, '.');
    size_t size = end ? (size_t)(end - name) : 0;
    bool pem = end && strcmp(end, ".pem") == 0, crt = end && strcmp(end, ".crt") == 0;
    bool has_key = (pem || crt) && exists(folder, size, name, ".key");

    if (crt && has_key)
        add(list, join(folder, strlen(name), name, ""), join(folder, size, name, ".key"));
    else if (pem && has_key && !exists(folder, size, name, ".crt"))
        add(list, join(folder, strlen(name), name, ""), join(folder, size, name, ".key"));
    else if (pem && !has_key)
        add(list, join(folder, strlen(name), name, ""), join(folder, strlen(name), name, ""));
}

static void take(struct list *list, const char *folder, const char *name)
{
    char *path = join(folder, strlen(name), name, "");

    if (!path)
        list->error = -ENOMEM;
    else if (is_folder(path))
        take_folder(list, path);
    else
        take_file(list, folder, name);
    free(path);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* alphasort() would follow the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int certificate_directory_read(const char *path, struct certificate_files **ret_files,
                               size_t *ret_count)
{
    struct list list = { NULL, 0, 0 };
    struct dirent **entries;
    bool itself = take_folder(&list, path); /* the folder of one certificate */
    int count = scandir(path, &entries, is_visible, by_name);

    if (count < 0)
        list.error = -errno;
    for (int i = 0; i < count; i++) {
        if (list.error == 0 && !itself)
            take(&list, path, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (list.error < 0) {
        certificate_directory_free(list.files, list.count);
        return list.error;
    }
    *ret_files = list.files;
    *ret_count = list.count;
    return 0;
}

void certificate_directory_free(struct certificate_files *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(files[i].certificate);
        free(files[i].key);
    }
    free(files);
}
