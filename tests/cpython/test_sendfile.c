/* CPython's test_sendfile: loop.sock_sendfile() and loop.sendfile(). */
#include "cpython_system.h"
#include "cpython_sendfile.h"

NET_TEST(SockSendfileMixin__test_sock_sendfile_success)
{
    Sending s = sending_begin();
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file)), "1114113");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    ck_position(s.file, FILE_SIZE);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_with_offset_and_count)
{
    Sending s = sending_begin();
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file, 1000, 2000)), "2000");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 2000);
    ck_assert(!memcmp(arrived, file_data() + 1000, 2000));
    ck_position(s.file, 3000);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_zero_size)
{
    Sending s = sending_begin();
    ck_assert_int_eq(ftruncate(s.file, 0), 0);
    ck_repr(await(loop_sock_sendfile(asyncio_get_running_loop(), s.fd, s.file)), "0");
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, 0);
    ck_position(s.file, 0);
    close(s.file);
    return None;
}

NET_TEST(SockSendfileMixin__test_sock_sendfile_mix_with_regular_send)
{
    static char mixed[65536];
    Loop *loop = asyncio_get_running_loop();
    Sending s = sending_begin();
    for (size_t i = 0; i < sizeof mixed; i++) mixed[i] = "mix_regular_send"[i % 16];
    Value around = bytes(mixed, sizeof mixed);
    await(loop_sock_sendall(loop, s.fd, around));
    ck_repr(await(loop_sock_sendfile(loop, s.fd, s.file)), "1114113");
    await(loop_sock_sendall(loop, s.fd, around));
    sending_end(&s);
    ck_assert_uint_eq(arrived_size, FILE_SIZE + 2 * sizeof mixed);
    ck_assert(!memcmp(arrived, mixed, sizeof mixed));
    ck_assert(!memcmp(arrived + sizeof mixed, file_data(), FILE_SIZE));
    ck_assert(!memcmp(arrived + sizeof mixed + FILE_SIZE, mixed, sizeof mixed));
    ck_position(s.file, FILE_SIZE);
    close(s.file);
    return None;
}

/* ---- SendfileMixin ------------------------------------------------------------------------------------------------- */

/* A transport with small buffers to a server that keeps what arrives, and may close after so much of it. */
static struct { Transport *transport; size_t close_after; } server_side;

static void server_made(Value self, Transport *transport) { (void)self; server_side.transport = transport; }

static void keeps_until(Value self, const char *data, size_t size)
{
    keeps(self, data, size);
    if (server_side.close_after && arrived_size >= server_side.close_after) transport_close(server_side.transport);
}

static void server_lost(Value self, Value e) { (void)e; future_set_result(as_future(self), None); }
static const Protocol keeps_and_closes = {.connection_made = server_made, .data_received = keeps_until, .connection_lost = server_lost};

typedef struct Delivery { Transport *transport; int file; Server *server; Future *lost; } Delivery;

static Delivery delivery_begin(size_t close_after)
{
    int small = SMALL_BUFFER, fd = tcp_socket(), listener = bound_socket(SOCK_STREAM);
    Loop *loop = asyncio_get_running_loop();
    Delivery d = {.file = file_with_data(), .lost = loop_create_future(loop)};
    server_side.close_after = close_after;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    d.server = as_server(await(loop_create_server(loop, &keeps_and_closes, d.lost, NULL, None, .sock = listener)));
    await(loop_sock_connect(loop, fd, address_of_fd(listener)));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    d.transport = transport_in(await(loop_create_connection(loop, &wire_protocol, None, NULL, None, .sock = fd)));
    return d;
}

static void delivery_end(Delivery *d)
{
    transport_close(d->transport);
    await(d->lost);
    server_close(d->server);
    await(server_wait_closed(d->server));
    passes(3);
    close(d->file);
}

static int socket_of(Delivery *d) { return (int)as_int(transport_get_extra_info(d->transport, "socket")); }

#define DELIVERY_TEST(name, close_after) \
    static void name##_with_(Loop *loop, Delivery *d); \
    NET_TEST(name) { \
        Delivery delivery_ = delivery_begin(close_after); \
        name##_with_(asyncio_get_running_loop(), &delivery_); \
        delivery_end(&delivery_); \
        return None; } \
    static void name##_with_(Loop *loop, Delivery *d)

static void ck_delivered(Delivery *d)
{
    transport_close(d->transport);
    await(d->lost);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    ck_position(d->file, FILE_SIZE);
}

NET_TEST(SendfileMixin__test_sendfile_not_supported)
{
    Loop *loop = asyncio_get_running_loop();
    int file = file_with_data();
    Transport *transport = transport_in(await(loop_create_datagram_endpoint(loop, &wire_protocol, None, .family = AF_INET)));
    Value wanted = format("sendfile is not supported for transport %s", as_str(repr(transport)));
    ck_raises_text(RuntimeError, as_str(wanted), await(loop_sendfile(loop, transport, file)));
    ck_position(file, 0);
    transport_close(transport);
    passes(2);
    close(file);
    return None;
}

DELIVERY_TEST(SendfileMixin__test_sendfile, 0)
{
    ck_repr(await(loop_sendfile(loop, d->transport, d->file)), "1114113");
    ck_delivered(d);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_force_fallback, 0)
{
    system_answers(SENDFILE, socket_of(d), -ENOSYS);
    ck_repr(await(loop_sendfile(loop, d->transport, d->file)), "1114113");
    ck_assert_int_eq(system_calls(SENDFILE), 1);
    ck_delivered(d);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_force_unsupported_native, 0)
{
    system_answers(SENDFILE, socket_of(d), -ENOSYS);
    ck_raises(SendfileNotAvailableError, await(loop_sendfile(loop, d->transport, d->file, .fallback = false)));
    ck_position(d->file, 0);
    transport_close(d->transport);
    await(d->lost);
    ck_assert_uint_eq(arrived_size, 0);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_for_closing_transp, 0)
{
    transport_close(d->transport);
    ck_raises_text(RuntimeError, "Transport is closing", await(loop_sendfile(loop, d->transport, d->file)));
    await(d->lost);
    ck_assert_uint_eq(arrived_size, 0);
    ck_position(d->file, 0);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_pre_and_post_data, 0)
{
    static char prefix[8192], suffix[8192];
    for (size_t i = 0; i < sizeof prefix; i++) prefix[i] = "PREFIX__"[i % 8], suffix[i] = "--SUFFIX"[i % 8];
    transport_write(d->transport, prefix, sizeof prefix);
    ck_repr(await(loop_sendfile(loop, d->transport, d->file)), "1114113");
    transport_write(d->transport, suffix, sizeof suffix);
    transport_close(d->transport);
    await(d->lost);
    ck_assert_uint_eq(arrived_size, sizeof prefix + FILE_SIZE + sizeof suffix);
    ck_assert(!memcmp(arrived, prefix, sizeof prefix));
    ck_assert(!memcmp(arrived + sizeof prefix, file_data(), FILE_SIZE));
    ck_assert(!memcmp(arrived + sizeof prefix + FILE_SIZE, suffix, sizeof suffix));
    ck_position(d->file, FILE_SIZE);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_partial, 0)
{
    ck_repr(await(loop_sendfile(loop, d->transport, d->file, 1000, 100)), "100");
    transport_close(d->transport);
    await(d->lost);
    ck_assert_uint_eq(arrived_size, 100);
    ck_assert(!memcmp(arrived, file_data() + 1000, 100));
    ck_position(d->file, 1100);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_close_peer_after_receiving, FILE_SIZE)
{
    ck_repr(await(loop_sendfile(loop, d->transport, d->file)), "1114113");
    ck_delivered(d);
}

static void ck_cut_off(Delivery *d)
{
    await(d->lost);
    ck_assert(arrived_size >= 1024 && arrived_size < FILE_SIZE);
    off_t at = lseek(d->file, 0, SEEK_CUR);
    ck_assert(at >= 1024 && at < FILE_SIZE);
    pass_until(transport_is_closing(d->transport));
}

DELIVERY_TEST(SendfileMixin__test_sendfile_close_peer_in_the_middle_of_receiving, 1024)
{
    ck_raises(ConnectionError, await(loop_sendfile(loop, d->transport, d->file)));
    ck_cut_off(d);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_fallback_close_peer_in_the_middle_of_receiving, 1024)
{
    system_answers(SENDFILE, socket_of(d), -ENOSYS);
    ck_raises(ConnectionError, await(loop_sendfile(loop, d->transport, d->file)));
    ck_cut_off(d);
}

DELIVERY_TEST(SendfileMixin__test_sendfile_prevents_bare_write, 0)
{
    Task *task = asyncio_create_task(loop_sendfile(loop, d->transport, d->file));
    passes(1);
    ck_raises_text(RuntimeError, "unable to write; sendfile is in progress", transport_write(d->transport, "data", 4));
    ck_raises_text(RuntimeError, "unable to writelines; sendfile is in progress", transport_writelines(d->transport, list(bytes("data", 4))));
    ck_raises_text(RuntimeError, "sendfile is in progress already", await(loop_sendfile(loop, d->transport, d->file)));
    ck_repr(await(task), "1114113");
    transport_write(d->transport, "", 0);
    ck_delivered(d);
}

/* ---- Not in CPython's file ----------------------------------------------------------------------------------------- */

/* Whoever waits for room in the socket is told that the connection is lost, and what arrives is read again afterwards. */
DELIVERY_TEST(a_transport_ended_while_it_sends_a_file, 0)
{
    Task *task = asyncio_create_task(loop_sendfile(loop, d->transport, d->file));
    passes(2);
    transport_abort(d->transport);
    ck_raises_text(ConnectionError, "Connection is closed by peer", await(task));
    ck_assert(transport_is_closing(d->transport));
}

DELIVERY_TEST(a_cancelled_sendfile_leaves_the_transport_as_it_was, 0)
{
    Task *task = asyncio_create_task(loop_sendfile(loop, d->transport, d->file));
    passes(2);
    ck_assert(!transport_is_reading(d->transport));
    task_cancel(task);
    ck_raises(CancelledError, await(task));
    ck_assert(transport_is_reading(d->transport));
    transport_write(d->transport, "after all", 9);
    transport_close(d->transport);
    await(d->lost);
    off_t at = lseek(d->file, 0, SEEK_CUR);
    ck_assert_uint_eq(arrived_size, (size_t)at + 9);
    ck_assert(!memcmp(arrived + at, "after all", 9));
}
