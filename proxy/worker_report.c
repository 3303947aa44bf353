/* The answers of a worker to the operator's questions, as JSON.
 *
 * Happy path: CHILD_REPORT names a question and brings a file in memory; the answer is written into
 * it in one go (ten thousand sessions take some ten milliseconds), and CHILD_REPORTED says so. What
 * would be too long is left out, and counted. Fails, in the answer, where the question is not
 * understood or no memory is left.
 *
 *   status    { sessions, limit, configuration, lost_log_lines, backends: [ { name, addresses,
 *               in_service } ] }
 *   sessions  { sessions: [ { id, client, ... } ], left_out }
 *   backends  { backends: [ { name, ..., addresses: [ { address, in_service, ... } ] } ] }
 *   kick      { ended: [ id ], later: [ id ] } */
#include "proxy/worker_report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/json_out.h"
#include "proxy/network.h"
#include "proxy/server.h"
#include "proxy/session.h"
#include "proxy/tls.h"

#define SESSION_BYTES_MAX 4096 /* of one session's object; what we write has no more; guessed */

struct report {
    struct server *server;
    struct json_out json;
    const struct child_selection *selection;
    struct network from; /* where selection->from is not empty */
    unsigned number;     /* selection->port as a number; 0: it is none */
};

/* -- which sessions -- */

/* The address in "192.0.2.7:51425" or "[2001:db8::7]:51425". */
static bool peer_address(const char *peer, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *inet = (void *)ret_address;
    struct sockaddr_in6 *inet6 = (void *)ret_address;
    char host[64];
    char *end;

    snprintf(host, sizeof(host), "%s", *peer == '[' ? peer + 1 : peer);
    end = strrchr(host, *peer == '[' ? ']' : ':');
    if (!end)
        return false;
    *end = '\0';
    memset(ret_address, 0, sizeof(*ret_address));
    ret_address->ss_family = *peer == '[' ? AF_INET6 : AF_INET;
    return inet_pton(ret_address->ss_family, host,
                     *peer == '[' ? (void *)&inet6->sin6_addr : (void *)&inet->sin_addr) == 1;
}

/* Who has logged in; "" where nobody has. */
static const char *login_of(const struct session *session)
{
    const char *now = session->inspector.open ? inspector_facts(&session->inspector)->login : "";

    return *now ? now : session->login ? session->login : "";
}

static bool is_meant(const struct report *report, const struct session *session)
{
    const struct child_selection *selection = report->selection;
    struct sockaddr_storage client;

    if (session->state == ST_CLOSED)
        return false;
    if (selection->id[0] && strcmp(selection->id, session->id) != 0)
        return false;
    if (selection->user[0] && strcasecmp(selection->user, login_of(session)) != 0)
        return false;
    if (selection->port[0] && strcmp(selection->port, session->listen->name) != 0 &&
        report->number != settings_listen_port(session->snapshot->settings, session->listen))
        return false;
    return !selection->from[0] ||
           (peer_address(session->peer, &client) && network_contains(&report->from, 1, &client));
}

/* -- one session -- */

static const char *doing_in_relay(const struct session *session)
{
    const struct inspector *inspector = &session->inspector;
    bool smtp = session->rule->protocol == PROTOCOL_SMTP;

    if (stream_waiting(&session->client) > 0)
        return "the client is slow to read";
    if (stream_waiting(&session->backend) > 0)
        return "the server is slow to read";
    if (protocol_is_relayed(session->rule->protocol))
        return "relayed as it is";
    switch (inspector_phase(inspector)) {
    case INSPECT_PHASE_COMMAND:
        return "awaits a command";
    case INSPECT_PHASE_REPLY:
        return !smtp && inspector_in_reply(inspector) ? "gets a message or a list"
                                                      : "awaits the server's reply";
    case INSPECT_PHASE_MESSAGE:
        return smtp && inspector->as.smtp.in_transaction ? "sends a message" : "logs in";
    case INSPECT_PHASE_FINAL:
        return "awaits the server's word on its message";
    }
    return "";
}

static const char *doing(const struct session *session)
{
    switch ((enum session_state)session->state) {
    case ST_PROXY:
        return "awaits the balancer's PROXY header";
    case ST_DETECT:
        return "awaits the first octet";
    case ST_NEGOTIATE:
        return "awaits a command, no server yet";
    case ST_LEARN:
        return "awaits what the server can do";
    case ST_HANDSHAKE:
        return "TLS handshake";
    case ST_CONNECT:
        return session->waiter.in ? "queues for a place at the server" : "connects to the server";
    case ST_RELAY:
        return session->kicked ? "ended by the operator, behind its message"
                               : doing_in_relay(session);
    case ST_DRAIN:
        return "gets its last words";
    case ST_CLOSED:
    case ST_COUNT:
        break;
    }
    return "";
}

static void put_tls(struct json_out *json, const struct session *session)
{
    struct tls_facts tls;

    if (!session->tls_up)
        return;
    tls_facts(&session->client, &tls);
    json_out_text(json, "tls", tls.version);
    json_out_text(json, "cipher", tls.cipher);
    json_out_text(json, "begun_by",
                  !session->tls_by_command                   ? "TLS first"
                  : session->rule->protocol == PROTOCOL_POP3 ? "STLS"
                                                             : "STARTTLS");
    if (tls.sni[0])
        json_out_text(json, "sni", tls.sni);
}

static void put_backend(struct json_out *json, const struct session *session)
{
    char where[ADDRESS_TEXT_MAX];

    if (!session->target || !session->backend_open)
        return;
    json_out_text(json, "backend", session->target->settings->name);
    if (!session->address)
        return;
    address_text(&session->address->to, where);
    json_out_text(json, "server", where);
}

static void put_session(struct json_out *json, const struct session *session)
{
    const struct settings *settings = session->snapshot->settings;
    const char *login = login_of(session);

    json_out_open(json, NULL, '{');
    json_out_text(json, "id", session->id);
    if (*login)
        json_out_text(json, "user", login);
    json_out_text(json, "client", session->peer);
    if (session->origin)
        json_out_text(json, "through", session->origin->through);
    json_out_text(json, "port", session->listen->name);
    json_out_number(json, "number", settings_listen_port(settings, session->listen));
    put_tls(json, session);
    put_backend(json, session);
    json_out_text(json, "state", doing(session));
    json_out_number(json, "age_s", (uv_now(session->server->uv) - session->started_ms) / 1000);
    json_out_number(json, "octets_in", session->client.octets_in);
    json_out_number(json, "octets_out", session->client.octets_out);
    json_out_number(json, "configuration", session->service->number);
    json_out_close(json, '}');
}

static int put_sessions(struct report *report)
{
    struct json_out *json = &report->json;
    size_t left_out = 0;

    json_out_open(json, "sessions", '[');
    for (const struct session *session = report->server->sessions; session;
         session = session->next) {
        if (!is_meant(report, session))
            continue;
        if (ftell(json->out) > CHILD_REPORT_BYTES_MAX - 2 * SESSION_BYTES_MAX)
            left_out++;
        else
            put_session(json, session);
    }
    json_out_close(json, ']');
    json_out_number(json, "left_out", left_out);
    return 0;
}

/* -- ending sessions -- */

static void put_ids(struct json_out *json, const char *key, char (*ids)[24], size_t count)
{
    json_out_open(json, key, '[');
    for (size_t i = 0; i < count; i++)
        json_out_text(json, NULL, ids[i]);
    json_out_close(json, ']');
}

/* Ends those that are meant; ids of those that are over come first, of the others last. */
static int kick(struct report *report)
{
    size_t room = report->server->session_count, ended = 0, later = 0;
    char(*ids)[24] = calloc(room + 1, sizeof(*ids));
    struct session *next;

    if (!ids)
        return -ENOMEM;
    for (struct session *session = report->server->sessions; session; session = next) {
        enum session_kick how;

        next = session->next;
        if (!is_meant(report, session))
            continue;
        how = session_kick(session); /* its memory stays until the loop's next turn */
        if (how == SESSION_GONE)
            continue;
        log_line(LOG_LEVEL_NOTICE, "session %s is ended by the operator", session->id);
        memcpy(ids[how == SESSION_KICKED ? ended++ : room - ++later], session->id, sizeof(*ids));
    }
    put_ids(&report->json, "ended", ids, ended);
    put_ids(&report->json, "later", ids + room - later, later);
    free(ids);
    return 0;
}

/* -- servers -- */

static void put_list(struct json_out *json, const char *key, const struct capabilities *list)
{
    if (!list)
        return;
    json_out_open(json, key, '[');
    for (size_t i = 0; i < list->count; i++) {
        char room[600];
        struct text words = TEXT_OVER(room);

        text_put(&words, list->items[i].keyword);
        if (list->items[i].parameters.size > 0) {
            text_puts(&words, " ");
            text_put(&words, list->items[i].parameters);
        }
        json_out_span(json, NULL, text_span(&words));
    }
    json_out_close(json, ']');
}

static const char *relay_test(const struct backend_address *address)
{
    if (address->known[false].open_relay || address->known[true].open_relay)
        return address->backend->settings->trusts_us ? "relays for anybody, as trusts_us allows"
                                                     : "relays for anybody: it gets no mail";
    return address->known[false].list || address->known[true].list ? "passed" : "not made yet";
}

static uint32_t connections_of(const struct health *health)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < HEALTH_WORKERS_MAX; i++)
        sum += atomic_load(&health->connections[i]);
    return sum;
}

/* For how long it has been as it is; nothing where that never changed. */
static void put_since(struct json_out *json, const struct backend_address *address)
{
    const struct health *health = address->health;
    uint64_t now = uv_now(address->backend->loop->uv);
    uint64_t since = health_in_service(health) ? atomic_load(&health->recovered_ms)
                                               : atomic_load(&health->failed_ms);
    uint64_t retry = atomic_load(&health->retry_ms);

    if (since > 0)
        json_out_number(json, "since_s", now > since ? (now - since) / 1000 : 0);
    if (health_in_service(health))
        return;
    if (address->fault)
        json_out_text(json, "why", address->fault);
    json_out_number(json, "next_try_ms", retry > now ? retry - now : 0);
}

static void put_address(struct json_out *json, const struct backend_address *address)
{
    char where[ADDRESS_TEXT_MAX];
    uint64_t age = uv_now(address->backend->loop->uv) - address->known[true].learned_ms;

    address_text(&address->to, where);
    json_out_open(json, NULL, '{');
    json_out_text(json, "address", where);
    if (address->host[0])
        json_out_text(json, "host", address->host);
    json_out_boolean(json, "in_service", health_in_service(address->health));
    put_since(json, address);
    json_out_number(json, "connections", connections_of(address->health));
    if (address->backend->protocol == PROTOCOL_SMTP)
        json_out_text(json, "relay_test", relay_test(address));
    put_list(json, "clear", address->known[false].list);
    put_list(json, "under_tls", address->known[true].list);
    if (address->known[true].list)
        json_out_number(json, "learned_s", age / 1000);
    json_out_close(json, '}');
}

/* An item of `address` whose name has no address now. */
static void put_unresolved(struct json_out *json, const char *item)
{
    json_out_open(json, NULL, '{');
    json_out_text(json, "address", item);
    json_out_boolean(json, "in_service", false);
    json_out_text(json, "why", "the name has no address now");
    json_out_number(json, "connections", 0);
    json_out_close(json, '}');
}

static bool has_address(const struct backend *backend, size_t number)
{
    return backend->addresses[number].to.to.any.sa_family != 0;
}

static void put_addresses(struct json_out *json, const struct backend *backend)
{
    json_out_open(json, "addresses", '[');
    for (size_t i = 0; i < backend->count; i += ADDRESS_PER_ITEM) {
        bool some = false;

        for (size_t k = i; k < i + ADDRESS_PER_ITEM && k < backend->count; k++) {
            if (!has_address(backend, k))
                continue;
            put_address(json, &backend->addresses[k]);
            some = true;
        }
        if (!some)
            put_unresolved(json, backend->settings->address.items[i / ADDRESS_PER_ITEM]);
    }
    json_out_close(json, ']');
}

static void put_one_backend(struct json_out *json, struct backend *backend)
{
    static const char *const protocols[] = { "smtp", "pop3", "remote", "opaque" };

    json_out_open(json, NULL, '{');
    json_out_text(json, "name", backend->settings->name);
    json_out_text(json, "protocol", protocols[backend->protocol]);
    if (backend->settings->max_connections > 0)
        json_out_number(json, "max_connections", backend->settings->max_connections);
    if (backend->count > ADDRESS_PER_ITEM)
        put_list(json, "offered", backend_offer(backend, true));
    put_addresses(json, backend);
    json_out_close(json, '}');
}

static void put_backend_in_short(struct json_out *json, struct backend *backend)
{
    unsigned addresses = 0, in_service = 0;

    for (size_t i = 0; i < backend->count; i++) {
        addresses += has_address(backend, i);
        in_service += has_address(backend, i) && health_in_service(backend->addresses[i].health);
    }
    json_out_open(json, NULL, '{');
    json_out_text(json, "name", backend->settings->name);
    json_out_number(json, "addresses", addresses);
    json_out_number(json, "in_service", in_service);
    if (backend_shut(backend))
        json_out_boolean(json, "shut", true);
    json_out_close(json, '}');
}

static int put_backends(struct report *report,
                        void (*put)(struct json_out *json, struct backend *backend))
{
    struct service *service = report->server->service;

    json_out_open(&report->json, "backends", '[');
    for (size_t i = 0; i < service->snapshot->settings->backend_count; i++)
        if (service->backends[i].loop)
            put(&report->json, &service->backends[i]);
    json_out_close(&report->json, ']');
    return 0;
}

/* -- the worker -- */

static int put_status(struct report *report)
{
    const struct server *server = report->server;

    json_out_number(&report->json, "sessions", server->session_count);
    json_out_number(&report->json, "limit", server->session_limit);
    json_out_number(&report->json, "configuration", server->service->number);
    json_out_number(&report->json, "lost_log_lines", log_lost_count());
    return put_backends(report, put_backend_in_short);
}

static int put_answer(struct report *report, uint32_t question)
{
    switch ((enum child_question)question) {
    case CHILD_ASK_STATUS:
        return put_status(report);
    case CHILD_ASK_SESSIONS:
        return put_sessions(report);
    case CHILD_ASK_BACKENDS:
        return put_backends(report, put_one_backend);
    case CHILD_ASK_KICK:
        return kick(report);
    }
    return -EPROTO;
}

/* 0 or -errno. */
static int write_answer(struct report *report, uint32_t question, int fd)
{
    int own = dup(fd), r;

    report->json.out = own < 0 ? NULL : fdopen(own, "w");
    if (!report->json.out) {
        r = -errno;
        if (own >= 0)
            close(own);
        return r;
    }
    json_out_open(&report->json, NULL, '{');
    r = put_answer(report, question);
    json_out_close(&report->json, '}');
    if (ferror(report->json.out) && r == 0)
        r = -EIO;
    if (fclose(report->json.out) != 0 && r == 0)
        r = -errno;
    return r;
}

static int read_selection(struct report *report)
{
    const struct child_selection *selection = report->selection;
    uint64_t number = 0;

    if (span_parse_u64(span_of_text(selection->port), &number) && number <= 65535)
        report->number = (unsigned)number;
    return selection->from[0] ? network_parse(selection->from, &report->from) : 0;
}

/* The texts are ours from now on, and end where they must. */
static int take_question(struct span message, struct child_report *ret_about)
{
    struct child_selection *selection = &ret_about->selection;

    if (message.size != sizeof(*ret_about))
        return -EPROTO;
    memcpy(ret_about, message.data, sizeof(*ret_about));
    selection->id[sizeof(selection->id) - 1] = '\0';
    selection->user[sizeof(selection->user) - 1] = '\0';
    selection->port[sizeof(selection->port) - 1] = '\0';
    selection->from[sizeof(selection->from) - 1] = '\0';
    return 0;
}

void worker_report(struct server *server, struct span message, int fd)
{
    struct child_report about = { 0 };
    struct report report = { .server = server, .selection = &about.selection };
    struct child_reported answer = { .type = CHILD_REPORTED };
    int r = take_question(message, &about);

    if (r == 0)
        r = fd < 0 ? -EPROTO : read_selection(&report);
    if (r == 0)
        r = write_answer(&report, about.question, fd);
    answer.number = about.number;
    answer.status = r;
    r = child_send_message(server->child, &answer, sizeof(answer));
    if (r < 0)
        log_line(LOG_LEVEL_WARNING, "the operator's question is not answered: %s", err_text(r));
}
