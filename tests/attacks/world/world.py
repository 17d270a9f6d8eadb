"""The services of the attack table's world: web servers, DNS, unix sockets, shared memory. All on addresses of its own lo.

Usage: world.py addresses | capture | nothing. The first two need rights on the network, and are done before those are left.
"""
import ctypes
import os
import socket
import struct
import sys
import threading

import web

ALLOWED, DENIED, DENIED6 = "203.0.113.10", "203.0.113.20", "2001:db8::20"
DNS, META = "203.0.113.53", "169.254.169.254"
HPORT = 18080
LOGS = "/tmp/rf"
EXTRA = ["100.64.0.10", "169.254.10.10"]
# Where the judge sends a packet to see that the capture is awake.
MARK = "192.0.2.77"
# What clouds serve metadata and credentials at, beside META.
CLOUDS = ["100.100.100.200", "169.254.170.2", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"]
NAMES = {
    "allowed.example": [ALLOWED],
    "other.example": [ALLOWED],
    "denied.example": [DENIED],
    "meta.example": [META],
    "loop.example": ["127.0.0.1"],
    "metadata.google.internal": [META],
    "mixed.example": [ALLOWED, "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "compatible.example": ["::169.254.169.254"],
    "nat64.example": ["64:ff9b::a9fe:a9fe"],
    "sixtofour.example": ["2002:a9fe:a9fe::1"],
    **{name: [ALLOWED] for name in web.WRONG},
}
# Some hosts have none.
IPV6 = os.path.exists("/proc/sys/net/ipv6")
# One answer, then others.
TURNS = {"rebind.example": [ALLOWED, "127.0.0.1", "127.0.0.1"]}


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
    for text in [ALLOWED, DENIED, DENIED6, DNS, META] + EXTRA + CLOUDS + [MARK]:
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


def found(name, kind):
    """The addresses of a name."""
    if name in TURNS and kind == 1:
        TURNS[name].append(TURNS[name].pop(0))
        return TURNS[name][-1:]
    if name.endswith(".denied.example"):
        return [DENIED]
    return [ALLOWED] if name in TURNS or name.endswith(".wild.example") else NAMES.get(name)


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
            known = found(name.lower(), kind) if kind in (1, 28) else NAMES.get(name.lower())
            records = [text for text in known or [] if kind == (28 if ":" in text else 1)]
            answers = b""
            for text in records:
                raw = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
                answers += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(raw)) + raw
            head = query[:2] + struct.pack(">5H", 0x8183 if known is None else 0x8180, 1, len(records), 0, 0)
            server.sendto(head + question + answers, who)
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


def capture():
    """Notes each packet on lo that no grant of a network row explains: address, protocol, port. It ends with the world."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    wire.bind(("lo", 0))
    print("capture", flush=True)
    while True:
        packet, (_, kind, way, *_) = wire.recvfrom(96)
        if way == socket.PACKET_OUTGOING:
            continue
        if kind == 0x0800 and len(packet) >= 20:
            to, protocol, above = socket.inet_ntoa(packet[16:20]), packet[9], (packet[0] & 15) * 4
        elif kind == 0x86DD and len(packet) >= 40:
            to, protocol, above = socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[6], 40
        else:
            to, protocol, above = f"kind-{kind:04x}", 0, 0
        port = int.from_bytes(packet[above + 2 : above + 4], "big") if protocol in (6, 17, 136) else 0
        # Answers go to the address that was asked, on lo, so what begins a connection is what counts.
        begins = protocol == 6 and packet[above + 13 : above + 14] and packet[above + 13] & 18 == 2
        granted = protocol == 6 and (not begins or port in (80, 443, HPORT))
        if to not in (DNS, "127.0.0.1", "::1") and not (to == ALLOWED and granted):
            note("wire.log", f"{to} {protocol} {port}")


def serve():
    """Starts everything, says `ready`, and stays."""
    for name in ("hits.log", "dns.log", "sink.log", "wire.log"):
        open(os.path.join(LOGS, name), "a").close()
    web.NOTE = note
    tls = web.contexts()
    for address, says in (("127.0.0.1", "HOSTSVC"), ("::1", "HOSTSVC"), (ALLOWED, "ALLOWED"), (DENIED, "DENIED"),
                          (DENIED6, "DENIED"), (META, "META"), *((address, "META") for address in CLOUDS)):
        if ":" in address and not IPV6:
            continue
        web.serve(address, HPORT if says == "HOSTSVC" else 80, f"CANARY-{says}")
        if says in ("ALLOWED", "DENIED"):
            web.serve(address, 443, f"CANARY-{says}", tls)
    web.serve(DNS, 853, "CANARY-RESOLVER", tls)
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
    for target, args in ((dns, ()), *((sink, (a, p)) for a in (DENIED, DENIED6, ALLOWED) for p in (443, 9999))):
        threading.Thread(target=target, args=args, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        # A socket of its own for each row, where the row's directories are.
        unix(line.rstrip("\n"))
        print("ok", flush=True)


KEEP = []
if __name__ == "__main__":
    if sys.argv[1:] == ["addresses"]:
        addresses()
        web.certificates([*NAMES, "*.wild.example"])
    elif sys.argv[1:] == ["capture"]:
        capture()
    else:
        serve()
