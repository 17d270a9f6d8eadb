"""What the gateway costs: one server and one client, with nothing, HAProxy, ringfence, sandlock, Squid or mitmproxy between them.

`serve` outside; `measure PORT [PROXY]` prints a line of JSON, PROXY is a port of CONNECT, or one that relays at once; `compare` runs the ways in turns and prints them all.
"""
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

HOST, NAME = "203.0.113.10", "allowed.example"
PLAIN, TLS, RELAYED = 7200, 7443, {7200: 7300, 7443: 7301}
BULK, SENT, CONNECTIONS, REQUESTS = 256 << 20, 64 << 20, 100, 400
SECRET = "ghp_Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6"


def serve():
    """GET /N is answered by N bytes, as often as asked, PUT /N of N bytes by one; not with another secret than the real one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["BASE"] + "/server.pem", os.environ["BASE"] + "/server.key")
    block, taken = bytes(1 << 18), bytearray(1 << 18)

    def talk(stream, secure):
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                stream = context.wrap_socket(stream, server_side=True)
            with stream:
                while said := stream.recv(65536):
                    size = int(said.split(b" ", 2)[1][1:])
                    if said.startswith(b"PUT"):
                        left = size - len(said) + said.index(b"\r\n\r\n") + 4
                        while left > 0:
                            left -= stream.recv_into(memoryview(taken)[: min(left, len(taken))])
                        size = 1
                    wrong = b"uthorization:" in said and SECRET.encode() not in said
                    head = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % size if wrong else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
                    stream.sendall(head + block[: min(size, 1)])
                    left = size - 1
                    while left > 0:
                        stream.sendall(block[:left])
                        left -= len(block)
        except (OSError, ValueError, IndexError):
            pass

    def listen(port, secure):
        server = socket.create_server((HOST, port), backlog=512)
        while True:
            threading.Thread(target=talk, args=(server.accept()[0], secure), daemon=True).start()

    threading.Thread(target=listen, args=(PLAIN, False), daemon=True).start()
    listen(TLS, True)


def measure(port, proxy):
    """MiB a second of one long answer and of one long request; microseconds to a new connection's answer, to an answer on one that is kept, and to an address."""
    context = ssl.create_default_context() if port == TLS else None
    secret = f"Authorization: Bearer {os.environ['TOK']}\r\n" if "TOK" in os.environ else ""
    request = f"GET /%d HTTP/1.1\r\nHost: {NAME}:{port}\r\n{secret}\r\n"

    address = proxy or socket.getaddrinfo(NAME, port, type=socket.SOCK_STREAM)[0][4]

    def connect():
        stream = socket.create_connection(address[:2], 20)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy and proxy[1] not in RELAYED.values():
            stream.sendall(f"CONNECT {NAME}:{port} HTTP/1.1\r\nHost: {NAME}:{port}\r\n\r\n".encode())
            said = b""
            while b"\r\n\r\n" not in said:
                said += stream.recv(4096)
            assert b" 200 " in said, said
        return context.wrap_socket(stream, server_hostname=NAME) if context else stream

    buffer = memoryview(bytearray(1 << 18))

    def ask(stream, size):
        stream.sendall((request % size).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = stream.recv(65536)
            assert part, "the connection ended"
            head += part
        assert head.startswith(b"HTTP/1.1 200"), head
        got = len(head) - head.index(b"\r\n\r\n") - 4
        while got < size:
            got += stream.recv_into(buffer)

    new, kept, named = [], [], []
    if not proxy:
        for _ in range(CONNECTIONS):
            begun = time.perf_counter()
            socket.getaddrinfo(NAME, port, type=socket.SOCK_STREAM)
            named.append(time.perf_counter() - begun)
    for _ in range(CONNECTIONS):
        begun = time.perf_counter()
        with connect() as stream:
            ask(stream, 1)
            new.append(time.perf_counter() - begun)
    with connect() as stream:
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            ask(stream, 1)
            kept.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        ask(stream, BULK)
        rate = BULK / (1 << 20) / (time.perf_counter() - begun)
        with open(socket.__file__, "rb") as f:
            text = f.read()
        text = (text * (SENT // len(text) + 1))[:SENT]
        begun = time.perf_counter()
        stream.sendall(f"PUT /{SENT} HTTP/1.1\r\nHost: {NAME}:{port}\r\n{secret}Content-Length: {SENT}\r\n\r\n".encode())
        stream.sendall(text)
        assert stream.recv(4096).startswith(b"HTTP/1.1 200"), "the long request"
        sent = SENT / (1 << 20) / (time.perf_counter() - begun)
    micro = {"new": new, "kept": kept, "name": named or [0]}
    print(json.dumps({"rate": rate, "sent": sent, **{what: statistics.median(times) * 1e6 for what, times in micro.items()}}))


def ways(base):
    """Each way: its name, the port, and how the client is started."""
    binary, me = os.environ["RF"], os.path.abspath(__file__)
    world = {**os.environ, "SSL_CERT_FILE": f"{base}/ca.pem"}

    def outside(port, proxy="", more=None):
        return [sys.executable, me, "measure", str(port), proxy], {**world, **(more or {})}

    def inside(port, name, rule, more=""):
        policy = f"{base}/{name}.toml"
        with open(policy, "w", encoding="ascii") as f:
            f.write(f'version = 1\nextends = ["default"]\n[files]\nread = ["{me}", "{base}/ca.pem"]\n[network]\nallow = [{rule}]\n')
            f.write(more)
            if name not in ("inspected", "injected", "leaks"):
                f.write(f'[environment]\nset = {{ SSL_CERT_FILE = "{base}/ca.pem" }}\n')
        return [binary, "run", "--quiet", "--policy", policy, "--workspace", ".", "--", "/usr/bin/python3", me, "measure", str(port)], {**world, "MY_TOKEN": SECRET}

    found = [
        ("plain: nothing between", *outside(PLAIN)),
        ("plain: ringfence", *inside(PLAIN, "plain", f'"{NAME}:{PLAIN}"')),
        ("TLS: nothing between", *outside(TLS)),
        ("TLS: ringfence", *inside(TLS, "spliced", f'{{ host = "{NAME}", port = {TLS}, protocol = "tls" }}')),
        ("TLS, looked into: ringfence", *inside(TLS, "inspected", f'{{ host = "{NAME}", port = {TLS}, protocol = "tls", methods = ["GET", "PUT"] }}')),
    ]
    rule = f'{{ host = "{NAME}", port = {TLS}, protocol = "tls", methods = ["GET", "PUT"] }}'
    secret = f'[credentials.own]\nsource = {{ env = "MY_TOKEN" }}\nhosts = ["{NAME}:{TLS}"]\nexpose = {{ env = "TOK" }}\n'
    found.append(("TLS, a secret put on: ringfence", *inside(TLS, "injected", rule, secret)))
    found.append(("TLS, looked through for secrets: ringfence", *inside(TLS, "leaks", rule, '[leaks]\nscan = ["egress"]\n')))
    if os.environ.get("HAPROXY"):
        # The least that a process between two others costs: it decides nothing, but for the name in a ClientHello.
        found.insert(1, ("plain: HAProxy", *outside(PLAIN, f"127.0.0.1:{RELAYED[PLAIN]}")))
        found.insert(4, ("TLS: HAProxy", *outside(TLS, f"127.0.0.1:{RELAYED[TLS]}")))
    if os.environ.get("SANDLOCK"):
        bundle = f"{base}/sandlock-ca.pem"
        shutil.copy(f"{base}/ca.pem", bundle)
        reads = [word for tree in ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev", os.path.dirname(me), base) for word in ("-r", tree)]
        start = [os.environ["SANDLOCK"], "run", *reads, "--net-allow", f"{NAME}:{PLAIN},{TLS}"]
        ends = ["--", "/usr/bin/python3", me, "measure"]
        looks = ["--http-allow", f"GET {NAME}/*", "--http-allow", f"PUT {NAME}/*", "--http-port", str(TLS), "--http-inject-ca", bundle]
        found.insert(3, ("plain: sandlock", [*start, *ends, str(PLAIN)], world))
        found.append(("TLS: sandlock", [*start, *ends, str(TLS)], world))
        found.append(("TLS, looked into: sandlock", [*start, *looks, *ends, str(TLS)], {**world, "SSL_CERT_FILE": bundle}))
    if os.environ.get("SQUID"):
        found.insert(3, ("plain: Squid, CONNECT", *outside(PLAIN, "127.0.0.1:3128")))
        found.append(("TLS: Squid, CONNECT", *outside(TLS, "127.0.0.1:3128")))
    if os.environ.get("MITMPROXY"):
        found.append(("TLS, looked into: mitmproxy", *outside(TLS, "127.0.0.1:3129", {"SSL_CERT_FILE": f"{base}/mitm/mitmproxy-ca-cert.pem"})))
    return found


def proxies(base, running):
    """HAProxy, Squid and mitmproxy, where they are."""
    started = []
    if os.environ.get("HAPROXY"):
        tree = os.environ["HAPROXY"]
        named = f"tcp-request inspect-delay 5s\n tcp-request content accept if {{ req.ssl_sni -m str {NAME} }}\n tcp-request content reject\n"
        with open(f"{base}/haproxy.cfg", "w", encoding="ascii") as f:
            f.write("global\n nbthread 1\ndefaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n")
            for port, rule in ((PLAIN, ""), (TLS, named)):
                f.write(f"listen l{port}\n bind 127.0.0.1:{RELAYED[port]}\n {rule}\n server s {HOST}:{port}\n")
        libraries = f"{tree}/usr/lib/x86_64-linux-gnu"
        line = [f"{tree}/usr/sbin/haproxy", "-db", "-f", f"{base}/haproxy.cfg"]
        started.append((line, {**os.environ, "LD_LIBRARY_PATH": libraries}, RELAYED[TLS]))
    if os.environ.get("SQUID"):
        tree = os.environ["SQUID"]
        with open(f"{base}/squid.conf", "w", encoding="ascii") as f:
            f.write(f"http_port 127.0.0.1:3128\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log {base}/squid.log\n"
                    f"pid_filename none\nmime_table {tree}/usr/share/squid/mime.conf\nerror_directory {tree}/usr/share/squid/errors/templates\n"
                    f"icon_directory {tree}/usr/share/squid/icons\npinger_enable off\ncoredump_dir {base}\ncache_effective_user nobody\n"
                    "visible_hostname world\nshutdown_lifetime 0 seconds\nunlinkd_program /bin/true\nlogfile_daemon /bin/true\nnetdb_filename none\n")
        libraries = f"{tree}/usr/lib/x86_64-linux-gnu:{tree}/lib/x86_64-linux-gnu"
        started.append(([f"{tree}/usr/sbin/squid", "-N", "-f", f"{base}/squid.conf"], {**os.environ, "LD_LIBRARY_PATH": libraries}, 3128))
    if os.environ.get("MITMPROXY"):
        options = {"confdir": f"{base}/mitm", "ssl_verify_upstream_trusted_ca": f"{base}/ca.pem", "stream_large_bodies": "1m"}
        sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
        started.append(([os.environ["MITMPROXY"], "--quiet", "--listen-host", "127.0.0.1", "-p", "3129", *sets], dict(os.environ), 3129))
    for line, variables, port in started:
        running.append(subprocess.Popen(line, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for attempt in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit(f"{line[0]} does not listen")


def compare(rounds):
    base = os.environ["BASE"]
    server = subprocess.Popen([sys.executable, os.path.abspath(__file__), "serve"])
    running, seen = [server], {}
    try:
        proxies(base, running)
        time.sleep(0.5)
        for turn in range(rounds + 1):
            for name, line, variables in ways(base):
                done = subprocess.run(line, env=variables, capture_output=True, text=True, check=False, timeout=120)
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr or done.stdout}")
                # The first turn warms everything up.
                if turn:
                    seen.setdefault(name, []).append(json.loads(done.stdout))
        print(json.dumps({name: {key: statistics.median(one[key] for one in all_) for key in all_[0]} for name, all_ in seen.items()}))
    finally:
        for process in running:
            process.terminate()


if sys.argv[1] == "serve":
    serve()
elif sys.argv[1] == "measure":
    via = sys.argv[3].rsplit(":", 1) if sys.argv[3:] and sys.argv[3] else None
    measure(int(sys.argv[2]), via and (via[0], int(via[1])))
else:
    compare(int(sys.argv[2]))
