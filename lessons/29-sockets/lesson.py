"""Lesson 29: what is at the bottom of all waiting for the world? A descriptor, select(), a callback."""
import asyncio
import os
import socket

ends = os.pipe()
calls = 0


def on_readable(done):
    byte = os.read(ends[0], 1).decode()
    print(f"  on_readable: '{byte}'")
    if byte == "c":
        done.set()


def on_writable(done):
    global calls
    print("  on_writable: there is room")
    calls += 1
    if calls < 3:
        return
    print("  removed:", loop.remove_writer(ends[1]), loop.remove_writer(ends[1]))
    done.set()


async def callbacks():
    done = asyncio.Event()
    loop.add_reader(ends[0], on_readable, done)
    print("  nothing has been written: nobody is called")
    os.write(ends[1], b"abc")
    print("  three bytes are in the pipe")
    await done.wait()
    loop.remove_reader(ends[0])

    done.clear()
    loop.add_writer(ends[1], on_writable, done)
    await done.wait()


# With a Future between the callback and the task it is an await. This is all that sock_recv() is.

def complete(future):
    loop.remove_reader(ends[0])
    future.set_result("readable")


async def readable():
    future = loop.create_future()
    loop.add_reader(ends[0], complete, future)
    return await future


async def write_later():
    await asyncio.sleep(0.1)
    print("  write_later() writes")
    os.write(ends[1], b"!")


async def both():
    return await asyncio.gather(readable(), write_later())


# A server and a client of sockets alone.

async def server(listening):
    connection, _ = await loop.sock_accept(listening)
    while question := await loop.sock_recv(connection, 100):
        print("    server: received", question)
        await loop.sock_sendall(connection, question)
    print("    server: the other end has closed")
    connection.close()


async def client(port):
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, b"hello")
    print("  client: received", await loop.sock_recv(sock, 100))
    await loop.sock_sendall(sock, b"again")
    print("  client: received", await loop.sock_recv(sock, 100))
    sock.close()


def listen_anywhere():
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1)
    return sock, sock.getsockname()[1]


async def sockets():
    listening, port = listen_anywhere()
    await asyncio.gather(server(listening), client(port))
    listening.close()
    return "all closed"


# A datagram has no connection, so each one has an address. A name or a literal becomes one by getaddrinfo().

async def datagrams():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    found = await loop.getaddrinfo("127.0.0.1", sock.getsockname()[1], type=socket.SOCK_DGRAM)
    address = found[0][4]
    print("  sent:", await loop.sock_sendto(sock, b"to myself", address), "bytes")
    data, sender = await loop.sock_recvfrom(sock, 100)
    same = sender == address
    print("  received", data, "from where it went:", same)
    sock.close()


loop = asyncio.new_event_loop()
print("a callback for a descriptor")
loop.run_until_complete(callbacks())
print("a future for a descriptor")
print(" ", loop.run_until_complete(both()))
print("sockets")
print(" ", loop.run_until_complete(sockets()))
print("datagrams")
loop.run_until_complete(datagrams())
loop.close()
