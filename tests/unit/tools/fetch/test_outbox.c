/* An outbox on the disk: what is sent, what is left, what a crash or another program does to it. */
#include "tests/lib/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "backends/digest.h"
#include "tools/fetch/outbox.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ROOM        65536

#define TEXT "From: a@b.example\nTo: c@d.example\nDate: x\nMessage-ID: <y>\n\nbody\n"
#define TEXT_WIRE                                                                                  \
    "From: a@b.example\r\nTo: c@d.example\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nbody\r\n"
#define ENVELOPE "FROM:<a@b.example>\nTO:<c@d.example>\n"

static char refused[1024], waiting[1024]; /* "name: words\n" for each */

static void note_refused(void *context, const char *name, const char *words)
{
    (void)context;
    strcat(strcat(strcat(strcat(refused, name), ": "), words), "\n");
}

static void note_waiting(void *context, const char *name, const char *words)
{
    (void)context;
    strcat(strcat(strcat(strcat(waiting, name), ": "), words), "\n");
}

/* ---- the world ---- */

static const char *below(const char *path)
{
    static char rooms[4][2048];
    static unsigned turn;
    char *room = rooms[turn++ % 4];

    snprintf(room, sizeof(rooms[0]), "%s/%s", folder, path);
    return room;
}

static int setup(void **state)
{
    refused[0] = waiting[0] = '\0';
    return folder_setup(state);
}

static struct outbox *open_with(struct outbox_options options)
{
    struct outbox *outbox;

    options.folder = below("out");
    options.account = options.account ? options.account : "anna@host";
    options.refused = note_refused;
    options.waits = note_waiting;
    assert_int_equal(outbox_open(&options, &outbox), 0);
    return outbox;
}

static struct outbox *open_plain(void)
{
    return open_with((struct outbox_options){ .folder = NULL });
}

/* The only item. */
static const struct outbox_item *scan_one(struct outbox *outbox)
{
    const struct outbox_item *items;
    size_t count;

    assert_int_equal(outbox_scan(outbox, &items, &count), 0);
    assert_int_equal(count, 1);
    return items;
}

static size_t scan_count(struct outbox *outbox)
{
    const struct outbox_item *items;
    size_t count;

    assert_int_equal(outbox_scan(outbox, &items, &count), 0);
    return count;
}

static bool is_there(const char *path)
{
    struct stat status;

    return lstat(below(path), &status) == 0;
}

static void put(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof(path), "out/%s", name);
    folder_write(path, text, strlen(text));
}

static void expect_file(const char *path, const char *text)
{
    char room[ROOM];

    folder_read(path, room, sizeof(room));
    assert_string_equal(room, text);
}

/* Reads an item from `offset` in pieces of `step`. Its size, or -errno. */
static ssize_t read_item(struct outbox *outbox, size_t index, uint64_t offset, size_t step,
                         char *into)
{
    int r = outbox_begin(outbox, index, offset);
    size_t size = 0, count;

    if (r < 0)
        return r;
    do {
        r = outbox_read(outbox, (unsigned char *)into + size, step, &count);
        size += r == 0 ? count : 0;
    } while (r == 0 && count > 0);
    into[size] = '\0';
    return r < 0 ? r : (ssize_t)size;
}

static void expect_digest(const char *octets, size_t size, const char *digits)
{
    struct digest *digest = digest_new();
    char want[DIGEST_DIGITS + 1] = "";

    assert_int_equal(digest_add(digest, span_of(octets, size)), 0);
    assert_int_equal(digest_end(digest, want), 0);
    assert_string_equal(digits, want);
    digest_free(digest);
}

/* ---- sending ---- */

static void test_a_message_goes_out_and_leaves_nothing(void **state)
{
    struct outbox *outbox = open_plain();
    const struct outbox_item *item;
    char room[ROOM], name[256];

    (void)state;
    put("new/1.x", TEXT);
    item = scan_one(outbox);
    assert_string_equal(item->name, "1.x");
    assert_string_equal(item->envelope, ENVELOPE);
    assert_false(item->begun);
    assert_false(is_there("out/gatepost-fetch/1.x"));
    assert_int_equal(read_item(outbox, 0, 0, 7, room), item->octets);
    assert_string_equal(room, TEXT_WIRE);
    expect_digest(room, strlen(room), item->digest);
    assert_true(is_there("out/gatepost-fetch/1.x"));
    assert_true(is_there("out/new/1.x"));
    assert_true(item->begun);
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_int_equal(folder_count("out/new", name), 0);
    assert_int_equal(folder_count("out/gatepost-fetch", name), 0);
    assert_int_equal(scan_count(outbox), 0);
    outbox_close(outbox);
}

static void test_from_every_offset_the_same_octets(void **state)
{
    static const size_t steps[] = { 1, 3, ROOM / 2 };
    struct outbox *outbox = open_plain();
    char whole[ROOM], room[ROOM];
    const struct outbox_item *item;

    (void)state;
    put("new/1", "Bcc: hidden@d\nFrom: a@b\rTo: c@d\r\r\nBcc: x@y,\n z@w\n\nbody\n\rend");
    item = scan_one(outbox);
    assert_int_equal(read_item(outbox, 0, 0, ROOM / 2, whole), item->octets);
    assert_null(strstr(whole, "hidden"));
    assert_non_null(strstr(whole, "\r\nFrom: a@b\r\nTo: c@d\r\n\r\nbody\r\n\r\nend\r\n"));
    for (size_t i = 0; i < COUNT(steps); i++)
        for (size_t offset = 0; offset <= item->octets; offset++) {
            assert_int_equal(read_item(outbox, 0, offset, steps[i], room), item->octets - offset);
            assert_string_equal(room, whole + offset);
        }
    assert_int_equal(outbox_begin(outbox, 0, item->octets + 1), -EINVAL);
    outbox_close(outbox);
}

static void test_a_large_message_from_odd_offsets(void **state)
{
    static const uint64_t offsets[] = { 0, 1, 16383, 16384, 16385, 100000, 299999 };
    static char text[300000], whole[700000], room[700000];
    struct outbox *outbox = open_plain();
    const struct outbox_item *item;

    (void)state;
    strcpy(text, TEXT);
    for (size_t i = strlen(text); i < sizeof(text) - 1; i++)
        text[i] = "line\n\r.a"[i * i % 8];
    put("new/1", text);
    item = scan_one(outbox);
    assert_int_equal(read_item(outbox, 0, 0, 65536, whole), item->octets);
    expect_digest(whole, item->octets, item->digest);
    for (size_t i = 0; i < COUNT(offsets); i++) {
        assert_int_equal(read_item(outbox, 0, offsets[i], 10007, room), item->octets - offsets[i]);
        assert_memory_equal(room, whole + offsets[i], item->octets - offsets[i]);
    }
    outbox_close(outbox);
}

static void test_a_later_run_goes_on_with_the_same_upload(void **state)
{
    struct outbox *outbox = open_plain();
    const struct outbox_item *item;
    char first[ROOM], second[ROOM], id[64], digest[80];

    (void)state;
    put("new/1", "From: a@b.example\nTo: c@d\n\nno date\n");
    item = scan_one(outbox);
    assert_true(read_item(outbox, 0, 0, ROOM / 2, first) > 0);
    strcpy(id, item->id);
    strcpy(digest, item->digest);
    assert_int_equal(strncmp(first, "Date: ", 6), 0);
    snprintf(second, sizeof(second), "\r\nMessage-ID: <%s@b.example>\r\nFrom: ", id);
    assert_non_null(strstr(first, second));
    outbox_close(outbox);

    assert_int_equal(rename(below("out/new/1"), below("out/cur/1:2,FS")), 0);
    outbox = open_plain();
    item = scan_one(outbox);
    assert_true(item->begun);
    assert_string_equal(item->id, id);
    assert_string_equal(item->digest, digest);
    assert_true(read_item(outbox, 0, 0, ROOM / 2, second) > 0);
    assert_string_equal(second, first);
    outbox_close(outbox);
}

static void test_the_date_is_that_of_the_file(void **state)
{
    struct timespec times[2] = { { .tv_sec = 0 }, { .tv_sec = 1790000000 } };
    struct outbox *outbox = open_plain();
    char room[ROOM];

    (void)state;
    setenv("TZ", "XYZ-5:30", 1);
    tzset();
    put("new/1", "From: a@b\nTo: c@d\nMessage-ID: <x>\n\n");
    assert_int_equal(utimensat(AT_FDCWD, below("out/new/1"), times, 0), 0);
    scan_one(outbox);
    assert_true(read_item(outbox, 0, 0, 100, room) > 0);
    assert_int_equal(strncmp(room, "Date: Mon, 21 Sep 2026 19:43:20 +0530\r\nFrom:", 44), 0);
    unsetenv("TZ");
    outbox_close(outbox);
}

static void test_what_has_changed_is_another_message(void **state)
{
    static const char *const texts[] = {
        "From: a@b\nTo: c@d\nBcc: e@f\n\nbody", "From: a@b\nTo: c@d\nBcc: e@f\n\nbody 2",
        "From: a@b\nTo: c@d\nBcc: g@h\n\nbody 2", /* goes over the wire as the one before */
        "From: a@b\nTo: c@d\n\nbody 2"
    };
    struct outbox *outbox = open_plain();
    char room[ROOM], before[64] = "";

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const struct outbox_item *item;

        put("new/1", texts[i]);
        item = scan_one(outbox);
        assert_string_not_equal(item->id, before);
        assert_false(item->begun);
        assert_true(read_item(outbox, 0, 0, 100, room) > 0);
        strcpy(before, item->id);
        assert_true(scan_one(outbox)->begun);
    }
    outbox_close(outbox);
}

static void test_what_was_begun_comes_first_then_by_name(void **state)
{
    static const char *const names[] = { "new/3", "cur/2:2,", "new/1", "cur/4" };
    struct outbox *outbox = open_plain();
    const struct outbox_item *items;
    size_t count;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        put(names[i], TEXT);
    put("tmp/0", TEXT);
    put("new/.hidden", TEXT);
    assert_int_equal(outbox_scan(outbox, &items, &count), 0);
    assert_int_equal(count, 4);
    assert_int_equal(outbox_begin(outbox, 2, 0), 0);
    assert_int_equal(outbox_scan(outbox, &items, &count), 0);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(items[i].name[0], "3124"[i]);
    outbox_close(outbox);
}

static void test_the_sender_that_is_given(void **state)
{
    struct outbox *outbox = open_with((struct outbox_options){ .sender = "x@y" });

    (void)state;
    put("new/1", TEXT);
    assert_string_equal(scan_one(outbox)->envelope, "FROM:<x@y>\nTO:<c@d.example>\n");
    outbox_close(outbox);
}

/* ---- what is sent has a place ---- */

static void send_one(struct outbox *outbox)
{
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(outbox_done(outbox, 0), 0);
}

static void test_the_sent_folder(void **state)
{
    struct outbox *outbox = open_with((struct outbox_options){ .sent = below("sent") });
    char name[256];

    (void)state;
    put("cur/1:2,F", TEXT);
    send_one(outbox);
    expect_file("sent/cur/1:2,S", TEXT);

    put("new/1", "From: a@b\nTo: c@d\n\nof the same name\n");
    send_one(outbox);
    expect_file("sent/cur/1:2,S", TEXT);
    assert_int_equal(folder_count("sent/cur", name), 2);

    put("new/1", TEXT); /* moved by a run that was killed before it removed the original */
    send_one(outbox);
    assert_int_equal(folder_count("sent/cur", name), 2);
    assert_int_equal(folder_count("out/new", name) + folder_count("out/cur", name), 0);
    assert_int_equal(folder_count("out/gatepost-fetch", name), 0);
    outbox_close(outbox);
}

static void test_the_sent_folder_of_another_file_system(void **state)
{
    char path[] = "/dev/shm/gatepost-test-XXXXXX", room[256];
    struct outbox *outbox;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(path));
    outbox = open_with((struct outbox_options){ .sent = path });
    put("new/1", TEXT);
    send_one(outbox);
    assert_false(is_there("out/new/1"));
    snprintf(room, sizeof(room), "%s/cur/1:2,S", path);
    file = fopen(room, "r");
    assert_non_null(file);
    assert_int_equal(fread(room, 1, sizeof(room), file), strlen(TEXT));
    assert_memory_equal(room, TEXT, strlen(TEXT));
    fclose(file);
    outbox_close(outbox);
    assert_int_equal(nftw(path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- what cannot be sent ---- */

static void test_the_unsendable_go_and_the_others_go_on(void **state)
{
    static const struct {
        const char *name, *text, *told;
    } rows[] = {
        { "new/1", "", "1: the file is empty\n" },
        { "new/2", "no header\n\nbody", "2: line 1 of the header is no field: noh\n" },
        { "cur/3:2,S", "From: a@b\n\n", "3: no recipient in To, Cc or Bcc\n" },
        { "new/4", "To: a@b\n\n", "4: no From\n" },
        { "new/5\n\x1b", "To: a@b\n\n", "5\\x0a\\x1b: no From\n" },
    };
    struct outbox *outbox = open_plain();
    char want[1024] = "", room[ROOM], name[256];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        put(rows[i].name, rows[i].text);
        strcat(want, rows[i].told);
    }
    put("new/9", TEXT);
    assert_string_equal(scan_one(outbox)->name, "9");
    assert_string_equal(refused, want);
    expect_file("out/.Failed/new/3", "From: a@b\n\n");
    assert_int_equal(folder_count("out/.Failed/new", name), COUNT(rows));
    assert_true(is_there("out/.Failed/cur") && is_there("out/.Failed/maildirfolder"));
    folder_read("out/.Failed/gatepost-fetch.log", room, sizeof(room));
    assert_non_null(strstr(room, " 2: line 1 of the header is no field: noh\n2"));
    assert_non_null(strstr(room, " 5\\x0a\\x1b: no From\n"));
    assert_int_equal(scan_count(outbox), 1);
    assert_string_equal(refused, want); /* and are not told again */
    outbox_close(outbox);
}

static void test_what_is_no_file(void **state)
{
    struct outbox *outbox = open_plain();

    (void)state;
    assert_int_equal(symlink("/etc/passwd", below("out/new/1")), 0);
    assert_int_equal(mkfifo(below("out/new/2"), 0600), 0);
    assert_int_equal(mkdir(below("out/new/3"), 0700), 0);
    assert_int_equal(scan_count(outbox), 0);
    assert_string_equal(refused, "1: it is no file\n2: it is no file\n3: it is no file\n");
    assert_true(is_there("out/.Failed/new/1"));
    outbox_close(outbox);
}

static void test_the_server_refuses_one(void **state)
{
    struct outbox *outbox = open_plain();
    char room[ROOM];

    (void)state;
    put("new/1", TEXT);
    put("new/2", TEXT);
    assert_int_equal(scan_count(outbox), 2);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(outbox_refused(outbox, 0, "[PERM] no such user\nhere"), 0);
    expect_file("out/.Failed/new/1", TEXT);
    assert_false(is_there("out/gatepost-fetch/1"));
    folder_read("out/.Failed/gatepost-fetch.log", room, sizeof(room));
    assert_non_null(strstr(room, " 1: [PERM] no such user\\x0ahere\n"));
    assert_string_equal(scan_one(outbox)->name, "2");
    outbox_close(outbox);
}

static void test_answers_come_while_the_next_one_is_read(void **state)
{
    struct outbox *outbox = open_plain();
    unsigned char room[ROOM];
    size_t size, got = 0;

    (void)state;
    put("new/1", TEXT);
    put("new/2", TEXT);
    put("new/3", TEXT);
    assert_int_equal(scan_count(outbox), 3);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(outbox_begin(outbox, 1, 0), 0);
    assert_int_equal(outbox_begin(outbox, 2, 0), 0);
    assert_int_equal(outbox_read(outbox, room, 10, &size), 0);
    assert_int_equal(size, 10);
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_int_equal(outbox_refused(outbox, 1, "no"), 0);
    do {
        assert_int_equal(outbox_read(outbox, room, 10, &size), 0);
        got += size;
    } while (size > 0);
    assert_int_equal(got, strlen(TEXT_WIRE) - 10);
    outbox_close(outbox);
}

static void test_drafts_and_the_trashed_stay(void **state)
{
    struct outbox *outbox = open_plain();

    (void)state;
    put("cur/1:2,DS", TEXT);
    put("cur/2:2,ST", TEXT);
    put("cur/DT", TEXT);
    assert_string_equal(scan_one(outbox)->name, "DT");
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(rename(below("out/cur/DT"), below("out/cur/DT:2,D")), 0);
    assert_int_equal(scan_count(outbox), 0);
    assert_true(is_there("out/gatepost-fetch/DT")); /* it may come back */
    assert_string_equal(refused, "");
    outbox_close(outbox);
}

static void test_a_file_that_is_being_written_waits(void **state)
{
    struct outbox *outbox = open_plain();
    int fd;

    (void)state;
    put("new/1", TEXT);
    fd = open(below("out/new/1"), O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(scan_count(outbox), 0);
    assert_int_equal(write(fd, "more\n", 5), 5);
    close(fd);
    assert_int_equal(scan_one(outbox)->octets, strlen(TEXT_WIRE) + 6);
    outbox_close(outbox);
}

/* ---- other programs, other runs ---- */

static void test_only_one_run_at_a_time(void **state)
{
    struct outbox *one = open_plain(), *two = open_plain();
    const struct outbox_item *items;
    size_t count;

    (void)state;
    put("new/1", TEXT);
    scan_one(one);
    assert_int_equal(outbox_scan(two, &items, &count), -EBUSY);
    assert_int_equal(outbox_begin(one, 0, 0), 0);
    outbox_unlock(one);
    assert_true(scan_one(two)->begun);
    assert_int_equal(outbox_scan(one, &items, &count), -EBUSY);
    outbox_close(two);
    assert_int_equal(scan_count(one), 1);
    outbox_close(one);
}

static void test_a_file_that_changes_while_it_is_read(void **state)
{
    static const char *const texts[] = {
        TEXT "more",
        "From: a@b.example\n",
        "From: a@b.example\nTo: c@d.example\nDate: x\nMessage-ID: <y>\n\nBODY\n",
        "",
    };
    struct outbox *outbox = open_plain();
    char room[ROOM];

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t size;

        put("new/1", TEXT);
        scan_one(outbox);
        put("new/1", texts[i]);
        assert_int_equal(read_item(outbox, 0, 0, ROOM / 2, room), -ESTALE);
        assert_int_equal(outbox_read(outbox, (unsigned char *)room, ROOM, &size), -EINVAL);
    }
    outbox_close(outbox);
}

static void test_a_file_that_grows_in_the_middle(void **state)
{
    static char text[100000];
    struct outbox *outbox = open_plain();
    char room[ROOM];
    size_t size;
    int fd;

    (void)state;
    strcpy(text, TEXT);
    memset(text + strlen(text), 'x', sizeof(text) - 1 - strlen(text));
    put("new/1", text);
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(outbox_read(outbox, (unsigned char *)room, 100, &size), 0);
    fd = open(below("out/new/1"), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "y", 1), 1);
    close(fd);
    assert_int_equal(read_item(outbox, 0, 50000, 1000, text), -ESTALE);
    outbox_close(outbox);
}

static void test_a_file_that_moves_or_goes(void **state)
{
    struct outbox *outbox = open_plain();
    char room[ROOM], name[256];

    (void)state;
    put("new/1", TEXT);
    scan_one(outbox);
    assert_int_equal(rename(below("out/new/1"), below("out/cur/1:2,S")), 0);
    assert_int_equal(read_item(outbox, 0, 0, 100, room), strlen(TEXT_WIRE));
    assert_int_equal(rename(below("out/cur/1:2,S"), below("out/cur/1:2,FS")), 0);
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_int_equal(folder_count("out/cur", name), 0);

    put("new/2", TEXT);
    scan_one(outbox);
    assert_int_equal(unlink(below("out/new/2")), 0);
    assert_int_equal(outbox_begin(outbox, 0, 0), -ENOENT);
    assert_false(is_there("out/gatepost-fetch/2"));

    put("new/3", TEXT);
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(unlink(below("out/new/3")), 0);
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_false(is_there("out/gatepost-fetch/3"));

    put("new/4", TEXT);
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(unlink(below("out/new/4")), 0);
    assert_int_equal(scan_count(outbox), 0); /* and its record with it */
    assert_false(is_there("out/gatepost-fetch/4"));
    outbox_close(outbox);
}

static void test_what_its_user_takes_back_or_writes_anew_meanwhile(void **state)
{
    struct outbox *outbox = open_plain();
    char room[ROOM];

    (void)state;
    put("cur/1:2,S", TEXT);
    scan_one(outbox);
    assert_int_equal(rename(below("out/cur/1:2,S"), below("out/cur/1:2,ST")), 0);
    assert_int_equal(outbox_begin(outbox, 0, 0), -ENOENT);
    assert_int_equal(unlink(below("out/cur/1:2,ST")), 0);

    put("new/2", TEXT);
    scan_one(outbox);
    assert_true(read_item(outbox, 0, 0, 100, room) > 0);
    put("new/2", TEXT "and more\n");
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_true(is_there("out/new/2")); /* nobody has sent this one */
    assert_false(scan_one(outbox)->begun);
    outbox_close(outbox);
}

static void test_an_outbox_is_neither_the_mailbox_nor_what_was_sent(void **state)
{
    struct outbox_options rows[] = { { .sent = below("out/") }, { .maildir = below("./out") } };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct outbox *outbox;

        rows[i].folder = below("out");
        rows[i].account = "anna@host";
        assert_int_equal(outbox_open(&rows[i], &outbox), -EINVAL);
        assert_false(is_there("out/gatepost-fetch"));
    }
}

static void test_another_account_must_finish_what_it_has_begun(void **state)
{
    struct outbox *outbox = open_plain();

    (void)state;
    put("new/1", TEXT);
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    outbox_close(outbox);
    outbox = open_with((struct outbox_options){ .account = "bert@host" });
    assert_int_equal(scan_count(outbox), 0);
    assert_string_equal(refused, "");
    assert_string_equal(waiting, "1: it was begun for anna@host, who must finish it\n");
    assert_true(is_there("out/new/1"));
    outbox_close(outbox);
    outbox = open_plain();
    assert_true(scan_one(outbox)->begun);
    outbox_close(outbox);
}

static void test_a_damaged_record(void **state)
{
    struct outbox *outbox = open_plain();
    char record[ROOM], room[ROOM];
    size_t size;

    (void)state;
    put("new/1", TEXT);
    scan_one(outbox);
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    size = folder_read("out/gatepost-fetch/1", record, sizeof(record));
    for (size_t cut = 0; cut < size; cut++) {
        folder_write("out/gatepost-fetch/1", record, cut);
        assert_int_equal(scan_count(outbox), 0);
        assert_string_equal(refused, "1: its record is damaged; it may have been sent already\n");
        refused[0] = '\0';
        assert_false(is_there("out/gatepost-fetch/1"));
        assert_int_equal(rename(below("out/.Failed/new/1"), below("out/new/1")), 0);
    }
    folder_write("out/gatepost-fetch/1", record, size);
    assert_true(scan_one(outbox)->begun);
    assert_int_equal(read_item(outbox, 0, 0, 100, room), strlen(TEXT_WIRE));
    outbox_close(outbox);
}

static void test_no_room_for_the_record(void **state)
{
    struct rlimit before, none;
    struct outbox *outbox = open_plain();
    char name[256];
    int r;

    (void)state;
    put("new/1", TEXT);
    scan_one(outbox);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    r = outbox_begin(outbox, 0, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(r, -EFBIG);
    assert_int_equal(folder_count("out/gatepost-fetch", name), 0);
    assert_false(is_there("out/gatepost-fetch/.new"));
    assert_false(scan_one(outbox)->begun);
    outbox_close(outbox);
}

/* ---- recipients of two kinds ---- */

#define MIXED "From: a@b\nTo: c@here, d@there, e@HERE\nCc: f@else, g@there\n\nbody\n"

static void expect_parts(struct outbox *outbox, const char *first, const char *second,
                         char ids[2][64])
{
    const struct outbox_item *items;
    size_t count;

    assert_int_equal(outbox_scan(outbox, &items, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(items[0].envelope, first);
    assert_string_equal(items[1].envelope, second);
    assert_true(items[0].begun && items[1].begun);
    strcpy(ids[0], items[0].id);
    strcpy(ids[1], items[1].id);
}

static void test_a_message_in_two_parts(void **state)
{
    const char *here = "FROM:<a@b>\nTO:<c@here>\nTO:<e@HERE>\n";
    const char *there = "FROM:<a@b>\nTO:<d@there>\nTO:<f@else>\nTO:<g@there>\n";
    struct outbox *outbox = open_with((struct outbox_options){ .sent = below("sent") });
    char ids[2][64], again[2][64], whole[ROOM], room[ROOM], first[64];

    (void)state;
    put("new/1", MIXED);
    strcpy(first, scan_one(outbox)->id);
    assert_true(read_item(outbox, 0, 0, 100, whole) > 0);
    assert_int_equal(outbox_split(outbox, 0, "c@here"), -EINVAL);
    assert_int_equal(outbox_split(outbox, 0, "e@HERE"), -EINVAL);
    assert_int_equal(outbox_split(outbox, 0, "x@y"), -EINVAL);
    assert_int_equal(outbox_split(outbox, 0, ""), -EINVAL);
    assert_int_equal(outbox_split(outbox, 0, "d@there"), 0);
    expect_parts(outbox, here, there, ids);
    assert_string_not_equal(ids[0], first);
    assert_string_not_equal(ids[1], first);
    assert_true(read_item(outbox, 1, 0, 100, room) > 0);
    assert_string_equal(room, whole); /* the same message, its Message-ID too */
    outbox_close(outbox);

    outbox = open_with((struct outbox_options){ .sent = below("sent") });
    expect_parts(outbox, here, there, again);
    assert_memory_equal(ids, again, sizeof(ids));
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_true(is_there("out/new/1"));
    assert_string_equal(scan_one(outbox)->id, ids[1]);
    assert_int_equal(outbox_done(outbox, 0), 0);
    expect_file("sent/cur/1:2,S", MIXED);
    assert_false(is_there("out/gatepost-fetch/1"));
    assert_int_equal(scan_count(outbox), 0);
    outbox_close(outbox);
}

static void test_one_part_is_refused(void **state)
{
    struct outbox *outbox = open_with((struct outbox_options){ .sent = below("sent") });
    char room[ROOM];

    (void)state;
    put("new/1", MIXED);
    scan_one(outbox);
    assert_int_equal(outbox_split(outbox, 0, "d@there"), 0);
    assert_int_equal(scan_count(outbox), 2);
    assert_int_equal(outbox_refused(outbox, 1, "no such user: <f@else>"), 0);
    assert_true(is_there("out/new/1"));
    assert_string_equal(scan_one(outbox)->envelope, "FROM:<a@b>\nTO:<c@here>\nTO:<e@HERE>\n");
    assert_int_equal(outbox_done(outbox, 0), 0);
    expect_file("out/.Failed/new/1", MIXED);
    assert_false(is_there("sent/cur/1:2,S"));
    folder_read("out/.Failed/gatepost-fetch.log", room, sizeof(room));
    assert_non_null(strstr(room, " 1: no such user: <f@else>\n"));
    assert_non_null(strstr(room, " 1: the other recipients have it"));
    outbox_close(outbox);
}

static void test_killed_between_the_last_answer_and_the_move(void **state)
{
    struct outbox *outbox = open_plain();
    char record[ROOM], *at;

    (void)state;
    put("new/1", MIXED);
    scan_one(outbox);
    assert_int_equal(outbox_split(outbox, 0, "d@there"), 0);
    folder_read("out/gatepost-fetch/1", record, sizeof(record));
    while ((at = strstr(record, " open\n")))
        memcpy(at, " done\n", 6);
    folder_write("out/gatepost-fetch/1", record, strlen(record));
    assert_int_equal(scan_count(outbox), 0);
    assert_false(is_there("out/new/1"));
    assert_false(is_there("out/gatepost-fetch/1"));
    outbox_close(outbox);
}

/* ---- the watch ---- */

static bool is_readable(int fd)
{
    struct pollfd poller = { .fd = fd, .events = POLLIN };

    return poll(&poller, 1, 0) == 1;
}

static void test_the_watch_tells_what_is_put_in(void **state)
{
    struct outbox *outbox = open_plain();
    int watch = outbox_watch(outbox);

    (void)state;
    assert_true(watch >= 0);
    assert_int_equal(outbox_watch(outbox), watch);
    assert_false(is_readable(watch));
    put("tmp/1", TEXT);
    assert_false(is_readable(watch));
    assert_int_equal(rename(below("out/tmp/1"), below("out/new/1")), 0);
    assert_true(is_readable(watch));
    scan_one(outbox);
    assert_false(is_readable(watch));
    assert_int_equal(outbox_begin(outbox, 0, 0), 0);
    assert_int_equal(outbox_done(outbox, 0), 0);
    assert_false(is_readable(watch)); /* our own doing is no news */
    put("tmp/2", TEXT);
    assert_int_equal(link(below("out/tmp/2"), below("out/cur/2:2,")), 0);
    assert_true(is_readable(watch));
    outbox_close(outbox);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_message_goes_out_and_leaves_nothing),
        TEST(test_from_every_offset_the_same_octets),
        TEST(test_a_large_message_from_odd_offsets),
        TEST(test_a_later_run_goes_on_with_the_same_upload),
        TEST(test_the_date_is_that_of_the_file),
        TEST(test_what_has_changed_is_another_message),
        TEST(test_what_was_begun_comes_first_then_by_name),
        TEST(test_the_sender_that_is_given),
        TEST(test_the_sent_folder),
        TEST(test_the_sent_folder_of_another_file_system),
        TEST(test_the_unsendable_go_and_the_others_go_on),
        TEST(test_what_is_no_file),
        TEST(test_the_server_refuses_one),
        TEST(test_answers_come_while_the_next_one_is_read),
        TEST(test_drafts_and_the_trashed_stay),
        TEST(test_a_file_that_is_being_written_waits),
        TEST(test_only_one_run_at_a_time),
        TEST(test_a_file_that_changes_while_it_is_read),
        TEST(test_a_file_that_grows_in_the_middle),
        TEST(test_a_file_that_moves_or_goes),
        TEST(test_what_its_user_takes_back_or_writes_anew_meanwhile),
        TEST(test_an_outbox_is_neither_the_mailbox_nor_what_was_sent),
        TEST(test_another_account_must_finish_what_it_has_begun),
        TEST(test_a_damaged_record),
        TEST(test_no_room_for_the_record),
        TEST(test_a_message_in_two_parts),
        TEST(test_one_part_is_refused),
        TEST(test_killed_between_the_last_answer_and_the_move),
        TEST(test_the_watch_tells_what_is_put_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
