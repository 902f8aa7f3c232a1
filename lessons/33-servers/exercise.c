/* Exercise 33: closing time.
 *
 * Three clients have asked for something that takes 0.1, 0.6 and 3 seconds. After 0.35 seconds the server is told to stop, and it throws everybody out:
 *
 *     [b'1 is done\n', b'', b'']
 *     closed
 *
 * Wanted: nobody new comes in, but those who are there get half a second more. Who then still waits is sent home:
 *
 *     [b'1 is done\n', b'2 is done\n', b'']
 *     closed
 *
 * close_in_order() is yours. What does server_wait_closed() wait for, and how does one wait for it no longer than half a second?
 */
#include "asyncio.h"

static const double needs[] = {0.1, 0.6, 3.0};

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    Value line = await(streamreader_readline(reader));
    int number = as_bytes(line, NULL)[0] - '0';
    await(asyncio_sleep(needs[number - 1]));
    streamwriter_write(writer, format("%d is done\n", number));
    streamwriter_close(writer);
    return None;
}

async_def(client, (int) port, (int) number)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port)), answer;
    streamwriter_write(as_streamwriter(list_get(both, 1)), format("%d\n", number));
    try {
        answer = await(streamreader_readline(as_streamreader(list_get(both, 0))));
    } except (ConnectionResetError) {
        answer = bytes("", 0);
    } end_try
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    return answer;
}

async_def(close_in_order, (Server *) server)
{
    server_close(server);
    server_abort_clients(server);                       /* >>> not at once */
    await(server_wait_closed(server));
    return None;
}

async_def(main_)
{
    Server *server = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));
    int port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    Future *clients = asyncio_gather(client(port, 1), client(port, 2), client(port, 3));
    await(asyncio_sleep(0.35));
    await(close_in_order(server));
    print(await(clients));
    print("closed");
    return None;
}

int main(void) { asyncio_run(main_()); }
