"""Web servers that take everything: HTTP/0.9 to HTTP/2, in the most lenient reading of each, plain and over TLS.

What a strict reader would refuse, these take for what the attacker means. So an attempt works here where nothing stops it.
"""
import base64
import gzip
import html
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from urllib.parse import parse_qs, quote, unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

TLS = "/tmp/rf/tls"
NOTE = None  # Set by world.py: appends a line to a log.
# Names whose certificate is wrong, and what it is.
WRONG = {"badcert.example": "self", "selfsigned.example": "self", "expired.example": "expired", "wronghost.example": "other"}


def certificates(names):
    """An authority that the world trusts, a server's certificate from it, and three that nobody should take."""
    os.makedirs(TLS, exist_ok=True)

    def openssl(*words):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["openssl", *words], check=True, cwd=TLS, **quiet)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=world", "-keyout", "ca.key", "-out", "ca.pem")
    for name, days, subjects in (
        ("server", "30", names),
        ("expired", "-1", ["expired.example"]),
        ("other", "30", ["another.example"]),
    ):
        with open(f"{TLS}/{name}.ext", "w", encoding="ascii") as f:
            f.write("subjectAltName=" + ",".join(f"DNS:{s}" for s in subjects) + "\nbasicConstraints=critical,CA:FALSE\n")
        openssl("req", *key, "-subj", "/CN=server", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", f"{name}.ext"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    own = ["-subj", "/CN=self", "-addext", "subjectAltName=DNS:badcert.example,DNS:selfsigned.example"]
    openssl("req", "-x509", *key, "-days", "30", *own, "-keyout", "self.key", "-out", "self.pem")
    with open(f"{TLS}/ca.pem", encoding="ascii") as ca, open("/etc/ssl/certs/ca-certificates.crt", "a", encoding="ascii") as f:
        f.write("\n" + ca.read())


def contexts():
    """One TLS context that picks the certificate by the name that is asked for."""
    made = {}
    for name in ("server", "expired", "other", "self"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{TLS}/{name}.pem", f"{TLS}/{name}.key")
        context.set_alpn_protocols(["h2", "http/1.1"])
        made[name] = context

    def choose(connection, name, _):
        connection.context = made[WRONG.get(name or "", "server")]

    made["server"].sni_callback = choose
    return made["server"]


def reflected(kind, text):
    """What was sent, as it came or in other clothes."""
    forms = {
        "gzecho": lambda: gzip.compress(text),
        "b64echo": lambda: base64.b64encode(text),
        "hexecho": lambda: text.hex().encode(),
        "urlecho": lambda: quote(text, safe="").encode(),
        "revecho": lambda: text[::-1],
        "phpecho": lambda: json.dumps(text.decode("latin-1")).replace("/", "\\/").encode(),
        "netecho": lambda: json.dumps(text.decode("latin-1")).replace("+", "\\u002B").encode(),
        "htmlecho": lambda: html.escape(text.decode("latin-1")).replace("/", "&#x2F;").encode(),
        "lowecho": lambda: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")).encode(),
        "allpercentecho": lambda: b"".join(b"%%%02x" % byte for byte in text),
        "alljsonecho": lambda: b"".join(b"\\u%04x" % byte for byte in text),
        "allhtmlecho": lambda: b"".join(b"&#%d;" % byte for byte in text),
        "allhexecho": lambda: b"".join(b"\\x%02X" % byte for byte in text),
        "alloctalecho": lambda: b"".join(b"\\%03o" % byte for byte in text),
        "utf16echo": lambda: text.decode("latin-1").encode("utf-16"),
    }
    coding = [("content-encoding", "gzip")] if kind == "gzecho" else []
    return 200, [*coding, ("x-sent", "; ".join(text.decode("latin-1").split("\n"))[:4000])], forms.get(kind, lambda: text)()


KEPT = []


def answer(says, line, path, headers):
    """Notes the request; status, header fields and body of its answer."""
    host = headers.get("host", "")
    NOTE("hits.log", f"{line} | {host} | {headers.get('authorization', '')}")
    words = [says]
    if "denied.example" in host.lower():
        words.append("CANARY-DENIED")
    if any("/admin" in form for form in (path, unquote(path), unquote(unquote(path)))):
        words.append("CANARY-ADMIN")
    body = f"{' '.join(words)} host={host} path={path}\n".encode("utf-8", "replace")
    plain = path.split("?")[0]
    if plain == "/repo/keep":
        KEPT[:] = [headers.get("authorization", "")]
    if plain == "/repo/kept":
        return 200, [("x-kept", "".join(KEPT))], "".join(KEPT).encode("utf-8", "replace")
    if plain == "/redirect":
        return 302, [("location", parse_qs(path.partition("?")[2]).get("to", ["/"])[0])], b""
    if plain.endswith("echo") or line.startswith("TRACE "):
        return reflected(plain.rsplit("/", 1)[-1], "\n".join([line, *(f"{name}: {value}" for name, value in headers.items())]).encode())
    if plain.startswith("/token/"):
        given = "CANARY-ISSUED-0123456789abcdef"
        kind = {"json": "application/json; charset=utf-8", "plain": "text/plain"}.get(plain[7:])
        said = json.dumps({"token": given, "access_token": given + "2", "refresh_token": given + "3", "expires_in": 9}).encode()
        fields = [("content-type", kind)] if kind else []
        if plain[7:] == "gzip":
            return 200, [("content-encoding", "gzip")], gzip.compress(said)
        return 200, fields, said if plain[7:] != "long" else said[:-1] + b', "x": "' + b"x" * (1 << 21) + b'"}'
    if plain.endswith("/gzbomb"):
        return 200, [("content-encoding", "gzip")], gzip.compress(bytes(200_000_000), 1)
    return 200, [], body


class Lines:
    """Reads a connection by lines and by lengths."""

    def __init__(self, connection):
        self.connection, self.held = connection, b""

    def more(self):
        part = self.connection.recv(65536)
        self.held += part
        return part

    def line(self):
        while b"\n" not in self.held:
            if len(self.held) > 1 << 21 or not self.more():
                line, self.held = self.held, b""
                return line or None
        line, self.held = self.held.split(b"\n", 1)
        return line.rstrip(b"\r")

    def take(self, length):
        while len(self.held) < length and self.more():
            pass
        part, self.held = self.held[:length], self.held[length:]
        return part

    def skip(self, length):
        while length > 0 and (self.held or self.more()):
            gone = min(length, len(self.held))
            self.held, length = self.held[gone:], length - gone


def number(text, base=10):
    """A length as somebody might read it who does not look closely: what is no number is 0."""
    try:
        return int(text, base) & 0xFFFFFFFFFFFFFFFF
    except ValueError:
        return 0


def body_of(lines, fields):
    """Skips the body: anything that looks like chunks is, else the last length that can be read counts."""
    if any("transfer" in name and "encoding" in name and "chunked" in value for name, value in fields):
        while True:
            line = lines.line()
            if line is None:
                return
            # Too large a size wraps around; what is behind a newline is the next request.
            size = number(line.split(b";")[0].strip().decode("latin-1"), 16)
            if size == 0:
                break
            lines.skip(size)
            lines.line()
        # A trailer ends with an empty line; a request line is no trailer.
        while lines.held and b":" in lines.held.split(b"\n", 1)[0] and b" HTTP/" not in lines.held.split(b"\n", 1)[0]:
            lines.line()
        if lines.held.startswith((b"\r\n", b"\n")):
            lines.line()
        return
    lengths = [value for name, value in fields if name == "content-length"]
    if lengths and lengths[-1].isdigit() and len(lengths) == 1 and len(lengths[0]) < 18:
        lines.skip(int(lengths[0]))


def hostile(connection, path):
    """Answers that no server should give; whether it was one of those."""
    kind = path.split("?")[0].rsplit("/", 1)[-1]
    ok = b"HTTP/1.1 200 OK\r\n"
    if kind == "hugeheader":
        connection.sendall(ok + b"X: " + b"a" * 3_000_000 + b"\r\n\r\n")
    elif kind == "endless":
        connection.sendall(ok + b"Content-Type: text/plain\r\n\r\n")
        while True:
            connection.sendall(b"endless " * 8192)
    elif kind == "badchunk":
        connection.sendall(ok + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\nzz\r\n")
    elif kind == "badstatus":
        connection.sendall(b"HTTP/9.9 -1 \0\r\n\xff\xfe\r\n\r\n")
    elif kind == "slow1byte":
        for byte in ok + b"Content-Length: 9\r\n\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.2)
    elif kind == "hang":
        time.sleep(20)
    else:
        return False
    return True


def one(connection, says, first=b""):
    """HTTP/0.9, 1.0 and 1.1, request after request."""
    lines = Lines(connection)
    lines.held = first
    while True:
        line = lines.line()
        while line == b"":
            line = lines.line()
        if line is None:
            return
        words = line.decode("latin-1").split()
        path = words[1] if len(words) > 1 else "/"
        text = line.decode("latin-1")
        if not words or not words[0].isalpha():
            # What is no request is skipped, as a body that was miscounted would be.
            continue
        if len(words) < 3:
            connection.sendall(answer(says, text, path, {})[2])
            return
        if line == b"PRI * HTTP/2.0":
            return two(connection, says, line + b"\r\n" + lines.held)
        fields, last = [], ""
        while (field := lines.line()) not in (None, b""):
            name, _, value = field.decode("latin-1").partition(":")
            if field[:1] in b" \t" and fields:
                fields[-1] = (fields[-1][0], fields[-1][1] + field.decode("latin-1"))
                continue
            last = name.strip(" \t\0\v").lower().replace("_", "-")
            fields.append((last, value.strip(" \t\v")))
        headers = dict(reversed(fields))
        if not path.startswith("/") and "://" in path:
            headers["host"], _, rest = path.split("://", 1)[1].partition("/")
            path = "/" + rest
        if "upgrade" in headers and "h2c" in headers["upgrade"]:
            return upgraded(connection, says, text, path, headers, lines.held)
        if "100-continue" in headers.get("expect", ""):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Some servers do not look for one.
        if not path.endswith("/unread"):
            body_of(lines, fields)
        if hostile(connection, path):
            return
        status, extra, body = answer(says, text, path, headers)
        kept = words[2] == "HTTP/1.1" and "close" not in headers.get("connection", "")
        head = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(body)}", f"Connection: {'keep-alive' if kept else 'close'}"]
        head += [f"{name}: {value}" for name, value in extra]
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + (b"" if words[0] == "HEAD" else body))
        if not kept:
            return


def checks_nothing():
    """HTTP/2 as loosely as it can be had."""
    loose = {"validate_inbound_headers": False, "normalize_inbound_headers": False, "validate_outbound_headers": False}
    return h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1", **loose))


def upgraded(connection, says, line, path, headers, first):
    """HTTP/1.1 that becomes HTTP/2 in mid-connection (RFC 7540, section 3.2)."""
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    protocol = checks_nothing()
    protocol.initiate_upgrade_connection(headers.get("http2-settings", "").encode())
    connection.sendall(protocol.data_to_send())
    reply(protocol, 1, *answer(says, line, path, headers))
    connection.sendall(protocol.data_to_send())
    streams(connection, says, protocol, first)


def two(connection, says, first=b""):
    """HTTP/2."""
    protocol = checks_nothing()
    protocol.initiate_connection()
    connection.sendall(protocol.data_to_send())
    streams(connection, says, protocol, first)


def reply(protocol, stream, status, extra, body):
    """One answer, in the pieces that the client takes."""
    protocol.send_headers(stream, [(":status", str(status)), *extra])
    size = protocol.max_outbound_frame_size
    body = body[: protocol.local_flow_control_window(stream)]
    for at in range(0, len(body), size):
        protocol.send_data(stream, body[at : at + size])
    protocol.end_stream(stream)


def streams(connection, says, protocol, data):
    """Answers the streams of one connection."""
    asked = {}
    while True:
        try:
            events = protocol.receive_data(data)
        except h2.exceptions.ProtocolError:
            connection.sendall(protocol.data_to_send())
            return
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                asked[event.stream_id] = event.headers
            if isinstance(event, h2.events.DataReceived):
                protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.StreamEnded) and event.stream_id in asked:
                fields = asked.pop(event.stream_id)
                headers = {name.lower(): value for name, value in reversed(fields)}
                path = headers.get(":path", "/")
                # Whichever of the two says more is the host.
                headers["host"] = " ".join(value for name, value in fields if name.lower() in (":authority", "host"))
                line = " ".join([headers.get(":method", ""), path, "HTTP/2"])
                try:
                    reply(protocol, event.stream_id, *answer(says, line, path, headers))
                except h2.exceptions.ProtocolError:
                    pass
        connection.sendall(protocol.data_to_send())
        data = connection.recv(65536)
        if not data:
            return


def talk(connection, says, context):
    """One connection, whatever is spoken on it."""
    try:
        connection.settimeout(20)
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            if context and connection.selected_alpn_protocol() == "h2":
                two(connection, says)
            else:
                one(connection, says)
    except (OSError, ValueError, IndexError):
        connection.close()


def serve(address, port, says, context=None):
    """One web server in the background."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(512)

    def loop():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection, says, context), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
