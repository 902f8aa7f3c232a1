"""Lesson 26: beneath the streams. Who calls whom when bytes come, and when they cannot go?"""
import asyncio
import socket


# A protocol is a class of methods. The loop calls them; none of them waits for anything.

class ServerProtocol(asyncio.Protocol):
    name = "server"
    over = None

    def connection_made(self, transport):
        self.transport = transport
        print(f"  {self.name}: connection_made")
        transport.write(b"welcome")

    def data_received(self, data):
        print(f"  {self.name}: data_received {data!r}")
        self.transport.write(b"echo " + data)

    def eof_received(self):
        print(f"  {self.name}: eof_received")
        return False  # False: close this side too

    def connection_lost(self, e):
        print(f"  {self.name}: connection_lost", e)
        if self.over:
            self.over.set_result("over")


class ClientProtocol(ServerProtocol):
    name = "client"

    def __init__(self, over):
        self.over = over
        self.received = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        print(f"  {self.name}: data_received {data!r}")
        self.received += len(data)
        if self.received == 7:
            self.transport.write(b"ping")
        else:
            self.transport.write_eof()


async def talk():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(ServerProtocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ClientProtocol(loop.create_future())
    await loop.create_connection(lambda: client, "127.0.0.1", port)
    print(" ", await client.over)
    server.close()
    await server.wait_closed()


# The water marks.

class WriterProtocol(asyncio.Protocol):
    paused = False

    def __init__(self, over):
        self.over = over

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.paused = True
        print("  pause_writing")

    def resume_writing(self):
        self.paused = False
        print("  resume_writing")
        self.over.set_result("room again")


class ReaderProtocol(asyncio.Protocol):
    received = 0

    def __init__(self, over):
        self.over = over

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += len(data)

    def connection_lost(self, e):
        self.over.set_result("over")


async def fill():
    loop = asyncio.get_running_loop()
    block = bytes(16384)
    written = 0
    ends = socket.socketpair()
    writer, reader = WriterProtocol(loop.create_future()), ReaderProtocol(loop.create_future())
    await loop.create_connection(lambda: writer, sock=ends[0])
    await loop.create_connection(lambda: reader, sock=ends[1])

    reader.transport.pause_reading()
    writer.transport.set_write_buffer_limits(low=30000, high=100000)
    while not writer.paused:
        writer.transport.write(block)
        written += len(block)
    above = writer.transport.get_write_buffer_size() > 100000
    print("  the kernel takes no more, and the buffer is above the high mark:", above)
    reader.transport.resume_reading()
    print(" ", await writer.over)
    writer.transport.close()  # what is in the buffer still goes
    print("  reader:", await reader.over, "- everything came:", reader.received == written)


# Datagrams: no connection, no stream, each one by itself.

class QuestionProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        print("  server: datagram", data)
        self.transport.sendto(b"pong", address)


class AnswerProtocol(asyncio.DatagramProtocol):
    def __init__(self, over):
        self.over = over

    def datagram_received(self, data, address):
        self.over.set_result(data)


async def datagrams():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    server, _ = await loop.create_datagram_endpoint(QuestionProtocol, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    client, _ = await loop.create_datagram_endpoint(lambda: AnswerProtocol(over), remote_addr=address)
    client.sendto(b"ping")
    print("  client: datagram", await over)
    client.close()
    server.close()


async def main():
    print("a server and a client, all in callbacks")
    await talk()
    print("water marks: faster than the other side reads")
    await fill()
    print("datagrams")
    await datagrams()


asyncio.run(main())
