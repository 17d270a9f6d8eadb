//! The network against a task that says one thing to be judged by and another to be served by.

use ringfence_promises::World;

/// Says hello without a key, so that the server asks for it once more, then names whom it is given.
const TWICE: &str = r#"
cat > twice.py <<'END'
import os, socket, struct, sys
block = lambda size, data: len(data).to_bytes(size, "big") + data
def extension(kind, data): return struct.pack(">H", kind) + block(2, data)
def hello(name, key):
    shares = struct.pack(">H", 29) + block(2, os.urandom(32)) if key else b""
    extensions = extension(0, block(2, b"\0" + block(2, name.encode()))) + extension(43, b"\2\3\4")
    extensions += extension(10, block(2, struct.pack(">H", 29))) + extension(13, block(2, bytes.fromhex("040308040401")))
    extensions += extension(51, block(2, shares))
    body = b"\3\3" + b"r" * 32 + block(1, b"s" * 32) + block(2, b"\x13\1\x13\2") + b"\1\0" + block(2, extensions)
    return b"\1" + block(3, body)
def record(data, kind=22): return bytes([kind, 3, 3]) + block(2, data)
def records(s):
    f = s.makefile("rb")
    while len(head := f.read(5)) == 5: yield head[0], f.read(int.from_bytes(head[3:], "big"))
def twice(name, cut, ahead, early=b""):
    s = socket.create_connection(("allowed.example", 443), 5)
    second = hello(name, True)
    second = record(b"\1", 20) + early + b"".join(record(part) for part in (second[:cut], second[cut:]) if part)
    s.sendall(record(hello("allowed.example", False)) + (second if ahead else early))
    try:
        told = records(s)
        kind, said = next(told)
        assert ahead or (kind == 22 and said[6:10].hex() == "cf21ad74"), (kind, said)
        if not ahead: s.sendall(second)
        for kind, said in told:
            if kind == 21: return "alert %d" % said[1]
            if kind == 22 and said[0] == 2 and said[6:10].hex() != "cf21ad74": return "SERVED"
        return "ended"
    except (OSError, StopIteration) as error: return "ended"
for name in ("allowed.example", "denied.example"):
    print(name, "plain", twice(name, 9999, False))
    print(name, "cut", twice(name, 1, False))
    print(name, "ahead", twice(name, 9999, True))
END
python3 twice.py"#;

#[test]
fn a_second_hello_names_the_same_server() {
    let world = World::new();
    let outcome = world.run("allow = [\"allowed.example:443\"]", TWICE);
    for line in [
        "allowed.example plain SERVED",
        "allowed.example cut SERVED",
        "denied.example plain alert 49",
        "denied.example cut alert 49",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(!outcome.out.contains("denied.example ahead SERVED"), "{outcome:?}");
    assert!(
        world.refused("allowed.example", 443, "another server, `denied.example`"),
        "{:#?}",
        world.events()
    );
}

#[test]
fn an_ordinary_client_that_is_asked_once_more_is_served() {
    let world = World::new();
    let inside = r#"openssl s_client -connect allowed.example:8443 -servername allowed.example -groups X25519:P-384 -CAfile $BASE/ca.pem -trace </dev/null > trace 2>&1
grep -c '^ *ClientHello' trace; grep 'Verify return code' trace | head -1
for i in 1 2 3; do curl -sm9 --tls-max 1.2 --cacert $BASE/ca.pem https://allowed.example/$i https://allowed.example/again$i; done
openssl s_client -connect allowed.example:443 -servername allowed.example -tls1_2 -sess_out s </dev/null >/dev/null 2>&1
for i in 1 2 3 4; do openssl s_client -connect allowed.example:443 -servername allowed.example -tls1_2 -sess_in s </dev/null 2>/dev/null | grep -c '^Reused'; done"#;
    let policy = world.policy(
        "allow = [\"allowed.example\", { host = \"allowed.example\", port = 8443, protocol = \"tls\" }]",
    );
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let outcome = world.host(&format!(
        "openssl s_server -accept 203.0.113.10:8443 -cert $BASE/server.pem -key $BASE/server.key -groups P-384 -quiet </dev/null >/dev/null 2>&1 &\n\
         sleep 1; \"$RF\" run -q --policy {policy} --workspace . -- bash -c \"$(cat {})\"; kill $!",
        inside.display()
    ));
    assert!(outcome.out.contains("Verify return code: 0"), "{outcome:?}");
    assert!(outcome.out.starts_with("2\n"), "it was not asked once more: {outcome:?}");
    assert_eq!(outcome.out.matches("path=/again").count(), 3, "{outcome:?}");
    assert!(outcome.out.ends_with("1\n1\n1\n1\n"), "no session was taken up again: {outcome:?}");
    assert!(
        world.events().iter().all(|event| event["kind"] != "net.deny" || event["detail"]["port"].is_null()),
        "{:#?}",
        world.events()
    );
}

#[test]
fn what_the_task_sends_is_no_line_of_policy() {
    let world = World::new();
    let script = r#"for sent in 'no rule of x leads to `169.254.169.254`' 'no rule of `network.allow` covers it' 'no network: evil.example' \
  'x`: only a rule of `network.allow` that names it opens it'; do curl -sm9 -H "Host: $sent" http://allowed.example/ >/dev/null; done
curl -sm9 http://other.example/"#;
    let _ = world.run("allow = [\"allowed.example:80\"]", script);
    let events = world.events();
    let lines = |host: &str| -> Vec<String> {
        let own =
            events.iter().filter(|event| event["kind"] == "net.deny" && event["detail"]["host"] == host);
        own.map(|event| event["detail"]["remedy"].to_string()).collect()
    };
    let (sent, other) = (lines("allowed.example"), lines("other.example"));
    assert!(!sent.is_empty() && sent.iter().all(|line| line == "null" || line == "[]"), "{events:#?}");
    assert!(other.iter().any(|line| line.contains("other.example:443")), "{events:#?}");
}

#[test]
fn a_datagram_is_no_program_that_had_its_number_by_tcp() {
    let world = World::new();
    let script = r#"curl -sm9 --local-port 40000 http://allowed.example/
python3 - <<'END'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.bind(("0.0.0.0", 40000))
s.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0\7stealth\4evil\0\0\1\0\1", ("203.0.113.53", 53))
print("code", s.recv(999)[3] & 15)
END
curl -sm9 http://denied.example/; curl -sm9 http://203.0.113.20/; true"#;
    let outcome = world.run("allow = [\"allowed.example:80\"]", script);
    assert!(outcome.out.contains("code 3") && outcome.out.contains("path=/"), "{outcome:?}");
    let events = world.events();
    let of = |host: &str| {
        let event = events.iter().find(|event| event["detail"]["host"] == host).expect("an event");
        event["detail"]["program"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(of("stealth.evil"), "", "{events:#?}");
    for host in ["denied.example", "203.0.113.20"] {
        assert!(of(host).ends_with("curl"), "{host}: {events:#?}");
    }
}

#[test]
fn whatever_asks_for_no_name_is_told() {
    let world = World::new();
    let script = r#"python3 - <<'END'
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect(("203.0.113.53", 53))
for packet in (b"none at all", struct.pack(">6H", 7, 0x2100, 1, 0, 0, 0) + b"\6update\0\0\1\0\1", struct.pack(">6H", 8, 0x100, 0, 0, 0, 0)):
    s.send(packet)
time.sleep(1)
for number in range(900):
    s.send(struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + b"\5n%04d\4evil\0\0\1\0\1" % number)
    if number % 20 == 19: time.sleep(0.001)
time.sleep(2)
own = ":%04X" % s.getsockname()[1]
lines = [line.split() for line in list(open("/proc/net/udp"))[1:]]
print("lost", sum(int(line[-1]) for line in lines if not line[1].endswith(own)))
t = socket.create_connection(("203.0.113.53", 53), 5); t.sendall(b"\0\5GET /"); print(t.recv(9))
END"#;
    let outcome = world.run("allow = [\"allowed.example:80\"]", script);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let events = world.events();
    let none = "(a packet of UDP that asks for no name)";
    for rule in ["only questions for names", "NOTIMP", "FORMERR"] {
        assert!(world.refused(none, 0, rule), "{rule}: {events:#?}");
    }
    // What the kernel had no room for is its own to count; of the rest each is told of, or counted.
    let details = || events.iter().map(|event| &event["detail"]);
    let named =
        details().filter(|detail| detail["host"].as_str().is_some_and(|host| host.ends_with(".evil")));
    let counted = details().filter(|detail| detail["host"] == "(a packet of UDP that asks for a name)");
    let first = |text: &str| text.split(' ').next().and_then(|number| number.parse::<usize>().ok()).unwrap();
    // The same words are told once, and then how often.
    let times = |detail: &serde_json::Value| usize::try_from(detail["times"].as_u64().unwrap()).unwrap();
    let counted: usize = counted.map(|detail| first(detail["rule"].as_str().unwrap()) * times(detail)).sum();
    let lost = outcome.out.lines().find_map(|line| line.strip_prefix("lost ")).map(first).unwrap();
    let named = named.count();
    assert_eq!(named + counted + lost, 900, "{named} told of, {counted} counted, {lost} lost");
    assert!(world.refused("(a packet of TCP that asks for no name)", 0, "only questions"), "{events:#?}");
}

#[test]
fn no_rule_is_about_the_port_of_names() {
    let world = World::new();
    for rule in [
        "allow = [\"allowed.example:53\"]",
        "allow = [{ host_loopback = 53 }]",
        "allow = [{ host = \"10.0.0.1\", port = 53 }]",
        "deny = [\"allowed.example:53\"]",
        "deny = [\"0.0.0.0/0:53\"]",
    ] {
        let policy = world.policy(rule);
        let told = world.host(&format!("\"$RF\" check --policy {policy}"));
        assert!(told.status != 0 && (told.out + &told.err).contains("not reached at port 53"), "{rule}");
    }
    let policy = world.policy("allow = [\"allowed.example\"]");
    let told = world.host(&format!("\"$RF\" explain --policy {policy} --host allowed.example:53"));
    assert!(told.out.contains("53") && !told.out.contains("allow = "), "{told:?}");
}

#[test]
fn what_a_rule_says_of_a_service_of_the_host_holds() {
    let rule = "allow = [{ host_loopback = 8000, protocol = \"http\", methods = [\"GET\", \"POST\"], paths = [\"/a\"], request_size = \"10B\" }]";
    for tier in ["namespace", "landlock"] {
        let world = World::new().in_tier(tier);
        let script = r#"
U=http://host.ringfence.internal:8000
ask() { name=$1; shift; echo "$name $(curl -sm9 -o got -w '%{http_code}' "$@")"; }
ask fine $U/a; cat got
ask method -X DELETE $U/a; ask path $U/other; ask host -H 'Host: localhost' $U/a
ask small -d 0123456789 $U/a; ask large -d 0123456789x $U/a
ask upgrade -H 'Connection: Upgrade' -H 'Upgrade: websocket' $U/a
python3 - <<'END'
import socket
s = socket.create_connection(("host.ringfence.internal", 8000), 9); s.sendall(b"* no HTTP\r\n\r\n"); print("other", s.recv(12)[9:])
END"#;
        let outcome = world.run(rule, script);
        let found = "fine 200\nLOOPBACK host=host.ringfence.internal:8000 path=/a";
        assert!(outcome.out.starts_with(found), "{tier}: {outcome:?}");
        for line in ["method 403", "path 403", "host 403", "large 403", "upgrade 403", "other b'400'"] {
            assert!(outcome.out.contains(line), "{tier}: {line}: {outcome:?}");
        }
        assert!(!outcome.out.contains("small 403"), "{tier}: {outcome:?}");
        assert!(world.refused("host.ringfence.internal", 8000, "DELETE /a"), "{tier}: {:#?}", world.events());
        let remedies =
            world.events().iter().any(|event| event["detail"]["remedy"].to_string().contains("allow"));
        assert!(!remedies, "{tier}: the rule would fall: {:#?}", world.events());
        let policy = world.policy(rule);
        let foretold = |method: &str, path: &str| {
            let url = format!("--url http://host.ringfence.internal:8000{path} --method {method}");
            world.host(&format!("\"$RF\" explain --policy {policy} {url}")).out
        };
        assert!(foretold("GET", "/a").contains("allowed"), "{}", foretold("GET", "/a"));
        for (method, path) in [("DELETE", "/a"), ("GET", "/other")] {
            let told = foretold(method, path);
            assert!(told.contains("refused") && !told.contains("allow = "), "{told}");
        }
        let told = world.host(&format!("\"$RF\" check --policy {policy}"));
        assert!(
            !told.out.contains("host's loopback can be reached"),
            "what is bounded is no finding: {told:?}"
        );
    }
}

#[test]
fn what_a_rule_says_of_addresses_and_of_a_pattern_holds() {
    let bound = "port = 80, methods = [\"GET\"], paths = [\"/a\"]";
    let rule = format!(
        "allow = [{{ host = \"203.0.113.0/28\", {bound} }}, {{ host = \"*.wild.example\", {bound} }}]"
    );
    for tier in ["namespace", "landlock"] {
        let script = r#"
for to in 203.0.113.10 www.wild.example; do
  for ask in "GET a" "DELETE a" "GET other"; do set -- $ask; echo "$to $ask $(curl -sm9 -o got -w '%{http_code}' -X $1 http://$to/$2)"; done
done"#;
        let outcome = World::new().in_tier(tier).run(&rule, script);
        let found = |to| format!("{to} GET a 200\n{to} DELETE a 403\n{to} GET other 403\n");
        assert_eq!(outcome.out, found("203.0.113.10") + &found("www.wild.example"), "{tier}: {outcome:?}");
    }
}

/// Answers by the path that is asked for.
const ODD: &str = r#"
cat > odd.py <<'END'
import socket, threading
def serve(c):
    said = b""
    while b"\r\n\r\n" not in said: said += c.recv(9999)
    path = said.split(b" ")[1]
    head = {b"/many": b"".join(b"a%d: 1\r\n" % n for n in range(300)), b"/blank": b"X : y\r\n"}.get(path, b"")
    if path == b"/read":
        while c.recv(9999): pass
    c.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 2\r\n\r\nok"); c.close()
server = socket.create_server(("203.0.113.10", 8088))
while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
END
python3 odd.py & server=$!; sleep 1"#;

#[test]
fn an_answer_that_is_not_read_is_told_from_none() {
    let world = World::new();
    let inside = r#"for path in many blank; do curl -sm9 http://allowed.example:8088/$path | grep -o '"detail":"[^"]*"'; done
exec 3<>/dev/tcp/allowed.example/8088; printf 'POST /read HTTP/1.1\r\nHost: allowed.example:8088\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n' >&3; timeout 5 cat <&3 | grep -ao '"detail":"[^"]*"'
curl -sm9 http://allowed.example:8088/ $(seq -f '-H h%g:1' 300) -o /dev/null
curl -sm9 -d a=b 'http://allowed.example:8088/?_method=DELETE' -o /dev/null; true"#;
    let policy = world.policy(
        "allow = [{ host = \"allowed.example\", port = 8088, protocol = \"http\", methods = [\"GET\", \"POST\"] }]",
    );
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let outcome = world.host(&format!(
        "{ODD}\n\"$RF\" run -q --policy {policy} --workspace . -- bash -c \"$(cat {})\"; kill $server; \"$RF\" explain > explained",
        inside.display()
    ));
    for why in
        ["more than 200 fields", "the server's answer is no HTTP", "the body of the request is malformed"]
    {
        assert!(outcome.out.contains(why), "{why}: {outcome:?}");
    }
    assert!(!outcome.out.contains("without an answer"), "{outcome:?}");
    assert!(world.refused("allowed.example", 8088, "more than 200 fields"), "{:#?}", world.events());
    assert!(world.refused("allowed.example", 8088, "`_method` in the query"), "{:#?}", world.events());
    let told = world.place.read(world.place.workspace.join("explained")).unwrap_or_default();
    assert!(told.contains("more than 200 fields") && !told.contains("protocol = \"tcp\""), "{told}");
}

#[test]
fn a_malformed_request_by_http2_is_told() {
    let world = World::new();
    let inside = r#"cat > two.py <<'END'
import os, socket, ssl
c = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]); c.set_alpn_protocols(["h2"])
s = c.wrap_socket(socket.create_connection(("allowed.example", 443), 5), server_hostname="allowed.example")
frame = lambda kind, flags, stream, data: len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data
field = lambda name, value: b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
def ask(path, *more):
    head = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"allowed.example"), (b":path", path))
    return b"".join(field(*one) for one in head + more)
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
s.sendall(frame(1, 5, 1, ask(b"/repo/a b")))
s.settimeout(2); f = s.makefile("rb")
try:
    while len(head := f.read(9)) == 9:
        data = f.read(int.from_bytes(head[:3], "big"))
        if head[3] in (3, 7): print("reset", data[-1])
except OSError: pass
END
python3 two.py; curl -sm9 --http2 -o /dev/null -w '%{http_version} %{http_code}\n' https://allowed.example/repo/x; true"#;
    let policy = world.policy(
        "allow = [{ host = \"allowed.example\", methods = [\"GET\", \"POST\"], paths = [\"/repo/**\"] }]",
    );
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; \"$RF\" run -q --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        inside.display()
    ));
    assert_eq!(outcome.out, "reset 1\n2 200\n", "{outcome:?}");
    assert!(
        world.refused("allowed.example", 443, "malformed, and was ended (PROTOCOL_ERROR)"),
        "{:#?}",
        world.events()
    );
}

#[test]
fn a_head_has_no_more_than_64_kib_either_way() {
    let world = World::new();
    let inside = r#"cat > heads.py <<'END'
import os, socket, ssl
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]); context.set_alpn_protocols(["h2"])
def one(size, port=80, path="/"):
    s = socket.create_connection(("allowed.example", port), 5)
    host = "allowed.example" + (":%d" % port if port != 80 else "")
    head = b"".join(b"X: %s\r\n" % (b"a" * 1995) for _ in range(size // 2000))
    s.sendall(b"GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (path.encode(), host.encode(), head))
    return s.recv(99).split(b" ")[1].decode()
def frame(kind, flags, data): return len(data).to_bytes(3, "big") + bytes([kind, flags]) + (1).to_bytes(4, "big") + data
def sized(text):
    rest, out = len(text) - 127, b"\x7f"
    if rest < 0: return bytes([len(text)]) + text
    while rest > 127: out, rest = out + bytes([rest & 127 | 128]), rest >> 7
    return out + bytes([rest]) + text
def two(size, many=0):
    s = context.wrap_socket(socket.create_connection(("allowed.example", 443), 5), server_hostname="allowed.example")
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"allowed.example"), (b":path", b"/")] + [(b"x", b"a" * 1967)] * (size // 2000) + [(b"y", b"b")] * many
    block = b"".join(b"\0" + sized(name) + sized(value) for name, value in fields)
    parts = [block[at:at + 16000] for at in range(0, len(block), 16000)]
    said = b"".join(frame(9 if at else 1, (4 if at + 1 == len(parts) else 0) | (0 if at else 1), part) for at, part in enumerate(parts))
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + (0).to_bytes(3, "big") + b"\4\0" + bytes(4) + said)
    reader = s.makefile("rb")
    while len(head := reader.read(9)) == 9:
        payload = reader.read(int.from_bytes(head[:3], "big"))
        if head[3] == 1: return "200" if payload.lstrip(bytes(range(0x20, 0x40)))[:1] == b"\x88" else "refused"
        if head[3] in (3, 7): return "reset"
print("one", *[one(size) for size in (60000, 65000, 66000, 100000, 140000)])
print("two", *[two(size) for size in (60000, 66000, 100000)], *[two(0, many) for many in (80, 250)])
print("back", *[one(0, 8088, path) for path in ("/60000", "/66000", "/100000")])
END
python3 heads.py"#;
    let server = r#"
cat > answers.py <<'END'
import socket
server = socket.create_server(("203.0.113.10", 8088))
while True:
    c, _ = server.accept(); size = int(c.recv(9999).split(b" ")[1][1:])
    c.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"a" * size + b"\r\nContent-Length: 2\r\n\r\nok"); c.close()
END
python3 answers.py & server=$!; sleep 1"#;
    let policy = world.policy(
        "allow = [\"allowed.example:80\", { host = \"allowed.example\", methods = [\"GET\"] }, { host = \"allowed.example\", port = 8088, protocol = \"http\" }]",
    );
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let outcome = world.host(&format!(
        "{server}\nexport SSL_CERT_FILE=$BASE/ca.pem; \"$RF\" run -q --policy {policy} --workspace . -- bash -c \"$(cat {})\"; kill $server",
        inside.display()
    ));
    assert_eq!(
        outcome.out, "one 200 200 431 431 431\ntwo 200 refused refused 200 refused\nback 200 502 502\n",
        "{outcome:?}"
    );
    for (port, rule, often) in
        [(80, "the head of the request is larger", 3), (443, "the head of the request is larger", 3)]
    {
        let told = world.place.told("net.deny").into_iter().filter(|own| own["port"] == port);
        let times: u64 = told
            .filter(|own| own["rule"].as_str().unwrap().contains(rule))
            .map(|own| own["times"].as_u64().unwrap())
            .sum();
        assert_eq!(times, often, "{port}: {:#?}", world.events());
    }
    let failed = world.place.told("net.fail");
    assert!(
        failed.iter().all(|own| own["why"].as_str().unwrap().contains("the head of the server's answer")),
        "{failed:?}"
    );
}
