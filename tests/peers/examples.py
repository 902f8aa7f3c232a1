"""Each of examples/ is started, used as its first lines say, and ended by Ctrl-C while clients are there."""
import contextlib
import glob
import os
import re
import socket
import struct

from peers import UNDER, Program, check, directory, ended_by_ctrl_c, equal, finish, run, write

LISTENING = r"'127\.0\.0\.1', (\d+)"


class Client:
    """A plain socket, line by line."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.received = b""

    def send(self, text):
        self.socket.sendall(text.encode())

    def until(self, end):
        while end.encode() not in self.received:
            data = self.socket.recv(65536)
            if not data:
                break
            self.received += data
        text, found, self.received = self.received.partition(end.encode())
        return (text + found).decode()

    def reset(self):
        """Breaks the connection off, as a machine that is switched off does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def clients(port, count):
    return [Client(port) for _ in range(count)]


def echo_server():
    server = Program("build/examples/echo_server", 0, says=LISTENING)
    one, two, three = clients(server.port, 3)
    for number in range(3):
        one.send(f"line {number}\n")
        two.send(f"other {number}\n")
        equal("an echo", f"line {number}\n", one.until("\n"))
        equal("another's", f"other {number}\n", two.until("\n"))
    one.socket.shutdown(socket.SHUT_WR)
    equal("at its end the server closes", "", one.until("\n"))
    two.reset()
    three.send("half a li")
    three.send("ne\n")
    equal("a line in two parts", "half a line\n", three.until("\n"))
    out = ended_by_ctrl_c(server, "echo_server")
    for said, times in (("has come", 3), ("has gone", 2), ("is lost", 1)):
        equal(f"how often it says '{said}'", times, out.count(said))


def echo_client():
    server = Program("build/examples/echo_server", 0, says=LISTENING)
    output, status = run(*UNDER, "build/examples/echo_client", server.port, "one", "two and three")
    equal("echo_client's output", "sent one got b'one\\n'\nsent two and three got b'two and three\\n'\n", output.decode())
    equal("its exit status", 0, status)
    ended_by_ctrl_c(server, "echo_server")
    output, status = run(*UNDER, "build/examples/echo_client", server.port, "one")
    equal("without a server: the exit status", 1, status)
    check("without a server: the exception", b"ConnectionRefusedError: [Errno 111] Connect call failed" in output, output)
    equal("without arguments", 2, run(*UNDER, "build/examples/echo_client")[1])


def chat_server():
    server = Program("build/examples/chat_server", 0, says=LISTENING)
    ann, bob, eve = clients(server.port, 3)
    for guest, name in ((ann, "ann"), (bob, "bob"), (eve, "eve")):
        equal("it asks", "Your name? ", guest.until("? "))
        guest.send(name + "\n")
        for other in {ann: [], bob: [ann], eve: [ann, bob]}[guest]:
            equal("the others hear who comes", f"* {name} has come\n", other.until("\n"))
    ann.send("hello all\n")
    equal("bob hears ann", "ann: hello all\n", bob.until("\n"))
    equal("eve hears ann", "ann: hello all\n", eve.until("\n"))
    eve.socket.shutdown(socket.SHUT_WR)
    equal("who goes is told", "* eve has gone\n", bob.until("\n"))
    bob.send("still here\n")
    equal("ann hears it first of eve, then of bob", "* eve has gone\nbob: still here\n", ann.until("\n") + ann.until("\n"))
    ended_by_ctrl_c(server, "chat_server")
    equal("Ctrl-C closes the connections", "", ann.until("\n"))


@contextlib.contextmanager
def site():
    with directory() as root:
        write(root + "/index.html", b'<a href="/a.html">a</a> <a href="/b.txt">b</a>')
        write(root + "/a.html", b'<a href="/">up</a> <a href="/absent">gone</a>')
        write(root + "/b.txt", b"text\n")
        yield Program("build/examples/http_server", root, 0, says=LISTENING)


def http_server():
    with site() as server:
        slow, fast = clients(server.port, 2)
        slow.send("GET /b.txt HT")
        fast.send("GET /b.txt HTTP/1.1\r\nHost: x\r\n\r\nGET /absent HTTP/1.1\r\nHost: x\r\n\r\n")
        head = fast.until("\r\n\r\n")
        check("the answer", head.startswith("HTTP/1.1 200 OK\r\n") and "Content-Length: 5" in head, head)
        equal("its body", "text\n", fast.until("\n"))
        check("the second request of two sent at once", fast.until("\r\n\r\n").startswith("HTTP/1.1 404 Not Found\r\n"))
        slow.send("TP/1.0\r\n\r\n")
        check("a request in two parts", slow.until("text\n").endswith("\r\n\r\ntext\n"))
        equal("HTTP/1.0 ends with the answer", "", slow.until("\n"))
        ended_by_ctrl_c(server, "http_server")


def crawler():
    with site() as server:
        output, status = run(*UNDER, "build/examples/crawler", "127.0.0.1", server.port, "/")
        lines = sorted(re.sub(r" +", " ", line) for line in output.decode().splitlines())
        check("what the crawler says", status == 0 and lines[-1] == "4 pages" or lines[0] == "4 pages", *lines)
        for page, answer in (("/", "200 OK"), ("/a.html", "200 OK"), ("/b.txt", "200 OK"), ("/absent", "404 Not Found")):
            check(f"the page {page}", any(line.startswith(f"{page} HTTP/1.1 {answer}, ") for line in lines), *lines)
        ended_by_ctrl_c(server, "http_server")
    output, status = run(*UNDER, "build/examples/crawler", "127.0.0.1", server.port, "/")
    check("without a server it says so", status == 0 and b"/ failed: ConnectionRefusedError(" in output, output)


EXAMPLES = [echo_server, echo_client, chat_server, http_server, crawler]

for example in EXAMPLES:
    example()
there = sorted(os.path.splitext(os.path.basename(path))[0] for path in glob.glob("examples/*.c"))
equal("each example is tried here", there, sorted(example.__name__ for example in EXAMPLES))
finish()
