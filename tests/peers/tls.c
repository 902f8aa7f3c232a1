/* Our side of tests/peers/tls.sh.
 *
 *     tls serve CERTIFICATE [starttls]             prints its port; sends each line back until the line "bye"
 *     tls connect PORT NAME AUTHORITY [LINE...]    prints the answer to each line
 *     tls upgrade PORT NAME AUTHORITY [LINE...]    the same, TLS begins after the line "starttls"
 *     tls fetch PORT NAME AUTHORITY PATH...        prints the bodies of what an HTTP server has there, over one connection
 *
 * It ends with status 3 if the peer is refused, and says why.
 */
#include "../../asyncio.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static SSLContext *identity;
static bool upgrades;

async_def(echo_lines, (StreamReader *) reader, (StreamWriter *) writer)
{
    try {
        if (upgrades) {
            await(streamreader_readline(reader));
            streamwriter_write(writer, "go ahead\n");
            await(streamwriter_start_tls(writer, identity));
        }
        async_for (line, V(reader)) {
            streamwriter_write(writer, line);
            await(streamwriter_drain(writer));
            if (len(line) == 4 && !memcmp(as_bytes(line, NULL), "bye\n", 4)) break;
        }
    } except (OSError, e) {
        print(e);
    } end_try
    streamwriter_close(writer);
    return None;
}

async_def(serve, (const char *) certificate)
{
    identity = ssl_create_default_context(.purpose = CLIENT_AUTH);
    sslcontext_load_cert_chain(identity, certificate);
    Server *server = as_server(await(asyncio_start_server(echo_lines, "127.0.0.1", 0, .ssl = upgrades ? None : V(identity))));
    print("port", list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    fflush(stdout);
    await(server_serve_forever(server));
    return None;
}

static Value reach(int port, const char *name, const char *authority)
{
    SSLContext *context = ssl_create_default_context(.cafile = authority);
    if (!upgrades) return await(asyncio_open_connection("127.0.0.1", port, .ssl = V(context), .server_hostname = name));
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    streamwriter_write(as_streamwriter(list_get(both, 1)), "starttls\n");
    await(streamreader_readline(as_streamreader(list_get(both, 0))));
    await(streamwriter_start_tls(as_streamwriter(list_get(both, 1)), context, .server_hostname = name));
    return both;
}

static void print_bytes(Value data) { fwrite(as_bytes(data, NULL), 1, (size_t)len(data), stdout); }

async_def(converse, (Value) both, (int) count, (char **) lines)
{
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    for (int i = 0; i < count; i++) {
        streamwriter_write(writer, format("%s\n", lines[i]));
        print_bytes(await(streamreader_readline(reader)));
    }
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(fetch, (Value) both, (int) count, (char **) paths)
{
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    for (int i = 0; i < count; i++) {
        long length = 0;
        streamwriter_write(writer, format("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", paths[i]));
        async_for (line, V(reader)) {
            const char *text = as_bytes(line, NULL);
            if (len(line) > 15 && !strncasecmp(text, "Content-Length:", 15)) length = atol(text + 15);
            if (len(line) == 2) break;
        }
        print_bytes(await(streamreader_readexactly(reader, length)));
    }
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

async_def(main_, (int) argc, (char **) argv)
{
    bool fetches = !strcmp(argv[1], "fetch");
    upgrades = !strcmp(argv[1], "upgrade") || !strcmp(argv[argc - 1], "starttls");
    if (!strcmp(argv[1], "serve")) return await(serve(argv[2]));
    try {
        Value both = reach(atoi(argv[2]), argv[3], argv[4]);
        await(fetches ? fetch(both, argc - 5, argv + 5) : converse(both, argc - 5, argv + 5));
    } except (SSLError, e) {
        print(e);
        return V(3);
    } end_try
    return V(0);
}

int main(int argc, char **argv)
{
    if (argc < 3) { fprintf(stderr, "usage: see the top of tests/peers/tls.c\n"); return 2; }
    return (int)as_int(asyncio_run(main_(argc, argv)));
}
