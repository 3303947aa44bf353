/* The ratchet of ticket keys and its state file.
 *
 * The file, STATE_DIR/tickets, is text: "gatepost tickets 1\n" and two lines "EPOCH HEX\n", for
 * K_{n-1} and K_n. Happy path: read, advance to the epoch of the clock, write anew if that changed
 * anything. Failures: a missing file is made, one that does not parse or whose K_n does not follow
 * from K_{n-1} is replaced after a log line; one that cannot be read or written is an error:
 * silently made keys would stop nodes and restarts from sharing tickets. */
#include "proxy/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

#define FILE_NAME     "tickets"
#define FILE_NAME_NEW "tickets.new"
#define FILE_HEAD     SPAN_LIT("gatepost tickets 1\n")
#define FILE_SIZE_MAX 256

/* --- the ratchet --- */

/* HKDF with SHA-256 (RFC 5869), no salt. 0 or -ENOMEM: nothing else can fail. */
static int hkdf(EVP_KDF_CTX *context, const uint8_t *secret, const char *info, uint8_t *into,
                size_t size)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret,
                                          TICKET_KEY_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info,
                                          strlen(info)),
        OSSL_PARAM_construct_end(),
    };

    EVP_KDF_CTX_reset(context);
    if (EVP_KDF_derive(context, into, size, parameters) == 1)
        return 0;
    ERR_clear_error();
    return -ENOMEM;
}

static EVP_KDF_CTX *hkdf_new(void)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;

    EVP_KDF_free(kdf);
    if (!context)
        ERR_clear_error();
    return context;
}

static int next_key(EVP_KDF_CTX *context, const struct ticket_key *key, struct ticket_key *ret_next)
{
    ret_next->epoch = key->epoch + 1;
    return hkdf(context, key->secret, "gatepost ticket", ret_next->secret,
                sizeof(ret_next->secret));
}

int ticket_material_derive(const struct ticket_key *key, struct ticket_material *ret_material)
{
    uint8_t octets[16 + 32 + 32];
    EVP_KDF_CTX *context = hkdf_new();
    int status = context ? hkdf(context, key->secret, "gatepost ticket use", octets, sizeof(octets))
                         : -ENOMEM;

    EVP_KDF_CTX_free(context);
    if (status < 0)
        return status;
    memcpy(ret_material->name, octets, 16);
    memcpy(ret_material->cipher_key, octets + 16, 32);
    memcpy(ret_material->mac_key, octets + 48, 32);
    ret_material->ready = true;
    explicit_bzero(octets, sizeof(octets));
    return 0;
}

static uint64_t epoch_of(int64_t now_s)
{
    return now_s > 0 ? (uint64_t)now_s / TICKET_EPOCH_SECONDS : 0;
}

bool tickets_advance(struct ticket_keys *keys, int64_t now_s)
{
    struct ticket_keys ahead = *keys;
    bool changed = keys->keys[1].epoch < epoch_of(now_s);
    EVP_KDF_CTX *context = changed ? hkdf_new() : NULL;

    while (context && changed && ahead.keys[1].epoch < epoch_of(now_s)) {
        ahead.keys[0] = ahead.keys[1];
        ahead.keys[1] = ahead.keys[2];
        changed = next_key(context, &ahead.keys[1], &ahead.keys[2]) == 0;
    }
    changed = changed && context;
    if (changed)
        *keys = ahead;
    EVP_KDF_CTX_free(context);
    explicit_bzero(&ahead, sizeof(ahead));
    return changed;
}

/* Fills in K_n and K_{n+1} from K_{n-1}. 0 or -ENOMEM. */
static int follow_previous(struct ticket_keys *keys)
{
    EVP_KDF_CTX *context = hkdf_new();
    int status = context ? next_key(context, &keys->keys[0], &keys->keys[1]) : -ENOMEM;

    if (status == 0)
        status = next_key(context, &keys->keys[1], &keys->keys[2]);
    EVP_KDF_CTX_free(context);
    return status;
}

static int make_random(int64_t now_s, struct ticket_keys *ret_keys)
{
    uint64_t epoch = epoch_of(now_s);

    if (getrandom(ret_keys->keys[0].secret, TICKET_KEY_BYTES, 0) != TICKET_KEY_BYTES)
        return -EIO;
    ret_keys->keys[0].epoch = epoch > 0 ? epoch - 1 : 0;
    return follow_previous(ret_keys);
}

/* --- the file --- */

static int hex_value(unsigned char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

/* Takes one line "EPOCH HEX\n" off *rest. */
static bool parse_key(struct span *rest, struct ticket_key *ret_key)
{
    struct span line = span_first(*rest, span_find(*rest, '\n'));
    size_t space = span_find(line, ' ');
    struct span hex = span_skip(line, space + 1);

    if (line.size == rest->size || hex.size != (size_t)2 * TICKET_KEY_BYTES)
        return false;
    if (!span_parse_u64(span_first(line, space), &ret_key->epoch))
        return false;
    for (size_t i = 0; i < TICKET_KEY_BYTES; i++) {
        int high = hex_value(hex.data[2 * i]), low = hex_value(hex.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret_key->secret[i] = (uint8_t)(high << 4 | low);
    }
    *rest = span_skip(*rest, line.size + 1);
    return true;
}

/* 0, -EBADMSG for a damaged file, -ENOMEM. */
static int parse(struct span content, struct ticket_keys *ret_keys)
{
    struct span head = FILE_HEAD, rest = span_skip(content, head.size);
    struct ticket_key written;
    int status = -EBADMSG;

    if (span_equal(span_first(content, head.size), head) && parse_key(&rest, &ret_keys->keys[0]) &&
        parse_key(&rest, &written) && rest.size == 0) {
        status = follow_previous(ret_keys);
        if (status == 0 &&
            (written.epoch != ret_keys->keys[1].epoch ||
             memcmp(written.secret, ret_keys->keys[1].secret, TICKET_KEY_BYTES) != 0))
            status = -EBADMSG;
    }
    explicit_bzero(&written, sizeof(written));
    return status;
}

static int read_state(int dir, struct ticket_keys *ret_keys)
{
    unsigned char content[FILE_SIZE_MAX];
    int fd = openat(dir, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), status;
    ssize_t size;

    if (fd < 0)
        return -errno;
    size = read(fd, content, sizeof(content));
    status = size < 0 ? -errno : parse(span_of(content, (size_t)size), ret_keys);
    close(fd);
    explicit_bzero(content, sizeof(content));
    return status;
}

static void print_key(struct text *into, const struct ticket_key *key)
{
    text_printf(into, "%" PRIu64 " ", key->epoch);
    for (size_t i = 0; i < TICKET_KEY_BYTES; i++)
        text_printf(into, "%02x", key->secret[i]);
    text_puts(into, "\n");
}

static int write_new(int dir, const struct ticket_keys *keys)
{
    char room[FILE_SIZE_MAX];
    struct text content = TEXT_OVER(room);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir, FILE_NAME_NEW, flags, 0600), status = 0;
    ssize_t written;

    if (fd < 0)
        return -errno;
    text_put(&content, FILE_HEAD);
    print_key(&content, &keys->keys[0]);
    print_key(&content, &keys->keys[1]);
    written = write(fd, content.data, content.size);
    if (written >= 0 && (size_t)written < content.size)
        status = -ENOSPC; /* no other reason for a short write to a regular file */
    else if (written < 0 || fchmod(fd, 0600) < 0 || fsync(fd) < 0)
        status = -errno;
    close(fd);
    explicit_bzero(room, sizeof(room));
    return status;
}

/* The replaced file's octets: older keys shall be nowhere. As good as the file system allows. */
static void wipe_old(int fd)
{
    static const unsigned char zeros[FILE_SIZE_MAX];

    if (fd < 0)
        return;
    if (pwrite(fd, zeros, sizeof(zeros), 0) < 0 || fsync(fd) < 0)
        log_line(LOG_LEVEL_WARNING, "the old ticket keys could not be wiped on disk");
    close(fd);
}

static int write_state(int dir, const struct ticket_keys *keys)
{
    int old = openat(dir, FILE_NAME, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), status;

    status = write_new(dir, keys);
    if (status == 0 && renameat(dir, FILE_NAME_NEW, dir, FILE_NAME) < 0)
        status = -errno;
    if (status < 0) {
        unlinkat(dir, FILE_NAME_NEW, 0);
        if (old >= 0)
            close(old);
        return status;
    }
    if (fsync(dir) < 0)
        status = -errno;
    wipe_old(old);
    return status;
}

static int load(int dir, int64_t now_s, struct ticket_keys *ret_keys)
{
    int status = read_state(dir, ret_keys);
    bool changed;

    if (status != 0 && status != -ENOENT && status != -EBADMSG)
        return status;
    changed = status != 0;
    if (status == -EBADMSG)
        log_line(LOG_LEVEL_WARNING, "the file of TLS ticket keys is damaged and made anew");
    if (status != 0)
        status = make_random(now_s, ret_keys);
    if (status < 0)
        return status;
    changed |= tickets_advance(ret_keys, now_s);
    return changed ? write_state(dir, ret_keys) : 0;
}

int tickets_load(const char *state_dir, int64_t now_s, struct ticket_keys *ret_keys)
{
    struct ticket_keys keys = { 0 };
    int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;

    if (dir < 0)
        return -errno;
    status = load(dir, now_s, &keys);
    close(dir);
    if (status == 0)
        *ret_keys = keys;
    explicit_bzero(&keys, sizeof(keys));
    return status;
}
