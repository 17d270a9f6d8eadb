//! `[containers]`: an engine of the host is asked by way of the gateway; shown with Podman's service, curl and Docker's own SDK.

use ringfence_promises::{Outcome, Place};

const ALL: &str = "allow = [\"read\", \"pull\", \"run\", \"attach\", \"exec\"]\nimages = [\"tiny:*\"]";

/// With an engine that has one container of somebody else's. `$S` is what the task asks; `after` is run on the host when it has ended.
fn run(place: &Place, containers: &str, inside: &str, after: &str) -> Outcome {
    let sdk = ringfence_promises::python("sdk-docker", "docker", &["docker"]);
    let base = place.base.path().canonicalize().unwrap();
    let policy = place.policy(&format!(
        "[files]\nexec = [\"{sdk}\"]\n[environment]\nset = {{ PYTHONPATH = \"{sdk}\", PYTHONDONTWRITEBYTECODE = \"1\" }}\n\
         [containers]\nengine = \"{}/engine.sock\"\n{containers}",
        base.display()
    ));
    let inside = place.write(base.join("inside.sh"), inside);
    let host = place.write(
        base.join("host.sh"),
        &format!(
            "BASE={}; . {}; cd {}\n\"$RF\" run --quiet --policy {policy} --workspace . -- env REAL=$ENGINE bash -c \"S=\\${{DOCKER_HOST#unix://}}; $(cat {})\" & run=$!\n\
             {after}\nwait $run; status=$?; echo \"left $(left)\"; ended; exit $status",
            base.display(),
            concat!(env!("CARGO_MANIFEST_DIR"), "/world/engine.sh"),
            place.workspace.display(),
            inside.display()
        ),
    );
    let mut command = std::process::Command::new("bash");
    command.arg(host).stdin(std::process::Stdio::null());
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    command
        .env("RF", ringfence_promises::binary())
        .env_remove("RINGFENCE_POLICY")
        .env_remove("XDG_STATE_HOME");
    let done = command.output().unwrap();
    Outcome {
        status: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

fn told(place: &Place, kind: &str, text: &str) -> bool {
    place.told(kind).iter().any(|detail| detail.to_string().contains(text))
}

#[test]
fn containers_of_the_tasks_own_run_and_end_with_it() {
    let place = Place::in_var_tmp();
    let inside = r#"
cat > use.py <<'END'
import docker, os, socket
client = docker.from_env()
print("ping", client.ping(), [image.tags for image in client.images.list()])
print("ran", client.containers.run("tiny:1", "/bin/hello", network_mode="none", remove=True))
own = client.containers.run("tiny:1", ["/bin/hello", "sleep"], network_mode="none", detach=True, name="own")
print("exec", own.exec_run("/bin/hello").output, own.status)
echo = client.containers.create("tiny:1", ["/bin/hello", "cat"], network_mode="none", stdin_open=True, name="echo")
stream = echo.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
echo.start()
stream._sock.sendall(b"through the stream")
print("stream", stream._sock.recv(64)[8:])
print("theirs", [one.name for one in client.api.containers(all=True) and client.containers.list(sparse=True, all=True) if "theirs" in str(one.attrs)] != [])
for verb in ("kill", "remove", "logs", "exec_run"):
    theirs = docker.models.containers.Container({"Id": "theirs"}, client=client)
    try: print("theirs", verb, getattr(theirs, verb)(*["/bin/hello"][:verb == "exec_run"]))
    except docker.errors.APIError as error: print(verb, error.status_code)
real = socket.socket(socket.AF_UNIX)
print("real", real.connect_ex(os.environ["REAL"]))
END
/usr/bin/python3 use.py 2>&1
"#;
    let outcome = run(&place, ALL, inside, "");
    for line in [
        "ping True [['docker.io/library/tiny:1']]",
        "ran b'hello from a container\\n'",
        "exec b'hello from a container\\n'",
        "stream b'through the stream'",
        "theirs True",
        "kill 403",
        "remove 403",
        "logs 403",
        "exec_run 403",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(!outcome.out.contains("real 0"), "{outcome:?}");
    assert!(outcome.out.ends_with("left theirs \n"), "{outcome:?}");
    assert!(
        told(&place, "container.use", "containers/create name=own image=docker.io/library/tiny:1"),
        "{outcome:?}"
    );
    assert!(told(&place, "container.deny", "container that this sandbox did not make"), "{outcome:?}");
}

#[test]
fn nothing_of_the_host_is_given_and_nothing_outlives_a_supervisor_that_is_killed() {
    let place = Place::in_var_tmp();
    let inside = r#"
create() { curl -sm20 --unix-socket $S -X POST -d "$1" -o said -w '%{http_code}\n' http://d/containers/create; }
for host in '"Binds":["/:/host"]' '"Mounts":[{"Type":"bind","Source":"/","Target":"/host"}]' '"Privileged":true' '"PidMode":"host"' '"NetworkMode":"host"' '"Devices":[{"PathOnHost":"/dev/null"}]' '"CapAdd":["ALL"]'; do
  create "{\"Image\":\"tiny:1\",\"Cmd\":[\"/bin/hello\"],\"HostConfig\":{\"NetworkMode\":\"none\",$host}}"
done
create '{"Image":"other:1","HostConfig":{"NetworkMode":"none"}}'
curl -sm20 --unix-socket $S -o said -w 'pull %{http_code}\n' -X POST "http://d/images/create?fromImage=other.example/x"
curl -sm20 --unix-socket $S -o said -w 'exec %{http_code}\n' -X POST -d '{"Cmd":["/bin/hello"]}' http://d/containers/theirs/exec
create '{"Image":"tiny:1","Cmd":["/bin/hello","sleep"],"HostConfig":{"NetworkMode":"none"}}'
id=$(sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/' said); curl -sm20 --unix-socket $S -o said -w 'started %{http_code}\n' -X POST http://d/containers/$id/start
exec sleep 60
"#;
    let after = "for i in $(seq 600); do [ \"$(\"${engine[@]}\" ps -q | wc -l)\" = 2 ] && break; sleep 0.1; done; echo \"before $(left)\"; kill -9 $run\n\
                 for i in $(seq 300); do [ \"$(left | wc -w)\" = 1 ] && break; sleep 0.1; done";
    let outcome = run(&place, "allow = [\"pull\", \"run\"]\nimages = [\"tiny:1\"]", inside, after);
    assert_eq!(outcome.out.matches("403\n").count(), 10, "{outcome:?} {:#?}", place.told("container.deny"));
    // The other one's name is made up by the engine, which decides their order.
    let before = outcome.out.lines().find_map(|line| line.strip_prefix("before ")).unwrap_or_default();
    let names: Vec<&str> = before.split_whitespace().collect();
    assert!(names.len() == 2 && names.contains(&"theirs"), "{outcome:?}");
    assert!(outcome.out.ends_with("left theirs \n"), "{outcome:?}");
    assert!(told(&place, "container.deny", "equals root on the host"), "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains("asked the container engine for POST"), "{explained}");
    assert!(explained.contains("refused: ") && !explained.contains("host has nothing"), "{explained}");
}

/// What arrives at an engine that writes down what it is sent.
#[test]
fn what_is_sent_is_what_was_judged() {
    let place = Place::in_var_tmp();
    let base = place.base.path().canonicalize().unwrap();
    let recorder = place.write(
        base.join("recorder.py"),
        r#"
import os, socket, sys, threading
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
def serve(one):
    said = b""
    one.settimeout(1)
    try:
        while b"\r\n\r\n" not in said: said += one.recv(65536) or 1/0
        head, _, body = said.partition(b"\r\n\r\n")
        length = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < sum(length): body += one.recv(65536) or 1/0
        os.write(1, b"<<" + head + b"\r\n\r\n" + body + b">>\n")
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except Exception as error: os.write(1, b"!" + repr(error).encode() + b"\n")
    one.close()
while True: threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"#,
    );
    let inside = r#"
cat > send.py <<'END'
import os, socket
def send(said):
    one = socket.socket(socket.AF_UNIX); one.connect("/run/ringfence-containers"); one.settimeout(5)
    one.sendall(said.replace(b"\n", b"\r\n"))
    got = b""
    try:
        while True:
            more = one.recv(65536)
            if not more: break
            got += more
    except OSError: pass
    print([line.split(b" ")[1].decode() for line in got.split(b"\r\n") if line.startswith(b"HTTP/1.")])
form = b"Content-Type: application/x-www-form-urlencoded\n"
# A body that an engine would read parameters from.
send(b"POST /images/create?fromImage=tiny&tag=1 HTTP/1.1\nHost: d\nConnection: close\n" + form + b"Content-Length: 24\n\nfromSrc=http://hit/&x=abc")
# Two lengths, a length and chunks, chunks that are none.
send(b"GET /_ping HTTP/1.1\nHost: d\nContent-Length: 5\nContent-Length: 50\nConnection: close\n\nhello")
send(b"GET /_ping HTTP/1.1\nHost: d\nContent-Length: 5\nTransfer-Encoding: chunked\nConnection: close\n\n0\n\nGET /hit HTTP/1.1\nHost: d\n\n")
send(b"GET /_ping HTTP/1.1\nHost: d\nTransfer-Encoding: chunked, identity\nConnection: close\n\n0\n\n")
# A second request behind the first, in chunks of a body, in a header, in the target.
send(b"GET /_ping HTTP/1.1\nHost: d\n\nGET /containers/theirs/hit HTTP/1.1\nHost: d\nConnection: close\n\n")
send(b"GET /_ping HTTP/1.1\nHost: d\nX: y\n Z: GET /hit HTTP/1.1\nConnection: close\n\n")
send(b"GET http://other/hit HTTP/1.1\nHost: d\nConnection: close\n\n")
send(b"GET /_ping?x=%0d%0aGET+/hit HTTP/1.1\nHost: d\nConnection: close\n\n")
send(b"GET /containers/json?filters=a%26all%3d1;x%3d1%23 HTTP/1.1\nHost: d\nX-Hit: 1\nConnection: close\n\n")
# An upgrade where none is.
send(b"GET /_ping HTTP/1.1\nHost: d\nConnection: Upgrade\nUpgrade: tcp\n\n")
send(b"POST /session HTTP/1.1\nHost: d\nConnection: Upgrade\nUpgrade: h2c\n\n")
# The same key twice, in two cases, with a body in chunks.
body = b'{"Image":"tiny:1","HostConfig":{"NetworkMode":"host","NetworkMode":"none"},"Labels":{"a":"b"}}'
send(b"POST /containers/create HTTP/1.1\nHost: d\nConnection: close\nTransfer-Encoding: chunked\n\n%x\n%s\n0\n\n" % (len(body), body))
body = b'{"Image":"tiny:1","HostConfig":{"NetworkMode":"none"},"hostconfig":{"Binds":["/:/hit"]}}'
send(b"POST /containers/create HTTP/1.1\nHost: d\nConnection: close\nContent-Length: %d\n\n%s" % (len(body), body))
END
/usr/bin/python3 send.py
"#;
    let policy = place.policy(&format!(
        "[containers]\nengine = \"{}/engine.sock\"\nallow = [\"read\", \"pull\", \"run\"]\nimages = [\"tiny:1\"]",
        base.display()
    ));
    let script = format!(
        "python3 {} {base}/engine.sock > {base}/said & served=$!; for i in $(seq 200); do [ -S {base}/engine.sock ] && break; sleep 0.05; done\n\
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill $served; exit $status",
        recorder.display(),
        place.write(base.join("inside.sh"), inside).display(),
        base = base.display(),
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).current_dir(&place.workspace).env("RF", ringfence_promises::binary());
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state).env_remove("RINGFENCE_POLICY");
    let done = command.output().unwrap();
    let (out, said) =
        (String::from_utf8_lossy(&done.stdout), std::fs::read_to_string(base.join("said")).unwrap());
    assert!(!said.contains("hit") && !said.contains("host\"") && !said.contains("Upgrade"), "{out}\n{said}");
    for line in [
        "POST /images/create?fromImage=docker.io%2Flibrary%2Ftiny%3A1 HTTP/1.1",
        "GET /containers/json?filters=a%26all%3D1%3B",
        "\"HostConfig\":{\"NetworkMode\":\"none\"}",
    ] {
        assert!(said.contains(line), "{line}: {out}\n{said}");
    }
    assert!(said.matches("<<").count() >= 5, "{said}");
    assert!(out.matches("403").count() >= 4, "{out}\n{said}\n{done:?}");
}
