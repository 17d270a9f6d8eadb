//! Tier `landlock` with a network: the same destinations by the same gateway, where no namespace keeps the task's sockets.

use ringfence_promises::{Outcome, World, root};

const ALLOWED: &str = "allow = [\"allowed.example\", \"allowed.example:80\"]";

/// Both sides see the same files.
const DIRECT: &str = "allow = [\"allowed.example\", \"allowed.example:80\"]\n[workspace]\nmode = \"direct\"";

/// Runs a script on the world's host, `$RUN` being a run under this `[network]`.
fn host(world: &World, network: &str, script: &str) -> Outcome {
    let policy = world.policy(network);
    // Root's files are root's: nothing less than root could work on them.
    let leave = if root() { "--allow-degraded root-uid " } else { "" };
    world.host(&format!(
        "export RINGFENCE_TEST_HOST=no-userns\nRUN=\"env SSL_CERT_FILE=$BASE/ca.pem $RF run --quiet --policy {policy} --workspace . {leave}--\"\n{script}"
    ))
}

fn run(world: &World, network: &str, script: &str) -> Outcome {
    let file = world.place.write(world.place.base.path().join("script.sh"), script);
    host(world, network, &format!("exec $RUN bash -c \"$(cat {})\"", file.display()))
}

#[test]
fn what_is_named_is_reached_and_nothing_else() {
    let world = World::new();
    let script = r#"
curl -sm9 --cacert $BASE/ca.pem https://allowed.example/; curl -sm9 http://allowed.example/
curl -sm9 http://denied.example/; echo name $?
for to in 203.0.113.20 '[2001:db8::20]' 127.0.0.1 '[::1]' '[::ffff:127.0.0.1]' 0.0.0.0; do curl -gsm9 "http://$to/"; echo "$to $?"; done
python3 - <<'END'
import errno, socket
s = socket.create_connection(("allowed.example", 80), 9)
print("peer", s.getpeername()[1], socket.getaddrinfo("allowed.example", 80)[0][4] == s.getpeername())
for family, to in ((2, "203.0.113.20"), (10, "2001:db8::20")):
    for port in (443, 9):
        with socket.socket(family, socket.SOCK_DGRAM) as s: print(errno.errorcode[s.connect_ex((to, port))])
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            try: print("SENT", s.sendto(b"out", (to, port)))
            except OSError as e: print(errno.errorcode[e.errno])
END
"#;
    let outcome = run(&world, ALLOWED, script);
    let expected = "ALLOWED host=allowed.example path=/\nALLOWED host=allowed.example path=/\nname 6\n203.0.113.20 7\n\
                    [2001:db8::20] 7\n127.0.0.1 7\n[::1] 7\n[::ffff:127.0.0.1] 7\n0.0.0.0 7\npeer 80 True\n";
    let refused = "ENETUNREACH\nECONNREFUSED\n".repeat(4);
    assert_eq!(outcome.out, format!("{expected}{refused}"), "{}", outcome.err);
    assert!(!world.log("hits.log").contains("DENIED"), "{}", world.log("hits.log"));
    let asked = world.log("dns.log");
    assert!(asked.lines().all(|name| name == "allowed.example"), "a question went out: {asked}");
    let remedies: Vec<String> =
        world.events().iter().map(|event| event["detail"]["remedy"].to_string()).collect();
    assert!(remedies.iter().any(|remedy| remedy.contains("{ host_loopback = 80 }")), "{remedies:?}");
    for (host, port, rule) in [
        ("denied.example", 0, "no rule"),
        ("203.0.113.20", 80, "no rule"),
        ("127.0.0.1", 80, "the loopback is the host's"),
        ("::1", 80, "the loopback is the host's"),
        ("203.0.113.20", 443, "UDP"),
    ] {
        assert!(world.refused(host, port, rule), "{host}:{port}: {:#?}", world.events());
    }
}

/// Musl sends without a connect and takes answers only from whom it asked; a program of it is what Alpine is full of.
#[test]
fn names_are_found_whatever_the_library() {
    let world = World::new();
    let source = world.place.write(
        world.place.base.path().join("look.c"),
        "#include <netdb.h>\n#include <stdio.h>\nint main(int n, char **name) {\n struct addrinfo *found;\n\
         for (int i = 1; i < n; i++) printf(\"%s %d\\n\", name[i], getaddrinfo(name[i], \"80\", 0, &found)); }\n",
    );
    for compiler in ["musl-gcc", "gcc"] {
        let built = std::process::Command::new(compiler)
            .args(["-static", "-w", "-o", "look"])
            .arg(&source)
            .current_dir(&world.place.workspace)
            .status();
        assert!(built.unwrap().success(), "{compiler}: apt-get install musl-tools gcc libc6-dev");
        let outcome = run(&world, ALLOWED, "./look allowed.example denied.example allowed.example localhost");
        let expected = "allowed.example 0\ndenied.example -2\nallowed.example 0\nlocalhost 0\n";
        assert_eq!(outcome.out, expected, "{compiler}: {}", outcome.err);
    }
}

#[test]
fn requests_are_looked_into_by_an_authority_of_its_own() {
    let world = World::new();
    let network = "allow = [{ host = \"allowed.example\", methods = [\"GET\"], paths = [\"/site/**\"] }]";
    let script = "for path in site/a other; do curl -sm9 -o /dev/null -w '%{http_code}\\n' https://allowed.example/$path; done\n\
                  curl -sm9 -o /dev/null -w '%{http_code}\\n' -X DELETE https://allowed.example/site/a\n\
                  echo x >> $SSL_CERT_FILE; openssl x509 -noout -subject -in $NODE_EXTRA_CA_CERTS";
    let outcome = run(&world, network, script);
    assert!(outcome.out.starts_with("404\n403\n403\nsubject="), "{outcome:?}");
    assert!(outcome.err.contains("Permission denied"), "its authorities can be written to: {outcome:?}");
    assert!(
        world.refused("allowed.example", 443, "no rule for this host allows the method"),
        "{:#?}",
        world.events()
    );
    let left = world.place.listing().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".pem"));
    assert_eq!(left.filter(|(path, _)| path.to_string_lossy().contains("trust")).count(), 0);
}

/// Whatever a socket of the task is made to do, it is connected by init to the gateway, or to nobody.
#[test]
fn a_socket_leads_to_the_gateway_whatever_is_done_with_it() {
    let world = World::new();
    let script = r#"
python3 - <<'END'
import array, ctypes, errno, os, socket, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
def show(name, call):
    try: print(name, call())
    except OSError as e: print(name, errno.errorcode[e.errno])
def get(s, name="allowed.example"):
    s.settimeout(9); s.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode()); return s.makefile().read().count("ALLOWED")
there = socket.gethostbyname("allowed.example"), 80
denied = "203.0.113.20", 80
tcp = lambda family=2: socket.socket(family, socket.SOCK_STREAM)
# Init keeps nothing of what is closed.
for _ in range(700): tcp().close(); socket.socket(2, 2).close()
# Again after a refusal, through a copy, through another process, as descriptor of a message.
s = tcp(); show("refused", lambda: s.connect(denied)); s.connect(there); show("then", lambda: get(s))
s = tcp(); t = socket.fromfd(s.fileno(), 2, 1); t.connect(there); show("copy", lambda: get(s))
a, b = socket.socketpair(); s = tcp()
if os.fork() == 0:
    _, data, *_ = b.recvmsg(1, socket.CMSG_SPACE(4)); socket.socket(fileno=array.array("i", data[0][2])[0]).connect(there); os._exit(0)
a.sendmsg([b"x"], [(1, 1, array.array("i", [s.fileno()]))]); os.wait(); show("passed", lambda: get(s))
# Taken off the gateway and put elsewhere.
s = tcp(); s.connect(there); show("twice", lambda: s.connect(denied))
s = tcp(); s.connect(there); libc.connect(s.fileno(), b"\0" * 16, 16); show("anew", lambda: s.connect(denied))
s = tcp(); s.connect(there); show("elsewhere", lambda: s.sendto(b"GET / HTTP/1.0\r\nHost: allowed.example\r\n\r\n", denied) > 0)
s = tcp(10); show("mapped", lambda: s.connect(("::ffff:203.0.113.20", 80)))
# Options that lead packets elsewhere, and first packets with data.
for level, name, value in ((1, 25, b"lo\0"), (1, 36, b"\1\0\0\0"), (0, 4, b"\x83\x07\x04\xcb\0\x71\x14\0"), (41, 57, b"\0" * 8), (0, 50, b"\0" * 4)):
    show(f"option {level} {name}", lambda: tcp(10 if level == 41 else 2).setsockopt(level, name, value))
show("first", lambda: tcp().sendto(b"x", socket.MSG_FASTOPEN, denied))
s = tcp(); s.setsockopt(6, 30, 1); show("late", lambda: s.connect(denied))
# Nobody comes in.
show("bound", lambda: tcp().bind(("0.0.0.0", 8099))); show("listens", lambda: tcp().listen()); show("six", lambda: tcp(10).listen())
s = tcp()
show("bound by length", lambda: libc.bind(s.fileno(), struct.pack("=HH4s12x", 2, 0, b"\0" * 4), 20)); show("then", s.listen)
for kind in ((2, 3, 1), (2, 3, 255), (2, 2, 1), (2, 1, 132), (2, 1, 262), (17, 3, 0), (16, 3, 0), (1, 2, 0), (40, 1, 0)):
    show(f"kind {kind}", lambda: socket.socket(*kind))
# What passes for UDP reaches no unix socket, and no other server of names.
u = socket.socket(2, 2); u.connect(("203.0.113.53", 53))
show("unix", lambda: libc.sendto(u.fileno(), b"out", 3, 0, b"\1\0/dev/log\0", 11))
END
"#;
    let outcome = run(&world, ALLOWED, script);
    let expected = "refused ECONNREFUSED\nthen 1\ncopy 1\npassed 1\ntwice ECONNREFUSED\nanew ECONNREFUSED\nelsewhere True\n\
                    mapped ECONNREFUSED\noption 1 25 EPERM\noption 1 36 EPERM\noption 0 4 EPERM\noption 41 57 EPERM\n\
                    option 0 50 EPERM\nfirst ENOTSUP\nlate ECONNREFUSED\nbound EACCES\nlistens EACCES\nsix EACCES\n\
                    bound by length -1\nthen EACCES\n";
    assert!(outcome.out.starts_with(expected), "{}\n{}", outcome.out, outcome.err);
    let rest: Vec<&str> = outcome.out.lines().skip(expected.lines().count()).collect();
    assert_eq!(rest.len(), 10, "{outcome:?}");
    assert!(
        rest[..9].iter().all(|line| line.contains("EAFNOSUPPORT") || line.contains("EPROTONOSUPPORT")),
        "{rest:?}"
    );
    assert!(!world.log("hits.log").contains("DENIED"), "{}", world.log("hits.log"));
}

#[test]
fn an_address_that_changes_meanwhile_is_the_one_that_was_judged() {
    let world = World::new();
    let source = world.place.write(
        world.place.base.path().join("race.c"),
        concat!(
            "#include <arpa/inet.h>\n#include <pthread.h>\n#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n",
            "static union { struct sockaddr_in address; volatile unsigned long half[2]; } shared;\n",
            "static volatile int stop;\n",
            "static void *change(void *other) { unsigned long a = shared.half[0], b = *(unsigned long *)other;\n",
            " while (!stop) { shared.half[0] = b; shared.half[0] = a; } return 0; }\n",
            "int main(int n, char **words) { struct sockaddr_in other = {AF_INET, htons(80)}; pthread_t thread; int got = 0;\n",
            " shared.address = other; inet_pton(AF_INET, words[1], &shared.address.sin_addr);\n",
            " inet_pton(AF_INET, words[2], &other.sin_addr); pthread_create(&thread, 0, change, &other);\n",
            " for (int i = 0; i < 300 || !got && i < 100000; i++) { int s = socket(AF_INET, SOCK_STREAM, 0); char text[999];\n",
            "  if (!connect(s, (struct sockaddr *)&shared.address, 16)) { dprintf(s, \"GET / HTTP/1.0\\r\\nHost: allowed.example\\r\\n\\r\\n\");\n",
            "   int l = read(s, text, 998); if (l > 0) { text[l] = 0; got++; if (strstr(text, \"DENIED\")) puts(\"THROUGH\"); } } close(s); }\n",
            " stop = 1; pthread_join(thread, 0); puts(got ? \"some\" : \"none\"); }\n",
        ),
    );
    let built = std::process::Command::new("gcc")
        .args(["-w", "-pthread", "-o", "race"])
        .arg(&source)
        .current_dir(&world.place.workspace)
        .status();
    assert!(built.unwrap().success(), "gcc");
    let outcome = run(
        &world,
        ALLOWED,
        "./race $(python3 -c 'import socket; print(socket.gethostbyname(\"allowed.example\"))') 203.0.113.20",
    );
    assert_eq!(outcome.out, "some\n", "{}", outcome.err);
    assert!(!world.log("hits.log").contains("DENIED"), "{}", world.log("hits.log"));
}

#[test]
fn who_is_not_of_the_sandbox_gets_nothing_from_its_gateway() {
    let world = World::new();
    let script = r#"
$RUN sh -c 'curl -sm9 http://allowed.example/; echo > up; while ! [ -e over ]; do sleep 0.05; done' & own=$!
while ! [ -s up ] && kill -0 $own 2>/dev/null; do sleep 0.05; done
python3 - <<'END'
import socket
ports = [int(line.split()[1].rsplit(":")[1], 16) for line in open("/proc/net/tcp") if line.split()[3] == "0A" and "0100007F" in line.split()[1]]
held = [socket.create_connection(("127.0.0.1", port)) for port in ports]
for s in held: s.sendall(b"GET / HTTP/1.0\r\nHost: allowed.example\r\n\r\n")
for s in held:
    s.settimeout(30)
    try: print("THROUGH" if b"ALLOWED" in s.recv(999) else "", end="")
    except ConnectionResetError: pass
print("doors", len(ports) >= 2)
END
touch over; wait $own"#;
    let outcome = host(&world, DIRECT, script);
    assert_eq!(outcome.out, "ALLOWED host=allowed.example path=/\ndoors True\n", "{}", outcome.err);
}

#[test]
fn without_the_gateway_nothing_is_reached_and_nobody_takes_its_place() {
    let world = World::new();
    let script = r#"
$RUN sh -c 'curl -sm9 http://allowed.example/; echo > up; while ! [ -e over ]; do sleep 0.05; done; curl -sm9 http://allowed.example/; echo then $?
python3 -c "import socket; s = socket.socket(); print(s.connect_ex((\"198.18.1.0\", 80)))"' & own=$!
while ! [ -s up ] && kill -0 $own 2>/dev/null; do sleep 0.05; done
for process in $(ps -o pid= --ppid $own); do grep -q ringfence-gate /proc/$process/comm && kill -9 $process && echo killed; done
while ! grep -q net.down $RINGFENCE_STATE/runs/*/events.jsonl; do sleep 0.05; done
touch over; wait $own; echo "status $?""#;
    let outcome = host(&world, DIRECT, script);
    assert!(
        outcome.out.starts_with("ALLOWED host=allowed.example path=/\nkilled\nthen 6\n100\nstatus "),
        "{outcome:?}"
    );
}

/// A placeholder is a file of the run's own home; elsewhere there is none to be had, and nothing runs.
#[test]
fn a_credential_is_put_on_requests_and_its_placeholder_is_a_file_of_the_home() {
    let world = World::new();
    world.place.write(world.base.join("token"), "made-secret-0123456789");
    let policy = |file: &str| {
        format!(
            "allow = [{{ host = \"allowed.example\", methods = [\"GET\"] }}]\n[credentials.tool]\nsource = {{ file = \"{}/token\" }}\n\
             hosts = [\"allowed.example\"]\npaths = [\"/reflect\"]\nexpose = {{ file = \"{file}\", text = \"token={{secret}}\" }}",
            world.base.display()
        )
    };
    let script = "read -r line < ~/.tool/token; token=${line#token=}; [ ${#token} -gt 9 ] && [ $token != made-secret-0123456789 ] && echo placeholder\n\
                  curl -sm9 -H \"authorization: Bearer $token\" https://allowed.example/reflect | grep -ci 'bearer'\n\
                  curl -sm9 -o /dev/null -w '%{http_code}\\n' -H 'authorization: Bearer other' https://allowed.example/reflect";
    let outcome = run(&world, &policy("~/.tool/token"), script);
    assert_eq!(outcome.out, "placeholder\n1\n403\n", "{}\n{}", outcome.err, world.log("hits.log"));
    let refused = run(&world, &policy("/opt/tool/token"), "echo ran");
    assert!(refused.out.is_empty() && refused.err.contains("no file of the run's own home"), "{refused:?}");
}

#[test]
fn names_are_answered_beside_many_open_connections() {
    let world = World::new();
    let script = r#"ulimit -n $(ulimit -Hn); python3 - <<'END'
import socket
to = socket.gethostbyname("allowed.example")
held = [socket.create_connection((to, 7001), 9) for _ in range(700)]
missed = 0
for _ in range(800):
    try: socket.gethostbyname("allowed.example")
    except OSError: missed += 1
print("missed", missed)
END
"#;
    let outcome = run(&world, "allow = [{ host = \"allowed.example\", port = 7001 }]", script);
    assert_eq!(outcome.out, "missed 0\n", "{}", outcome.err);
}

#[test]
fn names_are_answered_when_what_asked_is_closed_and_who_finds_no_room_is_counted() {
    let world = World::new();
    let script = r#"python3 - <<'END'
import socket
def ask(s):
    s.settimeout(5)
    try: s.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0\7allowed\7example\0\0\1\0\1", ("203.0.113.53", 53)); return len(s.recv(600)) > 0
    except OSError: return False
held = [socket.socket(2, 2) for _ in range(700)]
print("missed", sum(not ask(s) for s in held))
for s in held: s.close()
missed = 0
for _ in range(600):
    with socket.socket(2, 2) as s: missed += not ask(s)
print("then", missed)
END
"#;
    let outcome = run(&world, ALLOWED, script);
    assert_eq!(outcome.out, "missed 188\nthen 0\n", "{}", outcome.err);
    let refused = world
        .place
        .told("net.deny")
        .into_iter()
        .filter(|own| own["host"] == "(a packet of UDP that asks for a name)");
    assert_eq!(refused.filter_map(|own| own["times"].as_u64()).sum::<u64>(), 188, "{:#?}", world.events());
}
