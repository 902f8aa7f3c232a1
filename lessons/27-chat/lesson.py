"""Lesson 27: a chat server. Many clients, each with its own speed: who waits for whom, and who tidies up?"""
import asyncio

guests = []  # (name, queue)


def without_newline(line):
    return line.decode().rstrip("\n")


# ---- the server ----

def tell_the_others(name, text):
    for other, queue in guests:
        if other != name:
            queue.put_nowait(text)


# The only one who writes to this client: a slow one holds up nobody but himself.
async def deliver(queue, writer):
    while True:
        text = await queue.get()
        if text is None:
            return
        writer.write(f"{text}\n".encode())
        await writer.drain()


async def listen_to(name, reader, queue):
    async for line in reader:
        text = without_newline(line)
        if text == "/quit":
            break
        tell_the_others(name, f"{name}: {text}")
        queue.put_nowait("(told)")
    queue.put_nowait("goodbye")
    queue.put_nowait(None)  # deliver() ends when it has come to here


async def serve(reader, writer):
    name = without_newline(await reader.readline())
    queue = asyncio.Queue()
    guest = (name, queue)
    asyncio.current_task().set_name(f"serve {name}")
    guests.append(guest)
    try:
        queue.put_nowait(f"welcome, {len(guests)} here")
        tell_the_others(name, f"* {name} has come")
        async with asyncio.TaskGroup() as tg:
            tg.create_task(deliver(queue, writer), name=f"to {name}")
            tg.create_task(listen_to(name, reader, queue), name=f"from {name}")
    finally:
        guests.remove(guest)
        tell_the_others(name, f"* {name} has gone")
        writer.close()


# ---- the clients: a script, so that every run is the same ----

async def come(name):
    client = await asyncio.open_connection("127.0.0.1", port)
    client[1].write(f"{name}\n".encode())
    return client


def say(client, text):
    client[1].write(f"{text}\n".encode())


async def hears(name, client):
    line = await client[0].readline()
    print(f"  {name} hears", line)


async def leave(client):
    client[1].close()
    await client[1].wait_closed()


async def evening():
    print("they come")
    anna = await come("anna")
    await hears("anna", anna)
    bert = await come("bert")
    await hears("bert", bert)
    await hears("anna", anna)
    cora = await come("cora")
    await hears("cora", cora)
    await hears("anna", anna)
    await hears("bert", bert)

    print("anna speaks, twice; bert does not listen")
    say(anna, "hello all\nis it raining?")
    await hears("cora", cora)
    await hears("cora", cora)
    await hears("anna", anna)
    await hears("anna", anna)

    print("cora hangs up without a word")
    await leave(cora)
    await hears("anna", anna)

    print("bert listens at last, and says goodbye")
    for _ in range(3):
        await hears("bert", bert)
    say(bert, "/quit")
    await hears("bert", bert)
    await hears("bert", bert)
    await hears("anna", anna)
    print("  still here:", guests[0][0])
    await leave(bert)
    say(anna, "/quit")
    await hears("anna", anna)
    await hears("anna", anna)
    await leave(anna)


async def main():
    global port
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await evening()
    print("closed; guests:", guests)


asyncio.run(main())
