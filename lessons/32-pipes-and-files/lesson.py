"""Lesson 32: a pipe, a file. Which of them can one wait for?"""
import asyncio
import os
import socket
import tempfile


# A reader is fed by whoever has bytes. start_server() and open_connection() have a protocol like this one inside.

class Feeder(asyncio.Protocol):
    def __init__(self, reader):
        self.reader = reader

    def data_received(self, data):
        print("  data_received:", data)
        self.reader.feed_data(data)

    def eof_received(self):
        print("  eof_received")
        self.reader.feed_eof()
        return False


# Who only writes wants to know one thing: when it is over.

class Writing(asyncio.Protocol):
    def __init__(self, future):
        self.future = future

    def connection_lost(self, e):
        self.future.set_result(repr(e))


async def read_a_pipe():
    ends = os.pipe()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: Feeder(reader), open(ends[0], "rb", 0))
    lost = loop.create_future()
    transport, _ = await loop.connect_write_pipe(lambda: Writing(lost), open(ends[1], "wb", 0))

    transport.write(b"one\ntwo\nthr")
    print("  line:", await reader.readline())
    print("  line:", await reader.readline())
    transport.write(b"ee\n")
    print("  line:", await reader.readline())
    transport.close()
    print("  the writer's connection_lost:", await lost)
    print("  line:", await reader.readline(), "- at the end:", reader.at_eof())


async def write_to_nobody():
    much = bytes(200000)
    ends = os.pipe()
    lost = loop.create_future()
    transport, _ = await loop.connect_write_pipe(lambda: Writing(lost), open(ends[1], "wb", 0))
    transport.write(much)
    waits = transport.get_write_buffer_size() > 0
    print("  a pipe holds so much and no more; the rest waits here:", waits)
    os.close(ends[0])
    print("  the reading end is closed; connection_lost:", await lost)


# A file has no other end: nobody writes into it just now, so there is nothing to wait for.

def read_it(file):
    return os.pread(file.fileno(), 5, 100000)


async def files(file):
    try:
        await loop.connect_read_pipe(lambda: Feeder(None), file)
    except ValueError as e:
        print("  ValueError:", e)
    print("  in a thread:", await asyncio.to_thread(read_it, file))


async def receive(sock):
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    header = await reader.readline()
    body = await reader.read()
    writer.close()
    return header, len(body)


async def send_a_file(file):
    ends = socket.socketpair()
    lost = loop.create_future()
    transport, _ = await loop.create_connection(lambda: Writing(lost), sock=ends[0])
    receiver = asyncio.create_task(receive(ends[1]), name="receiver")

    transport.write(b"here it is:\n")
    print("  the whole file:", await loop.sendfile(transport, file), "bytes")
    print("  a part of it:", await loop.sendfile(transport, file, offset=100000, count=5), "bytes")
    print("  the file now stands at", file.tell())
    transport.close()
    print("  received:", await receiver)
    await lost


# The same without a transport, on a socket of our own (lesson 29).

async def send_a_file_by_hand(file):
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    print("  sent:", await loop.sock_sendfile(ends[0], file, offset=299990), "bytes, to the end of the file")
    print("  received:", await loop.sock_recv(ends[1], 100))
    for end in ends:
        end.close()


async def main():
    global loop
    loop = asyncio.get_running_loop()
    print("a pipe, read as a stream")
    await read_a_pipe()
    print("a pipe that nobody reads")
    await write_to_nobody()

    with tempfile.TemporaryFile() as file:
        for _ in range(30000):
            file.write(b"0123456789")
        file.seek(0)
        print("a file")
        await files(file)
        print("from a file into a connection: sendfile")
        await send_a_file(file)
        print("and into a bare socket: sock_sendfile")
        await send_a_file_by_hand(file)


asyncio.run(main())
