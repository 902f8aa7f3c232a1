/* CPython's test_server. */
#include "cpython_io.h"

/* ---- serve_forever() -------------------------------------------------------------------------------------------- */

static Task *main_task;

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    await(streamreader_readline(reader));
    task_cancel(main_task);
    streamwriter_write(writer, "1");
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(forever_main, (Server *) server)
{
    async_with (server) {
        await(server_serve_forever(server));
    } end_with
    return None;
}

async_def(started_main, (Server *) server, (Event *) started)
{
    async_with (server) {
        ck_assert(!server_is_serving(server));
        await(server_start_serving(server));
        ck_assert(server_is_serving(server));
        event_set(started);
        await(server_serve_forever(server));
    } end_with
    return None;
}

async_def(send_and_take, (Coroutine *) opening)
{
    static char hello[5 * 1024 + 1];
    memset(hello, '1', sizeof hello - 1);
    hello[sizeof hello - 1] = '\n';
    Value both = await(opening);
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_write(writer, bytes(hello, sizeof hello));
    ck_repr(await(streamreader_readexactly(as_streamreader(list_get(both, 0)), 1)), "b'1'");
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

static void check_stopped(Server *server)
{
    ck_assert_int_eq(len(server_sockets(server)), 0);
    ck_assert(!server_is_serving(server));
    try {
        await(server_serve_forever(server));
        ck_abort_msg("it serves again");
    } except (RuntimeError, e) {
        ck_contains(as_str(str(e)), "is closed");
    } end_try
}

NET_TEST(BaseStartServer__test_start_server_1)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0, .start_serving = false)));
    ck_assert(!server_is_serving(server));
    int port = server_port(server);
    main_task = asyncio_create_task(forever_main(server));
    pass_until(server_is_serving(server));
    await(send_and_take(asyncio_open_connection("127.0.0.1", port)));
    ck_raises(CancelledError, await(main_task));
    check_stopped(server);
    return None;
}

NET_TEST(SelectorStartServerTests__test_start_unix_server_1)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Event *started = asyncio_Event();
    Server *server = as_server(await(asyncio_start_unix_server(serve, path, .start_serving = false)));
    main_task = asyncio_create_task(started_main(server, started));
    await(event_wait(started));
    await(send_and_take(asyncio_open_unix_connection(path)));
    ck_raises(CancelledError, await(main_task));
    check_stopped(server);
    socket_path_end(&at);
    return None;
}

/* ---- wait_closed() ---------------------------------------------------------------------------------------------- */

static Future *accepted;

async_def(reads_to_the_end, (StreamReader *) reader, (StreamWriter *) writer)
{
    if (!future_done(accepted)) future_set_result(accepted, writer);
    try {
        await(streamreader_read(reader));
    } finally {
        streamwriter_close(writer);
        await(streamwriter_wait_closed(writer));
    } end_try
    return None;
}

static Server *reading_server(void)
{
    accepted = loop_create_future(asyncio_get_running_loop());
    return as_server(await(asyncio_start_server(reads_to_the_end, "127.0.0.1", 0)));
}

/* Connected, and the server's handler runs. */
static StreamWriter *connect_client(Server *server)
{
    StreamWriter *writer = as_streamwriter(list_get(await(asyncio_open_connection("127.0.0.1", server_port(server))), 1));
    await(accepted);
    return writer;
}

NET_TEST(TestServer2__test_wait_closed_basic)
{
    Server *server = reading_server();
    Task *task1 = asyncio_create_task(server_wait_closed(server));    /* no connection, not closed: waits */
    await(asyncio_sleep(0));
    ck_assert(!task_done(task1));

    StreamWriter *writer = connect_client(server);                    /* a connection, not closed: waits */
    Task *task2 = asyncio_create_task(server_wait_closed(server));
    await(asyncio_sleep(0));
    ck_assert(!task_done(task1) && !task_done(task2));

    server_close(server);
    await(asyncio_sleep(0));
    Task *task3 = asyncio_create_task(server_wait_closed(server));    /* a connection, closed: waits */
    await(asyncio_sleep(0));
    ck_assert(!task_done(task1) && !task_done(task2) && !task_done(task3));

    streamwriter_close(writer);                                       /* no connection, closed */
    await(streamwriter_wait_closed(writer));
    await(task1);
    await(task2);
    await(task3);
    await(server_wait_closed(server));
    return None;
}

static void close_server(Value v) { server_close(as_server(v)); }
static void close_writer(Value v) { streamwriter_close(as_streamwriter(v)); }

NET_TEST(TestServer2__test_wait_closed_race)
{
    Server *server = reading_server();
    Task *waiting = asyncio_create_task(server_wait_closed(server));
    await(asyncio_sleep(0));
    ck_assert(!task_done(waiting));
    StreamWriter *writer = connect_client(server);
    loop_call_soon(asyncio_get_running_loop(), close_server, .arg = V(server));
    loop_call_soon(asyncio_get_running_loop(), close_writer, .arg = V(writer));
    await(server_wait_closed(server));
    await(waiting);
    return None;
}

NET_TEST(TestServer2__test_close_clients)
{
    Server *server = reading_server();
    StreamWriter *writer = connect_client(server);
    Task *waiting = asyncio_create_task(server_wait_closed(server));
    await(asyncio_sleep(0));
    ck_assert(!task_done(waiting));
    server_close(server);
    server_close_clients(server);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(task_done(waiting));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(waits_for_its_end, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)reader;
    future_set_result(accepted, writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

NET_TEST(TestServer2__test_abort_clients)
{
    static char block[65536];
    int size = sizeof block;
    accepted = loop_create_future(asyncio_get_running_loop());
    Server *server = as_server(await(asyncio_start_server(waits_for_its_end, "127.0.0.1", 0)));
    StreamWriter *client = as_streamwriter(list_get(await(asyncio_open_connection("127.0.0.1", server_port(server), .limit = 4096)), 1));
    StreamWriter *writer = as_streamwriter(await(accepted));
    setsockopt((int)as_int(streamwriter_get_extra_info(writer, "socket")), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt((int)as_int(streamwriter_get_extra_info(client, "socket")), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);

    streamwriter_write(writer, bytes(block, 3 * 4096));               /* more than twice its limit: the reader pauses */
    pass_until(!transport_is_reading(streamwriter_transport(client)));
    while (!transport_get_write_buffer_size(streamwriter_transport(writer))) scope { streamwriter_write(writer, bytes(block, sizeof block)); }

    Task *waiting = asyncio_create_task(server_wait_closed(server));
    await(asyncio_sleep(0));
    ck_assert(!task_done(waiting));
    server_close(server);
    server_abort_clients(server);
    await(asyncio_sleep(0));
    await(asyncio_sleep(0));
    ck_assert(task_done(waiting));
    streamwriter_close(client);
    return None;
}

/* ---- The file of a unix socket ---------------------------------------------------------------------------------- */

async_def(serves_nothing, (StreamReader *) reader, (StreamWriter *) writer) { (void)reader; (void)writer; return None; }

NET_TEST(UnixServerCleanupTests__test_unix_server_addr_cleanup)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Server *server = as_server(await(asyncio_start_unix_server(serves_nothing, path)));
    ck_assert_int_eq(access(path, F_OK), 0);
    server_close(server);
    ck_assert_int_eq(access(path, F_OK), -1);
    socket_path_end(&at);
    return None;
}

NET_TEST(UnixServerCleanupTests__test_unix_server_sock_cleanup)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Server *server = as_server(await(asyncio_start_unix_server(serves_nothing, NULL, .sock = unix_socket_at(path, false))));
    server_close(server);
    ck_assert_int_eq(access(path, F_OK), -1);
    socket_path_end(&at);
    return None;
}

NET_TEST(UnixServerCleanupTests__test_unix_server_cleanup_gone)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Server *server = as_server(await(asyncio_start_unix_server(serves_nothing, NULL, .sock = unix_socket_at(path, false))));
    ck_assert_int_eq(unlink(path), 0);
    server_close(server);
    socket_path_end(&at);
    return None;
}

NET_TEST(UnixServerCleanupTests__test_unix_server_cleanup_replaced)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Server *server = as_server(await(asyncio_start_unix_server(serves_nothing, path)));
    ck_assert_int_eq(unlink(path), 0);
    int other = unix_socket_at(path, false);
    server_close(server);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(other);
    socket_path_end(&at);
    return None;
}

NET_TEST(UnixServerCleanupTests__test_unix_server_cleanup_prevented)
{
    SocketPath at;
    const char *path = socket_path_new(&at);
    Server *server = as_server(await(asyncio_start_unix_server(serves_nothing, path, .cleanup_socket = false)));
    server_close(server);
    ck_assert_int_eq(access(path, F_OK), 0);
    socket_path_end(&at);
    return None;
}
