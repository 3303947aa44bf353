/* A local Maildir over cuts and kills: each message in it once, octet for octet; and the journal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backends/digest.h"
#include "tests/lib/folder.h"
#include "tools/fetch/mirror.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define EPOCH       0xbeef

static struct mirror mirror;
static bool keep;
static mirror_deliver *deliver;

/* ---- helpers ---- */

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/M/%s", folder, name);
    return path;
}

static int open_as(const char *user)
{
    static char maildir[128];
    char room[512];
    struct text words = TEXT_OVER(room);
    const struct mirror_options options = {
        .maildir = maildir, .user = user, .host = "host", .keep = keep, .deliver = deliver
    };

    snprintf(maildir, sizeof(maildir), "%s/M", folder);
    return mirror_open(&mirror, &options, &words);
}

static void open_mirror(void)
{
    assert_int_equal(open_as("anna"), 0);
    mirror_connected(&mirror);
}

/* As if killed: nothing is stored or told on the way out. */
static void kill_and_open(void)
{
    mirror_close(&mirror);
    open_mirror();
}

static void cut_and_open(void)
{
    assert_int_equal(mirror_disconnected(&mirror), 0);
    mirror_close(&mirror);
    open_mirror();
}

static int setup(void **state)
{
    keep = false;
    deliver = NULL;
    if (folder_setup(state) < 0)
        return -1;
    open_mirror();
    return 0;
}

static int teardown(void **state)
{
    mirror_close(&mirror);
    return folder_teardown(state);
}

static const char *digest_of(const char *text)
{
    static char digits[DIGEST_DIGITS + 1];
    struct digest *digest = digest_new();

    assert_int_equal(digest_add(digest, span_of_text(text)), 0);
    assert_int_equal(digest_end(digest, digits), 0);
    digest_free(digest);
    return digits;
}

static struct remote_uid uid_of(uint64_t number)
{
    return (struct remote_uid){ EPOCH, number };
}

static int frame(uint64_t number, const char *text, uint64_t offset)
{
    const struct remote_frame head = { uid_of(number), strlen(text), offset };

    return mirror_frame(&mirror, &head);
}

static int whole(uint64_t number, const char *text)
{
    return mirror_whole(&mirror, uid_of(number), span_of_text(digest_of(text)));
}

static void receive(uint64_t number, const char *text)
{
    assert_int_equal(frame(number, text, 0), 0);
    if (*text)
        assert_int_equal(mirror_octets(&mirror, span_of_text(text)), 0);
    assert_int_equal(whole(number, text), MIRROR_TAKEN);
}

static void store(uint64_t number, const char *text)
{
    receive(number, text);
    assert_int_equal(mirror_commit(&mirror), 0);
}

/* "7 12", or "7" where it begins behind it. */
static void assert_where(const char *want)
{
    struct remote_uid uid;
    uint64_t offset = 0;
    char got[64];

    if (mirror_where(&mirror, &uid, &offset))
        snprintf(got, sizeof(got), "%llu %llu", (unsigned long long)uid.number,
                 (unsigned long long)offset);
    else
        snprintf(got, sizeof(got), "%llu", (unsigned long long)uid.number);
    assert_string_equal(got, want);
}

static int by_number(const void *a, const void *b)
{
    return strcmp(strchr(*(char *const *)a, '_'), strchr(*(char *const *)b, '_'));
}

/* The texts in new/, by uid, one behind the other with "|" behind each. */
static void assert_stored(const char *want)
{
    char *names[32], got[4096] = "";
    size_t count = 0;
    DIR *listing = opendir(path_of("new"));
    struct dirent *entry;

    assert_non_null(listing);
    while ((entry = readdir(listing)))
        if (entry->d_name[0] != '.')
            names[count++] = strdup(entry->d_name);
    closedir(listing);
    qsort(names, count, sizeof(names[0]), by_number);
    for (size_t i = 0; i < count; i++) {
        char name[512], text[1024];
        size_t size;

        snprintf(name, sizeof(name), "M/new/%s", names[i]);
        size = folder_read(name, text, sizeof(text));
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s|", (int)size, text);
        free(names[i]);
    }
    assert_string_equal(got, want);
}

static size_t count_in_tmp(void)
{
    DIR *listing = opendir(path_of("tmp"));
    struct dirent *entry;
    size_t count = 0;

    while ((entry = readdir(listing)))
        count += entry->d_name[0] != '.';
    closedir(listing);
    return count;
}

/* The numbers to be acknowledged now: "1 2". */
static void assert_acks(const char *want)
{
    struct remote_uid uid;
    char got[256] = "";

    while (mirror_next_ack(&mirror, &uid))
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%llu", got[0] ? " " : "",
                 (unsigned long long)uid.number);
    assert_string_equal(got, want);
}

static void append_to_journal(const char *text)
{
    FILE *file = fopen(path_of("gatepost-fetch/journal"), "a");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* ---- storing ---- */

static void test_a_group_is_stored_and_acknowledged(void **state)
{
    (void)state;
    assert_where("0");
    receive(1, "one\r\n");
    receive(3, "");
    receive(4, "a\rb\r\r\nc\r\n");
    assert_stored("");
    assert_acks("");
    assert_int_equal(mirror_commit(&mirror), 0);
    assert_stored("one\n||a\rb\r\r\nc\n|");
    assert_acks("1 3 4");
    assert_acks("");
    assert_int_equal(mirror_disconnected(&mirror), 0);
    mirror_connected(&mirror);
    assert_acks("1 3 4"); /* the link may have been cut before they came */
    assert_int_equal(count_in_tmp(), 0);
    cut_and_open();
    assert_where("4");
    assert_acks("1 3 4");
    assert_int_equal(mirror_synced(&mirror), 0);
    cut_and_open();
    assert_where("4");
    assert_acks("");
    store(5, "five\r\n");
    assert_acks("5");
    assert_stored("one\n||a\rb\r\r\nc\n|five\n|");
}

static void test_what_is_kept_is_acknowledged_by_a_later_run(void **state)
{
    (void)state;
    mirror.options.keep = true;
    store(1, "one\r\n");
    assert_acks("");
    keep = true;
    cut_and_open();
    assert_where("1");
    assert_acks("");
    keep = false;
    cut_and_open();
    assert_acks("1");
}

/* A message cut at each of its octets, in order and by a kill. */
static void test_a_message_goes_on_at_any_octet(void **state)
{
    static const char *const texts[] = { "one\r\n", "a\r\r\nb\r\r\r\n\r\n",
                                         "no end",  "\r\n\r\n",
                                         "x\r",     "\rx\r\n" };
    static const char *const files[] = { "one\n|",    "a\r\r\nb\r\r\r\n\n|",
                                         "no end\n|", "\n\n|",
                                         "x\r\r\n|",  "\rx\n|" };

    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t cut = 0; cut <= strlen(texts[i]); cut++) {
            struct remote_uid uid;
            uint64_t offset = 0;

            teardown(state);
            setup(state);
            assert_where("0");
            assert_int_equal(frame(7, texts[i], 0), 0);
            if (cut > 0)
                assert_int_equal(mirror_octets(&mirror, span_first(span_of_text(texts[i]), cut)),
                                 0);
            cut_and_open();
            assert_true(mirror_where(&mirror, &uid, &offset));
            assert_int_equal(uid.number, 7);
            assert_true(offset <= cut);
            if (cut > 0 && texts[i][cut - 1] != '\r')
                assert_int_equal(offset, cut);
            assert_int_equal(frame(7, texts[i], offset), 0);
            if (offset < strlen(texts[i]))
                assert_int_equal(
                    mirror_octets(&mirror, span_skip(span_of_text(texts[i]), (size_t)offset)), 0);
            assert_int_equal(whole(7, texts[i]), MIRROR_TAKEN);
            assert_int_equal(mirror_commit(&mirror), 0);
            if (strcmp(texts[i], "x\r") != 0)
                assert_stored(files[i]);
        }
}

static void test_what_is_whole_outlives_a_kill(void **state)
{
    (void)state;
    assert_where("0");
    receive(2, "two\r\n");
    receive(3, "three\r\n");
    kill_and_open();
    assert_stored("two\n|three\n|");
    assert_where("3");
    assert_acks("2 3");
}

static void test_what_is_whole_in_the_journal_only_comes_again(void **state)
{
    (void)state;
    assert_where("0");
    receive(2, "two\r\n");
    receive(3, "three\r\n");
    receive(4, "four\r\n");
    assert_int_equal(truncate(path_of("tmp/gatepost-fetch.0000beef.3"), 2), 0);
    kill_and_open();
    assert_stored("two\n|");
    assert_int_equal(count_in_tmp(), 0);
    assert_where("2");
    store(3, "three\r\n");
    store(4, "four\r\n");
    assert_stored("two\n|three\n|four\n|");
}

static void test_a_rename_that_was_begun_is_finished(void **state)
{
    char line[256];

    (void)state;
    assert_where("0");
    receive(2, "two\r\n");
    receive(3, "three\r\n");
    snprintf(line, sizeof(line), "T 0000beef.2 %s 1.G_2.x\n", digest_of("two\r\n"));
    append_to_journal(line);
    snprintf(line, sizeof(line), "T 0000beef.3 %s 1.G_3.x\n", digest_of("three\r\n"));
    append_to_journal(line);
    /* the first one has been renamed */
    assert_int_equal(
        rename(strdupa(path_of("tmp/gatepost-fetch.0000beef.2")), strdupa(path_of("new/1.G_2.x"))),
        0);
    kill_and_open();
    assert_stored("two\n|three\n|");
    assert_where("3");
    assert_acks("2 3");
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(strdupa(path_of(from)), strdupa(path_of(to))), 0);
}

/* As a run leaves it that was killed while it renamed messages `first` to `last`. */
static void receive_and_take(uint64_t first, uint64_t last)
{
    for (uint64_t number = first; number <= last; number++) {
        char text[32], line[256];

        snprintf(text, sizeof(text), "%llu\r\n", (unsigned long long)number);
        receive(number, text);
        snprintf(line, sizeof(line), "T 0000beef.%llu %s 1.G_0000beef_%llu.x\n",
                 (unsigned long long)number, digest_of(text), (unsigned long long)number);
        append_to_journal(line);
    }
}

static void test_what_a_reader_has_moved_meanwhile_is_here(void **state)
{
    (void)state;
    assert_where("0");
    receive_and_take(2, 3);
    move("tmp/gatepost-fetch.0000beef.2", "cur/1.G_0000beef_2.x:2,FS");
    kill_and_open();
    assert_stored("3\n|");
    assert_where("3");
    assert_acks("2 3");
}

static void remove_from_tmp(uint64_t number)
{
    char name[64];

    snprintf(name, sizeof(name), "tmp/gatepost-fetch.0000beef.%llu", (unsigned long long)number);
    assert_int_equal(unlink(path_of(name)), 0);
}

/* Some renamed, one of those read, `lost` and 5 removed from tmp/, one whole behind them. */
static void lose(uint64_t lost)
{
    receive_and_take(1, 5);
    receive(6, "6\r\n");
    if (lost != 2)
        move("tmp/gatepost-fetch.0000beef.2", "new/1.G_0000beef_2.x");
    if (lost != 4)
        move("tmp/gatepost-fetch.0000beef.4", "cur/1.G_0000beef_4.x:2,S");
    remove_from_tmp(5);
    if (lost != 5)
        remove_from_tmp(lost);
}

static void receive_number(uint64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "%llu\r\n", (unsigned long long)number);
    receive(number, text);
}

static void test_what_is_nowhere_is_fetched_again_and_nothing_else_twice(void **state)
{
    static const struct {
        const char *before, *where, *acks, *stored;
    } rows[] = {
        { "0", "1", "2 3 4", "1\n|2\n|3\n|5\n|6\n|7\n|" },
        { "1", "2", "1 3 4", "1\n|2\n|3\n|5\n|6\n|7\n|" },
        { "2", "3", "1 2 4", "1\n|2\n|3\n|5\n|6\n|7\n|" },
        { "3", "4", "1 2 3", "1\n|2\n|3\n|4\n|5\n|6\n|7\n|" },
        { "4", "5", "1 2 3 4", "1\n|2\n|3\n|5\n|6\n|7\n|" },
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        teardown(state);
        setup(state);
        assert_where("0");
        lose(i + 1);
        kill_and_open();
        assert_where(rows[i].before);
        assert_acks(rows[i].acks);
        kill_and_open(); /* and so it stays */
        assert_where(rows[i].before);
        receive_number(i + 1);
        assert_int_equal(mirror_commit(&mirror), 0);
        kill_and_open();
        assert_where(rows[i].where);
        for (uint64_t number = i + 2; number <= 7; number++)
            receive_number(number);
        assert_int_equal(mirror_pulled(&mirror), 0);
        assert_stored(rows[i].stored); /* but for what was read */
        assert_int_equal(count_in_tmp(), 0);
        kill_and_open();
        assert_where("7");
        assert_acks("1 2 3 4 5 6 7");
    }
}

static void test_a_torn_line_is_cut_off(void **state)
{
    static const char *const tails[] = { "W 0000beef.9 52", "garbage\n", "K 0000beef.0 x\n",
                                         "T 0000beef.9 x ../y\nL 0\n" };

    (void)state;
    store(1, "one\r\n");
    for (size_t i = 0; i < COUNT(tails); i++) {
        append_to_journal(tails[i]);
        kill_and_open();
        assert_where("1");
        assert_acks("1");
    }
    store(2, "two\r\n");
    kill_and_open();
    assert_where("2");
    assert_stored("one\n|two\n|");
}

static char *many(size_t lines)
{
    char *text = malloc(lines * 8 + 1);

    for (size_t i = 0; i < lines; i++)
        memcpy(text + 8 * i, "abcdef\r\n", 8);
    text[lines * 8] = '\0';
    return text;
}

static void test_the_part_of_a_large_message_outlives_a_kill(void **state)
{
    char *text = many(20000);

    (void)state;
    store(1, "one\r\n");
    assert_int_equal(frame(2, text, 0), 0);
    assert_int_equal(mirror_octets(&mirror, span_first(span_of_text(text), 4004)), 0);
    kill_and_open();
    assert_where("2 4004");
    assert_int_equal(mirror_no_such_part(&mirror), 0);
    assert_where("1");
    assert_int_equal(count_in_tmp(), 0);
    free(text);
}

/* Between the last message that is stored and the part there may be one that was lost. */
static void test_a_part_behind_a_message_that_is_lost_is_not_gone_on_with(void **state)
{
    char *text = many(20000);

    (void)state;
    store(1, "one\r\n");
    receive(2, "two\r\n");
    assert_int_equal(frame(3, text, 0), 0);
    assert_int_equal(mirror_octets(&mirror, span_first(span_of_text(text), 4004)), 0);
    assert_int_equal(unlink(path_of("tmp/gatepost-fetch.0000beef.2")), 0);
    kill_and_open();
    assert_where("1");
    assert_int_equal(count_in_tmp(), 0);
    free(text);
}

static void test_another_message_comes_instead_of_the_part(void **state)
{
    (void)state;
    assert_where("0");
    assert_int_equal(frame(2, "two\r\n", 0), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("tw")), 0);
    cut_and_open();
    assert_where("2 2");
    store(3, "three\r\n");
    assert_stored("three\n|");
    assert_int_equal(count_in_tmp(), 0);
}

/* ---- what is wrong ---- */

static void test_frames_that_cannot_come_now(void **state)
{
    const struct remote_frame other = { { EPOCH + 1, 9 }, 5, 0 };

    (void)state;
    store(4, "four\r\n");
    assert_int_equal(frame(4, "four\r\n", 0), -EPROTO);
    assert_int_equal(frame(3, "three\r\n", 0), -EPROTO);
    assert_int_equal(frame(5, "five\r\n", 1), -EPROTO);
    assert_int_equal(mirror_frame(&mirror, &other), -EPROTO);
    receive(6, "six\r\n");
    assert_int_equal(frame(6, "six\r\n", 0), -EPROTO);
    assert_int_equal(frame(5, "five\r\n", 0), -EPROTO);
}

static void test_a_wrong_digest_is_pulled_anew_once(void **state)
{
    (void)state;
    assert_where("0");
    receive(1, "one\r\n");
    assert_int_equal(frame(2, "two\r\n", 0), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("twO\r\n")), 0);
    assert_int_equal(whole(2, "two\r\n"), MIRROR_WRONG);
    assert_int_equal(mirror_disconnected(&mirror), 0);
    mirror_connected(&mirror);
    assert_where("1");
    assert_int_equal(count_in_tmp(), 0);
    assert_int_equal(frame(2, "two\r\n", 0), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("twO\r\n")), 0);
    assert_int_equal(whole(2, "two\r\n"), MIRROR_WRONG_TWICE);
    assert_stored("one\n|");
}

static void test_a_part_with_wrong_octets_is_pulled_anew(void **state)
{
    int fd;

    (void)state;
    assert_where("0");
    assert_int_equal(frame(2, "two\r\n", 0), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("tw")), 0);
    assert_int_equal(mirror_disconnected(&mirror), 0);
    fd = open(path_of("tmp/gatepost-fetch.0000beef.2"), O_WRONLY);
    assert_int_equal(pwrite(fd, "T", 1, 0), 1);
    close(fd);
    mirror_connected(&mirror);
    assert_where("2 2");
    assert_int_equal(frame(2, "two\r\n", 2), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("o\r\n")), 0);
    assert_int_equal(whole(2, "two\r\n"), MIRROR_WRONG);
    assert_where("0");
    store(2, "two\r\n");
    assert_stored("two\n|");
}

static void test_a_disk_that_is_full(void **state)
{
    struct rlimit limit, before;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    store(1, "one\r\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 2;
    assert_int_equal(frame(2, "two\r\n", 0), 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("two\r\n")), -EFBIG);
    assert_true(whole(2, "two\r\n") < 0);
    setrlimit(RLIMIT_FSIZE, &before);
    cut_and_open();
    assert_where("2 2");
    assert_int_equal(frame(2, "two\r\n", 2), 0);
    assert_int_equal(mirror_octets(&mirror, SPAN_LIT("o\r\n")), 0);
    assert_int_equal(whole(2, "two\r\n"), MIRROR_TAKEN);
    limit.rlim_cur = 300; /* the journal has no room */
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(mirror_commit(&mirror), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_acks("1");
    kill_and_open();
    assert_stored("one\n|two\n|");
    assert_acks("1 2");
}

static void test_a_line_that_has_no_room_spoils_none_behind_it(void **state)
{
    struct journal_record record = { .kind = JOURNAL_LAST, .uid = uid_of(5) };
    struct rlimit limit, before;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    store(1, "one\r\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = mirror.journal.size + 3;
    assert_int_equal(journal_add(&mirror.journal, &record), 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(journal_write(&mirror.journal), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    record.uid = uid_of(6);
    assert_int_equal(journal_add(&mirror.journal, &record), 0);
    assert_int_equal(journal_write(&mirror.journal), 0);
    kill_and_open();
    assert_where("6");
}

static void test_one_run_and_one_mailbox(void **state)
{
    static struct mirror first;

    (void)state;
    first = mirror;
    assert_int_equal(open_as("anna"), MIRROR_BUSY);
    mirror = first;
    mirror_close(&mirror);
    assert_int_equal(open_as("bert"), MIRROR_OTHER);
    open_mirror();
    assert_string_equal(mirror.id, first.id);
}

/* ---- a new epoch ---- */

static void store_as(uint32_t epoch, uint64_t number, const char *text)
{
    const struct remote_frame head = { { epoch, number }, strlen(text), 0 };

    assert_int_equal(mirror_frame(&mirror, &head), 0);
    assert_int_equal(mirror_octets(&mirror, span_of_text(text)), 0);
    assert_int_equal(mirror_whole(&mirror, head.uid, span_of_text(digest_of(text))), MIRROR_TAKEN);
}

static void test_a_new_epoch_stores_nothing_twice(void **state)
{
    (void)state;
    store(1, "one\r\n");
    store(2, "two\r\n");
    store(3, "one\r\n");
    assert_acks("1 2 3");
    assert_int_equal(mirror_new_epoch(&mirror), 0);
    assert_where("0");
    store_as(EPOCH + 1, 1, "two\r\n");
    store_as(EPOCH + 1, 2, "new\r\n");
    kill_and_open();
    assert_where("2");
    store_as(EPOCH + 1, 5, "one\r\n");
    store_as(EPOCH + 1, 6, "one\r\n");
    store_as(EPOCH + 1, 7, "one\r\n"); /* two of these are here, not three */
    assert_int_equal(mirror_pulled(&mirror), 0);
    assert_acks("1 2 5 6 7");
    assert_stored("one\n|two\n|one\n|new\n|one\n|");
    assert_int_equal(mirror_synced(&mirror), 0);
    kill_and_open();
    assert_where("7");
    assert_acks("");
    assert_int_equal(mirror.stored.count, 0);
}

static void test_the_journal_stays_short(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 200; i++) {
        struct remote_uid uid;

        store(i, "x\r\n");
        assert_true(mirror_next_ack(&mirror, &uid));
        if (i < 195)
            assert_int_equal(mirror_synced(&mirror), 0);
    }
    assert_true(mirror.journal.lines > 500);
    kill_and_open();
    assert_true(mirror.journal.lines < 20);
    assert_where("200");
    assert_acks("195 196 197 198 199 200");
    kill_and_open();
    assert_where("200");
    assert_acks("195 196 197 198 199 200");
}

/* ---- another program ---- */

static char delivered[256];
static int deliver_error;

static int take(void *context, int fd)
{
    char text[64];
    ssize_t size = read(fd, text, sizeof(text));

    (void)context;
    if (deliver_error < 0)
        return deliver_error;
    snprintf(delivered + strlen(delivered), sizeof(delivered) - strlen(delivered), "%.*s|",
             (int)size, text);
    return 0;
}

static void test_messages_go_to_somebody_else(void **state)
{
    (void)state;
    delivered[0] = '\0';
    deliver = take;
    deliver_error = 0;
    kill_and_open();
    receive(1, "one\r\n");
    receive(2, "two\r\n");
    assert_int_equal(mirror_commit(&mirror), 0);
    assert_string_equal(delivered, "one\n|two\n|");
    receive(3, "three\r\n");
    deliver_error = -EAGAIN;
    assert_int_equal(mirror_commit(&mirror), -EAGAIN);
    assert_acks("1 2");
    mirror_close(&mirror);
    assert_int_equal(open_as("anna"), -EAGAIN);
    deliver_error = 0;
    open_mirror();
    assert_string_equal(delivered, "one\n|two\n|three\n|");
    assert_acks("1 2 3");
    assert_stored("");
    assert_int_equal(count_in_tmp(), 0);
    kill_and_open();
    assert_string_equal(delivered, "one\n|two\n|three\n|");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_group_is_stored_and_acknowledged),
        TEST(test_what_is_kept_is_acknowledged_by_a_later_run),
        TEST(test_a_message_goes_on_at_any_octet),
        TEST(test_what_is_whole_outlives_a_kill),
        TEST(test_what_is_whole_in_the_journal_only_comes_again),
        TEST(test_a_rename_that_was_begun_is_finished),
        TEST(test_what_a_reader_has_moved_meanwhile_is_here),
        TEST(test_what_is_nowhere_is_fetched_again_and_nothing_else_twice),
        TEST(test_a_torn_line_is_cut_off),
        TEST(test_the_part_of_a_large_message_outlives_a_kill),
        TEST(test_a_part_behind_a_message_that_is_lost_is_not_gone_on_with),
        TEST(test_another_message_comes_instead_of_the_part),
        TEST(test_frames_that_cannot_come_now),
        TEST(test_a_wrong_digest_is_pulled_anew_once),
        TEST(test_a_part_with_wrong_octets_is_pulled_anew),
        TEST(test_a_disk_that_is_full),
        TEST(test_a_line_that_has_no_room_spoils_none_behind_it),
        TEST(test_one_run_and_one_mailbox),
        TEST(test_a_new_epoch_stores_nothing_twice),
        TEST(test_the_journal_stays_short),
        TEST(test_messages_go_to_somebody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
