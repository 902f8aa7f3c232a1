/* What the carried-over tests of sockets, transports, streams and servers share.
 *
 *     NET_TEST(name) { ... return None; }   a coroutine under the real clock. When its loop has closed no object may be left
 *                                           over and no descriptor open; nothing may have been reported that the test did
 *                                           not take with reports_taken().
 *
 * The peers here know nothing of asyncio: plain threads on blocking sockets. They end when they are told to.
 */
#ifndef CPYTHON_IO_H
#define CPYTHON_IO_H

#include "cpython.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

__attribute__((unused)) static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 4096; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

async_def(with_reports_, (Coroutine *) body)
{
    Loop *loop = asyncio_get_running_loop();
    reports_begin(loop);
    await(body);
    for (int i = 0; i < 3; i++) await(asyncio_sleep(0));
    ck_assert_msg(reported.count == 0, "reported: %s: %s", reported.message, as_str(repr(report_exception())));
    reports_end(loop);
    return None;
}

__attribute__((unused)) static void reports_taken(int count)
{
    ck_assert_int_eq(reported.count, count);
    reported.count = 0;
}

/* Runs the coroutine that the call makes; nothing of it may be left. */
#define RUN_ON_NET_(call) do { \
        size_t before_ = asyncio_live_objects(); \
        int descriptors_ = open_descriptors(); \
        scope { asyncio_run(with_reports_(call)); notes_forget_(); } \
        ck_assert_msg(asyncio_live_objects() == before_, "%ld objects left over", (long)(asyncio_live_objects() - before_)); \
        ck_assert_int_eq(open_descriptors(), descriptors_); } while (0)

#define NET_TEST(name) \
    async_decl(name##_body_on_net_); \
    TEST(name) { RUN_ON_NET_(name##_body_on_net_()); } \
    async_def(name##_body_on_net_)

/* Suspends until the condition holds: one pass of the loop after the other, which a socket's readiness may need. */
#define pass_until(condition) do { while (!(condition)) scope { await(asyncio_sleep(0)); } } while (0)

/* ---- Plain sockets ---------------------------------------------------------------------------------------------- */

__attribute__((unused)) static int port_of_fd(int fd)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&storage, &length), 0);
    return ntohs(storage.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&storage)->sin6_port : ((struct sockaddr_in *)&storage)->sin_port);
}

__attribute__((unused)) static Value address_of_fd(int fd) { return tuple("127.0.0.1", port_of_fd(fd)); }

/* Bound to a free port of 127.0.0.1, in blocking mode. */
__attribute__((unused)) static int bound_socket(int type)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

__attribute__((unused)) static int listening_socket(int backlog)
{
    int fd = bound_socket(SOCK_STREAM);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

__attribute__((unused)) static int tcp_socket(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

/* A blocking socket, connected to a port of 127.0.0.1: the system accepts on behalf of who listens. */
__attribute__((unused)) static int connected_socket(int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = tcp_socket();
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

/* The next close() of it resets the connection. */
__attribute__((unused)) static void reset_on_close(int fd)
{
    struct linger hard = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
}

__attribute__((unused)) static int server_port(Server *server) { return port_of_fd((int)as_int(list_get(list_get(server_sockets(server), 0), 0))); }

/* A directory for a unix socket, and the socket's path in it. */
typedef struct SocketPath { char directory[32], path[64]; } SocketPath;

__attribute__((unused)) static const char *socket_path_new(SocketPath *p)
{
    strcpy(p->directory, "/tmp/asyncio-test-XXXXXX");
    ck_assert(mkdtemp(p->directory));
    snprintf(p->path, sizeof p->path, "%s/socket", p->directory);
    return p->path;
}

__attribute__((unused)) static void socket_path_end(SocketPath *p)
{
    unlink(p->path);
    ck_assert_int_eq(rmdir(p->directory), 0);
}

__attribute__((unused)) static int unix_socket_at(const char *path, bool listens)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    if (listens) ck_assert_int_eq(listen(fd, 10), 0);
    return fd;
}

/* ---- Peers in a thread ------------------------------------------------------------------------------------------ */

typedef struct Peer { pthread_t thread; int listener, port; void (*serve)(int fd); SocketPath at; bool is_unix; } Peer;

__attribute__((unused)) static void *peer_run_(void *memory)
{
    Peer *peer = memory;
    for (int fd; (fd = accept(peer->listener, NULL, NULL)) >= 0; close(fd)) peer->serve(fd);
    return NULL;
}

__attribute__((unused)) static int peer_start(Peer *peer, void (*serve)(int fd))
{
    *peer = (Peer){.listener = listening_socket(10), .serve = serve};
    peer->port = port_of_fd(peer->listener);
    ck_assert_int_eq(pthread_create(&peer->thread, NULL, peer_run_, peer), 0);
    return peer->port;
}

__attribute__((unused)) static const char *peer_start_unix(Peer *peer, void (*serve)(int fd))
{
    *peer = (Peer){.serve = serve, .is_unix = true};
    peer->listener = unix_socket_at(socket_path_new(&peer->at), true);
    ck_assert_int_eq(pthread_create(&peer->thread, NULL, peer_run_, peer), 0);
    return peer->at.path;
}

__attribute__((unused)) static void peer_stop(Peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    if (peer->is_unix) socket_path_end(&peer->at);
}

__attribute__((unused)) static bool send_text(int fd, const char *text, size_t size)
{
    for (ssize_t n; size; text += n, size -= (size_t)n) if ((n = send(fd, text, size, MSG_NOSIGNAL)) <= 0) return false;
    return true;
}

/* test_utils.run_test_server(): one request and its answer; what is posted comes back. */
__attribute__((unused)) static void serve_http(int fd)
{
    static __thread char block[65536];
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-type: text/plain\r\n\r\nTest message";
    size_t size = 0;
    char *end = NULL;
    while (!end) {
        ssize_t n = recv(fd, block + size, sizeof block - 1 - size, 0);
        if (n <= 0) return;
        block[size += (size_t)n] = 0;
        end = strstr(block, "\r\n\r\n");
    }
    if (strncmp(block, "POST", 4)) { send_text(fd, answer, sizeof answer - 1); return; }
    long left = atol(strstr(block, "Content-Length: ") + 16);
    if (!send_text(fd, answer, (size_t)(strstr(answer, "\r\n\r\n") + 4 - answer))) return;
    size_t rest = size - (size_t)(end + 4 - block);
    if (!send_text(fd, end + 4, rest)) return;
    left -= (long)rest;
    for (ssize_t n; left > 0 && (n = recv(fd, block, sizeof block, 0)) > 0 && send_text(fd, block, (size_t)n); ) left -= n;
}

#endif
