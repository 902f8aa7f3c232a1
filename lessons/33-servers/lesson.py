"""Lesson 33: the life of a server. When does it begin to listen, when is it closed, when is it over? Needs Python 3.13."""
import asyncio
import os
import tempfile

# It answers each line. After "much" it says more than fits into the pipes between the two.

much = b"x" * 1000000


async def serve(reader, writer):
    async for line in reader:
        if len(line) == 5:
            writer.write(much)
        else:
            writer.writelines([b"you said ", line])
    print("    server: this client is gone")
    writer.close()


async def connect():
    try:
        return await asyncio.open_unix_connection(path)
    except (ConnectionRefusedError, FileNotFoundError) as e:
        print("  nobody there:", type(e).__name__)


async def say(both, line):
    both[1].write(line)
    print("  client:", await both[0].readline())


async def hang_up(both):
    both[1].close()
    await both[1].wait_closed()


async def begin_and_end():
    server = await asyncio.start_unix_server(serve, path, start_serving=False)
    print("  it exists; serving:", server.is_serving())
    await connect()
    await server.start_serving()
    print("  serving:", server.is_serving())
    both = await connect()
    await say(both, b"hello\n")

    server.close()
    print("  closed; serving:", server.is_serving(), "- sockets:", len(server.sockets))
    await connect()
    await say(both, b"still there?\n")
    closed = asyncio.create_task(server.wait_closed(), name="wait_closed")
    await asyncio.sleep(0)
    print("  over:", closed.done())
    await hang_up(both)
    await closed
    print("  over:", closed.done())


async def rest_of(both):
    total = 0
    while some := await both[0].read(100000):
        total += len(some)
    await hang_up(both)
    return total


async def sent_home(politely):
    server = await asyncio.start_unix_server(serve, path)
    both = await connect()
    both[1].write(b"much\n")
    await both[0].readexactly(1)
    server.close()
    if politely:
        server.close_clients()
    else:
        server.abort_clients()
    all_ = 1 + await rest_of(both) == len(much)
    print("  all that was written has come:", all_)
    await server.wait_closed()


async def for_ever():
    server = await asyncio.start_unix_server(serve, path)
    serving = asyncio.create_task(server.serve_forever(), name="serving")
    both = await connect()
    await say(both, b"how long?\n")
    await hang_up(both)
    serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print("  cancelled; serving:", server.is_serving())


async def main():
    print("begin, close, over: three moments")
    await begin_and_end()
    print("clients are sent home")
    await sent_home(True)
    print("clients are thrown out")
    await sent_home(False)
    print("for ever")
    await for_ever()


with tempfile.TemporaryDirectory() as directory:
    path = directory + "/socket"
    asyncio.run(main())
    print("the socket's file is gone:", not os.path.exists(path))
