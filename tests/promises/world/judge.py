"""Tells which secrets a server got, whatever they are clothed in, by its log: how many by each way, whole or by a half. Knows nothing of
the guard: it decodes what can be decoded, and looks for the letters.
"""
import base64
import collections
import codecs
import html
import io
import json
import quopri
import re
import sys
import tarfile
import urllib.parse
import zlib

import brotli
import zstandard


def unpacked(body):
    """All that was packed in it, wherever it begins."""
    def zstd(data):
        return zstandard.ZstdDecompressor(max_window_size=1 << 28).decompressobj(read_across_frames=True).decompress(data)

    def archive(data):
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            return b"".join(t.extractfile(member).read() for member in t)

    starts = [at for magic in (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78") for at in range(len(body)) if body.startswith(magic, at)]
    for at in [0, *starts[:40]]:
        for unpack in (lambda d: zlib.decompressobj(47).decompress(d), lambda d: zlib.decompressobj(-15).decompress(d), brotli.decompress, zstd, archive):
            try:
                yield unpack(body[at:])
            except (OSError, zlib.error, brotli.error, zstandard.ZstdError, tarfile.TarError, EOFError, MemoryError):
                pass
    if body.startswith(b"\x1f\x8b"):
        # The name of a file in gzip is no part of what it unpacks to.
        yield body[:99]


def numbers(pattern, base):
    def replaced(text):
        return re.sub(pattern, lambda found: bytes([value]) if (value := int(found[1], base)) < 256 else found[0], text)

    return replaced


PLAIN = [
    bytes,
    urllib.parse.unquote_to_bytes,
    numbers(rb"\\u\{?([0-9a-fA-F]{2,4})\}?", 16),
    numbers(rb"\\x([0-9a-fA-F]{2})", 16),
    numbers(rb"\\([0-7]{3})", 8),
    numbers(rb"0x([0-9a-fA-F]{2}),?", 16),
    numbers(rb"\b(\d{2,3})\b(?:, )?", 10),
    lambda text: html.unescape(text.decode("latin-1")).encode("latin-1", "replace"),
    quopri.decodestring,
]


def shifts(text, alphabet, size, decode):
    """Runs of an alphabet, decoded from each place at which they may begin."""
    for run in re.findall(b"[%s]{%d,}" % (alphabet, 12), text):
        for at in range(size):
            part = run[at:]
            try:
                yield decode(part + b"A" * (-len(part) % size))
            except ValueError:
                pass


def readings(text):
    for plain in PLAIN:
        plain = plain(text)
        squeezed = re.sub(rb"[\s\0\"',]", b"", plain)
        for own in (plain, squeezed, squeezed.replace(b".", b"")):
            yield own
            yield own[::-1]
            yield codecs.encode(own.decode("latin-1"), "rot13").encode("latin-1")
        yield from shifts(squeezed.translate(bytes.maketrans(b"-_", b"+/")), b"A-Za-z0-9+/", 4, base64.b64decode)
        yield from shifts(squeezed.upper(), b"A-Z2-7", 8, base64.b32decode)
        yield from shifts(squeezed.replace(b":", b""), b"0-9a-fA-F", 2, lambda run: bytes.fromhex(run.decode()))


def main():
    secrets = [word.encode() for word in open(sys.argv[2], encoding="ascii").read().split()]
    got, halves = collections.Counter(), collections.Counter()
    for line in open(sys.argv[1], encoding="ascii"):
        said = json.loads(line)
        way = re.search(r"/sink/(\d+)", said["line"] + " " + said["body"])
        if not way:
            continue
        # What the corpus fills large bodies with.
        said["body"] = said["body"].replace(".- ", "")
        body = said["body"].encode("latin-1")
        whole = "\n".join([said["line"], *said["heads"], said["body"], *said["trailers"]]).encode("latin-1")
        texts = b"\n".join(reading for text in [whole, *unpacked(body)] for reading in readings(text)).lower()
        for secret in (secret.lower() for secret in secrets):
            first, last = secret[: len(secret) // 2], secret[len(secret) // 2 :]
            got[way[1]] += first in texts and last in texts
            halves[way[1]] += first in texts or last in texts
    print(json.dumps({"whole": +got, "halves": +halves}))


main()
