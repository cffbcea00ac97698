"""A loopback HTTP server for tests: it answers POST requests as a function says."""

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Closing a socket that lingers for 0 seconds resets the connection.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def completion(text, **more):
    """The body of a chat completion."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "stop"}], **more}


def always(*answer):
    """Return a function that gives the same answer to every request."""
    return lambda body, headers: answer


def content_headers(length):
    return {"Content-Type": "application/json", "Content-Length": str(length)}


def make_handler(answer, received):
    """Return a handler class that answers as `answer` says and appends each request to a list."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, body, dict(self.headers)))
            result = answer(body, self.headers)
            if result is None or result == "reset":
                self.drop(reset=result == "reset")
            else:
                self.reply(*result)

        def drop(self, reset):
            """Close the connection without an answer."""
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                self.connection.close()
            self.close_connection = True

        def reply(self, status, body, headers=None):
            headers = headers or {}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            half = "X-Half" in headers  # only half of what is promised is sent
            promised = 2 * len(content) if half else len(content)
            self.close_connection = half
            self.send_response(status)
            for name, value in (content_headers(promised) | headers).items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(content)
                if "X-Stall" in headers:
                    time.sleep(1)
            except OSError:  # the client has given up waiting
                self.close_connection = True

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serve(answer):
    """Serve on a free port; yield (url, requests).

    answer(body, headers): returns a status, a body (an object for JSON, or bytes) and, if there are
    any, headers. None closes the connection without an answer, "reset" resets it.
    requests: the list of what was received, in order: (path, body, headers).
    """
    received = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(answer, received))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", received
    finally:
        server.shutdown()
        server.server_close()
