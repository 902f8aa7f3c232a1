"""Lesson 25: two ends of a connection. What does one see of what the other does?"""
import asyncio


async def echo(reader, writer):
    async for line in reader:
        print("    server: read", line)
        writer.write(b"you said " + line.rstrip(b"\n") + b"\n")
        await writer.drain()
    print("    server: nothing more will come; says goodbye")
    writer.write(b"bye")
    writer.close()
    await writer.wait_closed()


async def client(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(b"hello\n")
    print("  client: wrote, and did not wait for anything")
    print("  client: read", await reader.readline())

    writer.write(b"one\ntwo\n")
    print("  client: two lines in one write")
    print("  client: read", await reader.readexactly(8), "by number of bytes")
    print("  client: read", await reader.readuntil(b"\n"), "up to the end of the line")
    print("  client: read", await reader.readline())

    writer.write(b"the last, without a newline")
    writer.write_eof()
    print("  client: has nothing more to say, but still listens")
    print("  client: read", await reader.readline())
    try:
        await reader.readexactly(100)
    except asyncio.IncompleteReadError as e:
        print("  client: wanted 100 bytes, got", e.partial)
    at_eof = reader.at_eof()
    print("  client: at the end:", at_eof, await reader.read())
    writer.close()
    await writer.wait_closed()


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]  # the kernel has chosen one
    async with server:
        await client(port)
        print("the server still listens:", server.is_serving())
    print("and after the block:", server.is_serving())


asyncio.run(main())
