"""A server that asks who is there: TLS with certificates of clients, from the world's own authority.

Usage: mutual.py DIRECTORY. It answers every request with the client's name, and notes both in DIRECTORY/mutual.log.
"""
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BASE = sys.argv[1]


class Who(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        own = self.connection.getpeercert()
        names = [value for kind, value in own.get("subjectAltName", ()) if kind == "URI"]
        names += [value for part in own["subject"] for key, value in part if key == "commonName"]
        with open(os.path.join(BASE, "mutual.log"), "a", encoding="utf-8") as f:
            f.write(f"{names[0]} {own['serialNumber']} {self.path}\n")
        body = f"you are {names[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # Bodies are left unread: what is in one comes next, unless the connection ends.
    do_POST = do_GET


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(BASE, "server.pem"), os.path.join(BASE, "server.key"))
context.load_verify_locations(os.path.join(BASE, "ca.pem"))
context.verify_mode = ssl.CERT_REQUIRED
server = ThreadingHTTPServer(("203.0.113.10", 8443), Who)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
open(os.path.join(BASE, "mutual.log"), "a").close()
open(os.path.join(BASE, "mutual.ready"), "w").close()
server.serve_forever()
