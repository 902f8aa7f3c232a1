/* Lesson 32: a pipe, a file. Which of them can one wait for? */
#include "asyncio.h"
#include <sys/socket.h>
#include <unistd.h>

static Loop *loop;

/* A reader is fed by whoever has bytes. start_server() and open_connection() have a protocol like this one inside. */

static void feed(Value reader, const char *data, size_t size)
{
    print("  data_received:", bytes(data, size));
    streamreader_feed_data(as_streamreader(reader), data, size);
}

static bool end(Value reader)
{
    print("  eof_received");
    streamreader_feed_eof(as_streamreader(reader));
    return false;
}

static const Protocol feeder = {.data_received = feed, .eof_received = end};

/* Who only writes wants to know one thing: when it is over. */

static void over(Value future, Value e) { future_set_result(as_future(future), repr(e)); }

static const Protocol writing = {.connection_lost = over};

async_def(read_a_pipe)
{
    int ends[2];
    if (pipe(ends) < 0) throw(OSError, "no pipe");
    StreamReader *reader = asyncio_StreamReader();
    await(loop_connect_read_pipe(loop, &feeder, V(reader), ends[0]));
    Future *lost = loop_create_future(loop);
    Value both = await(loop_connect_write_pipe(loop, &writing, V(lost), ends[1]));
    Transport *transport = as_transport(list_get(both, 0));

    transport_write(transport, "one\ntwo\nthr", 11);
    print("  line:", await(streamreader_readline(reader)));
    print("  line:", await(streamreader_readline(reader)));
    transport_write(transport, "ee\n", 3);
    print("  line:", await(streamreader_readline(reader)));
    transport_close(transport);
    print("  the writer's connection_lost:", await(lost));
    print("  line:", await(streamreader_readline(reader)), "- at the end:", streamreader_at_eof(reader));
    return None;
}

async_def(write_to_nobody)
{
    static char much[200000];
    int ends[2];
    if (pipe(ends) < 0) throw(OSError, "no pipe");
    Future *lost = loop_create_future(loop);
    Value both = await(loop_connect_write_pipe(loop, &writing, V(lost), ends[1]));
    Transport *transport = as_transport(list_get(both, 0));
    transport_write(transport, much, sizeof much);
    bool waits = transport_get_write_buffer_size(transport) > 0;
    print("  a pipe holds so much and no more; the rest waits here:", waits);
    close(ends[0]);
    print("  the reading end is closed; connection_lost:", await(lost));
    return None;
}

/* A file has no other end: nobody writes into it just now, so there is nothing to wait for. */

static Value read_it(Value file)
{
    char data[100];
    return bytes(data, (size_t)pread((int)as_int(file), data, 5, 100000));
}

async_def(files, (int) file)
{
    try {
        await(loop_connect_read_pipe(loop, &feeder, None, file));
    } except (ValueError, e) {
        print("  ValueError:", e);
    } end_try
    print("  in a thread:", await(asyncio_to_thread(read_it, .arg = V(file))));
    return None;
}

async_def(receive, (int) fd)
{
    Value both = await(asyncio_open_unix_connection(NULL, .sock = fd));
    Value header = await(streamreader_readline(as_streamreader(list_get(both, 0))));
    Value body = await(streamreader_read(as_streamreader(list_get(both, 0))));
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    return tuple(header, len(body));
}

async_def(send_a_file, (int) file)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) throw(OSError, "no sockets");
    Future *lost = loop_create_future(loop);
    Value both = await(loop_create_connection(loop, &writing, lost, NULL, None, .sock = ends[0]));
    Transport *transport = as_transport(list_get(both, 0));
    Task *receiver = asyncio_create_task(receive(ends[1]), .name = "receiver");

    transport_write(transport, "here it is:\n", 12);
    print("  the whole file:", await(loop_sendfile(loop, transport, file)), "bytes");
    print("  a part of it:", await(loop_sendfile(loop, transport, file, .offset = 100000, .count = 5)), "bytes");
    print("  the file now stands at", lseek(file, 0, SEEK_CUR));
    transport_close(transport);
    print("  received:", await(receiver));
    await(lost);
    return None;
}

/* The same without a transport, on a socket of our own (lesson 29). */

async_def(send_a_file_by_hand, (int) file)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) throw(OSError, "no sockets");
    print("  sent:", await(loop_sock_sendfile(loop, ends[0], file, .offset = 299990)), "bytes, to the end of the file");
    print("  received:", await(loop_sock_recv(loop, ends[1], 100)));
    close(ends[0]);
    close(ends[1]);
    return None;
}

async_def(main_)
{
    loop = asyncio_get_running_loop();
    print("a pipe, read as a stream");
    await(read_a_pipe());
    print("a pipe that nobody reads");
    await(write_to_nobody());

    FILE *file = tmpfile();
    for (int i = 0; i < 30000; i++) fputs("0123456789", file);
    fflush(file);
    rewind(file);
    print("a file");
    await(files(fileno(file)));
    print("from a file into a connection: sendfile");
    await(send_a_file(fileno(file)));
    print("and into a bare socket: sock_sendfile");
    await(send_a_file_by_hand(fileno(file)));
    fclose(file);
    return None;
}

int main(void) { asyncio_run(main_()); }
