"""Lesson 35: a connection is a transport and a protocol. Can each be exchanged while it is open?"""
import asyncio
import ssl
import subprocess
import tempfile


# The first protocol talks: a line comes, a line goes. The second takes: it gives the loop the place where the bytes shall
# be put, and hears how many have come.

class Session:
    def __init__(self):
        self.data = bytearray(16)

    def answer(self, text):
        self.transport.write(text.encode())


class Take(asyncio.BufferedProtocol):
    def __init__(self, session):
        self.session = session

    def begin(self):
        self.session.have = 0
        self.session.transport.set_protocol(self)
        self.session.answer(f"ready for {self.session.wanted}\n")

    def get_buffer(self, hint):
        return memoryview(self.session.data)[self.session.have:self.session.wanted]

    def buffer_updated(self, size):
        session = self.session
        session.have += size
        print(f"    server: take: {size} bytes, buffer_updated")
        if session.have == session.wanted:
            session.transport.set_protocol(Talk(session))
        session.answer(f"{session.have} of {session.wanted}\n")


# Nobody calls connection_made() a second time: who exchanges the transport notes the new one.

async def change_over(talk):
    session = talk.session
    session.answer("go ahead\n")
    secure = await loop.start_tls(session.transport, talk, server_context, server_side=True)
    session.transport = secure
    session.answer("nobody hears us now\n")


class Talk(asyncio.Protocol):
    def __init__(self, session):
        self.session = session

    def connection_made(self, transport):
        print("    server: talk: connection_made")
        self.session.transport = transport

    def data_received(self, data):
        session = self.session
        line = data[:-1].decode()  # whole lines come, as the client waits for each answer
        print("    server: talk: data_received", data)
        if line.startswith("take "):
            session.wanted = int(line[5:])
            Take(session).begin()
        elif line == "tls":
            session.changing = asyncio.create_task(change_over(self))
        else:
            session.answer(f"you said {line}\n")


class Listener(asyncio.Protocol):
    def __init__(self, answers):
        self.answers = answers

    def data_received(self, data):
        self.answers.put_nowait(data)


async def say(transport, text, answers):
    transport.write(text.encode())
    print("  client: heard", await answers.get())


async def client(path):
    answers = asyncio.Queue()
    plain, listener = await loop.create_unix_connection(lambda: Listener(answers), path)
    print("a transport, a protocol")
    await say(plain, "hello\n", answers)

    print("the same transport, another protocol")
    await say(plain, "take 10\n", answers)
    await say(plain, "0123", answers)
    await say(plain, "456789", answers)
    await say(plain, "hello\n", answers)

    print("the same protocol, another transport")
    await say(plain, "tls\n", answers)
    secure = await loop.start_tls(plain, listener, client_context, server_hostname="localhost")
    print("  client: heard", await answers.get())
    await say(secure, "a secret\n", answers)
    ssl_object = secure.get_extra_info("ssl_object")
    same = secure.get_extra_info("socket") is plain.get_extra_info("socket")
    print("  client:", ssl_object.version(), "- on the same socket:", same)

    print("and both")
    await say(secure, "take 4\n", answers)
    await say(secure, "6789", answers)
    secure.close()
    print("  client: closing:", secure.is_closing())


async def main(path, certificate, key):
    global loop, server_context, client_context
    session = Session()
    loop = asyncio.get_running_loop()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=certificate)
    server = await loop.create_unix_server(lambda: Talk(session), path)
    await client(path)
    server.close()
    await server.wait_closed()
    print("it held", bytes(session.data[:session.have]), "at the end")


# A certificate for localhost, as in lesson 34.

with tempfile.TemporaryDirectory() as directory:
    path, certificate, key = directory + "/socket", directory + "/certificate.pem", directory + "/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
                   check=True, stderr=subprocess.DEVNULL)
    asyncio.run(main(path, certificate, key))
