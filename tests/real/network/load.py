"""Many connections at once, and peers that are slow or never end. `load.py server` outside, `load.py client N` inside."""
import asyncio
import os
import resource
import socket
import sys
import time

HOST, NAME = "203.0.113.10", "allowed.example"
ECHO, ENDLESS, DRIP = 7100, 7101, 7102


def raise_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def echo(reader, writer):
    try:
        while part := await reader.read(4096):
            writer.write(part)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def endless(_, writer):
    try:
        while True:
            writer.write(bytes(65536))
            await writer.drain()
    except OSError:
        writer.close()


async def drip(_, writer):
    try:
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(1)
    except OSError:
        writer.close()


async def serve():
    raise_limit()
    for port, talk in ((ECHO, echo), (ENDLESS, endless), (DRIP, drip)):
        await asyncio.start_server(talk, HOST, port, backlog=8192)
    with open(os.path.join(os.environ["BASE"], "up"), "w", encoding="ascii"):
        pass
    await asyncio.Event().wait()


def connect(port):
    for attempt in range(50):
        try:
            return socket.create_connection((NAME, port), 60)
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.1)


def answered():
    """Seconds until a new connection to a server that is well has its answer."""
    begun = time.monotonic()
    for _ in range(10):
        with connect(ECHO) as stream:
            stream.sendall(b"well")
            assert stream.recv(4) == b"well"
    with connect(80) as stream:
        stream.sendall(b"GET /late HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n")
        assert stream.recv(12) == b"HTTP/1.1 200"
    return time.monotonic() - begun


def client(number):
    number = min(number, raise_limit() - 100)
    begun = time.monotonic()
    held = []
    for n in range(number):
        stream = connect(ECHO)
        stream.sendall(b"%08d" % n)
        held.append(stream)
    for n, stream in enumerate(held):
        assert stream.recv(8, socket.MSG_WAITALL) == b"%08d" % n, n
    print(f"open {number} in {time.monotonic() - begun:.1f} s", flush=True)
    print(f"well {answered():.2f}", flush=True)
    # Long enough for whoever measures.
    time.sleep(2)
    for n, stream in enumerate(held):
        stream.sendall(b"again %02d" % (n % 100))
    print("again", sum(stream.recv(8, socket.MSG_WAITALL) == b"again %02d" % (n % 100) for n, stream in enumerate(held)), flush=True)
    for stream in held:
        stream.close()


def bad(number):
    """Peers that never end, whose answers nobody reads, that drip, that are silent, that begin and do not go on."""
    raise_limit()
    held = [connect(ENDLESS) for _ in range(number)] + [connect(DRIP) for _ in range(number)]
    for port, said in ((80, b"GET / HT"), (80, b""), (443, b"\x16\x03\x01"), (443, b"")):
        for _ in range(number):
            stream = connect(port)
            stream.sendall(said)
            held.append(stream)
    time.sleep(1)
    print(f"bad {len(held)}", flush=True)
    print(f"well {answered():.2f}", flush=True)
    time.sleep(2)
    print(f"well {answered():.2f}", flush=True)


if sys.argv[1] == "server":
    asyncio.run(serve())
elif sys.argv[1] == "client":
    client(int(sys.argv[2]))
else:
    bad(int(sys.argv[2]))
