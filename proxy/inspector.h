/* Either of the two inspectors behind one name, chosen by the protocol of the port. */
#ifndef GATEPOST_PROXY_INSPECTOR_H
#define GATEPOST_PROXY_INSPECTOR_H

#include "proxy/inspect_pop3.h"
#include "proxy/inspect_smtp.h"

struct inspector {
    enum port_protocol protocol;
    bool open; /* it was initialised and wants inspector_deinit() */
    union {
        struct inspect_smtp smtp;
        struct inspect_pop3 pop3;
    } as;
};

#define INSPECTOR_DISPATCH(inspector, call, ...)                                                   \
    ((inspector)->protocol == PROTOCOL_SMTP                                                        \
         ? inspect_smtp_##call(&(inspector)->as.smtp __VA_ARGS__)                                  \
         : inspect_pop3_##call(&(inspector)->as.pop3 __VA_ARGS__))

static inline int inspector_init(struct inspector *inspector, const struct inspect_start *start)
{
    int r;

    inspector->protocol = start->rule->protocol;
    r = INSPECTOR_DISPATCH(inspector, init, , start);
    inspector->open = r >= 0;
    return r;
}

static inline void inspector_deinit(struct inspector *inspector)
{
    if (!inspector->open)
        return;
    if (inspector->protocol == PROTOCOL_SMTP)
        inspect_smtp_deinit(&inspector->as.smtp);
    else
        inspect_pop3_deinit(&inspector->as.pop3);
    inspector->open = false;
}

static inline int inspector_client(struct inspector *inspector, struct span *in,
                                   struct span *ret_piece)
{
    return INSPECTOR_DISPATCH(inspector, client, , in, ret_piece);
}

static inline int inspector_server(struct inspector *inspector, struct span *in,
                                   struct span *ret_piece)
{
    return INSPECTOR_DISPATCH(inspector, server, , in, ret_piece);
}

static inline enum inspect_phase inspector_phase(const struct inspector *inspector)
{
    return INSPECTOR_DISPATCH(inspector, phase, );
}

static inline enum inspect_end inspector_client_end(const struct inspector *inspector)
{
    return INSPECTOR_DISPATCH(inspector, client_end, );
}

static inline bool inspector_quiet(const struct inspector *inspector)
{
    return INSPECTOR_DISPATCH(inspector, quiet, );
}

/* May the next line be a login? In SMTP none is allowed inside a transaction (RFC 4954 section 4).
 */
static inline bool inspector_login_may_come(const struct inspector *inspector)
{
    if (inspector->protocol == PROTOCOL_SMTP)
        return !inspector->as.smtp.authenticated && !inspector->as.smtp.in_transaction;
    return !inspector->as.pop3.logged_in;
}

/* Must buffers be wiped? Also before a login: what TLS decrypts must be wiped before it is seen. */
static inline bool inspector_secret(const struct inspector *inspector)
{
    return inspector_login_may_come(inspector) || INSPECTOR_DISPATCH(inspector, secret, );
}

/* Has a part of a reply gone to the client whose end has not come? Then nothing else can be said.
 */
static inline bool inspector_in_reply(const struct inspector *inspector)
{
    if (inspector->protocol == PROTOCOL_SMTP)
        return inspector->as.smtp.code != 0;
    return inspector->as.pop3.in_body;
}

/* From now on until a login has succeeded, a hello and a login are INSPECT_HAND_BACK: whoever logs
 * in may belong to another server. */
static inline void inspector_hand_back_logins(struct inspector *inspector)
{
    if (inspector->protocol == PROTOCOL_SMTP)
        inspector->as.smtp.hands_back = true;
    else
        inspector->as.pop3.hands_back = true;
}

/* Who logs in, or tried to, and how: by the latest login. */
static inline const struct auth_watch *inspector_auth(const struct inspector *inspector)
{
    return inspector->protocol == PROTOCOL_SMTP ? &inspector->as.smtp.auth
                                                : &inspector->as.pop3.auth;
}

static inline const struct inspect_facts *inspector_facts(const struct inspector *inspector)
{
    return INSPECTOR_DISPATCH(inspector, facts, );
}

#endif
