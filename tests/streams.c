/* Streams: the reader by itself, then readers and writers over unix sockets and loopback. */
#include "testing.h"
#include <sys/socket.h>
#include <unistd.h>

static StreamReader *fed(const char *text, bool at_end)
{
    StreamReader *reader = asyncio_StreamReader();
    streamreader_feed_data(reader, text, strlen(text));
    if (at_end) streamreader_feed_eof(reader);
    return reader;
}

async_def(feed_later, (StreamReader *) reader, (const char *) text, (bool) at_end)
{
    streamreader_feed_data(reader, text, strlen(text));
    if (at_end) streamreader_feed_eof(reader);
    return None;
}

/* ---- The reader -------------------------------------------------------------------------------------------------- */

ASYNC_TEST(read_gives_what_is_there_and_then_nothing)
{
    StreamReader *reader = fed("abc", true);
    ck_repr(await(streamreader_read(reader, 2)), "b'ab'");
    ck_repr(await(streamreader_read(reader, 0)), "b''");
    ck_repr(await(streamreader_read(reader, 9)), "b'c'");
    ck_repr(await(streamreader_read(reader)), "b''");
    ck_assert(streamreader_at_eof(reader));
    return None;
}

ASYNC_TEST(read_to_the_end_waits_for_the_end)
{
    StreamReader *reader = fed("one ", false);
    asyncio_create_task(feed_later(reader, "two", true));
    ck_repr(await(streamreader_read(reader)), "b'one two'");
    return None;
}

ASYNC_TEST(readline_joins_chunks_and_keeps_the_newline)
{
    StreamReader *reader = fed("chunk1 ", false);
    asyncio_create_task(feed_later(reader, "chunk2\nrest", true));
    ck_repr(await(streamreader_readline(reader)), "b'chunk1 chunk2\\n'");
    ck_repr(await(streamreader_readline(reader)), "b'rest'");
    ck_repr(await(streamreader_readline(reader)), "b''");
    return None;
}

ASYNC_TEST(readline_over_the_limit_is_a_value_error_and_drops_the_line)
{
    StreamReader *reader = asyncio_StreamReader(.limit = 3);
    streamreader_feed_data(reader, "li", 2);
    streamreader_feed_data(reader, "ne1\nline2\n", 10);
    ck_raises_text(ValueError, "Separator is found, but chunk is longer than limit", await(streamreader_readline(reader)));
    ck_raises(ValueError, await(streamreader_readline(reader)));
    StreamReader *endless = asyncio_StreamReader(.limit = 3);
    streamreader_feed_data(endless, "chunk", 5);
    ck_raises_text(ValueError, "Separator is not found, and chunk exceed the limit", await(streamreader_readline(endless)));
    streamreader_feed_data(endless, "a\n", 2);
    ck_repr(await(streamreader_readline(endless)), "b'a\\n'");
    return None;
}

ASYNC_TEST(readuntil_finds_separators_across_chunks)
{
    StreamReader *reader = fed("lineA", false);
    asyncio_create_task(feed_later(reader, "Btail", true));
    ck_repr(await(streamreader_readuntil(reader, "AB")), "b'lineAB'");
    ck_raises_text(IncompleteReadError, "4 bytes read on a total of undefined expected bytes", await(streamreader_readuntil(reader, "AB")));
    ck_raises(ValueError, await(streamreader_readuntil(reader, "")));
    return None;
}

ASYNC_TEST(of_several_separators_the_earliest_end_wins)
{
    StreamReader *reader = fed("some data |tail;more", true);
    Value separators = tuple(bytes(";", 1), bytes("|", 1));
    ck_repr(await(streamreader_readuntil(reader, separators)), "b'some data |'");
    ck_repr(await(streamreader_readuntil(reader, separators)), "b'tail;'");
    ck_raises(ValueError, await(streamreader_readuntil(reader, tuple())));
    return None;
}

ASYNC_TEST(readuntil_over_the_limit_leaves_the_buffer_as_it_is)
{
    StreamReader *reader = asyncio_StreamReader(.limit = 3);
    streamreader_feed_data(reader, "some dataAA", 11);
    try {
        await(streamreader_readuntil(reader, "AA"));
        ck_abort_msg("no LimitOverrunError");
    } except (LimitOverrunError, e) {
        ck_repr(exception_details(e), "(9,)");
    } end_try
    streamreader_feed_eof(reader);
    ck_repr(await(streamreader_read(reader)), "b'some dataAA'");
    return None;
}

ASYNC_TEST(readexactly_tells_what_it_got)
{
    StreamReader *reader = fed("12345678", true);
    ck_repr(await(streamreader_readexactly(reader, 5)), "b'12345'");
    try {
        await(streamreader_readexactly(reader, 5));
        ck_abort_msg("no IncompleteReadError");
    } except (IncompleteReadError, e) {
        ck_repr(exception_details(e), "(b'678', 5)");
        ck_repr(str(e), "'3 bytes read on a total of 5 expected bytes'");
    } end_try
    ck_raises(ValueError, await(streamreader_readexactly(reader, -1)));
    ck_repr(await(streamreader_readexactly(reader, 0)), "b''");
    return None;
}

ASYNC_TEST(only_one_may_read_at_a_time)
{
    StreamReader *reader = asyncio_StreamReader();
    Task *first = asyncio_create_task(streamreader_read(reader, 1));
    await(asyncio_sleep(0));
    ck_raises_text(RuntimeError, "read() called while another coroutine is already waiting for incoming data", await(streamreader_read(reader, 1)));
    streamreader_feed_data(reader, "x", 1);
    ck_repr(await(first), "b'x'");
    return None;
}

ASYNC_TEST(an_exception_that_is_set_reaches_who_waits_and_who_comes_later)
{
    StreamReader *reader = asyncio_StreamReader();
    Task *waiting = asyncio_create_task(streamreader_readline(reader));
    await(asyncio_sleep(0));
    streamreader_set_exception(reader, exception_new(ConnectionResetError, "gone"));
    ck_raises_text(ConnectionResetError, "gone", await(waiting));
    ck_raises_text(ConnectionResetError, "gone", await(streamreader_read(reader, 1)));
    return None;
}

ASYNC_TEST(a_cancelled_read_can_be_repeated)
{
    StreamReader *reader = asyncio_StreamReader();
    ck_raises(TimeoutError, await(asyncio_wait_for(streamreader_readline(reader), 1)));
    streamreader_feed_data(reader, "x\n", 2);
    ck_repr(await(streamreader_readline(reader)), "b'x\\n'");
    return None;
}

ASYNC_TEST(async_for_reads_lines)
{
    async_for (line, fed("a\nb\nc", true)) note(line);
    ck_notes("b'a\\n'|b'b\\n'|b'c'");
    return None;
}

ASYNC_TEST(a_limit_must_be_positive)
{
    ck_raises_text(ValueError, "Limit cannot be <= 0", asyncio_StreamReader(.limit = 0));
    ck_raises(ValueError, await(asyncio_open_connection("127.0.0.1", 1, .limit = -1)));
    return None;
}

/* ---- Connections --------------------------------------------------------------------------------------------------- */

static int port_of(Server *server) { return (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1)); }

async_def(echo, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (line, reader) {
        streamwriter_write(writer, line);
        await(streamwriter_drain(writer));
    }
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(talk, (int) port, (int) times)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    for (int i = 0; i < times; i++) scope {
        Value line = format("line %d\n", i);
        streamwriter_write(writer, line);
        ck_assert_str_eq(as_bytes(await(streamreader_readline(reader)), NULL), as_str(line));
    }
    streamwriter_write_eof(writer);
    ck_repr(await(streamreader_read(reader)), "b''");
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return V(times);
}

IO_TEST(fifty_clients_talk_to_an_echo_server)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    Value talks = list();
    for (int i = 0; i < 50; i++) list_append(talks, talk(port_of(server), 20));
    Value results = await(asyncio_gather_list(talks));
    ck_assert_int_eq(len(results), 50);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(unix_sockets_are_streams_too)
{
    char path[] = "/tmp/asyncio-test-XXXXXX";
    ck_assert(mkdtemp(path));
    Value socket_path = format("%s/socket", path);
    async_with (server, as_server(await(asyncio_start_unix_server(echo, as_str(socket_path))))) {
        ck_assert(server_is_serving(server));
        Value both = await(asyncio_open_unix_connection(as_str(socket_path)));
        StreamWriter *writer = as_streamwriter(list_get(both, 1));
        streamwriter_writelines(writer, list(bytes("a", 1), bytes("b\n", 2)));
        ck_repr(await(streamreader_readline(as_streamreader(list_get(both, 0)))), "b'ab\\n'");
        streamwriter_close(writer);
    } end_with
    ck_assert_int_eq(access(as_str(socket_path), F_OK), -1);   /* the file goes with the server */
    ck_assert_int_eq(rmdir(path), 0);
    return None;
}

async_def(flood, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)reader;
    static char block[100000];
    for (int i = 0; i < 20; i++) scope {
        streamwriter_write(writer, bytes(block, sizeof block));
        await(streamwriter_drain(writer));
        ck_assert_uint_le(transport_get_write_buffer_size(streamwriter_transport(writer)), 65536 + sizeof block);
    }
    note("flooded");
    streamwriter_close(writer);
    return None;
}

IO_TEST(drain_waits_for_a_slow_reader_and_nothing_is_lost)
{
    Server *server = as_server(await(asyncio_start_server(flood, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server), .limit = 1000));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    await(asyncio_sleep(0.01));
    int total = 0;
    forever {
        Value data = await(streamreader_read(reader, 10000));
        if (!len(data)) break;
        total += len(data);
    }
    ck_assert_int_eq(total, 2000000);
    ck_notes("flooded");
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

async_def(fails, (StreamReader *) reader, (StreamWriter *) writer) { (void)reader; (void)writer; throw(ValueError, "handler"); return None; }
static void note_report(Loop *loop, const ExceptionReport *report) { (void)loop; note(report->message, report->exception); }

IO_TEST(what_a_handler_raises_is_reported_and_closes_the_connection)
{
    loop_set_exception_handler(asyncio_get_running_loop(), note_report);
    Server *server = as_server(await(asyncio_start_server(fails, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    ck_repr(await(streamreader_read(as_streamreader(list_get(both, 0)))), "b''");
    ck_notes("Unhandled exception in client_connected_cb handler");
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

async_def(waits, (StreamReader *) reader, (StreamWriter *) writer)
{
    await(streamreader_read(reader));
    note("client gone");
    streamwriter_close(writer);
    return None;
}

IO_TEST(wait_closed_waits_for_the_connections)
{
    Server *server = as_server(await(asyncio_start_server(waits, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    await(asyncio_sleep(0.01));
    server_close(server);
    ck_assert(!server_is_serving(server));
    ck_raises(TimeoutError, await(asyncio_wait_for(server_wait_closed(server), 0.01)));
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    await(server_wait_closed(server));
    ck_notes("client gone");
    return None;
}

IO_TEST(close_clients_ends_them)
{
    Server *server = as_server(await(asyncio_start_server(waits, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    await(asyncio_sleep(0.01));
    server_close(server);
    server_close_clients(server);
    await(server_wait_closed(server));
    ck_repr(await(streamreader_read(as_streamreader(list_get(both, 0)))), "b''");
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    return None;
}

IO_TEST(serve_forever_closes_the_server_when_cancelled)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0, .start_serving = false)));
    ck_assert(!server_is_serving(server));
    Task *serving = asyncio_create_task(server_serve_forever(server));
    await(asyncio_sleep(0));
    ck_assert(server_is_serving(server));
    ck_raises(RuntimeError, await(server_serve_forever(server)));
    task_cancel(serving);
    ck_raises(CancelledError, await(serving));
    ck_assert(!server_is_serving(server));
    ck_repr(server_sockets(server), "()");
    ck_raises(RuntimeError, await(server_serve_forever(server)));
    ck_raises(RuntimeError, await(server_start_serving(server)));
    return None;
}

async_def(resets, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)reader;
    int fd = (int)as_int(streamwriter_get_extra_info(writer, "socket"));
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    transport_abort(streamwriter_transport(writer));
    return None;
}

IO_TEST(a_reset_is_connection_reset_error)
{
    Server *server = as_server(await(asyncio_start_server(resets, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    ck_raises(ConnectionResetError, await(streamreader_read(as_streamreader(list_get(both, 0)))));
    ck_raises(ConnectionResetError, await(streamwriter_drain(writer)));
    streamwriter_write(writer, "lost");                  /* after the loss writes are ignored */
    streamwriter_close(writer);
    ck_raises(ConnectionResetError, await(streamwriter_wait_closed(writer)));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(extra_info_names_both_ends)
{
    Server *server = as_server(await(asyncio_start_server(waits, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    ck_repr(list_get(streamwriter_get_extra_info(writer, "peername"), 1), as_str(repr(V(port_of(server)))));
    ck_repr(streamwriter_get_extra_info(writer, "nothing", V("default")), "'default'");
    streamwriter_close(writer);
    ck_assert(streamwriter_is_closing(writer));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(write_after_write_eof_is_refused)
{
    Server *server = as_server(await(asyncio_start_server(waits, "127.0.0.1", 0)));
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    ck_assert(streamwriter_can_write_eof(writer));
    streamwriter_write_eof(writer);
    ck_raises_text(RuntimeError, "Cannot call write() after write_eof()", streamwriter_write(writer, "x"));
    ck_raises(TypeError, streamwriter_write(writer, 5));
    streamwriter_close(writer);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(options_that_exclude_each_other_are_refused)
{
    ck_raises(ValueError, await(asyncio_open_connection(NULL, None)));
    ck_raises(ValueError, await(asyncio_open_connection("127.0.0.1", 80, .sock = 5)));
    ck_raises(ValueError, await(asyncio_start_server(echo, NULL, None)));
    ck_raises(ValueError, await(asyncio_open_unix_connection(NULL)));
    ck_raises(TypeError, await(asyncio_start_server(NULL, "127.0.0.1", 0)));
    ck_raises(FileNotFoundError, await(asyncio_open_unix_connection("/nonexistent/socket")));
    return None;
}

IO_TEST(a_port_that_is_taken_is_named)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    Value wanted = format("[Errno 98] error while attempting to bind on address ('127.0.0.1', %d): [errno 98] address already in use", port_of(server));
    ck_raises_text(OSError, as_str(wanted), await(asyncio_start_server(echo, "127.0.0.1", port_of(server))));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(happy_eyeballs_tries_the_next_address)
{
    Server *server = as_server(await(asyncio_start_server(echo, "127.0.0.1", 0)));
    ck_repr(await(talk(port_of(server), 3)), "3");
    Value both = await(asyncio_open_connection("localhost", port_of(server), .happy_eyeballs_delay = 0.01));
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* ---- A handler that forgets its writer ---------------------------------------------------------------------------- */

async_def(forgets, (StreamReader *) reader, (StreamWriter *) writer)
{
    streamwriter_write(writer, await(streamreader_readline(reader)));
    note("forgotten");
    return None;
}

static Value kept;
async_def(keeps, (StreamReader *) reader, (StreamWriter *) writer)
{
    list_append(kept, writer);
    await(streamreader_readline(reader));
    note("kept");
    return None;
}

static StreamWriter *client_of(Server *server)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port_of(server)));
    streamwriter_write(as_streamwriter(list_get(both, 1)), "line\n");
    return as_streamwriter(list_get(both, 1));
}

/* The connection outlives its handler, as long as the client does. */
IO_TEST(a_forgotten_connection_goes_with_its_client)
{
    Server *server = as_server(await(asyncio_start_server(forgets, "127.0.0.1", 0)));
    StreamWriter *client = client_of(server);
    while (!notes_[0]) await(asyncio_sleep(0));
    server_close(server);
    Task *waiting = asyncio_create_task(server_wait_closed(server));
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    ck_notes("forgotten");
    ck_assert(!task_done(waiting));
    streamwriter_close(client);
    await(waiting);
    return None;
}

/* The client goes while the handler still works. */
async_def(forgets_later, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)writer;
    await(streamreader_read(reader));
    for (int i = 0; i < 5; i++) await(asyncio_sleep(0));
    note("forgotten");
    return None;
}

IO_TEST(a_forgotten_connection_whose_client_went_first)
{
    Server *server = as_server(await(asyncio_start_server(forgets_later, "127.0.0.1", 0)));
    streamwriter_close(client_of(server));
    while (!notes_[0]) await(asyncio_sleep(0));
    ck_notes("forgotten");
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

IO_TEST(a_writer_that_is_kept_stays_open)
{
    kept = list();
    Server *server = as_server(await(asyncio_start_server(keeps, "127.0.0.1", 0)));
    StreamWriter *client = client_of(server);
    streamwriter_write_eof(client);
    while (!notes_[0]) await(asyncio_sleep(0));
    for (int i = 0; i < 10; i++) await(asyncio_sleep(0));
    ck_notes("kept");
    StreamWriter *writer = as_streamwriter(list_get(kept, 0));
    ck_assert(!streamwriter_is_closing(writer));
    streamwriter_close(writer);
    streamwriter_close(client);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* As the transport's: in one piece, and nothing if one of them cannot be written. */
IO_TEST(writelines_writes_all_or_nothing)
{
    int ends[2];
    char got[8] = "";
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    StreamWriter *writer = as_streamwriter(list_get(await(asyncio_open_connection(NULL, None, .sock = ends[0])), 1));
    ck_raises_text(TypeError, "data argument must be bytes or str, not int", streamwriter_writelines(writer, list("a", bytes("b", 1), 3)));
    ck_assert_int_eq(recv(ends[1], got, sizeof got, MSG_DONTWAIT), -1);
    streamwriter_writelines(writer, list("a", bytes("b\0c", 3)));
    ck_assert_int_eq(recv(ends[1], got, sizeof got, MSG_DONTWAIT), 4);
    ck_assert_int_eq(memcmp(got, "ab\0c", 4), 0);
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    close(ends[1]);
    return None;
}
