/* Sends lines to an echo server and prints the answers: ./echo_client [--tls AUTHORITY.pem] PORT LINE...
 *
 * With --tls, in a build with TLS, the server must show a certificate for 127.0.0.1 of that authority. */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>

async_def(main_, (const char *) authority, (int) port, (int) count, (char **) lines)
{
    Value ssl = authority ? V(ssl_create_default_context(.cafile = authority)) : None;
    Value both = await(asyncio_open_connection("127.0.0.1", port, .ssl = ssl));
    StreamReader *reader = as_streamreader(list_get(both, 0));
    StreamWriter *writer = as_streamwriter(list_get(both, 1));
    for (int i = 0; i < count; i++) {
        streamwriter_write(writer, format("%s\n", lines[i]));
        print("sent", lines[i], "got", await(streamreader_readline(reader)));
    }
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
    return None;
}

int main(int argc, char **argv)
{
    int first = argc > 2 && !strcmp(argv[1], "--tls") ? 3 : 1;
    if (argc < first + 2) { fprintf(stderr, "usage: %s [--tls AUTHORITY.pem] PORT LINE...\n", argv[0]); return 2; }
    asyncio_run(main_(first == 3 ? argv[2] : NULL, atoi(argv[first]), argc - first - 1, argv + first + 1));
}
