"""Python's side of tests/peers/tls.sh: the same as tls.c, with CPython's asyncio and ssl."""
import asyncio
import ssl
import sys


async def echo_lines(reader, writer, context=None):
    if context:
        await reader.readline()
        writer.write(b"go ahead\n")
        await writer.start_tls(context)
    async for line in reader:
        writer.write(line)
        await writer.drain()
        if line == b"bye\n":
            break
    writer.close()


async def serve(certificate, upgrades):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if upgrades:
        server = await asyncio.start_server(lambda r, w: echo_lines(r, w, context), "127.0.0.1", 0)
    else:
        server = await asyncio.start_server(echo_lines, "127.0.0.1", 0, ssl=context)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def connect(upgrades, port, name, authority, *lines):
    context = ssl.create_default_context(cafile=authority)
    if upgrades:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"starttls\n")
        await reader.readline()
        await writer.start_tls(context, server_hostname=name)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    for line in lines:
        writer.write(line.encode() + b"\n")
        sys.stdout.write((await reader.readline()).decode())
    writer.close()
    await writer.wait_closed()


async def main(what, *args):
    try:
        if what == "serve":
            await serve(args[0], args[1:] == ("starttls",))
        else:
            await connect(what == "upgrade", *args)
    except ssl.SSLError as e:
        print(e)
        return 3


sys.exit(asyncio.run(main(*sys.argv[1:])))
