"""Clients that the corpus sends by: HTTP/1.1 on a connection that is kept, HTTP/2 by hand, a WebSocket, names."""
import base64
import contextlib
import http.client
import os
import socket
import ssl
import threading

HOST = "allowed.example"
own = threading.local()


def context(protocols):
    made = ssl.create_default_context()
    made.set_alpn_protocols(protocols)
    return made


ONE, TWO = context(["http/1.1"]), context(["h2"])


def ask(method, path, body=None, headers=None, chunks=None, trailers=None):
    """Whether the server answered. An error counts only on a connection that was new."""
    for fresh in (False, True):
        if fresh or getattr(own, "link", None) is None:
            fresh = True
            own.link = http.client.HTTPSConnection(HOST, timeout=9, context=ONE)
        try:
            with contextlib.suppress(OSError):
                # Who refuses may answer before all was sent.
                send(own.link, method, path, body, headers or {}, chunks, trailers)
            return answer(own.link)
        except (OSError, http.client.HTTPException):
            drop()
            if fresh:
                break
    return False


def send(link, method, path, body, headers, chunks, trailers):
    chunked = chunks is not None or trailers
    link.putrequest(method, path, skip_accept_encoding=True)
    if chunked and "Transfer-Encoding" not in headers:
        link.putheader("Transfer-Encoding", "chunked")
    elif body is not None:
        link.putheader("Content-Length", str(len(body)))
    for name, value in headers.items():
        link.putheader(name, value)
    link.endheaders()
    if chunked:
        for part in chunks or [body]:
            link.send(b"%x\r\n%s\r\n" % (len(part), part))
        link.send(b"0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in trailers or []) + b"\r\n")
    elif body is not None:
        link.send(body)


def answer(link):
    response = link.getresponse()
    response.read()
    if response.will_close:
        drop()
    return response.status in (200, 501)


def drop():
    own.link.close()
    own.link = None


def field(name, value):
    """A literal that nothing remembers (RFC 7541, section 6.2.2)."""
    return b"\0" + sized(name) + sized(value)


def sized(text):
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, out = len(text) - 127, b"\x7f"
    while rest > 127:
        out, rest = out + bytes([rest & 127 | 128]), rest >> 7
    return out + bytes([rest]) + text


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def two(method, path, parts=(), headers=(), trailers=()):
    """The same by HTTP/2, each part a frame of its own."""
    with TWO.wrap_socket(socket.create_connection((HOST, 443), 9), server_hostname=HOST) as link:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", HOST.encode()), (b":path", path)]
        block = b"".join(field(*pair) for pair in [*pseudo, *headers])
        last = 0 if parts or trailers else 1
        said = frame(1, 4 | last, 1, block)
        for at, part in enumerate(parts):
            said += frame(0, 1 if at + 1 == len(parts) and not trailers else 0, 1, part)
        if trailers:
            said += frame(1, 5, 1, b"".join(field(*pair) for pair in trailers))
        try:
            link.sendall(said)
            reader = link.makefile("rb")
            while len(head := reader.read(9)) == 9:
                payload = reader.read(int.from_bytes(head[:3], "big"))
                if head[3] == 1:
                    # A change of the table's size, then 200 by its index.
                    return payload.lstrip(bytes(range(0x20, 0x40)))[:1] == b"\x88"
                if head[3] in (3, 7):
                    return False
        except OSError:
            pass
        return False


def websocket(path, frames):
    """Opens one and says these frames, each with its first byte; whether it was let."""
    with ONE.wrap_socket(socket.create_connection((HOST, 443), 9), server_hostname=HOST) as link:
        key = base64.b64encode(os.urandom(16)).decode()
        heads = f"Host: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        link.sendall(f"GET {path} HTTP/1.1\r\n{heads}\r\n\r\n".encode())
        reader = link.makefile("rb")
        if b" 101 " not in reader.readline():
            return False
        while reader.readline().strip():
            pass
        for first, said in frames:
            size = bytes([128 | len(said)]) if len(said) < 126 else b"\xfe" + len(said).to_bytes(2, "big")
            link.sendall(bytes([first]) + size + bytes(4) + said)
            reader.read(len(size) + 1 + len(said))
        return True


def lookup(name):
    try:
        socket.getaddrinfo(name, 443)
        return True
    except OSError:
        return False
