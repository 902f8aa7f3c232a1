/* Lesson 26: beneath the streams. Who calls whom when bytes come, and when they cannot go? */
#include "asyncio.h"
#include <string.h>
#include <sys/socket.h>

/* A protocol is a table of functions. The loop calls them; none of them waits for anything. */

typedef struct Side { const char *name; Transport *transport; Future *over; int64_t received; bool paused; } Side;

static Side *side_of(Value self) { return as_pointer(self); }

static void made(Value self, Transport *transport)
{
    Side *side = side_of(self);
    side->transport = transport;
    print(format("  %s: connection_made", side->name));
    transport_write(transport, "welcome", 7);
}

static void received(Value self, const char *data, size_t size)
{
    Side *side = side_of(self);
    print(format("  %s: data_received %s", side->name, as_str(repr(bytes(data, size)))));
    Value answer = format("echo %.*s", (int)size, data);
    transport_write(side->transport, as_str(answer), (size_t)len(answer));
}

static bool eof(Value self)
{
    print(format("  %s: eof_received", side_of(self)->name));
    return false;  /* false: close this side too */
}

static void lost(Value self, Value e)
{
    print(format("  %s: connection_lost", side_of(self)->name), e);
    if (side_of(self)->over) future_set_result(side_of(self)->over, "over");
}

static void client_made(Value self, Transport *transport) { side_of(self)->transport = transport; }

static void client_received(Value self, const char *data, size_t size)
{
    Side *side = side_of(self);
    print(format("  %s: data_received %s", side->name, as_str(repr(bytes(data, size)))));
    side->received += (int64_t)size;
    if (side->received == 7) transport_write(side->transport, "ping", 4);
    else transport_write_eof(side->transport);
}

static Side server_side = {.name = "server"};
static Value use_server_side(Value unused) { (void)unused; return V((void *)&server_side); }

static const Protocol server_protocol = {.make = use_server_side, .connection_made = made,
                                         .data_received = received, .eof_received = eof, .connection_lost = lost};
static const Protocol client_protocol = {.connection_made = client_made, .data_received = client_received,
                                         .eof_received = eof, .connection_lost = lost};

async_def(talk)
{
    Loop *loop = asyncio_get_running_loop();
    Server *server = as_server(await(loop_create_server(loop, &server_protocol, None, "127.0.0.1", 0)));
    int64_t port = as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    Side client = {.name = "client", .over = loop_create_future(loop)};
    await(loop_create_connection(loop, &client_protocol, (void *)&client, "127.0.0.1", port));
    print(" ", await(client.over));
    server_close(server);
    await(server_wait_closed(server));
    return None;
}

/* The water marks. */

static void count(Value self, const char *data, size_t size) { (void)data; side_of(self)->received += (int64_t)size; }
static void all_counted(Value self, Value e) { (void)e; future_set_result(side_of(self)->over, "over"); }

static void pause(Value self)
{
    side_of(self)->paused = true;
    print("  pause_writing");
}

static void resume(Value self)
{
    side_of(self)->paused = false;
    print("  resume_writing");
    future_set_result(side_of(self)->over, "room again");
}

static const Protocol writer_protocol = {.connection_made = client_made,
                                         .pause_writing = pause, .resume_writing = resume};
static const Protocol reader_protocol = {.connection_made = client_made,
                                         .data_received = count, .connection_lost = all_counted};

async_def(fill)
{
    Loop *loop = asyncio_get_running_loop();
    static char block[16384];
    int64_t written = 0;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) throw(OSError, "no sockets");
    Side writer = {.name = "writer", .over = loop_create_future(loop)};
    Side reader = {.name = "reader", .over = loop_create_future(loop)};
    await(loop_create_connection(loop, &writer_protocol, (void *)&writer, NULL, None, .sock = ends[0]));
    await(loop_create_connection(loop, &reader_protocol, (void *)&reader, NULL, None, .sock = ends[1]));

    transport_pause_reading(reader.transport);
    transport_set_write_buffer_limits(writer.transport, .low = 30000, .high = 100000);
    while (!writer.paused) {
        transport_write(writer.transport, block, sizeof block);
        written += sizeof block;
    }
    bool above = transport_get_write_buffer_size(writer.transport) > 100000;
    print("  the kernel takes no more, and the buffer is above the high mark:", above);
    transport_resume_reading(reader.transport);
    print(" ", await(writer.over));
    transport_close(writer.transport);  /* what is in the buffer still goes */
    print("  reader:", await(reader.over), "- everything came:", (bool)(reader.received == written));
    return None;
}

/* Datagrams: no connection, no stream, each one by itself. */

static void datagram_made(Value self, Transport *transport) { side_of(self)->transport = transport; }

static void question(Value self, const char *data, size_t size, Value from)
{
    print("  server: datagram", bytes(data, size));
    transport_sendto(side_of(self)->transport, "pong", 4, .address = from);
}

static void answer(Value self, const char *data, size_t size, Value from)
{
    (void)from;
    future_set_result(side_of(self)->over, bytes(data, size));
}

static const Protocol question_protocol = {.connection_made = datagram_made, .datagram_received = question};
static const Protocol answer_protocol = {.connection_made = datagram_made, .datagram_received = answer};

async_def(datagrams)
{
    Loop *loop = asyncio_get_running_loop();
    static Side server = {.name = "server"};
    Side client = {.name = "client", .over = loop_create_future(loop)};
    Value anywhere = tuple("127.0.0.1", 0);
    await(loop_create_datagram_endpoint(loop, &question_protocol, (void *)&server, .local_addr = anywhere));
    Value address = transport_get_extra_info(server.transport, "sockname");
    await(loop_create_datagram_endpoint(loop, &answer_protocol, (void *)&client, .remote_addr = address));
    transport_sendto(client.transport, "ping", 4);
    print("  client: datagram", await(client.over));
    transport_close(client.transport);
    transport_close(server.transport);
    return None;
}

async_def(main_)
{
    print("a server and a client, all in callbacks");
    await(talk());
    print("water marks: faster than the other side reads");
    await(fill());
    print("datagrams");
    await(datagrams());
    return None;
}

int main(void) { asyncio_run(main_()); }
