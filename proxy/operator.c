/* The control socket's clients.
 *
 * Happy path: connected, judged by the kernel's word on who it is, the request comes in one read,
 * is answered (operator_command.c), the answer goes out, the end. Fails, for the client, in words;
 * one that says nothing, says too much, or does not read, is cut off. */
#include "proxy/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/paths.h"
#include "proxy/folders.h"
#include "proxy/operator_private.h"
#include "proxy/supervisor_private.h"

#define GROUPS_MAX 65536 /* of a process: NGROUPS_MAX */
#define BACKLOG    64    /* those that are too many are told so, not kept waiting */

/* -- the socket -- */

static void tell_bind_failure(const struct settings *settings, const char *path, int error)
{
    if (error == -EADDRINUSE)
        log_line(LOG_LEVEL_ERROR,
                 "another gatepost is running: it listens on %s. One of its own needs another "
                 "[gatepost] runtime_dir or control_socket",
                 path);
    else
        log_line(LOG_LEVEL_WARNING, "no control socket %s: %s: gatepostctl cannot be used",
                 *path ? path : settings->gatepost.control_socket,
                 error == -EEXIST ? "it is there and no socket" : err_text(error));
}

/* A supervisor that is not root can give the socket only to a group that it is in. */
static int open_socket(const char *path, const struct privileges *privileges,
                       struct socket_file *ret_socket)
{
    struct socket_access_rule rule = { (uid_t)-1, (gid_t)-1, 0660 };
    int r;

    if (privileges->has_control)
        rule.gid = privileges->control;
    r = socket_file_open(path, &rule, BACKLOG, ret_socket);
    if (r != -EPERM || !privileges->has_control)
        return r;
    log_line(LOG_LEVEL_WARNING,
             "[gatepost] control_group has no effect: not started by root, and not in that group "
             "(under systemd, SupplementaryGroups= gives a group)");
    rule.gid = (gid_t)-1;
    return socket_file_open(path, &rule, BACKLOG, ret_socket);
}

int operator_bind(const struct configuration *configuration, struct socket_file *ret_socket)
{
    const struct settings_gatepost *gatepost = &configuration->settings->gatepost;
    char path[sizeof(ret_socket->path)] = "";
    int r =
        control_socket_path(gatepost->runtime_dir, gatepost->control_socket, path, sizeof(path));

    *ret_socket = (struct socket_file){ .fd = -1 };
    if (r == -ENOENT)
        return 0;
    if (r == 0 && gatepost->control_socket[0] != '/')
        r = folder_make(gatepost->runtime_dir, 0755, NULL);
    if (r == 0)
        r = open_socket(path, &configuration->privileges, ret_socket);
    if (r < 0)
        tell_bind_failure(configuration->settings, path, r);
    return r == -EADDRINUSE ? r : 0;
}

/* -- the end of a client -- */

static void client_gone(uv_handle_t *handle)
{
    struct client *client = handle->data;
    struct operator_desk *desk = client->desk;

    if (--client->handles > 0)
        return;
    TAILQ_REMOVE(&desk->clients, client, link);
    desk->client_count--;
    question_free(&client->question);
    free(client->answer);
    free(client);
    if (desk->closing && desk->client_count == 0)
        free(desk);
}

static void close_client(struct client *client)
{
    if (client->state == CLIENT_CLOSES)
        return;
    client->state = CLIENT_CLOSES;
    uv_close((uv_handle_t *)&client->pipe, client_gone);
    uv_close((uv_handle_t *)&client->timer, client_gone);
}

/* -- answers -- */

static void written(uv_write_t *request, int status)
{
    (void)status;
    close_client(request->data);
}

static void write_overdue(uv_timer_t *timer)
{
    struct client *client = timer->data;
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe);

    if (left == client->left)
        close_client(client);
    client->left = left;
}

static void send_answer(struct client *client)
{
    uv_buf_t buffer = uv_buf_init(client->answer, (unsigned)client->answer_size);

    client->state = CLIENT_WRITES;
    client->write.data = client;
    if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buffer, 1, written) < 0) {
        close_client(client);
        return;
    }
    client->left = uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe);
    uv_timer_start(&client->timer, write_overdue, OPERATOR_PATIENCE_MS, OPERATOR_PATIENCE_MS);
}

bool operator_begin_answer(struct client *client, struct json_out *ret_json)
{
    *ret_json = (struct json_out){ .out = open_memstream(&client->answer, &client->answer_size) };
    if (!ret_json->out) {
        close_client(client);
        return false;
    }
    json_out_open(ret_json, NULL, '{');
    json_out_text(ret_json, "gatepost", child_build());
    return true;
}

void operator_end_answer(struct client *client, struct json_out *json)
{
    json_out_close(json, '}');
    putc('\n', json->out);
    if (fclose(json->out) != 0)
        close_client(client); /* no memory */
    else
        send_answer(client);
}

void operator_refuse(struct client *client, const char *error, const char *words)
{
    struct json_out json;

    if (!operator_begin_answer(client, &json))
        return;
    json_out_text(&json, "error", error);
    json_out_text(&json, "words", words);
    operator_end_answer(client, &json);
}

static void judge(struct client *client, struct span line)
{
    char room[160];
    struct text words = TEXT_OVER(room);
    int r = operator_request_read(line, &client->request, &words);

    if (r < 0)
        operator_refuse(client, "request", r == -ENOMEM ? "no memory" : text_str(&words));
    else if (!client->may_change && !operator_only_looks(&client->request))
        operator_refuse(client, "permission", "only root may do that; control_group may look");
    else
        operator_act(client);
}

/* -- who it is -- */

static bool is_in_group(int fd, const struct ucred *peer, gid_t gid)
{
    socklen_t size = GROUPS_MAX * sizeof(gid_t);
    gid_t *groups;
    bool found = peer->gid == gid;

    if (found)
        return true;
    groups = malloc(size);
    if (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
        for (size_t i = 0; i < size / sizeof(gid_t); i++)
            found = found || groups[i] == gid;
    free(groups);
    return found;
}

/* 0 and what it may do; or -EACCES. */
static int judge_peer(const struct operator_desk *desk, int fd, bool *ret_may_change)
{
    const struct privileges *privileges = &desk->supervisor->current->configuration.privileges;
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    *ret_may_change = peer.uid == 0 || peer.uid == geteuid();
    if (*ret_may_change || (privileges->has_control && is_in_group(fd, &peer, privileges->control)))
        return 0;
    return -EACCES;
}

/* -- requests -- */

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct client *client = handle->data;

    (void)suggested;
    *ret_buffer =
        uv_buf_init(client->room + client->size, (unsigned)(sizeof(client->room) - client->size));
}

/* The end stands for an LF: shutdown is how some programs end what they say. */
static void take_octets(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct client *client = stream->data;
    struct span all, line;

    (void)buffer;
    if (count == 0)
        return;
    if (count < 0 && (count != UV_EOF || client->size == 0)) {
        close_client(client);
        return;
    }
    if (count > 0)
        client->size += (size_t)count;
    all = span_of(client->room, client->size);
    line = span_first(all, span_find(all, '\n'));
    if (count > 0 && line.size == all.size && all.size < sizeof(client->room))
        return;
    uv_read_stop(stream);
    uv_timer_stop(&client->timer);
    if (line.size > OPERATOR_REQUEST_MAX)
        operator_refuse(client, "request", "the request has more than 4096 octets");
    else
        judge(client, line);
}

static void request_overdue(uv_timer_t *timer)
{
    close_client(timer->data);
}

static void begin_client(struct client *client)
{
    uv_os_fd_t fd = -1;

    uv_fileno((uv_handle_t *)&client->pipe, &fd);
    if (judge_peer(client->desk, fd, &client->may_change) < 0) {
        operator_refuse(client, "permission",
                        "only root may do that, and members of control_group may look");
        return;
    }
    if (client->desk->client_count > OPERATOR_CLIENTS_MAX) {
        operator_refuse(client, "busy", "too many ask at once");
        return;
    }
    uv_timer_start(&client->timer, request_overdue, OPERATOR_PATIENCE_MS, 0);
    if (uv_read_start((uv_stream_t *)&client->pipe, give_room, take_octets) < 0)
        close_client(client);
}

/* More than may be are told so; far beyond, they are closed without a word. */
static void connected(uv_stream_t *listening, int status)
{
    struct operator_desk *desk = listening->data;
    struct client *client = status < 0 ? NULL : calloc(1, sizeof(*client));

    if (!client) {
        log_line(LOG_LEVEL_WARNING, "a client of the control socket is not accepted: %s",
                 err_text(status < 0 ? status : -ENOMEM));
        return;
    }
    client->desk = desk;
    client->handles = 2;
    uv_pipe_init(&desk->supervisor->loop, &client->pipe, 0);
    uv_timer_init(&desk->supervisor->loop, &client->timer);
    client->pipe.data = client->timer.data = client;
    TAILQ_INSERT_TAIL(&desk->clients, client, link);
    desk->client_count++;
    if (uv_accept(listening, (uv_stream_t *)&client->pipe) < 0 ||
        desk->client_count > 4 * OPERATOR_CLIENTS_MAX)
        close_client(client);
    else
        begin_client(client);
}

/* -- life -- */

static void free_listener(uv_handle_t *handle)
{
    free(handle);
}

static int open_listener(struct operator_desk *desk, int socket_fd)
{
    int fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    desk->listening = calloc(1, sizeof(*desk->listening));
    if (!desk->listening) {
        close(fd);
        return -ENOMEM;
    }
    uv_pipe_init(&desk->supervisor->loop, desk->listening, 0);
    desk->listening->data = desk;
    r = uv_pipe_open(desk->listening, fd);
    if (r < 0)
        close(fd);
    return r < 0 ? r : uv_listen((uv_stream_t *)desk->listening, BACKLOG, connected);
}

static struct operator_desk *desk_new(struct supervisor *supervisor)
{
    struct operator_desk *desk = calloc(1, sizeof(*desk));

    if (!desk)
        return NULL;
    desk->supervisor = supervisor;
    desk->stats = supervisor->children.stats;
    TAILQ_INIT(&desk->clients);
    return desk;
}

void operator_open(struct supervisor *supervisor)
{
    int r;

    if (supervisor->control_socket.fd < 0)
        return;
    if (!supervisor->desk)
        supervisor->desk = desk_new(supervisor);
    r = supervisor->desk ? open_listener(supervisor->desk, supervisor->control_socket.fd) : -ENOMEM;
    if (r == 0)
        return;
    log_line(LOG_LEVEL_WARNING, "gatepostctl cannot be used: %s", err_text(r));
    operator_close(supervisor);
}

void operator_leave(struct supervisor *supervisor)
{
    struct operator_desk *desk = supervisor->desk;

    if (supervisor->control_socket.fd >= 0)
        socket_file_close(&supervisor->control_socket);
    if (!desk || !desk->listening)
        return;
    uv_close((uv_handle_t *)desk->listening, free_listener);
    desk->listening = NULL;
}

void operator_close(struct supervisor *supervisor)
{
    struct operator_desk *desk = supervisor->desk;
    struct client *client;

    operator_leave(supervisor);
    if (!desk)
        return;
    supervisor->desk = NULL;
    desk->closing = true;
    TAILQ_FOREACH(client, &desk->clients, link)
    close_client(client);
    if (desk->client_count == 0)
        free(desk);
}
