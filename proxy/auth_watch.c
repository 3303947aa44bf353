/* Learns from AUTH who logs in. The first answer of a client holds the name, in base64; only the
 * beginning of it is decoded, and wiped at once. What cannot be decoded leaves the name empty. */
#include "proxy/auth_watch.h"

#include "proxy/base/text.h"

#define DECODED_MAX 384 /* octets: room for two long names; what is behind is not looked at */

static uint8_t mechanism_number(struct span mechanism)
{
    if (span_equal_nocase(mechanism, SPAN_LIT("PLAIN")))
        return AUTH_PLAIN;
    if (span_equal_nocase(mechanism, SPAN_LIT("LOGIN")))
        return AUTH_LOGIN;
    if (span_equal_nocase(mechanism, SPAN_LIT("CRAM-MD5")))
        return AUTH_CRAM_MD5;
    return AUTH_OTHER;
}

void auth_watch_begin(struct auth_watch *watch, struct span arguments)
{
    struct span mechanism = span_take_word(&arguments);

    *watch = (struct auth_watch){ .mechanism = mechanism_number(mechanism) };
    if (arguments.size > 0)
        auth_watch_answer(watch, span_trim(arguments));
}

void auth_watch_name(struct auth_watch *watch, struct span name)
{
    name = span_first(name, span_find(name, '\0'));
    name = span_first(name, AUTH_NAME_MAX);
    memset(watch->name, 0, sizeof(watch->name));
    if (name.size > 0)
        memcpy(watch->name, name.data, name.size);
}

void auth_watch_command(struct auth_watch *watch, enum auth_mechanism mechanism)
{
    watch->mechanism = (uint8_t)mechanism;
    watch->answered = true;
}

const char *auth_watch_method(const struct auth_watch *watch)
{
    static const char *const methods[] = {
        [AUTH_OTHER] = "",      [AUTH_PLAIN] = "PLAIN",
        [AUTH_LOGIN] = "LOGIN", [AUTH_CRAM_MD5] = "CRAM-MD5",
        [AUTH_PASS] = "PLAIN",  [AUTH_APOP] = "APOP",
    };

    return methods[watch->mechanism];
}

/* PLAIN: authzid NUL authcid NUL password. The authcid only counts where its end was decoded too.
 */
static struct span plain_name(struct span clear)
{
    clear = span_skip(clear, span_find(clear, '\0') + 1);
    return span_first(clear, span_find(clear, '\0') < clear.size ? span_find(clear, '\0') : 0);
}

/* CRAM-MD5: name SP digest; the name may hold spaces. */
static struct span cram_name(struct span clear)
{
    while (clear.size > 0 && clear.data[clear.size - 1] != ' ')
        clear.size--;
    return span_trim(clear);
}

void auth_watch_answer(struct auth_watch *watch, struct span answer)
{
    unsigned char clear[DECODED_MAX];
    long size;

    /* RFC 4954 section 4, RFC 5034 section 4. No failed login, whatever came before: a password is
     * guessed only where the server judges it, and it does not judge what is cancelled. */
    if (span_equal(answer, SPAN_LIT("*"))) {
        *watch = (struct auth_watch){ 0 };
        return;
    }
    if (watch->answered)
        return;
    watch->answered = true;
    if (watch->mechanism == AUTH_OTHER)
        return;
    size = base64_decode(span_first(answer, DECODED_MAX / 3 * 4), clear, sizeof(clear));
    if (size > 0 && watch->mechanism == AUTH_PLAIN)
        auth_watch_name(watch, plain_name(span_of(clear, (size_t)size)));
    else if (size > 0 && watch->mechanism == AUTH_LOGIN)
        auth_watch_name(watch, span_of(clear, (size_t)size));
    else if (size > 0)
        auth_watch_name(watch, cram_name(span_of(clear, (size_t)size)));
    explicit_bzero(clear, sizeof(clear));
}
