"""Lesson 28: fetch a page and all it links to, two at a time, and never wait for ever."""
import asyncio
import re

# ---- a tiny web server ----

pages = {
    "/": '<a href="/cats"> <a href="/dogs"> <a href="/slow">',
    "/cats": '<a href="/"> <a href="/cats/tom"> <a href="/gone">',
    "/dogs": '<a href="/cats"> <a href="/dogs/rex">',
    "/cats/tom": "meow",
    "/dogs/rex": '<a href="/dogs">',
}
busy = most_busy = 0
found, seen = [], []


def answer_to(path):
    body = pages.get(path)
    if body is None:
        return b"HTTP/1.0 404 Not Found\r\n\r\n"
    return f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def serve(reader, writer):
    global busy, most_busy
    busy += 1
    most_busy = max(busy, most_busy)
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.decode().split()[1]
    if path == "/slow":
        await reader.read()  # no answer: sits there until the client gives up
    else:
        writer.write(answer_to(path))
    busy -= 1
    writer.close()


# ---- the crawler ----

async def ask(path, reader, writer):
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return await reader.read()


async def fetch(path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        response = await asyncio.wait_for(ask(path, reader, writer), 2)
    finally:
        writer.close()
        await writer.wait_closed()
    return response


def enqueue_links(text, todo):
    for link in re.findall('href="([^"]*)"', text):
        if link in seen:
            continue
        seen.append(link)
        todo.put_nowait(link)


def status_of(response):
    return response[9:].split("\r")[0]


async def visit(path, todo):
    try:
        response = (await fetch(path)).decode()
        found.append((path, status_of(response)))
        enqueue_links(response, todo)
    except TimeoutError:
        found.append((path, "no answer"))


async def worker(todo, slots):
    while True:
        path = await todo.get()
        async with slots:
            await visit(path, todo)
        todo.task_done()


async def crawl(start):
    todo = asyncio.Queue()
    slots = asyncio.Semaphore(2)
    seen.append(start)
    todo.put_nowait(start)
    workers = [asyncio.create_task(worker(todo, slots), name=f"worker-{i}") for i in range(1, 4)]
    await todo.join()
    for each in workers:
        each.cancel()
    ends = await asyncio.gather(*workers, return_exceptions=True)
    print("the workers:", ends)


async def main():
    global port
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await crawl("/")
    found.sort()
    for path, status in found:
        print(" ", path, "-", status)
    print(len(found), "pages; never more than two at a time:", most_busy <= 2)


asyncio.run(main())
