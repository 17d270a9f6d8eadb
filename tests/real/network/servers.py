"""The servers of the network tests, on the world's allowed address: httpbin and routes of our own, gRPC, and one of raw bytes.

8080 is plain HTTP/1.1 (and HTTP/2 by prior knowledge), 8443 the same over TLS, 8444 gRPC, 8445 HTTP/1.1 by hand over TLS.
"""
import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpbin
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.middleware import AsyncioWSGIMiddleware

BASE, HOST = os.environ["BASE"], "203.0.113.10"
CERTIFICATE, KEY = f"{BASE}/server.pem", f"{BASE}/server.key"
# What concerns one connection, and is not the message's.
OF_CONNECTION = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "http2-settings"}
TURN = {}


async def body_of(receive):
    digest, length = hashlib.sha256(), 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return "gone", length
        digest.update(event.get("body", b""))
        length += len(event.get("body", b""))
        if not event.get("more_body"):
            return digest.hexdigest(), length


async def answer(send, body, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def own(scope, receive, send):
    """What httpbin has not: what the server saw, events that wait for the client, and a repository."""
    path = scope["path"]
    if path == "/own/echo":
        digest, length = await body_of(receive)
        # No body is no body, whether it says so or not.
        seen = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"] if (n, v) != (b"content-length", b"0")]
        told = {"method": scope["method"], "path": scope["raw_path"].decode("latin-1"), "query": scope["query_string"].decode("latin-1")}
        told |= {"headers": sorted(seen), "length": length, "sha256": digest}
        await answer(send, json.dumps(told).encode() + b"\n", headers=[(b"content-type", b"application/json")])
    elif path == "/own/events":
        # Each event waits until the client has said that it saw the one before.
        key = scope["query_string"]
        TURN[key] = asyncio.Queue()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await asyncio.wait_for(TURN[key].get(), 20)
        await send({"type": "http.response.body", "body": b"data: end\n\n"})
    elif path == "/own/next":
        TURN[scope["query_string"]].put_nowait(1)
        await answer(send, b"next\n")
    elif path.startswith("/own/git/"):
        await repository(scope, receive, send)
    else:
        await answer(send, b"nothing here\n", 404)


async def repository(scope, receive, send):
    """git's smart protocol, by its own CGI program (git-http-backend(1))."""
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    headers = {n.decode(): v.decode() for n, v in scope["headers"]}
    variables = {
        "GIT_PROJECT_ROOT": f"{BASE}/git", "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": scope["path"][8:],
        "QUERY_STRING": scope["query_string"].decode(), "REQUEST_METHOD": scope["method"],
        "CONTENT_TYPE": headers.get("content-type", ""), "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "GIT_PROTOCOL": headers.get("git-protocol", ""), "PATH": os.environ["PATH"], "HOME": BASE,
    }
    run = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=False)
    head, _, rest = run.stdout.partition(b"\r\n\r\n")
    fields = [line.split(b": ", 1) for line in head.split(b"\r\n")]
    status = next((int(value[:3]) for name, value in fields if name == b"Status"), 200)
    await answer(send, rest, status, [(n.lower(), v) for n, v in fields if n != b"Status"])


BIN = AsyncioWSGIMiddleware(httpbin.app, max_body_size=1 << 26)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind.endswith("shutdown"):
                return
    if scope["type"] == "http":
        # Here too: httpbin tells what it was sent.
        scope["headers"] = [(n, v) for n, v in scope["headers"] if n.decode("latin-1") not in OF_CONNECTION]
        await (own if scope["path"].startswith("/own/") else BIN)(scope, receive, send)


class Grpc(grpc.GenericRpcHandler):
    """Four methods of bytes: one of each kind."""

    def service(self, call):
        kind = call.method.rsplit("/", 1)[-1]
        if kind == "One":
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request[::-1])
        if kind == "Many":
            return grpc.unary_stream_rpc_method_handler(lambda request, _: (b"%d" % n for n in range(int(request))))
        if kind == "Sum":
            return grpc.stream_unary_rpc_method_handler(lambda requests, _: b"%d" % sum(len(r) for r in requests))
        if kind == "Talk":
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: (b"heard " + r for r in requests))
        return None


def speak_grpc():
    server = grpc.server(ThreadPoolExecutor(16), handlers=[Grpc()])
    with open(KEY, "rb") as key, open(CERTIFICATE, "rb") as certificate:
        server.add_secure_port(f"{HOST}:8444", grpc.ssl_server_credentials([(key.read(), certificate.read())]))
    server.start()
    return server


def by_hand():
    """Answers with a trailer, an early end, and whatever else no library would write."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    listener = socket.create_server((HOST, 8445), backlog=64)
    ok = b"HTTP/1.1 200 OK\r\n"
    answers = {
        "/trailer": ok + b"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
        "/early": ok + b"Content-Length: 1000\r\n\r\nshort",
        "/cut": ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "/close": ok + b"Connection: close\r\n\r\nuntil the end",
        "/old": b"HTTP/1.0 200 OK\r\n\r\nold",
        "/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok + b"Content-Length: 5\r\n\r\nhints",
        "/reason": b"HTTP/1.1 299 Quite Unusual\r\nContent-Length: 0\r\n\r\n",
        "/many": ok + b"".join(b"Set-Cookie: c%d=%d\r\n" % (n, n) for n in range(90)) + b"Content-Length: 4\r\n\r\nmany",
        "/wide": ok + b"X-Wide: " + b"w" * 20000 + b"\r\nContent-Length: 4\r\n\r\nwide",
    }

    def talk(plain):
        try:
            with context.wrap_socket(plain, server_side=True) as stream:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = stream.recv(65536)
                    if not part:
                        return
                    head += part
                path = head.split(b" ")[1].decode()
                stream.sendall(answers.get(path, b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"))
        except OSError:
            pass

    def loop():
        while True:
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


async def main():
    config = Config()
    config.bind, config.insecure_bind = [f"{HOST}:8443"], [f"{HOST}:8080"]
    config.certfile, config.keyfile = CERTIFICATE, KEY
    config.h11_max_incomplete_size, config.h2_max_header_list_size = 1 << 17, 1 << 17
    config.errorlog = None
    kept = speak_grpc()
    by_hand()
    served = asyncio.create_task(serve(app, config, mode="asgi"))
    for port in (8080, 8443):
        while True:
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
    with open(f"{BASE}/up", "w", encoding="ascii"):
        pass
    await served
    del kept


sys.exit(asyncio.run(main()))
