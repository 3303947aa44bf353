/* Judges for whom a port is, and how old their TLS may be: `from` and `tls_profile`.
 *
 * Happy path: nothing is said. Old versions and ciphers are for programs that cannot be replaced,
 * in networks that nobody else can reach: `legacy` is refused for all others. */
#include <string.h>

#include "conf/settings_check_internal.h"
#include "conf/settings_form.h"

/* False: something is wrong with the list, and told. */
static bool check_from(const struct check *check, const struct settings_listen *listen)
{
    char network[FORM_NETWORK_SIZE];
    bool good = true;

    for (size_t i = 0; i < listen->from.count; i++) {
        const char *item = listen->from.items[i];

        if (!form_is_network(item))
            LISTEN_ERROR_AT(check, listen, "from", item,
                            "from: %s is no address or network such as 192.0.2.1, 10.0.0.0/8 or "
                            "fd00:1::/32",
                            item);
        else if (form_network_has_host(item, network))
            LISTEN_ERROR_AT(check, listen, "from", item,
                            "from: %s has bits set behind its prefix: the network is %s", item,
                            network);
        else
            continue;
        good = false;
    }
    return good;
}

static void check_legacy(const struct check *check, const struct settings_listen *listen)
{
    if (listen->from.count == 0)
        LISTEN_ERROR(check, listen, "tls_profile",
                     "[listen %s] tls_profile = legacy needs from: the private networks of the "
                     "programs that it is for",
                     listen->name);
    for (size_t i = 0; i < listen->from.count; i++)
        if (!form_network_is_private(listen->from.items[i]))
            LISTEN_ERROR_AT(check, listen, "from", listen->from.items[i],
                            "from: %s is no private network (RFC 1918, RFC 4193, loopback or "
                            "link-local), and tls_profile = legacy is for those only",
                            listen->from.items[i]);
}

static void check_profile(const struct check *check, const struct settings_listen *listen)
{
    static const char *const names[] = { "default", "compatible", "legacy" };
    const struct settings_tls *tls = settings_tls(check->settings, "default");
    const char *name = names[listen->tls_profile];

    if (listen->tls == TLS_RULE_OFF)
        LISTEN_ERROR(check, listen, "tls_profile",
                     "[listen %s] has tls = off: tls_profile has no meaning", listen->name);
    else if (tls && tls->min_version == TLS_VERSION_1_3)
        LISTEN_ERROR(check, listen, "tls_profile",
                     "[listen %s] tls_profile = %s adds what is older than TLS 1.3, and [tls "
                     "default] has min_version = 1.3",
                     listen->name, name);
}

void check_tls_of_listen(const struct check *check, const struct settings_listen *listen)
{
    bool good = check_from(check, listen);

    if (listen->tls_profile != TLS_PROFILE_DEFAULT)
        check_profile(check, listen);
    if (listen->tls_profile == TLS_PROFILE_LEGACY && good)
        check_legacy(check, listen);
}
