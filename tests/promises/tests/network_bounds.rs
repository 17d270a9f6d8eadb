//! What a rule bounds beside host and port: bytes out, the size of a request, WebSockets, what is spoken first.

use ringfence_promises::{Outcome, World};

/// In a world whose host trusts its authority.
fn run(world: &World, network: &str, script: &str) -> Outcome {
    let policy = world.policy(network);
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        script.display()
    ))
}

/// A client of WebSockets: two messages of so many bytes.
const CLIENT: &str = r#"
import base64, os, socket, ssl, struct, sys
secure, port, path, size = sys.argv[1] == "wss", int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
s = socket.create_connection(("allowed.example", port), 9)
if secure: s = ssl.create_default_context().wrap_socket(s, server_hostname="allowed.example")
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(f"GET {path} HTTP/1.1\r\nHost: allowed.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
f = s.makefile("rb")
status = f.readline().split()[1].decode()
while f.readline() not in (b"\r\n", b""): pass
print(path, status, flush=True)
if status == "101":
    for word in (b"one", b"two"):
        said = word * (size // 3)
        s.sendall(b"\x81\xfe" + struct.pack(">H", len(said)) + b"\0\0\0\0" + said)
        head = f.read(2)
        if len(head) < 2: print(path, "cut"); break
        length = struct.unpack(">H", f.read(2))[0] if head[1] == 126 else head[1]
        print(path, word.decode() if f.read(length) == said else "differs", flush=True)
"#;

#[test]
fn a_websocket_is_carried_where_a_rule_says_so_and_nowhere_else() {
    let world = World::new();
    let _ = world.place.write(world.place.workspace.join("client.py"), CLIENT);
    let network = "allow = [{ host = \"allowed.example\", paths = [\"/ws/**\"], websocket = true, bytes_out = \"8KiB\" }, \
                   { host = \"allowed.example\", paths = [\"/plain/**\"] }, { host = \"allowed.example\", port = 80, websocket = true }, \
                   \"allowed.example:8000\", { host = \"six.example\", port = 80 }]";
    let outcome = run(
        &world,
        network,
        "for way in 'wss 443 /ws/a 300' 'wss 443 /plain/b 300' 'wss 443 /other 300' 'ws 80 /c 300' 'wss 443 /ws/d 9000'; do \
         python3 client.py $way; done; \
         curl -sm9 -o /dev/null -w 'six %{http_code}\\n' -H 'Upgrade: websocket' -H 'Connection: Upgrade' http://six.example/; \
         curl -sm9 -o /dev/null -w 'post %{http_code}\\n' --http1.1 -X POST -H 'Upgrade: websocket' -H 'Connection: Upgrade' https://allowed.example/ws/x",
    );
    for line in [
        "/ws/a 101\n/ws/a one\n/ws/a two\n",
        "/plain/b 403\n",
        "/other 403\n",
        "/c 101\n/c one\n/c two\n",
        "/ws/d 101\n/ws/d cut\n",
        "six 403\n",
        "post 403\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    let hits = world.log("hits.log");
    assert!(!hits.contains("/plain/b") && !hits.contains("WEBSOCKET 9000"), "{hits}");
    assert!(
        world.refused("allowed.example", 443, "no rule for this host allows a WebSocket"),
        "{:#?}",
        world.events()
    );
    assert!(
        world.refused("allowed.example", 443, "no more than 8192 bytes may leave"),
        "{:#?}",
        world.events()
    );
    let explained = world.host(&format!(
        "for url in wss://allowed.example/ws/a wss://allowed.example/plain/b; do \"$RF\" explain --policy {} --url $url; done",
        world.policy(network)
    ));
    let lines: Vec<_> = explained.out.lines().collect();
    assert!(lines[0].contains(": allowed:") && lines[1].contains("allows a WebSocket"), "{explained:?}");
}

#[test]
fn no_more_leaves_than_a_rule_says() {
    let world = World::new();
    let network = "allow = [{ host = \"allowed.example\", port = 7001, bytes_out = \"1MiB\" }, \
                   { host = \"allowed.example\", port = 80, bytes_out = \"20KiB\" }, \
                   { host = \"allowed.example\", methods = [\"GET\", \"POST\"], request_size = \"10KiB\" }]";
    let script = r#"
echoes() { python3 - "$1" <<'END'
import socket, sys
s = socket.create_connection(("allowed.example", 7001), 9); s.settimeout(9); got = 0; left = int(sys.argv[1])
try:
    while left:
        part = min(left, 16384); s.sendall(b"x" * part); left -= part
        while part: n = len(s.recv(part)); assert n; part -= n; got += n
    print("all", got)
except (OSError, AssertionError): print("cut", got <= 1 << 20)
END
}
echoes 700000; echoes 700000; echoes 1
head -c 8000 /dev/zero > eight; head -c 12000 /dev/zero > twelve; head -c 3000000 /dev/urandom > $HOME/big
post() { curl -sm9 -o /dev/null -w "$1 %{http_code}\n" "${@:2}"; }
post first --data-binary @eight http://allowed.example/first
post second --data-binary @eight http://allowed.example/second
post third --data-binary @eight http://allowed.example/third
post get http://allowed.example/get
post small --data-binary @eight https://allowed.example/small
post large --data-binary @twelve https://allowed.example/large
for v in --http1.1 --http2; do post chunked$v $v -H 'Transfer-Encoding: chunked' -T - -X POST https://allowed.example/chunked < twelve; done
post fine --http1.1 -H 'Transfer-Encoding: chunked' -T - -X POST https://allowed.example/fine < eight
"#;
    let outcome = run(&world, network, script);
    for line in [
        "all 700000\ncut True\ncut True\n",
        "first 200\nsecond 200\nthird 403\nget 403\n",
        "small 200\nlarge 403\n",
        "chunked--http1.1 403\nchunked--http2 403\nfine 200\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(
        world.refused("allowed.example", 7001, "no more than 1048576 bytes may leave, by"),
        "{:#?}",
        world.events()
    );
    assert!(world.refused("allowed.example", 80, "no more than 20480 bytes may leave"));
    assert!(world.refused("allowed.example", 443, "the body of the request is larger than 10240 bytes"));
    assert!(!world.log("hits.log").contains("/large"), "{}", world.log("hits.log"));
}

#[test]
fn a_port_for_one_protocol_is_for_no_other() {
    let world = World::new();
    // Servers that greet first, and one that waits.
    let network = "allow = [{ host = \"allowed.example\", port = 7000, protocol = \"ssh\" }, \
                   { host = \"allowed.example\", port = 7001, protocol = \"postgres\" }, \
                   { host = \"alias.example\", port = 7000, protocol = \"smtp\" }]";
    let script = r#"
says() { exec 3<>/dev/tcp/$1; read -r -t 9 line <&3; echo "$2 $line"; printf "$3" >&3; line=; read -r -t 9 line <&3; echo "$2 $line"; exec 3>&-; }
says allowed.example/7000 ssh 'SSH-2.0-mine\r\n' 2>&1
says allowed.example/7000 http 'GET / HTTP/1.1\r\n\r\n' 2>&1
says alias.example/7000 smtp 'EHLO me\r\n' 2>&1
ssh -o ConnectTimeout=5 -o BatchMode=yes -p 7000 allowed.example true 2>&1 | sed 's/^/client /'
PGCONNECT_TIMEOUT=5 psql 'host=allowed.example port=7001 user=u dbname=d' 2>&1 | sed 's/^/client /'
exec 3<>/dev/tcp/allowed.example/7001; echo anything >&3; line=; read -r -t 9 line <&3; echo "other <$line>"
"#;
    let outcome = run(&world, network, script);
    for line in [
        "ssh hello first\nssh heard SSH-2.0-mine",
        "http hello first\n",
        "\nhttp \n",
        "smtp heard EHLO me",
        "other <>",
        // What the client was told by the server: its own words, so they went there and came back.
        "received invalid response to SSL negotiation",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(world.refused("allowed.example", 7000, "is not the protocol `ssh`"), "{:#?}", world.events());
    assert!(world.refused("allowed.example", 7001, "is not the protocol `postgres`"));
}

#[test]
fn a_server_of_the_task_is_reached_where_its_port_is_published() {
    let world = World::new();
    std::fs::write(world.place.workspace.join("file"), "from the task\n").unwrap();
    let policy = world.policy("publish = [8100, 8101, 8102]");
    let outcome = world.host(&format!(
        r#"
get() {{ curl -sm5 "$1"; echo "$2 $?"; }}
"$RF" run --quiet --policy {policy} --workspace . -- bash -c '
python3 -m http.server -b 127.0.0.1 8100 2>/dev/null & python3 -m http.server -b ::1 8101 2>/dev/null &
python3 -m http.server -b 127.0.0.1 8103 2>/dev/null & for n in $(seq 200); do test -e end && exit; sleep 0.1; done' & run=$!
for n in $(seq 100); do curl -sm1 -o /dev/null http://[::1]:8101/ && curl -sm1 -o /dev/null http://127.0.0.1:8100/ && break; sleep 0.1; done
get http://127.0.0.1:8100/file four
get 'http://[::1]:8100/file' mixed
get http://127.0.0.1:8101/file six
get http://127.0.0.1:8102/file nobody
get http://127.0.0.1:8103/file hidden
get http://203.0.113.10:8100/file elsewhere
head -c 9000000 /dev/zero > big; curl -sm9 http://127.0.0.1:8100/big | wc -c
"$RF" run --quiet --policy {policy} --workspace . -- echo twice; echo "second $?"
"$RF" plan --policy {policy} -- true | grep -c 'publish  port 8100'
kill $run; wait $run
get http://127.0.0.1:8100/file ended
"$RF" run --quiet --policy {policy} --workspace . -- echo again"#
    ));
    for line in [
        "from the task\nfour 0\n",
        "from the task\nmixed 0\n",
        "from the task\nsix 0\n",
        "hidden 7\n",
        "elsewhere 7\n",
        "second 125\n1\n",
        "ended 7\nagain\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(!outcome.out.contains("nobody 0") && !outcome.out.contains("twice"), "{outcome:?}");
    let told = "taking port 8100 of the host's loopback (`network.publish`)";
    assert!(
        outcome.err.contains(told) && outcome.err.contains("something on the host listens there"),
        "{outcome:?}"
    );
}
