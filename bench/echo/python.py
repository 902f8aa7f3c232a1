"""The echo server on CPython's asyncio: python.py {streams|protocol} [uvloop]. Prints its port. ours.c is its twin."""
import asyncio
import sys


async def serve(reader, writer):
    while True:
        data = await reader.read(65536)
        if not data:
            break
        writer.write(data)
        await writer.drain()
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    if sys.argv[1] == "streams":
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    else:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if sys.argv[2:] == ["uvloop"]:
    import uvloop
    uvloop.install()
asyncio.run(main())
