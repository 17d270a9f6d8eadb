"""The services of the attack table's world: HTTP, DNS, unix sockets, shared memory. All on addresses of its own lo."""
import ctypes
import os
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ALLOWED, DENIED, DENIED6 = "203.0.113.10", "203.0.113.20", "2001:db8::20"
DNS, META = "203.0.113.53", "169.254.169.254"
HPORT = 18080
LOGS = "/tmp/rf"
EXTRA = ["100.64.0.10", "169.254.10.10"]
NAMES = {
    "allowed.example": ALLOWED,
    "other.example": ALLOWED,
    "denied.example": DENIED,
    "meta.example": META,
    "loop.example": "127.0.0.1",
    "metadata.google.internal": META,
}
# Some hosts have none.
IPV6 = os.path.exists("/proc/sys/net/ipv6")


def netlink(kind, flags, body):
    """One rtnetlink request, acknowledged (man 7 rtnetlink)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.bind((0, 0))
        s.send(struct.pack("=LHHLL", 16 + len(body), kind, 1 | 4 | flags, 1, 0) + body)
        error = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if error and error != -17:
            raise OSError(-error, os.strerror(-error))


def addresses():
    """A name of our own; lo up, and the addresses of the world on it."""
    socket.sethostname("ringfence-world")
    netlink(16, 0, struct.pack("=BxHiII", 0, 0, 1, 1, 1))
    for text in [ALLOWED, DENIED, DENIED6, DNS, META] + EXTRA:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        if family == socket.AF_INET6 and not IPV6:
            continue
        raw = socket.inet_pton(family, text)
        prefix, flags = (128, 2) if ":" in text else (32, 0)
        parts = b"".join(struct.pack("=HH", 4 + len(raw), k) + raw for k in (1, 2))
        netlink(20, 0x600, struct.pack("=BBBBI", family, prefix, flags, 0, 1) + parts)


def note(name, text):
    """Appends a line to one of the world's logs."""
    with open(os.path.join(LOGS, name), "a", encoding="utf-8", errors="replace") as f:
        f.write(text + "\n")


class Web(BaseHTTPRequestHandler):
    """Says which server was reached, by address and by Host."""

    protocol_version = "HTTP/1.0"

    def reply(self):
        host = self.headers.get("Host", "")
        note("hits.log", f"{self.requestline} | {host} | {self.headers.get('Authorization', '')}")
        names = [self.server.says]
        if "denied.example" in host.lower():
            names.append("CANARY-DENIED")
        if "/admin" in self.path:
            names.append("CANARY-ADMIN")
        body = f"{' '.join(names)} host={host} path={self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = reply

    def log_message(self, *args):
        pass


class Web6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def web(address, port, says):
    """One web server in the background."""
    if ":" in address and not IPV6:
        return
    kind = Web6 if ":" in address else ThreadingHTTPServer
    server = kind((address, port), Web)
    server.daemon_threads = True
    server.says = says
    threading.Thread(target=server.serve_forever, daemon=True).start()


def talk(connection, says):
    """One conversation: a word for whatever was sent."""
    with connection:
        try:
            connection.settimeout(20)
            connection.recv(999)
            connection.sendall(says)
        except OSError:
            pass


def accept(server, says):
    """Answers every connection of a stream socket."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=talk, args=(connection, says), daemon=True).start()


def unix(path, says=b"CANARY-SOCK\n", kind=socket.SOCK_STREAM):
    """A unix socket that says a word to whoever connects."""
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(path)
    if kind == socket.SOCK_STREAM:
        server.listen(64)
        threading.Thread(target=accept, args=(server, says), daemon=True).start()
    KEEP.append(server)


def dns():
    """Logs every name that is asked and answers those of the world."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((DNS, 53))
    while True:
        query, who = server.recvfrom(4096)
        try:
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
                at += query[at] + 1
            name = ".".join(labels)
            kind = struct.unpack_from(">H", query, at + 1)[0]
            question = query[12 : at + 5]
            note("dns.log", name)
            found = NAMES.get(name.lower()) or (DENIED if name.lower().endswith(".denied.example") else None)
            if found and kind == 1:
                answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(found)
                head = query[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
                server.sendto(head + question + answer, who)
            else:
                code = 0x8180 if found else 0x8183
                server.sendto(query[:2] + struct.pack(">5H", code, 1, 0, 0, 0) + question, who)
        except (IndexError, struct.error, OSError):
            continue


def sink(address, port):
    """Keeps what arrives at a port that nobody was granted."""
    if ":" in address and not IPV6:
        return
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, port))
    while True:
        note("sink.log", server.recv(65536).decode("latin-1"))


def memory():
    """The System V segment and the message queue that rows IP10 and IP11 look for."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0x52460001, 4096, 0o1666)
    ctypes.memmove(ctypes.c_void_p(libc.shmat(segment, 0, 0)), b"CANARY-SHM", 10)
    KEEP.append(libc.mq_open(b"/rfq", os.O_CREAT | os.O_RDWR, 0o666, None))


def serve():
    """Starts everything, says `ready`, and stays."""
    for name in ("hits.log", "dns.log", "sink.log"):
        open(os.path.join(LOGS, name), "a").close()
    web("127.0.0.1", HPORT, "CANARY-HOSTSVC")
    web("::1", HPORT, "CANARY-HOSTSVC")
    web(ALLOWED, 80, "CANARY-ALLOWED")
    web(DENIED, 80, "CANARY-DENIED")
    web(DENIED6, 80, "CANARY-DENIED")
    web(META, 80, "CANARY-META")
    run = f"/run/user/{os.getuid()}"
    unix("\0rf-abstract", b"CANARY-ABS\n")
    unix("\0rf-abstractd", kind=socket.SOCK_DGRAM)
    unix("\0/tmp/.X11-unix/X0")
    for path in (
        "/tmp/.X11-unix/X0",
        "/tmp/ssh-world/agent.1",
        f"{run}/wayland-0",
        f"{run}/pulse/native",
        f"{run}/pipewire-0",
        f"{run}/gnupg/S.gpg-agent",
        f"{run}/keyring/control",
        f"{run}/systemd/private",
        "/run/docker.sock",
        "/run/nscd/socket",
        "/run/avahi-daemon/socket",
        "/run/pcscd/pcscd.comm",
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/systemd/userdb/io.systemd.DynamicUser",
        "/run/systemd/journal/stdout",
    ):
        unix(path)
    for path in ("/run/systemd/journal/socket", "/run/systemd/journal/dev-log", "/run/systemd/notify"):
        unix(path, kind=socket.SOCK_DGRAM)
    memory()
    for target, args in ((dns, ()), (sink, (DENIED, 9999)), (sink, (DENIED6, 9999))):
        threading.Thread(target=target, args=args, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        # A socket of its own for each row, where the row's directories are.
        unix(line.rstrip("\n"))
        print("ok", flush=True)


KEEP = []
if __name__ == "__main__":
    addresses() if sys.argv[1:] == ["addresses"] else serve()
