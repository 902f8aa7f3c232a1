"""Lesson 34: the same streams over TLS. Who is at the other end, and who says so?"""
import asyncio
import ssl
import subprocess
import tempfile


# A certificate for localhost, which nobody has signed but itself.

def make_certificate(certificate, key):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
                   check=True, stderr=subprocess.DEVNULL)


# The server knows nothing of TLS, but for the one line of those who change over in the middle.

async def serve(reader, writer):
    async for line in reader:
        if line == b"STARTTLS\n":
            writer.write(b"go ahead\n")
            await writer.start_tls(server_context)
        else:
            writer.writelines([b"you said ", line])
    writer.close()


def port_of(server):
    return server.sockets[0].getsockname()[1]


async def say(both, line):
    both[1].write(line)
    return await both[0].readline()


async def hang_up(both):
    both[1].close()
    await both[1].wait_closed()


def ssl_object_of(both):
    return both[1].get_extra_info("ssl_object")


def subject_of(ssl_object):
    return ssl_object.getpeercert()["subject"]


async def over_tls(port):
    both = await asyncio.open_connection("127.0.0.1", port, ssl=client_context, server_hostname="localhost")
    ssl_object = ssl_object_of(both)
    print(" ", ssl_object.version(), "with", subject_of(ssl_object))
    print(" ", await say(both, b"hello\n"))
    await hang_up(both)


async def refused(port, context, name):
    try:
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    except ssl.SSLCertVerificationError as e:
        print(" ", e.verify_message)


async def in_the_middle(port):
    both = await asyncio.open_connection("127.0.0.1", port)
    print(" ", await say(both, b"hello\n"), "- ssl_object:", ssl_object_of(both))
    print(" ", await say(both, b"STARTTLS\n"))
    await both[1].start_tls(client_context, server_hostname="localhost")
    print(" ", await say(both, b"a secret\n"), "-", ssl_object_of(both).version())
    await hang_up(both)


async def main(certificate, key):
    global server_context, client_context
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=certificate)  # whom to believe
    secure = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    plain = await asyncio.start_server(serve, "127.0.0.1", 0)

    print("over TLS")
    await over_tls(port_of(secure))
    print("nobody vouches for this certificate")
    await refused(port_of(secure), ssl.create_default_context(), "localhost")
    print("it is somebody else's")
    await refused(port_of(secure), client_context, "elsewhere.example")
    print("from plain to TLS in the middle")
    await in_the_middle(port_of(plain))

    secure.close()
    plain.close()
    await asyncio.gather(secure.wait_closed(), plain.wait_closed())


with tempfile.TemporaryDirectory() as directory:
    make_certificate(directory + "/certificate.pem", directory + "/key.pem")
    asyncio.run(main(directory + "/certificate.pem", directory + "/key.pem"))
