"""An S3 endpoint on loopback: moto's server, behind a proxy that can be slow, fail, and cut uploads off in the middle."""

import http.client
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "scans"


@contextmanager
def s3_endpoint():
    """The address of an S3 server with one empty bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Faults:
    """What a proxy does to requests: every `fail`th is answered with 500, every `cut`th upload ends halfway, all are `slow`."""

    def __init__(self, *, fail=0, cut=0, slow=0.0):
        self.fail, self.cut, self.slow = fail, cut, slow
        self.requests = self.uploads = self.failed = self.halved = 0
        self.lock = threading.Lock()

    def next(self, upload):
        """Whether this request fails, and whether it is cut."""
        with self.lock:
            self.requests += 1
            self.uploads += upload
            fails = bool(self.fail and self.requests % self.fail == 0)
            cut = bool(upload and self.cut and self.uploads % self.cut == 0 and not fails)
            self.failed += fails
            self.halved += cut
        return fails, cut


@contextmanager
def faulty(endpoint, faults):
    """The address of a proxy for an endpoint."""
    host, port = endpoint.removeprefix("http://").split(":")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Nothing on the terminal of a test."""

        def forward(self):
            length = int(self.headers.get("Content-Length", 0))
            fails, cut = faults.next(self.command == "PUT")
            time.sleep(faults.slow)
            body = self.rfile.read(length // 2 if cut else length)
            if cut:  # the connection breaks while the body is sent
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fails:
                self.answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
                return
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            # The names of buckets are in the path, so any host will do, and signatures aren't checked.
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self.answer(answer.status, dict(answer.getheaders()), answer.read())
            connection.close()

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
