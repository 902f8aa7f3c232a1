/* A file on its way to a server that keeps what arrives: for test_sendfile and test_base_events_io. */
#ifndef CPYTHON_SENDFILE_H
#define CPYTHON_SENDFILE_H

#include "cpython_io.h"

enum { FILE_SIZE = 1024 * 17 * 64 + 1, SMALL_BUFFER = 4096 };

typedef struct Sending { int fd, file; Server *server; Future *lost; } Sending;

static char arrived[2 * FILE_SIZE];
static size_t arrived_size;

static void keeps(Value self, const char *data, size_t size)
{
    (void)self;
    ck_assert_uint_le(arrived_size + size, sizeof arrived);
    memcpy(arrived + arrived_size, data, size);
    arrived_size += size;
}

static void keeper_lost(Value self, Value e) { (void)e; future_set_result(as_future(self), None); }
static const Protocol keeper = {.data_received = keeps, .connection_lost = keeper_lost};

static const char *file_data(void)
{
    static char data[FILE_SIZE];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)('a' + i % 23);
    return data;
}

static int file_with_data(void)
{
    char path[] = "/tmp/asyncio-test-XXXXXX";
    int fd = mkstemp(path);
    ck_assert(fd >= 0);
    unlink(path);
    ck_assert_int_eq(write(fd, file_data(), FILE_SIZE), FILE_SIZE);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* A socket with small buffers, connected to the server. */
__attribute__((unused)) static Sending sending_begin(void)
{
    int small = SMALL_BUFFER;
    Loop *loop = asyncio_get_running_loop();
    Sending s = {.fd = tcp_socket(), .file = file_with_data(), .lost = loop_create_future(loop)};
    int listener = bound_socket(SOCK_STREAM);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    s.server = as_server(await(loop_create_server(loop, &keeper, s.lost, NULL, None, .sock = listener)));
    await(loop_sock_connect(loop, s.fd, address_of_fd(listener)));
    setsockopt(s.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    return s;
}

/* Closes the socket, and waits until the server has all that was sent. */
__attribute__((unused)) static void sending_end(Sending *s)
{
    close(s->fd);
    await(s->lost);
    server_close(s->server);
    await(server_wait_closed(s->server));
}

#define ck_position(file, at) ck_assert_int_eq(lseek(file, 0, SEEK_CUR), at)

#endif
