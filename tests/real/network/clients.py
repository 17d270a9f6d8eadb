"""What Python's clients do: each prints `NAME ok`, or what it saw instead. $HOST is whom they talk to."""
import asyncio
import os
import socket
import ssl
import threading

import aiohttp
import grpc
import httpx
import requests

NAME = "allowed.example"
TLS, PLAIN = f"https://{NAME}:8443", f"http://{NAME}:8080"
# httpx knows certifi alone, unless it is told; this is what the programs' own documentation says to do.
CONTEXT = ssl.create_default_context()


def check(name, seen, wanted):
    print(name, "ok" if seen == wanted else f"saw {seen!r}", flush=True)


def tried(function):
    """A client that fails says how, and the others go on."""
    try:
        function()
    except Exception as error:  # Whatever it is, it is the test's to judge.
        print(function.__name__, "failed", type(error).__name__, error, flush=True)


def of_requests():
    with requests.Session() as session:
        big = os.urandom(300_000)
        told = [session.post(f"{base}/own/echo", data=big, timeout=20).json()["length"] for base in (TLS, PLAIN)]
        check("requests", told, [300_000] * 2)
        check("requests-redirect", session.get(f"{TLS}/redirect/2", timeout=20).json()["url"].rsplit(":", 1)[1], "8443/get")


def of_httpx():
    for version in (False, True):
        with httpx.Client(http2=version, verify=CONTEXT, timeout=20) as client:
            answer = client.get(f"{TLS}/get?x=y")
            wanted = ("HTTP/2" if version else "HTTP/1.1", {"x": "y"})
            check(f"httpx-{wanted[0]}", (answer.http_version, answer.json()["args"]), wanted)


def of_aiohttp():
    async def many():
        async with aiohttp.ClientSession() as session:
            async def one(number):
                async with session.get(f"{TLS}/anything/{number}") as answer:
                    return (await answer.json())["url"].rsplit("/", 1)[1]

            return await asyncio.gather(*(one(number) for number in range(20)))

    check("aiohttp", asyncio.run(many()), [str(number) for number in range(20)])


def of_events():
    """Each event comes before the next is sent: nothing holds a stream back."""
    for version in (False, True):
        key, seen = f"{version}-{os.getpid()}", []
        with httpx.Client(http2=version, verify=CONTEXT, timeout=20) as client, httpx.Client(verify=CONTEXT, timeout=20) as other:
            with client.stream("GET", f"{TLS}/own/events?{key}") as stream:
                for line in stream.iter_lines():
                    if line:
                        seen.append(line.removeprefix("data: "))
                        if len(seen) <= 5:
                            other.post(f"{TLS}/own/next?{key}")
        check(f"events-{'HTTP/2' if version else 'HTTP/1.1'}", seen, ["0", "1", "2", "3", "4", "end"])


def of_grpc():
    channel = grpc.secure_channel(f"{NAME}:8444", grpc.ssl_channel_credentials())
    check("grpc-one", channel.unary_unary("/t.T/One")(b"abc", timeout=20), b"cba")
    check("grpc-many", list(channel.unary_stream("/t.T/Many")(b"1000", timeout=20))[-1], b"999")
    check("grpc-sum", channel.stream_unary("/t.T/Sum")(iter([bytes(100_000)] * 30), timeout=20), b"3000000")
    # A message is said only when the answer to the one before was heard.
    turn, heard = threading.Semaphore(1), []

    def said():
        for number in range(5):
            turn.acquire()
            yield b"%d" % number

    for answer in channel.stream_stream("/t.T/Talk")(said(), timeout=20):
        heard.append(answer)
        turn.release()
    check("grpc-talk", heard, [b"heard %d" % number for number in range(5)])
    try:
        channel.unary_unary("/t.T/None")(b"", timeout=20)
    except grpc.RpcError as error:
        check("grpc-status", error.code(), grpc.StatusCode.UNIMPLEMENTED)


def of_trailers():
    with socket.create_connection((NAME, 8445), 10) as plain, CONTEXT.wrap_socket(plain, server_hostname=NAME) as stream:
        stream.sendall(b"GET /trailer HTTP/1.1\r\nHost: allowed.example:8445\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        data = b""
        while part := stream.recv(65536):
            data += part
    check("trailers", data.lower().endswith(b"\r\n0\r\nx-sum: 7\r\n\r\n"), True)


for function in (of_requests, of_httpx, of_aiohttp, of_events, of_grpc, of_trailers):
    tried(function)
