//! The network: what the policy names is reached by unchanged programs, and nothing else is.

use ringfence_promises::{World, root};

const ALLOWED: &str = "allow = [\"allowed.example:80\", \"allowed.example:443\", \"allowed.example:7000\", \
                       \"allowed.example:7001\", \"six.example:80\", \"*.wild.example:8000\", \"alias.example:80\"]\n\
                       deny = [\"bad.wild.example\"]";

#[test]
fn programs_reach_what_is_named_and_know_nothing_of_it() {
    let world = World::new();
    let script = r#"
curl -sm9 http://allowed.example/curl
curl -sm9 http://six.example/six
curl -sm9 http://alias.example/alias
curl -sm9 http://www.wild.example:8000/wild
curl -sm9 --cacert $BASE/ca.pem https://allowed.example/tls
python3 -c 'import ssl, os, urllib.request as u; c = ssl.create_default_context(cafile=os.environ["BASE"] + "/ca.pem")
print(u.urlopen("https://allowed.example/python", context=c).read().decode(), end="")'
NODE_EXTRA_CA_CERTS=$BASE/ca.pem node -e 'fetch("https://allowed.example/node").then(r => r.text()).then(t => process.stdout.write(t))'
exec 3<>/dev/tcp/allowed.example/7000; read -r line <&3; echo "$line"; echo me >&3; cat <&3"#;
    let outcome = world.run(ALLOWED, script);
    for line in [
        "ALLOWED host=allowed.example path=/curl",
        "ALLOWED6 host=six.example path=/six",
        "ALLOWED host=alias.example path=/alias",
        "ALLOWED host=www.wild.example:8000 path=/wild",
        "ALLOWED host=allowed.example path=/tls",
        "ALLOWED host=allowed.example path=/python",
        "ALLOWED host=allowed.example path=/node",
        "hello first",
        "heard me",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
}

#[test]
fn git_clones_over_https() {
    let world = World::new();
    let script = format!(
        "git init -q $BASE/made && cd $BASE/made && echo content > file && git add file && \
         git -c user.name=w -c user.email=w@w commit -qm made && git clone -q --bare . $BASE/site/made.git && \
         git -C $BASE/site/made.git update-server-info && cd - >/dev/null && \
         \"$RF\" run --quiet --policy {} --workspace . -- \
         sh -c 'git -c http.sslCAInfo=$BASE/ca.pem clone -q https://allowed.example/site/made.git /tmp/c && cat /tmp/c/file'",
        world.policy(ALLOWED)
    );
    let outcome = world.host(&script);
    assert!(outcome.out.contains("content"), "{outcome:?}");
}

#[test]
fn nothing_else_is_reached_asked_for_or_waited_for() {
    let world = World::new();
    let script = r#"
curl -sm9 http://denied.example/; echo name $?
curl -sm9 http://203.0.113.20/; echo address $?
curl -gsm9 'http://[2001:db8::20]/'; echo six $?
curl -sm9 http://allowed.example:8000/; echo port $?
curl -sm9 http://www.wild.example/; echo wild $?
curl -sm9 http://bad.wild.example:8000/; echo bad $?
curl -sm9 http://wild.example:8000/; echo parent $?
curl -sm9 http://127.1.2.3/; echo own $?
python3 - <<'END'
import socket, struct, time
begun = time.monotonic()
for family, to in ((socket.AF_INET, "203.0.113.20"), (socket.AF_INET6, "2001:db8::20")):
    for port in (443, 9):
        s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.connect((to, port)); s.send(b"out")
        try: print("UDP", s.recv(9))
        except ConnectionRefusedError: pass
# Another server of names is this one too: nothing is asked of it.
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
s.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\x06secret\x06denied\x07example\x00\x00\x01\x00\x01", ("203.0.113.53", 53))
print("code", s.recv(999)[3] & 15)
print("quick", time.monotonic() - begun < 3)
END"#;
    let outcome = world.run(ALLOWED, script);
    for line in [
        "name 6",
        "address 7",
        "six 7",
        "port 7",
        "wild ",
        "bad 6",
        "parent 6",
        "own 7",
        "code 3",
        "quick True",
    ] {
        // curl: 6 is an unknown name, 7 a refused connection.
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(
        !outcome.out.contains("UDP") && !outcome.out.contains("DENIED") && !outcome.out.contains("wild 0"),
        "{outcome:?}"
    );
    assert!(!world.log("hits.log").contains("DENIED"), "{}", world.log("hits.log"));
    assert_eq!(world.log("dns.log"), "", "a question went out");
    for (host, port, rule) in [
        ("denied.example", 0, "no rule of `network.allow` covers"),
        ("203.0.113.20", 80, "no rule of `network.allow` covers the address"),
        ("2001:db8::20", 80, "no rule of `network.allow` covers the address"),
        ("allowed.example", 8000, "no rule of `network.allow` covers"),
        ("203.0.113.20", 443, "a packet of UDP"),
        ("203.0.113.20", 9, "a packet of UDP"),
        ("2001:db8::20", 443, "a packet of UDP"),
        ("www.wild.example", 80, "no rule of `network.allow` covers"),
        ("bad.wild.example", 0, "`network.deny`"),
        ("secret.denied.example", 0, "no rule of `network.allow` covers"),
    ] {
        assert!(world.refused(host, port, rule), "{host}:{port}: {:#?}", world.events());
    }
    let events = world.events();
    let by_curl = |event: &&serde_json::Value| {
        event["detail"]["host"] == "denied.example"
            && event["detail"]["program"].as_str().is_some_and(|program| program.ends_with("curl"))
            && event["detail"]["process"].as_i64().is_some_and(|process| process > 1)
    };
    assert!(events.iter().any(|event| by_curl(&event)), "who asked: {events:#?}");
}

#[test]
fn a_name_leads_to_no_private_address_unless_a_rule_names_that() {
    let world = World::new();
    let names = ["loop.example", "loop6.example", "meta.example", "private.example", "mapped.example"];
    let allow: Vec<String> = names.iter().map(|name| format!("\"{name}:80\", \"{name}:8000\"")).collect();
    let allow = format!("allow = [{}, \"10.9.0.0/16:8000\", \"0.0.0.0/0:80\"]", allow.join(", "));
    let script = "for n in loop loop6 meta private mapped; do for p in 80 8000; do \
                  curl -sm9 http://$n.example:$p/$n$p; echo; done; done; curl -sm9 http://169.254.169.254/; echo $?; \
                  curl -sm9 http://10.9.8.7:8000/direct; curl -sm9 http://203.0.113.10/wide";
    let outcome = world.run(&allow, script);
    assert_eq!(
        world.log("hits.log"),
        "PRIVATE GET /private8000 private.example:8000\nPRIVATE GET /mapped8000 mapped.example:8000\n\
         PRIVATE GET /direct 10.9.8.7:8000\nALLOWED GET /wide 203.0.113.10\n",
        "{outcome:?}"
    );
    assert!(world.refused("loop.example", 80, "a loopback address"));
    assert!(world.refused("meta.example", 80, "serve metadata"));
    assert!(world.refused("mapped.example", 80, "a private address"));
    assert!(world.refused("169.254.169.254", 80, "serve metadata"));
}

#[test]
fn what_is_spoken_must_be_for_the_name_that_was_asked_for() {
    let world = World::new();
    let script = r#"
A=$(getent ahostsv4 allowed.example | cut -d' ' -f1 | head -1)
curl -skm9 --resolve denied.example:443:$A https://denied.example/; echo sni $?
curl -skm9 https://$A/; echo nameless $?
curl -sm9 http://allowed.example:443/; echo plain $?
curl -sm9 -H 'Host: denied.example' http://allowed.example/host
curl -sm9 http://allowed.example/first --next -H 'Host: denied.example' http://allowed.example/second
printf 'GET http://denied.example/absolute HTTP/1.1\r\nHost: allowed.example\r\n\r\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/allowed.example/80; cat >&3; head -1 <&3'
printf 'GET /twice HTTP/1.1\r\nHost: allowed.example\r\nHost: denied.example\r\n\r\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/allowed.example/80; cat >&3; head -1 <&3'
printf 'SSH-2.0-x\r\n\r\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/allowed.example/80; cat >&3; head -1 <&3'
printf 'CONNECT denied.example:80 HTTP/1.1\r\nHost: allowed.example\r\n\r\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/allowed.example/80; cat >&3; head -1 <&3'
printf 'POST /smuggle HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: denied.example\r\n\r\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/allowed.example/80; cat >&3; head -1 <&3'
"#;
    let outcome = world.run(ALLOWED, script);
    // 35: TLS ended by an alert.
    for line in ["sni 35", "nameless 35", "plain "] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(outcome.out.contains("403"), "{outcome:?}");
    let hits = world.log("hits.log");
    assert!(hits.contains("GET /first allowed.example"), "{hits}");
    for never in ["denied.example", "/host", "/second", "/absolute", "/twice", "/admin", "CONNECT"] {
        assert!(!hits.contains(never), "{never}: {hits}");
    }
    assert!(world.refused("allowed.example", 443, "`denied.example` (SNI)"), "{:#?}", world.events());
    assert!(world.refused("allowed.example", 443, "names no server"));
    assert!(world.refused("allowed.example", 443, "does not start with a TLS ClientHello"));
    assert!(world.refused("allowed.example", 80, "names another host, `denied.example`"));
    assert!(world.refused("allowed.example", 80, "names several hosts"));
}

#[test]
fn its_own_loopback_stays_its_own() {
    let world = World::new();
    let script = r#"python3 - <<'END'
import socket
for address in (("127.0.0.1", 8080), ("127.0.0.1", 8443), ("::1", 8080)):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    server = socket.create_server(address, family=family)
    client = socket.create_connection(address); client.send(b"own")
    print(server.accept()[0].recv(9))
    u = socket.socket(family, socket.SOCK_DGRAM); u.bind(address)
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"udp", address); print(u.recv(9))
END
curl -sm5 http://127.0.0.1/; echo host $?"#;
    let outcome = world.run(ALLOWED, script);
    assert_eq!(outcome.out.matches("own").count(), 3, "{outcome:?}");
    assert_eq!(outcome.out.matches("udp").count(), 3, "{outcome:?}");
    assert!(outcome.out.contains("host 7"), "the host's loopback: {outcome:?}");
}

#[test]
fn much_goes_through_unchanged_both_ways_and_ends_as_it_should() {
    let world = World::new();
    let script = r#"
head -c 30000000 /dev/urandom > big; sha256sum < big | cut -d' ' -f1
curl -sm60 --data-binary @big http://allowed.example/post
curl -sm60 --cacert $BASE/ca.pem --data-binary @big https://allowed.example/post
python3 - <<'END'
import hashlib, socket, threading
s = socket.create_connection(("allowed.example", 7001))
def send():
    with open("big", "rb") as f: s.sendfile(f)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
d = hashlib.sha256()
while part := s.recv(1 << 16): d.update(part)
print(d.hexdigest())
END"#;
    let outcome = world.run(ALLOWED, script);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| *line == lines[0]), "{outcome:?}");
}

#[test]
fn many_connections_at_once_hold_nobody_up() {
    let world = World::new();
    let script = r#"python3 - <<'END'
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900))
held = [socket.create_connection(("allowed.example", 7000)) for n in range(400)]
# Some never say what they must say first.
silent = [socket.create_connection(("allowed.example", 443)) for n in range(100)]
begun = time.monotonic()
s = socket.create_connection(("allowed.example", 80)); s.sendall(b"GET /late HTTP/1.1\r\nHost: allowed.example\r\n\r\n")
print(s.recv(15), time.monotonic() - begun < 5)
print(sum(h.recv(99) == b"hello first\n" for h in held))
END"#;
    let outcome = world.run(ALLOWED, script);
    assert!(outcome.out.contains("b'HTTP/1.1 200 OK' True\n400\n"), "{outcome:?}");
}

#[test]
fn kinds_of_questions_that_no_rule_needs_are_not_answered() {
    let world = World::new();
    let script = r#"python3 - <<'END'
import socket, struct
def question(name, kind, number=7):
    labels = b"".join(bytes([len(p)]) + p for p in name.encode().split(b".")) + b"\0"
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1)
def ask(name, kind):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(("198.18.0.1", 53))
    s.send(question(name, kind)); a = s.recv(999); return a[3] & 15, struct.unpack(">H", a[6:8])[0]
for kind in (1, 28, 65, 64, 16, 255, 10):
    print(kind, *ask("allowed.example", kind))
print("srv", *ask("_http._tcp.allowed.example", 33))
s = socket.create_connection(("192.0.2.1", 53)); q = question("ALLOWED.example", 1)
for n in range(2):
    s.sendall(struct.pack(">H", len(q)) + q); a = s.recv(999); print("tcp", a[5] & 15, socket.inet_ntoa(a[-4:]))
print(socket.gethostbyaddr("198.18.1.0")[0])
for junk in (b"", b"x", b"\0" * 12, bytes(range(256)) * 3, q[:20]):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(junk, ("198.18.0.1", 53))
print("still", *ask("allowed.example", 1))
END"#;
    let outcome = world.run(ALLOWED, script);
    assert_eq!(
        outcome.out,
        "1 0 1\n28 0 0\n65 0 0\n64 0 0\n16 5 0\n255 5 0\n10 5 0\nsrv 3 0\ntcp 0 198.18.1.0\ntcp 0 198.18.1.0\nallowed.example\nstill 0 1\n",
        "{outcome:?}"
    );
    assert!(world.refused("allowed.example", 0, "TXT"), "{:#?}", world.events());
}

#[test]
fn without_the_gateway_there_is_no_network_and_the_run_says_so() {
    let world = World::new();
    let policy = world.policy(ALLOWED);
    let script = format!(
        "\"$RF\" run --policy {policy} --workspace . -- bash -c 'exec 3<>/dev/tcp/allowed.example/7000; read -r l <&3; \
         echo $l; touch /tmp/x; sleep 3; cat <&3; curl -sm5 http://203.0.113.10/; curl -sm5 http://allowed.example/; echo after $?' & \
         sleep 1.5; for g in $(ps -o pid= --ppid $!); do grep -q ringfence-gate /proc/$g/comm && kill -9 $g; done; wait $!"
    );
    let outcome = world.host(&script);
    assert!(outcome.out.contains("hello first") && outcome.out.contains("after "), "{outcome:?}");
    assert!(!outcome.out.contains("after 0"), "{outcome:?}");
    assert!(outcome.err.contains("the network was cut off"), "{outcome:?}");
    assert!(world.events().iter().any(|event| event["kind"] == "net.down"), "{:#?}", world.events());
}

#[test]
fn the_gateway_is_confined_and_is_not_there_without_need() {
    let world = World::new();
    let look = "sleep 1; for g in $(ps -o pid= --ppid $!); do grep -q ringfence-gate /proc/$g/comm || continue; echo GATEWAY; \
                grep -E '^(NoNewPrivs|Seccomp|CapEff|CapPrm|Uid):' /proc/$g/status; stat -c 'owner %u' /proc/$g/environ; \
                ls -l /proc/$g/fd 2>&1 | grep -v -E 'socket:|anon_inode|/dev/null|total' | sed 's/^/fd /'; done; wait $!";
    let with = format!("\"$RF\" run -q --policy {} --workspace . -- sleep 2 & {look}", world.policy(ALLOWED));
    let outcome = world.host(&with);
    for line in
        ["GATEWAY", "NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"]
    {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    if root() {
        assert!(outcome.out.contains("owner 0"), "not dumpable: {outcome:?}");
        assert!(!outcome.out.contains("Uid:\t0"), "{outcome:?}");
        assert!(!outcome.out.contains("fd "), "{outcome:?}");
    }
    let without = format!("\"$RF\" run -q --preset default --workspace . -- sleep 2 & {look}");
    assert!(!world.host(&without).out.contains("GATEWAY"));
}

#[test]
fn a_kept_sandbox_has_its_network_for_every_command() {
    let world = World::new();
    let script = format!(
        "\"$RF\" start kept --policy {} --workspace . && \"$RF\" exec kept -- curl -sm9 http://allowed.example/one; \
         \"$RF\" exec kept -- curl -sm9 http://denied.example/; \"$RF\" exec kept -- curl -sm9 http://allowed.example/two; \
         \"$RF\" stop kept",
        world.policy(ALLOWED)
    );
    let outcome = world.host(&script);
    assert!(outcome.out.contains("path=/one") && outcome.out.contains("path=/two"), "{outcome:?}");
    assert!(world.refused("denied.example", 0, "no rule"), "{:#?}", world.events());
}

#[test]
fn a_service_of_the_host_is_found_under_its_own_name_and_no_other_is() {
    let world = World::new();
    let script = r#"
curl -sm9 http://host.ringfence.internal:8000/granted
curl -sm9 http://host.ringfence.internal/other; echo other $?
curl -sm9 http://127.0.0.1:8000/; echo own $?"#;
    let outcome = world.run("allow = [{ host_loopback = 8000 }]", script);
    assert!(outcome.out.contains("LOOPBACK host=host.ringfence.internal:8000 path=/granted"), "{outcome:?}");
    assert!(outcome.out.contains("other 7") && outcome.out.contains("own 7"), "{outcome:?}");
    assert!(world.refused("host.ringfence.internal", 80, "no rule"), "{:#?}", world.events());
}

#[test]
fn a_socket_of_the_host_is_carried_where_it_is_granted_and_takes_no_descriptors() {
    let world = World::new();
    let sockets = world.base.join("run");
    std::fs::create_dir(&sockets).unwrap();
    let granted = sockets.join("granted.sock").display().to_string();
    let other = sockets.join("other.sock").display().to_string();
    let policy = world.policy(&format!("allow = [{{ unix = \"{granted}\" }}]"));
    let client = world.place.write(
        world.place.base.path().join("client.py"),
        &format!(
            "import socket, os, array, threading\n\
             s = socket.socket(socket.AF_UNIX); s.connect('{granted}')\n\
             s.sendmsg([b'with a descriptor'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])\n\
             print(s.recv(99))\n\
             os.chdir('/'); s = socket.socket(socket.AF_UNIX); s.connect('{granted}'.lstrip('/'))\n\
             threading.Thread(target=lambda: (s.sendall(b'x' * 3000000), s.shutdown(socket.SHUT_WR))).start(); n = 0\n\
             while part := s.recv(65536): n += len(part)\n\
             print(n)\n\
             try: socket.socket(socket.AF_UNIX).connect('{other}'); print('REACHED')\n\
             except OSError as error: print(type(error).__name__)\n"
        ),
    );
    let server = format!(
        "import socket, threading, os\n\
         def talk(c):\n\
        \x20   data, ancillary, flags, _ = c.recvmsg(9999, 9999)\n\
        \x20   c.sendall(b'descriptors: %d' % len(ancillary)) if data.startswith(b'with') else c.sendall(data)\n\
        \x20   while part := c.recv(65536): c.sendall(part)\n\
        \x20   c.close()\n\
         for name in ('{granted}', '{other}'):\n\
        \x20   l = socket.socket(socket.AF_UNIX); l.bind(name); l.listen(); os.chmod(name, 0o600)\n\
        \x20   def loop(l=l):\n\
        \x20       while True: threading.Thread(target=talk, args=(l.accept()[0],), daemon=True).start()\n\
        \x20   threading.Thread(target=loop, daemon=True).start()\n\
         import time; time.sleep(60)\n"
    );
    let server = world.place.write(world.place.base.path().join("server.py"), &server);
    let outcome = world.host(&format!(
        "python3 {} & sleep 0.7; \"$RF\" run -q --policy {policy} --workspace . -- python3 -c \"$(cat {})\"; kill %1",
        server.display(),
        client.display()
    ));
    assert!(outcome.out.contains("b'descriptors: 0'\n3000000\n"), "{outcome:?}");
    assert!(outcome.out.contains("Error") && !outcome.out.contains("REACHED"), "{outcome:?}");
}

#[test]
fn requests_are_held_to_methods_and_paths_and_sent_as_they_were_judged() {
    let world = World::new();
    let network =
        "allow = [{ host = \"allowed.example\", port = 80, methods = [\"GET\"], paths = [\"/repo/**\"] }]";
    let script = r#"
curl -sm9 http://allowed.example/repo/fine?q=1
curl -sm9 http://allowed.example/admin
curl -sm9 -X POST -d x http://allowed.example/repo/post
curl -sm9 -X get http://allowed.example/repo/lower
curl -sm9 -H 'X-HTTP-Method-Override: DELETE' http://allowed.example/repo/override
curl -sm9 -H 'X_HTTP_Method_Override: DELETE' http://allowed.example/repo/underscores
curl -sm9 -H 'X-Original-URL: /admin' http://allowed.example/repo/rewritten
for p in /repo/../admin /repo/%2e%2e/admin /repo/..%2fadmin '/repo/..;/admin' /repo/%252e%252e/admin '/repo\..\admin' //repo/x; do
  curl -sm9 --path-as-is "http://allowed.example$p"; done
curl -sm9 http://allowed.example/repo/one http://allowed.example/admin http://allowed.example/repo/two"#;
    let outcome = world.run(network, script);
    assert!(
        outcome.out.contains("path=/repo/fine?q=1") && outcome.out.contains("path=/repo/two"),
        "{outcome:?}"
    );
    let hits = world.log("hits.log");
    // `//repo/x` is read as `/repo/x`, and sent so.
    assert!(hits.lines().count() == 4 && hits.contains("GET /repo/x "), "{hits}");
    assert!(
        outcome.out.contains("application") || outcome.out.contains("refused by the policy"),
        "{outcome:?}"
    );
    assert!(world.refused("allowed.example", 80, "GET /admin: no rule for this host allows the path"));
    assert!(world.refused("allowed.example", 80, "POST /repo/post: no rule for this host allows the method"));
    let policy = world.policy(network);
    for (arguments, word) in [
        ("http://allowed.example/repo/x", "allowed"),
        ("http://allowed.example/admin", "refused"),
        ("http://allowed.example/repo/x --method PUT", "refused"),
        ("https://allowed.example/repo/x", "refused"),
    ] {
        let all: Vec<&str> =
            ["explain", "--policy", &policy, "--url"].into_iter().chain(arguments.split(' ')).collect();
        let outcome = world.place.ringfence(&all);
        assert!(outcome.out.contains(&format!(": {word}:")), "{arguments}: {outcome:?}");
    }
}

#[test]
fn a_step_has_its_own_network_for_its_run_alone() {
    let world = World::new();
    let policy = world.place.policy(
        "[network]\nallow = [\"alias.example:80\"]\n[step.fetch.network]\nallow = [\"allowed.example:80\"]\n[step.fetch.environment]\nset = { STEP = \"fetch\" }",
    );
    let all = "sh -c 'curl -sm9 http://allowed.example/$STEP; curl -sm9 http://alias.example/base'";
    let run = |step: &str| {
        world.host(&format!("exec \"$RF\" run -q --policy {policy} {step} --workspace . -- {all}"))
    };
    let with = run("--step fetch");
    assert!(
        with.out.contains("host=allowed.example path=/fetch") && with.out.contains("path=/base"),
        "{with:?}"
    );
    let without = run("");
    assert!(!without.out.contains("allowed.example") && without.out.contains("path=/base"), "{without:?}");
    let unknown = run("--step fetsch");
    assert!(unknown.status == 125 && unknown.err.contains("has the step `fetsch`"), "{unknown:?}");
}

#[test]
fn a_socket_that_the_task_could_replace_is_refused() {
    let world = World::new();
    let (run, ws) = (world.base.join("run"), world.place.workspace.clone());
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::symlink(ws.join("led"), run.join("led.sock")).unwrap();
    for (mode, socket, fine) in [
        ("direct", ws.join("own.sock"), false),
        ("direct", run.join("led.sock"), false),
        ("direct", run.join("beside.sock"), true),
        ("review", ws.join("own.sock"), true),
    ] {
        let policy = world.place.policy(&format!(
            "[workspace]\nmode = \"{mode}\"\n[network]\nallow = [{{ unix = \"{}\" }}]",
            socket.display()
        ));
        let outcome = world.host(&format!("\"$RF\" run -q --policy {policy} --workspace . -- echo ran"));
        assert_eq!(outcome.out.contains("ran"), fine, "{mode} {}: {outcome:?}", socket.display());
        assert_eq!(outcome.err.contains("where the task writes"), !fine, "{outcome:?}");
    }
}

#[test]
fn what_a_client_names_is_told_however_long_and_ends_nothing() {
    let world = World::new();
    let script = r#"
long=$(head -c 50000 /dev/zero | tr '\0' a)
curl -sm9 -H "Host: $long" http://allowed.example/ -o /dev/null -w 'status %{http_code}\n'
curl -sm9 http://allowed.example/after
curl -sm9 -H "Host: denied.example" http://allowed.example/"#;
    let outcome = world.run(ALLOWED, script);
    assert!(outcome.out.contains("status 403") && outcome.out.contains("path=/after"), "{outcome:?}");
    assert!(world.refused("allowed.example", 80, "names another host, `aaaa"), "{:#?}", world.events());
    assert!(world.refused("allowed.example", 80, "names another host, `denied.example`"));
    assert!(world.events().iter().all(|event| event["kind"] != "net.down"), "{:#?}", world.events());
}

#[test]
fn what_a_task_can_write_configures_no_registry() {
    let world = World::new();
    let policy = world.policy("registries = [\"pip\"]");
    let ws = &world.place.workspace;
    world.place.write(ws.join(".venv/pip.conf"), "[global]\nindex-url = https://denied.example/simple\n");
    let outside = world.base.join("venv");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(ws.join(".venv/pip.conf"), outside.join("pip.conf")).unwrap();
    let own = world.place.base.path().join("own");
    let host = |name: &std::path::Path| {
        let script = format!(
            "VIRTUAL_ENV={} PIP_INDEX_URL= \"$RF\" explain --policy {policy} --workspace . --host denied.example:443",
            name.display()
        );
        world.host(&script)
    };
    for environment in [ws.join(".venv"), outside] {
        let outcome = host(&environment);
        assert!(!outcome.out.contains(": allowed"), "{outcome:?}");
    }
    world.place.write(own.join("pip.conf"), "[global]\nindex-url = https://denied.example/simple\n");
    let outcome = host(&own);
    assert!(outcome.out.contains(": allowed"), "{outcome:?}");
}

#[test]
fn a_name_is_asked_for_once_while_the_answer_lasts() {
    let world = World::new();
    let script = "for n in 1 2 3 4; do curl -sm9 http://allowed.example/$n & done; wait; \
                  curl -sm9 http://allowed.example/5; curl -sm9 http://alias.example/a; sleep 1.2; \
                  curl -sm9 http://alias.example/b; curl -sm9 http://loop.example/x; curl -sm9 http://loop.example/y";
    let outcome =
        world.run("allow = [\"allowed.example:80\", \"alias.example:80\", \"loop.example:80\"]", script);
    let log = world.log("dns.log");
    let asked = |name: &str| log.lines().filter(|line| *line == name).count();
    // A and AAAA each; what the second one lasts is over before it is used again.
    assert_eq!((asked("allowed.example"), asked("alias.example")), (2, 4), "{outcome:?}\n{log}");
    assert!(outcome.out.contains("path=/5") && outcome.out.contains("path=/b"), "{outcome:?}");
    // What is remembered is vetted each time all the same.
    assert_eq!(asked("loop.example"), 2, "{log}");
    let refused = world.events().iter().filter(|event| event["detail"]["host"] == "loop.example").count();
    assert_eq!(refused, 2, "{:#?}", world.events());
    assert!(!world.log("hits.log").contains("LOOPBACK"));
}

/// However fast the program is gone.
#[test]
fn what_is_under_way_when_the_command_ends_is_told_of() {
    let world = World::new();
    let script = r#"
import os, socket
held = []
for number in range(20):
    s = socket.create_connection(("allowed.example", 80)); held.append(s)
    s.sendall(b"GET / HTTP/1.1\r\nHost: denied%d.example\r\n\r\n" % number)
os._exit(0)"#;
    world.place.write("gone.py", script);
    let outcome = world.run("allow = [\"allowed.example:80\"]", "exec /usr/bin/python3 gone.py");
    let told =
        (0..20).filter(|number| world.refused("allowed.example", 80, &format!("`denied{number}.example`")));
    assert_eq!(told.count(), 20, "{outcome:?} {:#?}", world.events());
}

/// A connection that is granted and comes to nothing is no refusal, and its owner learns why.
#[test]
fn what_is_granted_and_fails_is_said() {
    let world = World::new();
    let policy =
        world.policy("allow = [\"allowed.example:7999\", \"nowhere.example:443\", \"nowhere.example:80\"]");
    let inner = "cat < /dev/tcp/allowed.example/7999; curl -sm9 https://nowhere.example/; curl -sm9 http://nowhere.example/";
    let script = format!(
        "\"$RF\" run --quiet --policy {policy} --workspace . -- bash -c '{inner}'; \"$RF\" explain last; \"$RF\" explain --json last"
    );
    let outcome = world.host(&script);
    for line in [
        "granted, but it failed: allowed.example:7999: the server cannot be reached: Connection refused",
        "granted, but it failed: nowhere.example:443: ",
        "granted, but it failed: nowhere.example:80: ",
        "\"failed\": [",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
}

#[test]
fn a_socket_at_which_nobody_listens_is_told() {
    let world = World::new();
    let path = world.base.join("nobody");
    let script = format!(
        "python3 - <<'END'\nimport socket\nfor _ in (1, 2):\n s = socket.socket(1); s.connect(\"{0}\"); print(s.recv(9))\nEND",
        path.display()
    );
    let policy = world.policy(&format!("allow = [{{ unix = \"{}\" }}]", path.display()));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), &script);
    let outcome = world.host(&format!(
        "python3 -c 'import socket; socket.socket(1).bind(\"{}\")'; {} -- bash -c \"$(cat {})\"; \"$RF\" explain > explained",
        path.display(), world.start(&policy), inside.display()
    ));
    assert_eq!(outcome.out, "b''\nb''\n", "{outcome:?}");
    let told = world.place.told("net.fail");
    assert!(told.len() == 2 && told.iter().all(|own| own["unix"] == path.display().to_string()), "{told:#?}");
    let explained = world.place.read("explained").unwrap_or_default();
    assert!(explained.contains("granted, but it failed") && explained.contains("/nobody"), "{explained}");
}
