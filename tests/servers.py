"""A loopback HTTP server for tests: it answers POST requests as a function says."""

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, **more):
    """The body of a chat completion."""
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], **more}


@contextmanager
def serve(answer):
    """Serve on a free port; give (url, requests).

    answer(body, headers): status, body (an object for JSON, or bytes) and, optionally, headers; None to hang up, "reset" to
    reset the connection.
    requests: what was received: (path, body, headers), in order.
    """
    received = []

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, body, dict(self.headers)))
            result = answer(body, self.headers)
            if result in (None, "reset"):
                if result == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                self.close_connection = True
                return
            status, content, *headers = result
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            half = bool(headers and "X-Half" in headers[0])  # promise twice of what is sent
            self.send_header("Content-Length", str(len(content) * (1 + half)))
            self.close_connection = half
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(content)
                if headers and "X-Stall" in headers[0]:
                    time.sleep(1)
            except OSError:  # the client has given up waiting
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", received
    finally:
        server.shutdown()
        server.server_close()
