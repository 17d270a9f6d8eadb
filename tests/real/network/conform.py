"""The same requests in the same order, whoever carries them: prints one line of JSON for each answer.

Over HTTP/1.1, HTTP/1.1 within TLS and HTTP/2. What must differ from run to run (dates, ids of connections) is left out.
"""
import asyncio
import hashlib
import json
import os
import socket
import ssl
import sys

import httpx

NAME = "allowed.example"
PLAIN, TLS = f"http://{NAME}:8080", f"https://{NAME}:8443"
CONTEXT = ssl.create_default_context()
# httpx offers HTTP/2 in the one that it is given.
BY_HAND = ssl.create_default_context()
# About one connection, or about the moment.
LEFT_OUT = {"date", "connection", "keep-alive", "transfer-encoding"}


def chunks():
    for number in range(20):
        yield b"%d " % number * 500


def cases():
    """Method, path, and what else the client is told."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        yield method, "/anything/method", {}
        yield method, "/own/echo?q=1", {"headers": {"X-Case": "Kept Value"}}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        yield method, "/anything", {"json": {"key": ["ä", 1, None]}}
        yield method, "/own/echo", {"content": chunks}
        yield method, "/own/echo", {"content": b""}
    for status in (200, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409,
                   410, 411, 412, 413, 415, 416, 418, 422, 429, 431, 451, 500, 501, 502, 503, 504, 507, 599):
        yield "GET", f"/status/{status}", {}
    for path in ("/redirect/4", "/relative-redirect/3", "/absolute-redirect/3", "/redirect-to?url=/get&status_code=307",
                 "/cookies/set?a=1&b=two", "/cookies", "/cookies/delete?a", "/cookies/set/c/3"):
        yield "GET", path, {"follow_redirects": True}
    yield "POST", "/redirect-to?url=/anything&status_code=308", {"follow_redirects": True, "content": b"again"}
    for path in ("/gzip", "/deflate", "/brotli", "/encoding/utf8", "/html", "/xml", "/json", "/robots.txt", "/deny",
                 "/image/png", "/image/jpeg", "/image/webp", "/image/svg", "/bytes/4096?seed=1", "/bytes/0?seed=1",
                 "/stream-bytes/50000?seed=2&chunk_size=777", "/stream/30", "/drip?numbytes=30&duration=0.1&code=200",
                 "/links/5/0", "/base64/aGVsbG8=", "/forms/post", "/cache/60", "/user-agent", "/ip", "/headers",
                 "/response-headers?X-One=1&X-Two=2&X-One=3", "/get?a=1&a=2&b=%20%2B%26%3D", "/get?", "/get?empty=&x"):
        yield "GET", path, {}
    for value in ("bytes=0-99", "bytes=100-", "bytes=-50", "bytes=0-0", "bytes=2000-", "bytes=5-1", "bytes=0-4,9-12"):
        yield "GET", "/range/1024", {"headers": {"Range": value}}
    for headers in ({"If-None-Match": '"tag"'}, {"If-None-Match": "*"}, {"If-Match": '"other"'}, {}):
        yield "GET", "/etag/tag", {"headers": headers}
    yield "GET", "/cache", {"headers": {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}}
    for user in (("user", "secret"), ("user", "wrong"), None):
        yield "GET", "/basic-auth/user/secret", {"auth": user} if user else {}
        yield "GET", "/hidden-basic-auth/user/secret", {"auth": user} if user else {}
    yield "GET", "/bearer", {"headers": {"Authorization": "Bearer t0ken"}}
    for coding in ("gzip", "deflate", "br", "identity", "gzip;q=0.5, *;q=0", ""):
        yield "GET", "/own/echo", {"headers": {"Accept-Encoding": coding}}
    for size in (1000, 8000, 16000, 30000):
        yield "GET", "/own/echo", {"headers": {"X-Big": "b" * size}}
    yield "GET", "/own/echo", {"headers": [(f"X-Number-{number}", str(number)) for number in range(150)]}
    yield "GET", "/own/echo", {"headers": [("X-Same", "1"), ("X-Same", "2"), ("Accept", "text/a"), ("Accept", "text/b")]}
    yield "GET", "/own/echo", {"headers": {"X-Empty": "", "X-Blank": "a  b", "X-Latin": "caf\u00e9".encode("latin-1")}}
    yield "GET", "/own/echo", {"headers": {"Cookie": "a=1; b=2; c=\"three\""}}
    for path in ("/own/echo?" + "q=" + "x" * 6000, "/anything/a%20b", "/anything/%C3%A4", "/anything/a+b;c=d,e", "/anything/~-._",
                 "/anything/!$&'()*", "/own/echo?a=%2F..%2F&b=%00", "/own/echo?[x]=1|2"):
        yield "GET", path, {}
    for size in (1, 1 << 14, 1 << 16, 3_000_000):
        yield "POST", "/own/echo", {"content": bytes(range(256)) * (size // 256) + bytes(size % 256)}
    yield "POST", "/post", {"data": {"a": "1", "b": "two words"}}
    yield "POST", "/post", {"files": {"f": ("name.txt", b"content", "text/plain")}, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    yield "POST", "/own/echo", {"headers": {"Content-Type": "application/x-own; charset=\"q\""}, "content": b"x"}
    yield "GET", "/nothing/here", {}
    yield "HEAD", "/bytes/500?seed=3", {}
    yield "HEAD", "/gzip", {}


def told(label, answer):
    """What is compared of an answer."""
    headers = [[n.decode("latin-1").lower(), v.decode("latin-1")] for n, v in answer.headers.raw]
    body = answer.content
    line = [label, answer.status_code, answer.http_version, sorted(h for h in headers if h[0] not in LEFT_OUT)]
    if answer.http_version == "HTTP/1.1":
        line.append(answer.reason_phrase)
    line.append(body.decode("latin-1") if len(body) < 2000 else [len(body), hashlib.sha256(body).hexdigest()])
    print(json.dumps(line + [[r.status_code for r in answer.history]]), flush=True)


def by_library(base, version):
    for number, (method, path, more) in enumerate(cases()):
        label = f"{base[:5]}{version} {number} {method} {path[:60]}"
        more = {key: value() if callable(value) else value for key, value in more.items()}
        # A client for each, so that cookies of one are not the next one's; connections are kept in the tests below.
        with httpx.Client(base_url=base, http2=version == 2, verify=CONTEXT, timeout=30) as client:
            try:
                told(label, client.request(method, path, **more))
            except httpx.HTTPError as error:
                print(json.dumps([label, "failed", type(error).__name__]), flush=True)


def kept():
    """Many requests on one connection, and many at once on one of HTTP/2."""
    for base, version in ((PLAIN, False), (TLS, False)):
        with httpx.Client(base_url=base, http2=version, verify=CONTEXT, timeout=30) as client:
            for number in range(25):
                told(f"kept {base} {number}", client.get(f"/anything/kept/{number}", headers={"X-N": str(number)}))

    async def at_once():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=TLS, http2=True, verify=CONTEXT, timeout=30, limits=limits) as client:
            return await asyncio.gather(*(client.post("/own/echo", content=b"%d" % n * (n * 999)) for n in range(60)))

    for number, answer in enumerate(asyncio.run(at_once())):
        told(f"at once {number}", answer)


def raw(label, port, said, tls, stop=None):
    """Bytes as they are; of the answer what no carrier may change."""
    with socket.create_connection((NAME, port), 10) as stream:
        if tls:
            stream = BY_HAND.wrap_socket(stream, server_hostname=NAME)
        data, ended = b"", "end"
        try:
            stream.settimeout(10)
            stream.sendall(said)
            if stop == "half":
                stream.shutdown(socket.SHUT_WR)
            if stop == "gone":
                stream.close()
                print(json.dumps([label, "gone"]), flush=True)
                return
            while part := stream.recv(65536):
                data += part
        except OSError as error:
            ended = type(error).__name__
        finally:
            stream.close()
    head, _, body = data.partition(b"\r\n\r\n")
    # What comes before the answer proper is for the next hop (RFC 9110, section 15.2), and so is the version.
    while head[9:10] == b"1":
        head, _, body = body.partition(b"\r\n\r\n")
    fields = sorted(line.decode("latin-1").lower() for line in head.split(b"\r\n")[1:])
    fields = [line for line in fields if line.split(":")[0] not in LEFT_OUT]
    print(json.dumps([label, head[9:12].decode("latin-1"), fields, body.count(b"HTTP/1.1 "), len(body) > 0, ended]), flush=True)


def by_hand():
    host = b"Host: allowed.example:%d\r\n"
    for port, tls in ((8080, False), (8443, True)):
        own = host % port
        get = b"GET /anything/%d HTTP/1.1\r\n" + own
        raw(f"{port} pipelined", port, b"".join(get % n + b"\r\n" for n in range(4)) + get % 9 + b"Connection: close\r\n\r\n", tls)
        raw(f"{port} 1.0", port, b"GET /get HTTP/1.0\r\n" + own + b"\r\n", tls)
        raw(f"{port} extension", port, b"POST /own/echo HTTP/1.1\r\n" + own + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", tls)
        raw(f"{port} expects", port, b"POST /own/echo HTTP/1.1\r\n" + own + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", tls)
        raw(f"{port} gone in the body", port, b"POST /own/echo HTTP/1.1\r\n" + own + b"Content-Length: 100000\r\n\r\nabc", tls, "gone")
    raw("half", 8080, b"GET /get HTTP/1.1\r\nHost: allowed.example:8080\r\nConnection: close\r\n\r\n", False, "half")
    for path in (b"trailer", b"early", b"cut", b"close", b"old", b"hints", b"reason", b"many", b"wide"):
        raw(f"8445 {path.decode()}", 8445, b"GET /" + path + b" HTTP/1.1\r\nHost: allowed.example:8445\r\nTE: trailers\r\nConnection: close\r\n\r\n", True)


for base, version in ((PLAIN, 1), (TLS, 2), *([(TLS, 1)] if sys.argv[1:] == ["long"] else [])):
    by_library(base, version)
kept()
by_hand()
