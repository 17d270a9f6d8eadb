"""What a server got, all of it, a line of JSON for each request: also of one that ends in its middle."""
import json
import os
import threading

LOCK = threading.Lock()


def read(handler, got):
    """The body as it comes, by chunks too, and what stands behind it."""
    left = int(handler.headers.get("Content-Length", 0))
    while "chunked" in handler.headers.get("Transfer-Encoding", ""):
        size = int(handler.rfile.readline() or b"0", 16)
        if not size:
            while line := handler.rfile.readline().strip():
                got["trailers"].append(line.decode("latin-1"))
            return
        take(handler, got, size)
        handler.rfile.readline()
    take(handler, got, left)


def take(handler, got, left):
    while left:
        part = handler.rfile.read1(min(left, 1 << 16))
        if not part:
            raise OSError("cut")
        got["body"] += part.decode("latin-1")
        left -= len(part)


def serve(handler, base):
    heads = [f"{name}: {value}" for name, value in handler.headers.items()]
    got = {"line": f"{handler.command} {handler.path}", "heads": heads, "body": "", "trailers": []}
    try:
        read(handler, got)
    except (OSError, ValueError):
        handler.close_connection = True
    keep(got, base)
    if not handler.close_connection:
        handler.reply(b"sunk\n")


def said(text, base):
    """What came by a WebSocket so far."""
    keep({"line": "WEBSOCKET", "heads": [], "body": text.decode("latin-1"), "trailers": []}, base)


def keep(got, base):
    with LOCK, open(os.path.join(base, "sink.log"), "a", encoding="ascii") as f:
        f.write(json.dumps(got) + "\n")
