/* Sends lines to an echo server and prints the answers: ./echo_client PORT LINE... */
#include "asyncio.h"
#include <stdlib.h>

async_def(main_, (int) port, (int) count, (char **) lines)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
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
    if (argc < 3) { fprintf(stderr, "usage: %s PORT LINE...\n", argv[0]); return 2; }
    asyncio_run(main_(atoi(argv[1]), argc - 2, argv + 2));
}
