"""curl and wrk against examples/http_server: what is fetched is what lies there, and a thousand clients are served without an error."""
import re

from peers import Program, UNDER, allow_descriptors, check, directory, ended_by_ctrl_c, equal, finish, have, run, skip, write


def fetch(server):
    url = f"http://127.0.0.1:{server.port}"
    equal("a page", (b"<p>welcome</p>\n", 0), run("curl", "-sS", url + "/"))
    equal("its type", (b"text/html; charset=utf-8", 0), run("curl", "-sS", "-o", root + "/got", "-w", "%{content_type}", url + "/index.html"))
    equal("a large file", (b"200 5000000", 0), run("curl", "-sS", "-o", root + "/got", "-w", "%{http_code} %{size_download}", url + "/large.bin"))
    with open(root + "/got", "rb") as got:
        check("the large file's content", got.read() == large)
    equal("what is not there", (b"404", 0), run("curl", "-sS", "-o", root + "/got", "-w", "%{http_code}", url + "/absent"))
    equal("a way out of the directory", (b"403", 0), run("curl", "-sS", "--path-as-is", "-o", root + "/got", "-w", "%{http_code}", url + "/../secret"))
    equal("POST", (b"405", 0), run("curl", "-sS", "-d", "x", "-o", root + "/got", "-w", "%{http_code}", url + "/"))
    head, status = run("curl", "-sS", "-I", url + "/large.bin")
    check("HEAD", status == 0 and b"Content-Length: 5000000" in head, head)
    output, status = run("curl", "-sSv", url + "/", url + "/index.html", url + "/absent")
    check("three requests over one connection", status == 0 and output.count(b"Re-using existing connection") == 2, output)
    output, status = run("curl", "--no-progress-meter", "-Z", "--parallel-max", "50", *[word for _ in range(200) for word in ("-o", root + "/got", url + "/")])
    check("two hundred requests, fifty at a time", status == 0 and b"curl:" not in output, output)
    equal("HTTP/1.0", (b"<p>welcome</p>\n", 0), run("curl", "-sS", "-0", url + "/"))


def under_load(server, connections, seconds):
    output, status = run("wrk", "-t", "2", "-c", connections, "-d", seconds, "--timeout", "30s", f"http://127.0.0.1:{server.port}/")
    text = output.decode()
    found = re.search(r"(\d+) requests in", text)
    what = f"wrk with {connections} connections"
    check(f"{what}: every one was answered", status == 0 and found and int(found[1]) >= connections, text)
    check(f"{what}: no error", "Socket errors" not in text and "Non-2xx" not in text, text)


with directory() as root:
    large = bytes(i * 7 + (i >> 8) & 255 for i in range(5_000_000))
    write(root + "/index.html", b"<p>welcome</p>\n")
    write(root + "/large.bin", large)
    many = allow_descriptors(4000)
    server = Program("build/examples/http_server", root, 0, says=r"'127\.0\.0\.1', (\d+)")
    check("it says where it listens", server.port, server.first_line)
    if have("fetching from http_server", "curl"):
        fetch(server)
    if UNDER:
        skip("wrk", "under another program everything is slow")
    elif not many:
        skip("wrk", "the limit of open files is too low")
    elif have("load on http_server", "wrk"):
        under_load(server, 10, "1s")
        under_load(server, 1000, "2s")
    ended_by_ctrl_c(server, "http_server")
finish()
