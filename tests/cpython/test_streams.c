/* CPython's test_streams: the reader by itself, then open_connection() and start_server(). */
#include "cpython_io.h"

#define DATA "line1\nline2\nline3\n"

#define feed(reader, text) streamreader_feed_data(reader, text, strlen(text))

static void feed_now(Value v)
{
    StreamReader *reader = as_streamreader(list_get(v, 0));
    for_in (chunk, list_get(v, 1)) feed(reader, as_str(chunk));
    if (as_bool(list_get(v, 2))) streamreader_feed_eof(reader);
}

/* loop.call_soon(cb), cb feeding the chunks and then perhaps the end. */
#define feed_soon(reader, at_end, ...) \
    loop_call_soon(asyncio_get_running_loop(), feed_now, .arg = tuple(reader, list(__VA_ARGS__), at_end))

/* stream._buffer, seen from outside: what read() gives, with a mark behind it so that it never waits; then put back. */
static Value buffered(StreamReader *reader)
{
    volatile bool open = true;
    try { feed(reader, "|"); } except (AssertionError) { open = false; } end_try
    Value data = await(streamreader_read(reader, 1000000));
    if (!open) return data;
    size_t size;
    const char *text = as_bytes(data, &size);
    streamreader_feed_data(reader, text, size - 1);
    return bytes(text, size - 1);
}

#define ck_buffer(reader, text) ck_repr(buffered(reader), text)

/* ---- read() ----------------------------------------------------------------------------------------------------- */

ASYNC_TEST(StreamTests__test_feed_empty_data)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "");
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_feed_nonempty_data)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, DATA);
    ck_buffer(stream, "b'line1\\nline2\\nline3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_read_zero)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, DATA);
    ck_repr(await(streamreader_read(stream, 0)), "b''");
    ck_buffer(stream, "b'line1\\nline2\\nline3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_read)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_read(stream, 30));
    feed_soon(stream, false, DATA);
    ck_repr(await(reading), "b'line1\\nline2\\nline3\\n'");
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_read_line_breaks)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "line1");
    feed(stream, "line2");
    ck_repr(await(streamreader_read(stream, 5)), "b'line1'");
    ck_buffer(stream, "b'line2'");
    return None;
}

ASYNC_TEST(StreamTests__test_read_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_read(stream, 1024));
    feed_soon(stream, true);
    ck_repr(await(reading), "b''");
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_read_until_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_read(stream, -1));
    feed_soon(stream, true, "chunk1\n", "chunk2");
    ck_repr(await(reading), "b'chunk1\\nchunk2'");
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_read_exception)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "line\n");
    ck_repr(await(streamreader_read(stream, 2)), "b'li'");
    streamreader_set_exception(stream, ValueError);
    ck_raises(ValueError, await(streamreader_read(stream, 2)));
    return None;
}

ASYNC_TEST(StreamTests__test_invalid_limit)
{
    ck_raises_text(ValueError, "Limit cannot be <= 0", asyncio_StreamReader(.limit = 0));
    ck_raises_text(ValueError, "Limit cannot be <= 0", asyncio_StreamReader(.limit = -1));
    return None;
}

ASYNC_TEST(StreamTests__test_read_limit)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "chunk");
    ck_repr(await(streamreader_read(stream, 5)), "b'chunk'");
    ck_buffer(stream, "b''");
    return None;
}

/* ---- readline() ------------------------------------------------------------------------------------------------- */

ASYNC_TEST(StreamTests__test_readline)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "chunk1 ");
    Task *reading = asyncio_create_task(streamreader_readline(stream));
    feed_soon(stream, false, "chunk2 ", "chunk3 ", "\n chunk4");
    ck_repr(await(reading), "b'chunk1 chunk2 chunk3 \\n'");
    ck_buffer(stream, "b' chunk4'");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_limit_with_existing_data)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "li");
    feed(stream, "ne1\nline2\n");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b'line2\\n'");

    stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "li");
    feed(stream, "ne1");
    feed(stream, "li");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_at_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    ck_assert(!streamreader_at_eof(stream));
    feed(stream, "some data\n");
    ck_assert(!streamreader_at_eof(stream));
    await(streamreader_readline(stream));
    ck_assert(!streamreader_at_eof(stream));
    feed(stream, "some data\n");
    streamreader_feed_eof(stream);
    await(streamreader_readline(stream));
    ck_assert(streamreader_at_eof(stream));
    return None;
}

ASYNC_TEST(StreamTests__test_readline_limit)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 7);
    feed_soon(stream, true, "chunk1", "chunk2", "chunk3\n");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b''");

    stream = asyncio_StreamReader(.limit = 7);
    feed_soon(stream, true, "chunk1", "chunk2\n", "chunk3\n");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b'chunk3\\n'");

    stream = asyncio_StreamReader(.limit = 7);          /* exactly the limit is allowed */
    feed(stream, "1234567\n");
    ck_repr(await(streamreader_readline(stream)), "b'1234567\\n'");
    ck_buffer(stream, "b''");
    feed(stream, "12345678\n");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b''");
    feed(stream, "12345678");
    ck_raises(ValueError, await(streamreader_readline(stream)));
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_nolimit_nowait)
{
    StreamReader *stream = asyncio_StreamReader();
    streamreader_feed_data(stream, DATA, 6);
    feed(stream, &DATA[6]);
    ck_repr(await(streamreader_readline(stream)), "b'line1\\n'");
    ck_buffer(stream, "b'line2\\nline3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "some data");
    streamreader_feed_eof(stream);
    ck_repr(await(streamreader_readline(stream)), "b'some data'");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_empty_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    streamreader_feed_eof(stream);
    ck_repr(await(streamreader_readline(stream)), "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_read_byte_count)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, DATA);
    await(streamreader_readline(stream));
    ck_repr(await(streamreader_read(stream, 7)), "b'line2\\nl'");
    ck_buffer(stream, "b'ine3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_readline_exception)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "line\n");
    ck_repr(await(streamreader_readline(stream)), "b'line\\n'");
    ck_buffer(stream, "b''");
    streamreader_set_exception(stream, ValueError);
    ck_raises(ValueError, await(streamreader_readline(stream)));
    return None;
}

/* ---- readuntil() ------------------------------------------------------------------------------------------------ */

#define B(text) bytes(text, strlen(text))

ASYNC_TEST(StreamTests__test_readuntil_separator)
{
    StreamReader *stream = asyncio_StreamReader();
    ck_raises_text(ValueError, "Separator should be at least one-byte string", await(streamreader_readuntil(stream, B(""))));
    ck_raises_text(ValueError, "Separator should be at least one-byte string", await(streamreader_readuntil(stream, tuple(B("")))));
    ck_raises_text(ValueError, "Separator should contain at least one element", await(streamreader_readuntil(stream, tuple())));
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_multi_chunks)
{
    StreamReader *stream = asyncio_StreamReader();
    for (int i = 0; i < 2; i++) {
        feed(stream, "lineAAA");
        ck_repr(await(streamreader_readuntil(stream, B("AAA"))), "b'lineAAA'");
        ck_buffer(stream, "b''");
    }
    feed(stream, "lineAAAxxx");
    ck_repr(await(streamreader_readuntil(stream, B("AAA"))), "b'lineAAA'");
    ck_buffer(stream, "b'xxx'");
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_multi_chunks_1)
{
    static const char *const chunks[5][4] = {{"QWEaa", "XYaa", "a"}, {"QWEaa", "XYa", "aa"}, {"aaa"}, {"Xaaa"}, {"XXX", "a", "a", "a"}};
    static const char *const wanted[5] = {"b'QWEaaXYaaa'", "b'QWEaaXYaaa'", "b'aaa'", "b'Xaaa'", "b'XXXaaa'"};
    StreamReader *stream = asyncio_StreamReader();
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 4 && chunks[i][k]; k++) feed(stream, chunks[i][k]);
        ck_repr(await(streamreader_readuntil(stream, B("aaa"))), wanted[i]);
        ck_buffer(stream, "b''");
    }
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "some dataAA");
    streamreader_feed_eof(stream);
    try {
        await(streamreader_readuntil(stream, B("AAA")));
        ck_abort_msg("no IncompleteReadError");
    } except (IncompleteReadError, e) {
        ck_contains(as_str(str(e)), "undefined expected bytes");
        ck_repr(exception_details(e), "(b'some dataAA', None)");
    } end_try
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_limit_found_sep)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "some dataAA");
    ck_raises_text(LimitOverrunError, "Separator is not found, and chunk exceed the limit", await(streamreader_readuntil(stream, B("AAA"))));
    ck_buffer(stream, "b'some dataAA'");
    feed(stream, "A");
    ck_raises_text(LimitOverrunError, "Separator is found, but chunk is longer than limit", await(streamreader_readuntil(stream, B("AAA"))));
    ck_buffer(stream, "b'some dataAAA'");
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_multi_separator)
{
    StreamReader *stream = asyncio_StreamReader();
    Value line_ends = tuple(B("\r"), B("\n"));
    feed(stream, "line 1\nline 2\r");
    ck_repr(await(streamreader_readuntil(stream, line_ends)), "b'line 1\\n'");
    ck_repr(await(streamreader_readuntil(stream, line_ends)), "b'line 2\\r'");
    ck_buffer(stream, "b''");
    feed(stream, "ABCDEFG");                             /* the first end wins, also if its match is the longer one */
    ck_repr(await(streamreader_readuntil(stream, tuple(B("DEF"), B("BCDE")))), "b'ABCDE'");
    ck_buffer(stream, "b'FG'");
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_multi_separator_limit)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "some dataA");
    ck_raises_text(LimitOverrunError, "Separator is found, but chunk is longer than limit",
                   await(streamreader_readuntil(stream, tuple(B("A"), B("ome dataA")))));
    ck_buffer(stream, "b'some dataA'");
    return None;
}

ASYNC_TEST(StreamTests__test_readuntil_multi_separator_negative_offset)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "data");
    Task *reading = asyncio_create_task(streamreader_readuntil(stream, tuple(B("A"), B("long sep"))));
    feed_soon(stream, false, "Z");
    feed_soon(stream, false, "Aaaa");
    ck_repr(await(reading), "b'dataZA'");
    ck_buffer(stream, "b'aaa'");
    return None;
}

/* ---- readexactly() ---------------------------------------------------------------------------------------------- */

ASYNC_TEST(StreamTests__test_readexactly_zero_or_less)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, DATA);
    ck_repr(await(streamreader_readexactly(stream, 0)), "b''");
    ck_buffer(stream, "b'line1\\nline2\\nline3\\n'");
    ck_raises_text(ValueError, "readexactly size can not be less than zero", await(streamreader_readexactly(stream, -1)));
    ck_buffer(stream, "b'line1\\nline2\\nline3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_readexactly)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_readexactly(stream, 2 * (long)strlen(DATA)));
    feed_soon(stream, false, DATA, DATA, DATA);
    ck_repr(await(reading), "b'line1\\nline2\\nline3\\nline1\\nline2\\nline3\\n'");
    ck_buffer(stream, "b'line1\\nline2\\nline3\\n'");
    return None;
}

ASYNC_TEST(StreamTests__test_readexactly_limit)
{
    StreamReader *stream = asyncio_StreamReader(.limit = 3);
    feed(stream, "chunk");
    ck_repr(await(streamreader_readexactly(stream, 5)), "b'chunk'");
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_readexactly_eof)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_readexactly(stream, 2 * (long)strlen(DATA)));
    feed_soon(stream, true, DATA);
    try {
        await(reading);
        ck_abort_msg("no IncompleteReadError");
    } except (IncompleteReadError, e) {
        ck_repr(exception_details(e), "(b'line1\\nline2\\nline3\\n', 36)");
        ck_repr(str(e), "'18 bytes read on a total of 36 expected bytes'");
    } end_try
    ck_buffer(stream, "b''");
    return None;
}

ASYNC_TEST(StreamTests__test_readexactly_exception)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "line\n");
    ck_repr(await(streamreader_readexactly(stream, 2)), "b'li'");
    streamreader_set_exception(stream, ValueError);
    ck_raises(ValueError, await(streamreader_readexactly(stream, 2)));
    return None;
}

/* ---- The exception of a reader ---------------------------------------------------------------------------------- */

ASYNC_TEST(StreamTests__test_exception)
{
    StreamReader *stream = asyncio_StreamReader();
    ck_assert(is_none(streamreader_exception(stream)));
    Value e = exception_new(ValueError, "text");
    streamreader_set_exception(stream, e);
    ck_same(streamreader_exception(stream).object, e.object);
    return None;
}

async_def(set_error, (StreamReader *) stream) { streamreader_set_exception(stream, ValueError); return None; }

ASYNC_TEST(StreamTests__test_exception_waiter)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *t1 = asyncio_create_task(streamreader_readline(stream)), *t2 = asyncio_create_task(set_error(stream));
    await(asyncio_wait(list(t1, t2)));
    ck_raises(ValueError, task_result(t1));
    return None;
}

ASYNC_TEST(StreamTests__test_exception_cancel)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_readline(stream));
    await(asyncio_sleep(0));
    task_cancel(reading);
    await(asyncio_sleep(0));
    streamreader_set_exception(stream, exception_new(RuntimeError, "message"));
    await(asyncio_sleep(0));
    ck_repr(stream, "<StreamReader exception=RuntimeError('message')>");   /* nobody waits */
    ck_assert(task_cancelled(reading));
    return None;
}

/* ---- Which loop ------------------------------------------------------------------------------------------------- */

SYNC_TEST(StreamTests__test_streamreader_constructor_without_loop)
{
    ck_raises(RuntimeError, asyncio_StreamReader());
}

async_def(make_reader) { return V(asyncio_StreamReader()); }

async_def(read_of, (StreamReader *) stream) { return await(streamreader_read(stream, 1)); }

LOOP_TEST(StreamTests__test_streamreader_constructor_use_running_loop)
{
    StreamReader *stream = as_streamreader(loop_run_until_complete(loop, make_reader()));
    feed(stream, "x");
    ck_repr(loop_run_until_complete(loop, read_of(stream)), "b'x'");
}

LOOP_TEST(StreamTests__test_streamreader_constructor_use_global_loop)
{
    asyncio_set_event_loop(loop);
    StreamReader *stream = asyncio_StreamReader();
    asyncio_set_event_loop(NULL);
    Task *reading = loop_create_task(loop, read_of(stream));
    run_briefly(loop);
    feed(stream, "x");                                   /* it wakes a reader of that loop */
    ck_repr(loop_run_until_complete(loop, reading), "b'x'");
}

/* ---- repr() ----------------------------------------------------------------------------------------------------- */

ASYNC_TEST(StreamTests__test___repr__)
{
    ck_repr(asyncio_StreamReader(), "<StreamReader>");
    return None;
}

ASYNC_TEST(StreamTests__test___repr__nondefault_limit)
{
    ck_repr(asyncio_StreamReader(.limit = 123), "<StreamReader limit=123>");
    return None;
}

ASYNC_TEST(StreamTests__test___repr__eof)
{
    StreamReader *stream = asyncio_StreamReader();
    streamreader_feed_eof(stream);
    ck_repr(stream, "<StreamReader eof>");
    return None;
}

ASYNC_TEST(StreamTests__test___repr__data)
{
    StreamReader *stream = asyncio_StreamReader();
    feed(stream, "data");
    ck_repr(stream, "<StreamReader 4 bytes>");
    return None;
}

ASYNC_TEST(StreamTests__test___repr__exception)
{
    StreamReader *stream = asyncio_StreamReader();
    streamreader_set_exception(stream, RuntimeError);
    ck_repr(stream, "<StreamReader exception=RuntimeError()>");
    return None;
}

ASYNC_TEST(StreamTests__test___repr__waiter)
{
    StreamReader *stream = asyncio_StreamReader();
    Task *reading = asyncio_create_task(streamreader_read(stream, 1));
    await(asyncio_sleep(0));
    ck_contains(as_str(repr(stream)), "<StreamReader waiter=<Future pending");
    streamreader_feed_eof(stream);
    await(reading);
    ck_repr(stream, "<StreamReader eof>");
    return None;
}

NET_TEST(StreamTests__test___repr__transport)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    Value both = await(asyncio_open_unix_connection(NULL, .sock = pair[0]));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    Value wanted = format("<StreamReader transport=%s>", as_str(repr(streamwriter_transport(writer))));
    ck_repr(reader, as_str(wanted));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    close(pair[1]);
    return None;
}

/* ---- open_connection() ------------------------------------------------------------------------------------------ */

#define REQUEST "GET / HTTP/1.0\r\n\r\n"

static bool ends_with(Value data, const char *end)
{
    size_t size, wanted = strlen(end);
    const char *text = as_bytes(data, &size);
    return size >= wanted && !memcmp(text + size - wanted, end, wanted);
}

async_def(get_page, (Coroutine *) opening, (bool) waits)
{
    Value both = await(opening);
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_write(writer, REQUEST);
    ck_repr(await(streamreader_readline(reader)), "b'HTTP/1.0 200 OK\\r\\n'");
    ck_assert(ends_with(await(streamreader_read(reader)), "\r\n\r\nTest message"));
    ck_assert(!streamwriter_is_closing(writer));
    streamwriter_close(writer);
    ck_assert(streamwriter_is_closing(writer));
    if (waits) await(streamwriter_wait_closed(writer));
    return V(writer);
}

NET_TEST(StreamTests__test_open_connection)
{
    Peer httpd;
    await(get_page(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)), false));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_open_unix_connection)
{
    Peer httpd;
    await(get_page(asyncio_open_unix_connection(peer_start_unix(&httpd, serve_http)), false));
    peer_stop(&httpd);
    return None;
}

async_def(lose_connection, (Coroutine *) opening)
{
    Value both = await(opening), protocol_self;
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    const Protocol *protocol = transport_get_protocol(streamwriter_transport(writer), &protocol_self);
    protocol->connection_lost(protocol_self, exception_new(ZeroDivisionError, "lost"));
    ck_raises_text(ZeroDivisionError, "lost", await(streamreader_read(as_streamreader(list_get(both, 0)))));
    streamwriter_close(writer);
    await(asyncio_sleep(0));
    return None;
}

NET_TEST(StreamTests__test_open_connection_error)
{
    Peer httpd;
    await(lose_connection(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http))));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_open_unix_connection_error)
{
    Peer httpd;
    await(lose_connection(asyncio_open_unix_connection(peer_start_unix(&httpd, serve_http))));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_wait_closed_on_close)
{
    Peer httpd;
    await(get_page(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)), true));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_wait_closed_on_close_with_unread_data)
{
    Peer httpd;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_write(writer, REQUEST);
    ck_repr(await(streamreader_readline(as_streamreader(list_get(both, 0)))), "b'HTTP/1.0 200 OK\\r\\n'");
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_async_writer_api)
{
    Peer httpd;
    await(get_page(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)), true));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_async_writer_api_exception_after_close)
{
    Peer httpd;
    StreamWriter *writer = as_streamwriter(await(get_page(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)), false)));
    streamwriter_write(writer, "data");
    ck_raises_text(ConnectionResetError, "Connection lost", await(streamwriter_drain(writer)));
    peer_stop(&httpd);
    return None;
}

NET_TEST(StreamTests__test_eof_feed_when_closing_writer)
{
    Peer httpd;
    Value both = await(asyncio_open_connection("127.0.0.1", peer_start(&httpd, serve_http)));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    ck_assert(streamreader_at_eof(reader));
    ck_repr(await(streamreader_read(reader)), "b''");
    peer_stop(&httpd);
    return None;
}

/* ---- drain() ---------------------------------------------------------------------------------------------------- */

static int drained;
async_def(drainer, (StreamWriter *) writer) { await(streamwriter_drain(writer)); drained++; return None; }

static void resume_writing(Value v)
{
    Value self;
    const Protocol *protocol = transport_get_protocol(streamwriter_transport(as_streamwriter(v)), &self);
    protocol->resume_writing(self);
}

NET_TEST(StreamTests__test_multiple_drain)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    StreamWriter *writer = as_streamwriter(list_get(await(asyncio_open_unix_connection(NULL, .sock = pair[0])), 1));
    Value self, drainers = list();
    const Protocol *protocol = transport_get_protocol(streamwriter_transport(writer), &self);
    protocol->pause_writing(self);
    loop_call_later(asyncio_get_running_loop(), 0.01, resume_writing, .arg = V(writer));
    for (int i = 0; i < 10; i++) list_append(drainers, drainer(writer));
    await(asyncio_gather_list(drainers));
    ck_assert_int_eq(drained, 10);
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    close(pair[1]);
    return None;
}

static void hang_up(int fd) { (void)fd; }

NET_TEST(StreamTests__test_drain_raises)
{
    Peer peer;
    volatile bool raised = false;
    StreamWriter *writer = as_streamwriter(list_get(await(asyncio_open_connection("127.0.0.1", peer_start(&peer, hang_up))), 1));
    try {
        forever {
            streamwriter_write(writer, "foo\n");
            await(streamwriter_drain(writer));
        }
    } except_any (e, ConnectionResetError, ConnectionAbortedError, BrokenPipeError) {
        raised = true;
    } end_try
    ck_assert(raised);
    streamwriter_close(writer);
    peer_stop(&peer);
    return None;
}

/* ---- start_server() --------------------------------------------------------------------------------------------- */

async_def(handle_client, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value data = await(streamreader_readline(reader));
    streamwriter_write(writer, data);
    await(streamwriter_drain(writer));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

/* A plain function: it makes the task itself. */
static Coroutine *handle_client_callback(StreamReader *reader, StreamWriter *writer)
{
    asyncio_create_task(handle_client(reader, writer));
    return NULL;
}

async_def(say_hello, (Coroutine *) opening)
{
    Value both = await(opening);
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    streamwriter_write(writer, "hello world!\n");
    Value back = await(streamreader_readline(as_streamreader(list_get(both, 0))));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return back;
}

static void stop_server(Server *server)
{
    server_close(server);
    await(server_wait_closed(server));
}

NET_TEST(StreamTests__test_start_server)
{
    Server *server = as_server(await(asyncio_start_server(handle_client, NULL, None, .sock = listening_socket(100))));
    ck_repr(await(say_hello(asyncio_open_connection("127.0.0.1", server_port(server)))), "b'hello world!\\n'");
    stop_server(server);

    server = as_server(await(asyncio_start_server(handle_client_callback, "127.0.0.1", 0)));
    ck_repr(await(say_hello(asyncio_open_connection("127.0.0.1", server_port(server)))), "b'hello world!\\n'");
    stop_server(server);
    return None;
}

NET_TEST(StreamTests__test_start_unix_server)
{
    static const ClientConnected both[] = {handle_client, handle_client_callback};
    for (int i = 0; i < 2; i++) {
        SocketPath at;
        const char *path = socket_path_new(&at);
        Server *server = as_server(await(asyncio_start_unix_server(both[i], path)));
        ck_repr(await(say_hello(asyncio_open_unix_connection(path))), "b'hello world!\\n'");
        stop_server(server);
        socket_path_end(&at);
    }
    return None;
}

NET_TEST(StreamTests__test_read_all_from_pipe_reader)
{
    Process *process = as_process(await(asyncio_create_subprocess_exec("printf", "data", .stdout = PIPE, .limit = 1)));
    pass_until(strstr(as_str(repr(process_stdout(process))), "paused"));   /* all is there, and more than twice the limit */
    ck_repr(await(streamreader_read(process_stdout(process))), "b'data'");
    ck_repr(await(process_wait(process)), "0");
    return None;
}

async_def(meet, (Server *) server)
{
    StreamWriter *writer = as_streamwriter(list_get(await(asyncio_open_connection("localhost", server_port(server), .family = AF_INET)), 1));
    streamwriter_write(writer, "test msg");
    await(streamwriter_drain(writer));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    stop_server(server);
    return None;
}

async_def(raises, (StreamReader *) reader, (StreamWriter *) writer) { (void)reader; (void)writer; throw(Exception, "test"); return None; }

NET_TEST(StreamTests__test_unhandled_exception)
{
    await(meet(as_server(await(asyncio_start_server(raises, "localhost", 0, .family = AF_INET)))));
    ck_assert_str_eq(reported.message, "Unhandled exception in client_connected_cb");
    reports_taken(1);
    return None;
}

async_def(cancels_itself, (StreamReader *) reader, (StreamWriter *) writer)
{
    (void)reader;
    streamwriter_close(writer);
    task_cancel(asyncio_current_task());
    return None;
}

NET_TEST(StreamTests__test_unhandled_cancel)
{
    await(meet(as_server(await(asyncio_start_server(cancels_itself, "localhost", 0, .family = AF_INET)))));
    return None;
}
