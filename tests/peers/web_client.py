"""Our client against a real web server: examples/crawler fetches a small site from nginx."""
import os
import subprocess
import time

from peers import UNDER, check, directory, equal, finish, free_port, have, run, write

CONFIG = """
daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type text/html;
    client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
    server {{ listen 127.0.0.1:{port}; root {root}/site; }}
}}
"""


def start(root):
    """nginx on a free port: somebody may take it between the choice and the start, so there are several attempts."""
    for _ in range(5):
        port = free_port()
        write(root + "/conf", CONFIG.format(root=root, port=port).encode())
        nginx = subprocess.Popen(["nginx", "-c", root + "/conf", "-e", root + "/error.log"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        for _ in range(500):
            if run("curl", "-s", "-o", root + "/probe", f"http://127.0.0.1:{port}/")[1] == 0:
                return nginx, port
            if nginx.poll() is not None:
                break
            time.sleep(0.01)
        nginx.kill()
        nginx.wait()
    return None, None


def crawl(port):
    output, status = run(*UNDER, "build/examples/crawler", "127.0.0.1", port, "/")
    lines = output.decode().splitlines()
    equal("the crawler ends", 0, status)
    equal("it has seen all pages", "13 pages", lines[-1])
    pages = {line.split()[0]: line for line in lines[:-1]}
    check("each once", len(pages) == 13 and len(lines) == 14, *lines)
    for i in range(10):
        check(f"page {i}", "HTTP/1.1 200 OK" in pages.get(f"/page{i}.html", ""), *lines)
    check("a large page came whole", int(pages["/large.html"].split()[-2]) > 3_000_000, pages["/large.html"])
    check("what is not there is told", "HTTP/1.1 404 Not Found" in pages.get("/absent.html", ""), *lines)


if have("fetching from nginx", "nginx") and have("fetching from nginx", "curl"):
    with directory() as root:
        os.chmod(root, 0o755)
        os.mkdir(root + "/site")
        links = "".join(f'<a href="/page{i}.html">{i}</a>\n' for i in range(10))
        write(root + "/site/index.html", (links + '<a href="/large.html">large</a>').encode())
        for i in range(10):
            write(f"{root}/site/page{i}.html", f'<a href="/">up</a> <a href="/page{(i + 1) % 10}.html">on</a>'.encode())
        write(root + "/site/large.html", b"x" * 3_000_000 + b'<a href="/absent.html">gone</a>')
        server, port = start(root)
        check("nginx starts", server, open(root + "/error.log").read() if os.path.exists(root + "/error.log") else "")
        if server:
            crawl(port)
            server.terminate()
            server.wait()
finish()
