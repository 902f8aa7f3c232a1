/* CPython's test_buffered_proto: a protocol that lends its memory. */
#include "cpython_io.h"

enum { NOISE = 9 * 1024 };
static char noise[NOISE], got[NOISE], lent[100];
static size_t got_size;
static Transport *client;
static bool lost;

static void connected(Value self, Transport *transport) { (void)self; client = transport; }
static char *lend(Value self, size_t hint, size_t *size) { (void)self; (void)hint; *size = sizeof lent; return lent; }

static void updated(Value self, size_t size)
{
    (void)self;
    ck_assert(size <= sizeof lent && got_size + size <= NOISE);
    memcpy(got + got_size, lent, size);
    got_size += size;
    if (got_size == NOISE) transport_write(client, "1", 1);
}

static void connection_lost(Value self, Value e) { (void)self; ck_assert(is_none(e)); lost = true; }

static const Protocol receives_stuff = {.connection_made = connected, .get_buffer = lend, .buffer_updated = updated, .connection_lost = connection_lost};

async_def(on_server_client, (StreamReader *) reader, (StreamWriter *) writer)
{
    streamwriter_write(writer, bytes(noise, NOISE));
    await(streamreader_readexactly(reader, 1));
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

NET_TEST(BaseTestBufferedProtocol__test_buffered_proto_create_connection)
{
    for (int i = 0; i < NOISE; i++) noise[i] = "12345678+"[i % 9];
    Server *server = as_server(await(asyncio_start_server(on_server_client, "127.0.0.1", 0)));
    await(loop_create_connection(asyncio_get_running_loop(), &receives_stuff, None, "127.0.0.1", server_port(server)));
    pass_until(lost);
    ck_assert_int_eq(memcmp(got, noise, NOISE), 0);
    server_close(server);
    await(server_wait_closed(server));
    return None;
}
