/* The ratchet and its state file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/tickets.h"

#define EPOCH(n) ((int64_t)(n)*TICKET_EPOCH_SECONDS)

static char dir[] = "/tmp/gatepost-tickets-XXXXXX";
static char path[64];

static void put_file(const void *content, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, content, size), size);
    close(fd);
}

static size_t get_file(char *into, size_t room)
{
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, into, room);

    close(fd);
    assert_true(size >= 0);
    return (size_t)size;
}

static int start(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* --- the ratchet --- */

static void keys_follow_from_their_predecessor_and_in_no_other_way(void **state)
{
    struct ticket_keys keys, step_by_step, at_once;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
    step_by_step = at_once = keys;
    for (int i = 101; i <= 140; i++)
        assert_true(tickets_advance(&step_by_step, EPOCH(i)));
    assert_true(tickets_advance(&at_once, EPOCH(140) + TICKET_EPOCH_SECONDS - 1));
    assert_memory_equal(&step_by_step, &at_once, sizeof(at_once));
    for (int i = 0; i < 3; i++)
        assert_int_equal(at_once.keys[i].epoch, 139 + i);
    assert_memory_not_equal(at_once.keys[0].secret, at_once.keys[1].secret, TICKET_KEY_BYTES);
    assert_memory_not_equal(at_once.keys[1].secret, at_once.keys[2].secret, TICKET_KEY_BYTES);
}

static void one_step_shifts_the_keys(void **state)
{
    struct ticket_keys before, after;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &before), 0);
    after = before;
    assert_true(tickets_advance(&after, EPOCH(101)));
    assert_memory_equal(&after.keys[0], &before.keys[1], sizeof(after.keys[0]));
    assert_memory_equal(&after.keys[1], &before.keys[2], sizeof(after.keys[1]));
}

static void the_same_epoch_or_a_clock_that_steps_back_changes_nothing(void **state)
{
    static const int64_t times[] = { EPOCH(100), EPOCH(101) - 1, EPOCH(99), 1, 0, -5, INT64_MIN };
    struct ticket_keys keys, before;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
    before = keys;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_false(tickets_advance(&keys, times[i]));
        assert_memory_equal(&keys, &before, sizeof(keys));
    }
}

/* The values were computed by openssl kdf HKDF: another node may run another implementation. */
static void the_ratchet_is_hkdf_sha256(void **state)
{
    static const uint8_t next[TICKET_KEY_BYTES] = {
        0x20, 0xB0, 0x25, 0x64, 0x69, 0x4A, 0x48, 0x74, 0xDF, 0x59, 0x1E,
        0x79, 0xBB, 0xA2, 0x11, 0x6D, 0xC9, 0xAE, 0x72, 0x73, 0x86, 0x31,
        0x24, 0xA3, 0xE3, 0x5D, 0x30, 0xA3, 0xDB, 0x5A, 0xCF, 0x46
    };
    static const uint8_t name[16] = { 0xAA, 0xE9, 0x58, 0x61, 0x40, 0xD7, 0xAD, 0x1B,
                                      0xB9, 0x6E, 0xBC, 0x46, 0x60, 0x68, 0xC3, 0x53 };
    struct ticket_keys keys = { 0 };
    struct ticket_material material = { 0 };

    (void)state;
    memset(keys.keys[2].secret, 0x2a, TICKET_KEY_BYTES);
    keys.keys[1].epoch = 4;
    keys.keys[2].epoch = 5;
    assert_true(tickets_advance(&keys, EPOCH(5)));
    assert_memory_equal(keys.keys[2].secret, next, sizeof(next));
    assert_int_equal(ticket_material_derive(&keys.keys[1], &material), 0);
    assert_memory_equal(material.name, name, sizeof(name));
    assert_memory_not_equal(material.cipher_key, material.mac_key, 32);
}

/* --- the file --- */

static void a_missing_file_is_made_and_read_again(void **state)
{
    struct ticket_keys made, read_again;
    struct stat info;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &made), 0);
    assert_int_equal(made.keys[1].epoch, 100);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(tickets_load(dir, EPOCH(100), &read_again), 0);
    assert_memory_equal(&made, &read_again, sizeof(made));
}

static void two_files_made_are_never_alike(void **state)
{
    struct ticket_keys one, two;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &one), 0);
    unlink(path);
    assert_int_equal(tickets_load(dir, EPOCH(100), &two), 0);
    assert_memory_not_equal(one.keys[1].secret, two.keys[1].secret, TICKET_KEY_BYTES);
}

static void loading_later_advances_and_forgets(void **state)
{
    struct ticket_keys made, later, copy;
    char before[512], after[512];
    size_t before_size, after_size;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(101), &made), 0);
    before_size = get_file(before, sizeof(before));
    copy = made;
    tickets_advance(&copy, EPOCH(107));
    assert_int_equal(tickets_load(dir, EPOCH(107), &later), 0);
    assert_memory_equal(&later, &copy, sizeof(copy));
    after_size = get_file(after, sizeof(after));
    assert_int_equal(after_size, before_size);
    assert_memory_not_equal(after, before, before_size);
    assert_int_equal(tickets_load(dir, EPOCH(90), &later), 0); /* the clock steps back */
    assert_memory_equal(&later, &copy, sizeof(copy));
}

static void the_replaced_file_is_wiped(void **state)
{
    struct ticket_keys keys;
    char old[512];
    int fd;

    (void)state;
    assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
    fd = open(path, O_RDONLY);
    assert_int_equal(tickets_load(dir, EPOCH(101), &keys), 0);
    assert_int_equal(pread(fd, old, sizeof(old), 0), 256);
    close(fd);
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(old[i], 0);
}

static void a_damaged_file_is_replaced(void **state)
{
    struct ticket_keys good, keys;
    char content[512], damaged[512];
    size_t size;

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(tickets_load(dir, EPOCH(100), &good), 0);
    size = get_file(content, sizeof(content));
    for (size_t cut = 0; cut < size; cut++) { /* cut anywhere */
        put_file(content, cut);
        assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
        assert_memory_not_equal(&keys, &good, sizeof(keys));
    }
    for (size_t at = 0; at < size; at++) { /* one octet changed anywhere */
        memcpy(damaged, content, size);
        damaged[at] ^= 1;
        put_file(damaged, size);
        assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
        assert_memory_not_equal(&keys, &good, sizeof(keys));
        assert_int_equal(tickets_load(dir, EPOCH(100), &good),
                         0); /* what was written instead is good */
        assert_memory_equal(&keys, &good, sizeof(keys));
    }
    memcpy(damaged, content, size);
    damaged[size] = '\n'; /* something behind it */
    put_file(damaged, size + 1);
    assert_int_equal(tickets_load(dir, EPOCH(100), &keys), 0);
    assert_memory_not_equal(&keys, &good, sizeof(keys));
}

static void what_cannot_be_read_or_written_is_an_error(void **state)
{
    struct ticket_keys keys;

    (void)state;
    assert_int_equal(tickets_load("/nonexistent/gatepost", EPOCH(100), &keys), -ENOENT);
    assert_int_equal(tickets_load("/proc/self", EPOCH(100), &keys),
                     -ENOENT); /* a folder that takes no file */
    assert_int_equal(tickets_load("/etc/passwd", EPOCH(100), &keys), -ENOTDIR);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(tickets_load(dir, EPOCH(100), &keys), -ELOOP);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keys_follow_from_their_predecessor_and_in_no_other_way, start),
        cmocka_unit_test_setup(one_step_shifts_the_keys, start),
        cmocka_unit_test_setup(the_same_epoch_or_a_clock_that_steps_back_changes_nothing, start),
        cmocka_unit_test_setup(the_ratchet_is_hkdf_sha256, start),
        cmocka_unit_test_setup(a_missing_file_is_made_and_read_again, start),
        cmocka_unit_test_setup(two_files_made_are_never_alike, start),
        cmocka_unit_test_setup(loading_later_advances_and_forgets, start),
        cmocka_unit_test_setup(the_replaced_file_is_wiped, start),
        cmocka_unit_test_setup(a_damaged_file_is_replaced, start),
        cmocka_unit_test_setup(what_cannot_be_read_or_written_is_an_error, start),
    };
    int failed;

    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/tickets", dir);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(dir);
    return failed;
}
