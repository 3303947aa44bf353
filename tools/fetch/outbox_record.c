/* Records as lines of text:
 *
 *     gatepost-fetch outbox 1
 *     account anna@mail.example.org
 *     source SHA256
 *     wire OCTETS SHA256
 *     add Date: ...
 *     upload ID open
 *     FROM:<anna@example.org>
 *     TO:<bert@example.net>
 *     end
 *
 * "add" for each field that is put before the message, "upload" with its envelope for each upload.
 * A reader takes exactly what the writer writes: the rest is damage, and -EBADMSG. */
#include "tools/fetch/outbox_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_MAX (1 << 20)
#define HEAD       "gatepost-fetch outbox 1"
#define NEW_NAME   ".new"

static const char *const state_words[] = { "open", "done", "refused" };

int record_add_upload(struct record *record, struct span envelope)
{
    struct record_upload *uploads, upload = { .state = UPLOAD_OPEN };
    unsigned char random[REMOTE_UPLOAD_MAX / 2];

    if (record->upload_count == RECORD_UPLOADS_MAX)
        return -E2BIG;
    uploads = realloc(record->uploads, (record->upload_count + 1) * sizeof(*uploads));
    if (!uploads)
        return -ENOMEM;
    record->uploads = uploads;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(upload.id + 2 * i, 3, "%02x", random[i]);
    upload.envelope = strndup((const char *)envelope.data, envelope.size);
    if (!upload.envelope)
        return -ENOMEM;
    uploads[record->upload_count++] = upload;
    return 0;
}

void record_drop_upload(struct record *record, size_t index)
{
    free(record->uploads[index].envelope);
    record->upload_count--;
    memmove(&record->uploads[index], &record->uploads[index + 1],
            (record->upload_count - index) * sizeof(*record->uploads));
}

void record_deinit(struct record *record)
{
    for (size_t i = 0; i < record->upload_count; i++)
        free(record->uploads[i].envelope);
    free(record->uploads);
    free(record->account);
    *record = (struct record){ .account = NULL };
}

/* ---- reading ---- */

static struct span take_line(struct span *rest)
{
    struct span line = span_first(*rest, span_find(*rest, '\n'));

    *rest = span_skip(*rest, line.size + 1);
    return line;
}

/* Takes a line "keyword value", and no other, off *rest. */
static bool take_value(struct span *rest, const char *keyword, struct span *ret_value)
{
    struct span after = *rest, line = take_line(&after), word = span_take_word(&line);

    if (!span_equal(word, span_of_text(keyword)))
        return false;
    *rest = after;
    *ret_value = line;
    return true;
}

static bool copy_hex(struct span word, size_t digits, char *into)
{
    if (!remote_is_hex(word, digits))
        return false;
    memcpy(into, word.data, digits);
    into[digits] = '\0';
    return true;
}

static bool read_added(struct span *rest, char *added)
{
    struct text text = { added, 0, RECORD_ADDED_MAX, false };
    struct span field;

    while (take_value(rest, "add", &field)) {
        text_put(&text, field);
        text_puts(&text, "\r\n");
    }
    if (text.overflow || text.size == text.room)
        return false;
    text_str(&text);
    return true;
}

static bool read_state(struct span word, enum upload_state *ret_state)
{
    for (int state = UPLOAD_OPEN; state <= UPLOAD_FAILED; state++)
        if (span_equal(word, span_of_text(state_words[state]))) {
            *ret_state = (enum upload_state)state;
            return true;
        }
    return false;
}

/* The lines from FROM: on that are of an envelope. */
static struct span take_envelope(struct span *rest)
{
    struct span whole = *rest, after = *rest, line = take_line(&after);
    size_t count = 0;

    while (span_starts_nocase(line, count == 0 ? SPAN_LIT("FROM:<") : SPAN_LIT("TO:<"))) {
        *rest = after;
        line = take_line(&after);
        count++;
    }
    return span_first(whole, count < 2 ? 0 : whole.size - rest->size);
}

/* 0, -EBADMSG or another -errno. */
static int read_upload(struct span *rest, struct span head, struct record *record)
{
    struct span id = span_take_word(&head), envelope = take_envelope(rest);
    struct record_upload *upload;
    enum upload_state state;
    int r;

    if (envelope.size == 0 || !read_state(head, &state))
        return -EBADMSG;
    r = record_add_upload(record, envelope);
    if (r < 0)
        return r;
    upload = &record->uploads[record->upload_count - 1];
    upload->state = state;
    return copy_hex(id, REMOTE_UPLOAD_MAX, upload->id) ? 0 : -EBADMSG;
}

static int read_lines(struct span rest, struct record *record)
{
    struct span value, octets;
    int r = 0;

    if (!span_equal(take_line(&rest), SPAN_LIT(HEAD)) || !take_value(&rest, "account", &value))
        return -EBADMSG;
    record->account = strndup((const char *)value.data, value.size);
    if (!record->account)
        return -ENOMEM;
    if (!take_value(&rest, "source", &value) ||
        !copy_hex(value, REMOTE_DIGEST_MAX, record->source) || !take_value(&rest, "wire", &value))
        return -EBADMSG;
    octets = span_take_word(&value);
    if (!span_parse_u64(octets, &record->octets) ||
        !copy_hex(value, REMOTE_DIGEST_MAX, record->digest) || !read_added(&rest, record->added))
        return -EBADMSG;
    while (r == 0 && take_value(&rest, "upload", &value))
        r = read_upload(&rest, value, record);
    if (r == 0 && (record->upload_count == 0 || !span_equal(rest, SPAN_LIT("end\n"))))
        r = -EBADMSG;
    return r;
}

/* The whole of a file, with its size. Freed by the caller. */
static int read_file(int folder, const char *name, char **ret_octets, size_t *ret_size)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;
    size_t size = 0;
    char *octets;
    ssize_t count;

    if (fd < 0)
        return -errno;
    octets = malloc(RECORD_MAX);
    if (!octets) {
        close(fd);
        return -ENOMEM;
    }
    while ((count = read(fd, octets + size, RECORD_MAX - size)) > 0)
        size += (size_t)count;
    if (count < 0)
        r = -errno;
    close(fd);
    if (r < 0) {
        free(octets);
        return r;
    }
    *ret_octets = octets;
    *ret_size = size;
    return 0;
}

int record_read(int folder, const char *name, struct record *ret_record)
{
    struct record record = { .account = NULL };
    size_t size = 0;
    char *octets = NULL;
    int r = read_file(folder, name, &octets, &size);

    if (r < 0)
        return r;
    r = read_lines(span_of(octets, size), &record);
    free(octets);
    if (r < 0)
        record_deinit(&record);
    else
        *ret_record = record;
    return r;
}

/* ---- writing ---- */

static void print_record(FILE *file, const struct record *record)
{
    struct span added = span_of_text(record->added);

    fprintf(file, HEAD "\naccount %s\nsource %s\nwire %llu %s\n", record->account, record->source,
            (unsigned long long)record->octets, record->digest);
    while (added.size > 0) {
        struct span field = span_without_line_end(take_line(&added));

        fprintf(file, "add %.*s\n", (int)field.size, (const char *)field.data);
    }
    for (size_t i = 0; i < record->upload_count; i++)
        fprintf(file, "upload %s %s\n%s", record->uploads[i].id,
                state_words[record->uploads[i].state], record->uploads[i].envelope);
    fputs("end\n", file);
}

/* Fills the file `fd`, which is closed, and puts it on the disk. */
static int write_file(int fd, const struct record *record)
{
    FILE *file = fdopen(fd, "w");
    int r = 0;

    if (!file) {
        r = -errno;
        close(fd);
        return r;
    }
    errno = 0;
    print_record(file, record);
    if (fflush(file) != 0 || fsync(fileno(file)) < 0)
        r = -errno;
    else if (ferror(file))
        r = errno ? -errno : -EIO;
    if (fclose(file) != 0 && r == 0)
        r = -errno;
    return r;
}

int record_write(int folder, const char *name, const struct record *record)
{
    int fd = openat(folder, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0)
        return -errno;
    r = write_file(fd, record);
    if (r == 0 && renameat(folder, NEW_NAME, folder, name) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(folder, NEW_NAME, 0);
        return r;
    }
    return fsync(folder) < 0 ? -errno : 0;
}

int record_remove(int folder, const char *name)
{
    if (unlinkat(folder, name, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    return fsync(folder) < 0 ? -errno : 0;
}
