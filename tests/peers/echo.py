"""CPython's asyncio as a peer; echo.c beside it is the same program.

    echo.py serve                     says its port, and sends back what comes, until Ctrl-C
    echo.py visit PORT COUNT SIZE     COUNT connections at once send SIZE bytes each, close their half, and compare what comes back
"""
import asyncio
import sys


async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def send(writer, data):
    for at in range(0, len(data), 100_000):
        writer.write(data[at:at + 100_000])
        await writer.drain()
    writer.write_eof()


async def visit(port, number, size):
    data = bytes((i * 7 + (i >> 8) + number) & 255 for i in range(min(size, 65536))) * (size // 65536 + 1)
    data = data[:size]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got, _ = await asyncio.gather(reader.read(), send(writer, data))
    assert got == data, f"connection {number}: {len(got)} bytes came back, or others than were sent"
    writer.close()
    await writer.wait_closed()


async def main():
    if sys.argv[1] == "serve":
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
    port, count, size = map(int, sys.argv[2:])
    await asyncio.gather(*[visit(port, i, size) for i in range(count)])
    print(count, "connections")


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
