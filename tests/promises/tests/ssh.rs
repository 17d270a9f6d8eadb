//! Keys of ssh: the task signs in where the policy says, by an agent of ringfence's own; shown with OpenSSH and git against sshd.

use ringfence_promises::{Outcome, World};

const NETWORK: &str = "allow = [{ host = \"allowed.example\", port = 22, protocol = \"ssh\" }, { host = \"allowed.example\", port = 7001, protocol = \"ssh\" }, { host = \"denied.example\", port = 22, protocol = \"ssh\" }]";

/// In a world with two servers of ssh and an agent with two keys, `id` and `other`, of which the policy names the first. `$PRINT` in `more`
/// stands for its fingerprint.
fn run(world: &World, more: &str, inside: &str) -> Outcome {
    let policy = world.policy(&format!(
        "{NETWORK}\n[credentials.forge]\nsource = {{ ssh_agent = \"$PRINT\" }}\nhosts = [\"allowed.example\", \"allowed.example:7001\"]\n{more}"
    ));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    world.host(&format!(
        ". {}; cd {}; sed -i \"s,.PRINT,$print,\" {policy}; export WHO=$(id -un) OTHER=\"$(cat $BASE/other.pub)\" REAL=$BASE/agent; \
         \"$RF\" run --quiet --policy {policy} --workspace . -- env WHO=$WHO REAL=$REAL OTHER=\"$OTHER\" bash -c \"$(cat {})\"; status=$?; cd $BASE; ended; exit $status",
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/sshd.sh"),
        world.place.workspace.display(),
        inside.display(),
    ))
}

fn told(world: &World, kind: &str, text: &str) -> bool {
    world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(text))
}

#[test]
fn git_and_ssh_sign_in_where_the_policy_says() {
    let world = World::new();
    let inside = r#"
ssh-add -l; echo "keys $(ssh-add -L | wc -l)"
ssh -o BatchMode=yes $WHO@allowed.example 'echo signed in at one'
git clone -q $WHO@allowed.example:$BASE/one.git /tmp/c && cd /tmp/c && echo x > file && git add file && git -c user.name=w -c user.email=w@w commit -qm pushed \
  && git push -q origin HEAD:main && echo pushed
ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null $WHO@denied.example 'echo signed in at two'; echo "two $?"
ssh -A -o BatchMode=yes $WHO@allowed.example 'ssh-add -l; ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null 203.0.113.20 echo signed in from one' 2>&1 | sed 's/^/forwarded /'
ssh-add -D 2>&1; ssh-add /dev/null 2>&1
echo text > t; ssh-keygen -Y sign -n file -f <(ssh-add -L | head -1) t 2>&1 | tail -1; ls t.sig 2>&1
echo "$OTHER" > other.pub; ssh -o BatchMode=yes -o IdentitiesOnly=yes -i other.pub $WHO@allowed.example 'echo signed in with the other'
python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); print("real", s.connect_ex(os.environ["REAL"]))'
"#;
    let outcome = run(&world, "", inside);
    for line in ["forge (ED25519)", "keys 1", "signed in at one", "pushed\n", "two 255"] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    for never in [
        "signed in at two",
        "signed in from one",
        "signed in with the other",
        "real 0",
        "id@invoker",
        "t.sig\n",
    ] {
        assert!(!outcome.out.contains(never), "{never}: {outcome:?}");
    }
    assert!(told(&world, "credential.use", "\"ssh "), "{:#?}", world.events());
    for rule in ["another key than `allowed.example:22`", "message 19", "add that to `sign`"] {
        assert!(told(&world, "credential.deny", rule), "{rule}: {:#?}", world.events());
    }
    // ssh, clone, push, and the session from which nothing could be forwarded.
    let uses = world.events().into_iter().filter(|event| event["kind"] == "credential.use");
    let uses: u64 = uses.filter_map(|event| event["detail"]["times"].as_u64()).sum();
    assert_eq!(uses, 4, "{outcome:?}");
}

/// What the agent was asked in a session of ringfence's own is asked again when that has ended, as somebody would who sends in a session
/// from outside.
#[test]
fn a_session_that_is_not_carried_gets_no_signature() {
    let world = World::new();
    let inside = r#"
cat > between.py <<'END'
import os, socket, struct, subprocess, sys, threading
real, own, asked = os.environ["SSH_AUTH_SOCK"], "/tmp/between", []
def message(s):
    head = s.recv(4, socket.MSG_WAITALL)
    return head and head + s.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)
def connected(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s
listener = socket.socket(socket.AF_UNIX)
listener.bind(own)
listener.listen()
def serve():
    while True:
        client, _ = listener.accept()
        agent = connected(real)
        while said := message(client):
            asked.append(said)
            agent.sendall(said)
            client.sendall(message(agent))
threading.Thread(target=serve, daemon=True).start()
def again(when):
    agent, kinds = connected(real), []
    for said in [one for one in asked if one[4] in (13, 27)]:
        agent.sendall(said)
        kinds.append((said[4], message(agent)[4]))
    print(when, kinds, flush=True)
who = os.environ["WHO"] + "@allowed.example"
ssh = subprocess.Popen(["ssh", "-o", "BatchMode=yes", who, "echo signed in; read line"], env=os.environ | {"SSH_AUTH_SOCK": own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(ssh.stdout.readline().decode(), end="")
again("while it lasts")
ssh.communicate(b"end\n")
# The gateway may be a little behind.
for turn in range(100):
    agent = connected(real)
    for said in [one for one in asked if one[4] in (13, 27)]:
        agent.sendall(said)
        last = message(agent)[4]
    if last == 5:
        break
again("when it has ended")
# The host's signature again, by a host that the policy names: behind its keys, where a client can have it say anything.
echo = socket.create_connection(("allowed.example", 7001))
said = b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 10) + b"\x15" + bytes(10) + b"".join(asked)
echo.sendall(said)
print("echo", echo.recv(len(said), socket.MSG_WAITALL) == said)
again("when it is echoed")
END
python3 between.py
"#;
    let outcome = run(&world, "", inside);
    for line in [
        "signed in\n",
        "while it lasts [(27, 6), (13, 14)]",
        "when it has ended [(27, 6), (13, 5)]",
        "echo True",
        "when it is echoed [(27, 6), (13, 5)]",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(told(&world, "credential.deny", "is none that this sandbox has"), "{:#?}", world.events());
}

#[test]
fn commits_are_signed_where_the_policy_says() {
    let world = World::new();
    let inside = r#"
git init -q /tmp/c; cd /tmp/c; git config user.name w; git config user.email w@w
git config gpg.format ssh; git config user.signingKey "key::$SIGNING_KEY"
echo x > file; git add file; git commit -q -S -m signed && echo committed
echo "w@w $SIGNING_KEY" > allowed; git -c gpg.ssh.allowedSignersFile=$PWD/allowed verify-commit HEAD 2>&1
echo text > t; ssh-keygen -Y sign -n file -f <(echo "$SIGNING_KEY") t >/dev/null 2>&1; ls *.sig 2>/dev/null
"#;
    let outcome = run(&world, "sign = [\"git\"]\nexpose = { env = \"SIGNING_KEY\" }", inside);
    for line in ["committed", "Good \"git\" signature for w@w"] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(!outcome.out.contains(".sig"), "{outcome:?}");
    assert!(told(&world, "credential.use", "signature for git"), "{:#?}", world.events());
    assert!(told(&world, "credential.deny", "signed for `file`"), "{:#?}", world.events());
}

#[test]
fn hostile_clients_of_the_agent_are_bounded() {
    let world = World::new();
    let inside = r#"
cat > ask.py <<'END'
import os, random, socket, struct
random.seed(7)
def connected():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(9)
    s.connect(os.environ["SSH_AUTH_SOCK"])
    return s
def packed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
def ask(s, message):
    s.sendall(packed(message))
    size = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
    return s.recv(size, socket.MSG_WAITALL)
keys = ask(connected(), b"\x0b")
print("keys", keys[0], struct.unpack(">I", keys[1:5])[0])
key = keys[9:9 + struct.unpack(">I", keys[5:9])[0]]
for length in (0, 1 << 20, 0xffffffff):
    s = connected()
    s.sendall(struct.pack(">I", length))
    print("length", length, s.recv(9))
replies = set()
s = connected()
for turn in range(3000):
    kind = random.choice([0, 1, 13, 13, 17, 18, 19, 22, 23, 25, 26, 27, 27, 200]) if turn % 50 == 0 else random.choice([13, 27])
    some = random.randbytes(random.randrange(60))
    body = random.choice([some, packed(key, some) + b"\0\0\0\0", packed(b"session-bind@openssh.com") + some, packed(key, b"SSHSIG" + some) + b"\0\0\0\0", packed(b"other", some) + b"\0\0\0\0"])
    replies.add(ask(s, bytes([kind]) + (body if turn % 50 == 0 else some)))
for body in (packed(b"other", b"") + bytes(4), packed(key, b"a challenge") + bytes(4)):
    replies.add(ask(s, b"\x0d" + body))
for message in (b"\x13", b"\x1b" + packed(b"session-bind@openssh.com") + b"x"):
    replies.add(ask(s, message))
print("replies", replies)
held = [connected() for _ in range(300)]
held[0].close()
print("still", ask(held[1], b"\x0b") == keys)
END
python3 ask.py
"#;
    let outcome = run(&world, "", inside);
    for line in [
        "keys 12 1",
        "length 0 b''",
        "length 1048576 b''",
        "length 4294967295 b''",
        "replies {b'\\x05'}",
        "still True",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    for rule in
        ["policy does not name", "nothing else (message 19)", "neither the beginning", "cannot be read"]
    {
        assert!(told(&world, "credential.deny", rule), "{rule}: {:#?}", world.events());
    }
}

#[test]
fn a_key_or_a_host_that_is_not_known_starts_nothing() {
    let world = World::new();
    for (key, hosts, why) in [
        ("SHA256:nothing", "allowed.example", "no such key"),
        ("id@invoker", "denied.example", "no key of the host `denied.example:22` is known"),
        ("id@invoker", "allowed.example:2222", "no rule of `network.allow` covers"),
        ("id@invoker", "*.wild.example", "is no one host"),
    ] {
        let policy = world.policy(&format!(
            "{NETWORK}\n[credentials.forge]\nsource = {{ ssh_agent = \"{key}\" }}\nhosts = [\"{hosts}\"]"
        ));
        let outcome = world.host(&format!(
            "rm -rf $BASE/one.git; rm -f $BASE/host_* $BASE/id* $BASE/other*; . {}; cd {}; \"$RF\" run --quiet --policy {policy} --workspace . -- echo started; status=$?; cd $BASE; ended; exit $status",
            concat!(env!("CARGO_MANIFEST_DIR"), "/world/sshd.sh"),
            world.place.workspace.display(),
        ));
        assert!(
            outcome.status == 125 && outcome.err.contains(why) && !outcome.out.contains("started"),
            "{why}: {outcome:?}"
        );
    }
}
