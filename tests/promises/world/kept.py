"""A server that counts its connections and the requests on each.

Usage: kept.py DIRECTORY. It answers with both numbers. Behind a request for /repo/trap, the next one on that connection gets no answer.
"""
import itertools
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BASE = sys.argv[1]
numbers = itertools.count(1)


class Counts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.number, self.requests, self.trap = next(numbers), 0, False

    def do_GET(self):
        self.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.trap:
            self.close_connection = True
            return
        self.trap = self.path == "/repo/trap"
        body = f"{self.command} {self.number}.{self.requests}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(BASE, "server.pem"), os.path.join(BASE, "server.key"))
server = ThreadingHTTPServer(("203.0.113.10", 8443), Counts)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
open(os.path.join(BASE, "kept.ready"), "w").close()
server.serve_forever()
