/* Runs a fuzz target over every file of the folders named on the command line: a corpus replayed
 * without libFuzzer. Fails when a folder holds no file, so that a lost corpus is noticed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *data;
    size_t size, room = 1 << 20;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    data = malloc(room);
    if (!data)
        abort();
    size = fread(data, 1, room, file);
    fclose(file);
    data = realloc(data, size ? size : 1); /* exact, so that the address sanitizer sees the end */
    if (!data)
        abort();
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static long replay_folder(const char *folder)
{
    DIR *listing = opendir(folder);
    struct dirent *entry;
    long count = 0;

    if (!listing) {
        perror(folder);
        return -1;
    }
    while ((entry = readdir(listing))) {
        if (entry->d_name[0] == '.')
            continue;
        if (replay_file(folder, entry->d_name) < 0) {
            closedir(listing);
            return -1;
        }
        count++;
    }
    closedir(listing);
    return count;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        long count = replay_folder(argv[i]);

        if (count <= 0) {
            fprintf(stderr, "%s: nothing to replay\n", argv[i]);
            return 1;
        }
        printf("%s: %ld inputs\n", argv[i], count);
    }
    return argc > 1 ? 0 : 1;
}
