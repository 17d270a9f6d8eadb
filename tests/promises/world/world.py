"""A host of the test's own: addresses that look public on its lo, servers there, then the command; nothing leaves the machine.

Usage: world.py DIRECTORY COMMAND... in fresh network and mount namespaces. DIRECTORY gets the logs, a certificate
authority, and `site`, which the web servers serve.
"""
import base64
import ctypes
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import services
import sink

ALLOWED, DENIED, ALLOWED6, DENIED6 = "203.0.113.10", "203.0.113.20", "2001:db8::10", "2001:db8::20"
DNS, META, PRIVATE = "203.0.113.53", "169.254.169.254", "10.9.8.7"
FOUR = {
    "allowed.example": ALLOWED,
    "www.wild.example": ALLOWED,
    "bad.wild.example": ALLOWED,
    "denied.example": DENIED,
    "loop.example": "127.0.0.1",
    "meta.example": META,
    "private.example": PRIVATE,
    "alias.example": ALLOWED,
}
SIX = {"six.example": ALLOWED6, "mapped.example": "::ffff:10.9.8.7", "loop6.example": "::1"}
BASE = sys.argv[1]


def netlink(kind, flags, body):
    """One rtnetlink request, acknowledged (rtnetlink(7))."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.bind((0, 0))
        s.send(struct.pack("=LHHLL", 16 + len(body), kind, 1 | 4 | flags, 1, 0) + body)
        error = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if error:
            raise OSError(-error, os.strerror(-error))


def addresses():
    """lo up, with the addresses of the world."""
    netlink(16, 0, struct.pack("=BxHiII", 0, 0, 1, 1, 1))
    for text in [ALLOWED, DENIED, DNS, META, PRIVATE, ALLOWED6, DENIED6]:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        raw = socket.inet_pton(family, text)
        prefix, flags = (128, 2) if ":" in text else (32, 0)
        parts = b"".join(struct.pack("=HH", 4 + len(raw), k) + raw for k in (1, 2))
        netlink(20, 0x600, struct.pack("=BBBBI", family, prefix, flags, 0, 1) + parts)


def resolver():
    """/etc/resolv.conf of this world."""
    path = os.path.join(BASE, "resolv.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"nameserver {DNS}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    real = os.path.realpath("/etc/resolv.conf")
    if libc.mount(path.encode(), real.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "mount")


def note(name, text):
    """Appends a line to a log."""
    with open(os.path.join(BASE, name), "a", encoding="utf-8", errors="replace") as f:
        f.write(text + "\n")


class Web(SimpleHTTPRequestHandler):
    """Serves the site, and says which server was reached by whom."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    kept = ""

    def oddly(self):
        """What it was sent as a reason phrase, and as the name of a header and of a trailer."""
        said = self.headers.get("Authorization", "").split(" ")[-1]
        self.send_response(200, said)
        self.send_header(said, "1")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", said)
        self.end_headers()
        self.wfile.write(f"5\r\nodd\ng\r\n0\r\n{said}: {said}\r\n\r\n".encode())

    def hit(self):
        host = self.headers.get("Host", "")
        note("hits.log", f"{self.server.says} {self.command} {self.path} {host}")
        heads = "".join(f"; {name.lower()}={value}" for name, value in self.headers.items())
        note("heads.log", f"{self.server.says} {self.command} {self.path}{heads}")
        return host

    def do_GET(self):
        host = self.hit()
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        if self.path.startswith("/sink/"):
            return sink.serve(self, BASE)
        if self.path.startswith("/site/"):
            self.path = self.path[5:]
            return super().do_GET()
        if self.path.startswith("/git/"):
            return services.git(self, BASE)
        if self.path.startswith("/reflect"):
            return self.reply(f"{self.path}\n{self.headers}".encode())
        if self.path.startswith("/crates/"):
            return services.cargo(self, BASE)
        if self.path.startswith("/npm/"):
            return services.npm(self, BASE)
        if self.path.startswith("/token?"):
            return services.realm(self, BASE)
        if self.path.startswith("/api/"):
            return services.api(self, BASE)
        if self.path.startswith("/repo/keep"):
            Web.kept = str(self.headers)
        if self.path.startswith("/repo/kept"):
            return self.reply(Web.kept.encode())
        if self.path.startswith("/repo/oddly"):
            return self.oddly()
        if self.path == "/guarded":
            with open(os.path.join(BASE, "expected"), encoding="ascii") as f:
                good = self.headers.get("Authorization") == f"Bearer {f.read()}"
            return self.reply(b"good\n" if good else b"bad\n", 200 if good else 401)
        body = f"{self.server.says} host={host} path={self.path}\n".encode()
        self.reply(body)

    def websocket(self):
        """Sends back each message (RFC 6455), until the other side ends."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection, all_said = True, self.path.encode() + b" "
        while len(head := self.rfile.read(2)) == 2:
            length = head[1] & 127
            if length == 126:
                (length,) = struct.unpack(">H", self.rfile.read(2))
            mask, said = self.rfile.read(4), self.rfile.read(length)
            said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(said))
            note("hits.log", f"WEBSOCKET {len(said)}")
            if self.path.startswith("/sink/"):
                all_said += said
                sink.said(all_said, BASE)
            size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length)
            self.wfile.write(b"\x81" + size + said)

    def do_PUT(self):
        self.hit()
        return services.npm(self, BASE) if self.path.startswith("/npm/") else services.cargo(self, BASE)

    def do_POST(self):
        self.hit()
        if self.path.startswith("/sink/"):
            return sink.serve(self, BASE)
        if self.path.startswith("/git/"):
            return services.git(self, BASE)
        if self.path == "/oauth/token":
            return services.token(self, BASE)
        if self.path in ("/v1/messages", "/v1/chat/completions"):
            return services.stream(self, BASE)
        digest, left = hashlib.sha256(), int(self.headers.get("Content-Length", 0))
        while "chunked" in self.headers.get("Transfer-Encoding", ""):
            size = int(self.rfile.readline() or b"0", 16)
            digest.update(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                break
        while left:
            part = self.rfile.read(min(left, 1 << 16))
            digest.update(part)
            if int(self.headers["Content-Length"]) < 4096:
                note("bodies.log", part.decode("latin-1"))
            left -= len(part)
        self.reply(digest.hexdigest().encode() + b"\n")

    def reply(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Server6(Server):
    address_family = socket.AF_INET6


def web(address, port, says, context=None):
    kind = Server6 if ":" in address else Server
    server = kind((address, port), partial(Web, directory=os.path.join(BASE, "site")))
    server.says = says
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def conversations(address, port, talk):
    """Each connection is a conversation of its own."""
    server = socket.create_server((address, port), backlog=512)

    def loop():
        while True:
            connection, _ = server.accept()
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def greets(connection):
    """A server that speaks first, as ssh and databases do."""
    with connection:
        connection.sendall(b"hello first\n")
        said = connection.recv(99)
        connection.sendall(b"heard " + said)


def echoes(connection):
    """Sends back what it hears, and ends when the other side has."""
    with connection:
        while part := connection.recv(1 << 16):
            connection.sendall(part)


def dns():
    """Logs what is asked and answers what is known."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((DNS, 53))

    def loop():
        while True:
            query, who = server.recvfrom(4096)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
                at += query[at] + 1
            name, kind = ".".join(labels).lower(), struct.unpack_from(">H", query, at + 1)[0]
            note("dns.log", name)
            known = name in FOUR or name in SIX
            records = b""
            count = 0
            owner = b"\xc0\x0c"
            lasts = 1 if name == "alias.example" else 60
            if name == "alias.example":
                target = b"\x07allowed\x07example\x00"
                records = owner + struct.pack(">HHIH", 5, 1, lasts, len(target)) + target
                count, owner = 1, target
            if kind == 1 and name in FOUR:
                records += owner + struct.pack(">HHIH", 1, 1, lasts, 4) + socket.inet_aton(FOUR[name])
                count += 1
            if kind == 28 and name in SIX:
                records += owner + struct.pack(">HHIH", 28, 1, lasts, 16) + socket.inet_pton(socket.AF_INET6, SIX[name])
                count += 1
            head = query[:2] + struct.pack(">5H", 0x8180 if known else 0x8183, 1, count, 0, 0)
            server.sendto(head + query[12 : at + 5] + records, who)

    threading.Thread(target=loop, daemon=True).start()


def certificate():
    """A certificate authority, and a server's certificate from it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": BASE}
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    subprocess.run(new + ["-subj", "/CN=world", "-keyout", "ca.key", "-out", "ca.pem"], **quiet)
    names = ",".join(f"DNS:{name}" for name in [*FOUR, *SIX])
    leaf = ["-subj", "/CN=server", "-addext", f"subjectAltName={names},IP:{ALLOWED}", "-CA", "ca.pem", "-CAkey", "ca.key"]
    leaf += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(new + leaf + ["-keyout", "server.key", "-out", "server.pem"], **quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(BASE, "server.pem"), os.path.join(BASE, "server.key"))
    return context


socket.getfqdn = lambda *_: "world"  # It would ask for names.


def main():
    os.makedirs(os.path.join(BASE, "site"), exist_ok=True)
    for name in ("hits.log", "dns.log", "heads.log", "bodies.log"):
        open(os.path.join(BASE, name), "a").close()
    addresses()
    resolver()
    context = certificate()
    dns()
    for port, tls in ((80, None), (443, context), (8000, None)):
        web(ALLOWED, port, "ALLOWED", tls)
        web(ALLOWED6, port, "ALLOWED6", tls)
        web(DENIED, port, "DENIED", tls)
        web(DENIED6, port, "DENIED", tls)
        web(PRIVATE, port, "PRIVATE", tls)
    web(META, 80, "META")
    web("127.0.0.1", 80, "LOOPBACK")
    web("127.0.0.1", 8000, "LOOPBACK")
    conversations(ALLOWED, 7000, greets)
    conversations(ALLOWED, 7001, echoes)
    sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)


main()
