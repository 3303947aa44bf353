/* A folder of its own for each test that needs real files: made by folder_setup(), removed with all
 * in it. */
#ifndef GATEPOST_TESTS_FOLDER_H
#define GATEPOST_TESTS_FOLDER_H

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[64]; /* its path, from the current folder */

static inline int folder_setup(void **state)
{
    (void)state;
    strcpy(folder, "test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove_one(const char *path, const struct stat *status, int kind,
                             struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline int folder_teardown(void **state)
{
    (void)state;
    return nftw(folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below the folder. */
static inline void folder_write(const char *name, const void *octets, size_t size)
{
    char path[2048];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(octets, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Reads one into `room`, which gets a NUL behind it. Its size. */
static inline size_t folder_read(const char *name, char *room, size_t size)
{
    char path[2048];
    FILE *file;
    size_t count;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "r");
    assert_non_null(file);
    count = fread(room, 1, size - 1, file);
    room[count] = '\0';
    fclose(file);
    return count;
}

/* How many entries without a leading dot a folder below it has; the name of the last is copied to
 * `ret_name`. */
static inline size_t folder_count(const char *name, char ret_name[256])
{
    char path[2048];
    struct dirent *entry;
    size_t count = 0;
    DIR *listing;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    listing = opendir(path);
    assert_non_null(listing);
    while ((entry = readdir(listing)))
        if (entry->d_name[0] != '.') {
            count++;
            strcpy(ret_name, entry->d_name);
        }
    closedir(listing);
    return count;
}

#endif
