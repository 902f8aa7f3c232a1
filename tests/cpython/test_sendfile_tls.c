/* CPython's test_sendfile: loop.sendfile() over TLS, which has to read the file. */
#include "cpython_sendfile.h"
#include "../tls.h"
#include <sys/ioctl.h>

static size_t close_after;
static void (*leave)(Transport *) = transport_close;
static Transport *receiving;

static void receiver_made(Value self, Transport *transport) { (void)self; receiving = transport; }

static void receives(Value self, const char *data, size_t size)
{
    keeps(self, data, size);
    if (close_after && arrived_size >= close_after) leave(receiving);
}

typedef struct Wrapped { Server *server; Future *lost, *ended; Transport *transport; int file; } Wrapped;

static Wrapped prepare_sendfile(size_t until)
{
    static const Protocol receiver = {.connection_made = receiver_made, .data_received = receives, .connection_lost = keeper_lost};
    static const Protocol sender = {.connection_lost = keeper_lost};
    Loop *loop = asyncio_get_running_loop();
    close_after = until;
    Wrapped w = {.lost = loop_create_future(loop), .ended = loop_create_future(loop), .file = file_with_data()};
    w.server = as_server(await(loop_create_server(loop, &receiver, w.lost, "127.0.0.1", 0, .ssl = V(simple_server_context()))));
    Value pair = await(loop_create_connection(loop, &sender, w.ended, "127.0.0.1", server_port(w.server), .ssl = V(simple_client_context())));
    w.transport = as_transport(list_get(pair, 0));
    int small = SMALL_BUFFER;    /* so that the kernel cannot take the whole file */
    ck_assert_int_eq(setsockopt((int)as_int(transport_get_extra_info(w.transport, "socket")), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    return w;
}

static void end_sendfile(Wrapped *w)
{
    transport_close(w->transport);
    await(w->lost);
    await(w->ended);
    close(w->file);
    end_server(w->server);
}

NET_TEST(SendfileMixin__test_sendfile_ssl)
{
    Wrapped w = prepare_sendfile(0);
    ck_repr(await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file)), "1114113");
    ck_position(w.file, FILE_SIZE);
    end_sendfile(&w);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    return None;
}

NET_TEST(SendfileMixin__test_sendfile_ssl_pre_and_post_data)
{
    enum { AROUND = 8192 };
    Wrapped w = prepare_sendfile(0);
    Value before = letters('b', AROUND), after = letters('a', AROUND);
    transport_write(w.transport, as_bytes(before, NULL), AROUND);
    ck_repr(await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file)), "1114113");
    transport_write(w.transport, as_bytes(after, NULL), AROUND);
    ck_position(w.file, FILE_SIZE);
    end_sendfile(&w);
    ck_assert_uint_eq(arrived_size, FILE_SIZE + 2 * AROUND);
    ck_assert(only_letters(bytes(arrived, AROUND), 'b', AROUND));
    ck_assert(!memcmp(arrived + AROUND, file_data(), FILE_SIZE));
    ck_assert(only_letters(bytes(arrived + AROUND + FILE_SIZE, AROUND), 'a', AROUND));
    return None;
}

NET_TEST(SendfileMixin__test_sendfile_ssl_partial)
{
    Wrapped w = prepare_sendfile(0);
    ck_repr(await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file, 1000, 100)), "100");
    ck_position(w.file, 1100);
    end_sendfile(&w);
    ck_assert_uint_eq(arrived_size, 100);
    ck_assert(!memcmp(arrived, file_data() + 1000, 100));
    return None;
}

NET_TEST(SendfileMixin__test_sendfile_ssl_close_peer_after_receiving)
{
    Wrapped w = prepare_sendfile(FILE_SIZE);
    ck_repr(await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file)), "1114113");
    ck_position(w.file, FILE_SIZE);
    end_sendfile(&w);
    ck_assert_uint_eq(arrived_size, FILE_SIZE);
    ck_assert(!memcmp(arrived, file_data(), FILE_SIZE));
    return None;
}

/* Not CPython's: the receiver breaks off in the middle. He goes while something has come that he has not read: then the
 * sender's system says that the connection was reset. To one who has read all, it would only look like an end. */

static void abort_unread(Value v)
{
    int unread = 0;
    Transport *transport = as_transport(v);
    ck_assert_int_eq(ioctl((int)as_int(transport_get_extra_info(transport, "socket")), FIONREAD, &unread), 0);
    if (unread) transport_abort(transport);
    else loop_call_soon(asyncio_get_running_loop(), abort_unread, .arg = v);
}

static void leave_in_the_middle(Transport *transport)
{
    transport_pause_reading(transport);
    abort_unread(V(transport));
}

NET_TEST(the_peer_leaves_in_the_middle)
{
    leave = leave_in_the_middle;
    Wrapped w = prepare_sendfile(1024);
    ck_raises(ConnectionError, await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file)));
    end_sendfile(&w);
    ck_assert_uint_lt(arrived_size, FILE_SIZE);
    return None;
}

NET_TEST(no_native_sendfile)
{
    Wrapped w = prepare_sendfile(0);
    ck_raises(RuntimeError, await(loop_sendfile(asyncio_get_running_loop(), w.transport, w.file, .fallback = false)));
    end_sendfile(&w);
    ck_assert_uint_eq(arrived_size, 0);
    return None;
}
