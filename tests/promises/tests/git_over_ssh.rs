//! git over ssh within bounds: which branches a key may push to, which repositories it is for; shown with git against sshd.

use ringfence_promises::{Outcome, World};

const NETWORK: &str = "allow = [{ host = \"allowed.example\", port = 22, protocol = \"ssh\" }]";
const HOSTS: &str = "hosts = [\"allowed.example\"]";

/// In the world of `ssh.rs`, whose repository has a branch `main`; `$ID` inside is the public key. `after` runs on the host once the sandbox has ended.
fn run(world: &World, network: &str, credential: &str, inside: &str, after: &str) -> Outcome {
    begun(world, network, credential, "", inside, after)
}

/// The same; `before` runs on the host just before.
fn begun(world: &World, network: &str, credential: &str, before: &str, inside: &str, after: &str) -> Outcome {
    let policy = world.policy(&format!(
        "{network}\n[credentials.forge]\nsource = {{ ssh_agent = \"id@invoker\" }}\n{credential}"
    ));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    world.host(&format!(
        ". {sshd}; cd $BASE/one.git; export GIT_AUTHOR_NAME=w GIT_AUTHOR_EMAIL=w@w GIT_COMMITTER_NAME=w GIT_COMMITTER_EMAIL=w@w
         git update-ref refs/heads/main $(git commit-tree -m first $(git mktree < /dev/null)); git symbolic-ref HEAD refs/heads/main; git config receive.advertisePushOptions true
         {before}
         export POLICY={policy}; cp -r $BASE/one.git $BASE/two.git; cp -r $BASE/one.git $BASE/three.git; cd {workspace}
         \"$RF\" run --quiet --policy {policy} --workspace . -- env WHO=$(id -un) ID=\"$(cat $BASE/id.pub)\" \
           GIT_AUTHOR_NAME=w GIT_AUTHOR_EMAIL=w@w GIT_COMMITTER_NAME=w GIT_COMMITTER_EMAIL=w@w bash -c \"$(cat {inside})\"; status=$?
         cd $BASE; {after}\nended; exit $status",
        sshd = concat!(env!("CARGO_MANIFEST_DIR"), "/world/sshd.sh"),
        workspace = world.place.workspace.display(),
        inside = inside.display(),
    ))
}

/// What the server has in the end.
const REFERENCES: &str = "git -C one.git for-each-ref --format 'server has %(refname)'; grep -c 'Accepted publickey' sshd_one.log | sed 's/^/sessions /'";

fn told(world: &World, kind: &str, text: &str) -> bool {
    world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(text))
}

#[test]
fn git_pushes_to_the_branches_that_the_policy_names() {
    let world = World::new();
    let inside = r#"
url=$WHO@allowed.example:$BASE/one.git
git clone -q $url /tmp/c && cd /tmp/c && git log --format='cloned %s'
head -c 3000000 /dev/urandom > file; git add file; git commit -qm second
git push -q origin HEAD:agent/one && echo pushed one
git clone -q -b agent/one $url /tmp/d && cmp file /tmp/d/file && echo same
git push -q origin HEAD:main; echo "main $?"
git push -q origin HEAD:agent/two HEAD:refs/heads/other; echo "mixed $?"
git push -q origin HEAD:agent/three HEAD:refs/tags/x --atomic; echo "tag $?"
git push -q --force origin HEAD:main; echo "forced $?"
git push -q origin :main; echo "deleted $?"
git push -q --mirror; echo "mirror $?"
git push -q -o merge_request.create origin HEAD:agent/four; echo "option $?"
git tag v1; git push -q origin v1 && echo pushed v1
git push -q origin :agent/one && echo deleted one
git push -q origin HEAD:agent/one && git fetch -q && echo fetched $(git rev-parse origin/agent/one) = $(git rev-parse HEAD)
git push origin HEAD:agent/one 2>&1 | grep up-to-date
GIT_TRACE_PACKET=1 git ls-remote 2>&1 | grep -c 'ls-remote< version 2'
git -c protocol.version=0 ls-remote | grep -c refs/heads/main
git clone -q --depth 1 ssh://$WHO@ALLOWED.example.:22$BASE/one.git /tmp/e && git -C /tmp/e push -q origin HEAD:agent/shallow && echo pushed shallow
"#;
    let credential = format!("{HOSTS}\npush = [\"agent/*\", \"refs/tags/v*\"]");
    let outcome = run(&world, NETWORK, &credential, inside, REFERENCES);
    for line in [
        "cloned first\n",
        "pushed one\nsame\nmain 128\nmixed 128\ntag 128\nforced 128\ndeleted 128\nmirror 128\noption 128\npushed v1\ndeleted one\n",
        "Everything up-to-date\n1\n1\npushed shallow\n",
        "server has refs/heads/agent/one\nserver has refs/heads/agent/shallow\nserver has refs/heads/main\nserver has refs/tags/v1\nsessions",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    let fetched = outcome.out.lines().find_map(|line| line.strip_prefix("fetched ")?.split_once(" = "));
    assert!(fetched.is_some_and(|(own, other)| own == other && own.len() == 40), "{outcome:?}");
    let why = "ringfence: error: `refs/heads/main` is pushed to, and `push` of the credential names `refs/heads/agent/*`, `refs/tags/v*`";
    assert!(outcome.err.contains(why), "{outcome:?}");
    for (kind, text) in [
        ("credential.use", "git-upload-pack '"),
        ("credential.use", "to refs/heads/agent/one\""),
        ("credential.use", "to refs/tags/v1\""),
        ("credential.deny", "`refs/heads/other` is pushed to"),
        ("credential.deny", "`refs/tags/x` is pushed to"),
        ("credential.deny", "options of a push"),
    ] {
        assert!(told(&world, kind, text), "{kind} {text}: {:#?}", world.events());
    }
    assert!(!told(&world, "credential.use", "to refs/heads/main"), "{:#?}", world.events());
    // Each by itself, with its user, also where it is done again.
    let pushed = |event: &&serde_json::Value| {
        event["detail"]["request"]
            .as_str()
            .is_some_and(|text| text.ends_with("to refs/heads/agent/one") && text.contains("' as "))
    };
    assert_eq!(world.events().iter().filter(pushed).count(), 3, "{:#?}", world.events());
    let explained = world.place.ringfence(&["explain"]).out;
    assert!(explained.contains("tried to use forge for `git-receive-pack '"), "{explained}");
    assert!(!explained.contains("incident"), "{explained}");
}

/// Clients that would set a command of their own; names that git itself would refuse; what has no credential's event of its own.
#[test]
fn a_client_of_git_needs_no_setting_and_refusals_hide_no_use() {
    let world = World::new();
    let inside = r#"
echo "$GIT_SSH_COMMAND $GIT_SSH_VARIANT"; url=$WHO@allowed.example:$BASE/one.git
for i in $(seq 40); do /run/ringfence-ssh $WHO@allowed.example "git-upload-pack '/x$i' x" < /dev/null; done 2> /dev/null
git clone -q $url /tmp/c && cd /tmp/c && for i in $(seq 300); do echo "refs/heads/main:refs/heads/agent/a-rather-long-name-of-a-branch-$i"; done | xargs git push -q origin && echo pushed
"#;
    let credential = format!("{HOSTS}\npush = [\"agent/*\"]");
    let outcome = run(&world, NETWORK, &credential, inside, REFERENCES);
    assert!(outcome.out.contains("/run/ringfence-ssh ssh\npushed\n"), "{outcome:?} {:#?}", world.events());
    let of = |kind: &str| world.events().iter().filter(|event| event["kind"] == kind).count();
    assert!(of("credential.deny") <= 2, "{:#?}", world.events());
    for number in 1..=300 {
        let name = format!("agent/a-rather-long-name-of-a-branch-{number}");
        assert!(told(&world, "credential.use", &name), "{name}: {:#?}", world.events());
    }
}

#[test]
fn what_is_taken_back_ends_a_session() {
    let world = World::new();
    let inside = r#"
mkfifo held; (exec 3<> held; /run/ringfence-ssh $WHO@allowed.example "git-receive-pack '$BASE/one.git'" < held > said; echo "ended $?") & own=$!
for i in $(seq 100); do [ -s said ] && echo held && break; sleep 0.1; done; touch began; wait $own
"#;
    // Before the sandbox begins, in the background: granted once it runs, and taken back when the session is there.
    let credential =
        format!("{HOSTS}\npush = [\"agent/*\"]\n[approvals]\ngrantable = {{ credentials = [\"forge\"] }}");
    let inside = format!(
        "touch ready; for i in $(seq 100); do git ls-remote $WHO@allowed.example:$BASE/one.git > /dev/null 2>&1 && break; sleep 0.1; done\n{inside}"
    );
    let home = world.place.home.display();
    let host = format!(
        "on() {{ while ! ls {home}/../state/runs/*/layers/*/upper/$1 {home}/../state/runs/*/*/upper/$1 2>/dev/null | grep -q .; do sleep 0.05; done; }}; \
         (on ready; \"$RF\" grant last --credential forge --for 10m; on began; \"$RF\" revoke last --credential forge) > /dev/null 2>&1 &"
    );
    let outcome = begun(&world, NETWORK, &credential, &host, &inside, REFERENCES);
    assert!(outcome.out.contains("held\nended 255\n"), "{outcome:?} {:#?}", world.events());
    assert!(told(&world, "credential.deny", "it is not granted"), "{:#?}", world.events());
}

/// The server sees one session, of the fetch: everything else is refused before anybody signs in.
#[test]
fn a_key_that_git_alone_uses_signs_in_for_nothing_else() {
    let world = World::new();
    let inside = r#"
at=$WHO@allowed.example; ssh="ssh -o BatchMode=yes"
git clone -q $at:$BASE/one.git /tmp/c && cd /tmp/c && echo cloned
git push -q origin HEAD:agent/one; echo "push $?"
$ssh $at 'echo SIGNED IN'; echo "ssh $?"
echo "$ID" > id.pub; $ssh -o IdentitiesOnly=yes -i id.pub $at 'echo SIGNED IN'
GIT_SSH_COMMAND="$ssh" git ls-remote $at:$BASE/one.git; echo "own $?"
for command in 'echo SIGNED IN' "git-upload-archive '$BASE/one.git'" "git-lfs-authenticate '/x' upload" "git-upload-pack '$BASE/one.git'; echo SIGNED IN" \
  "git-upload-pack '$BASE/one.git' --strict" "git-upload-pack '--help'" "git-upload-pack $BASE/one.git" "git-receive-pack '$BASE/one.git'"; do
  /run/ringfence-ssh $at "$command" < /dev/null; echo "command $?"
done
/run/ringfence-ssh -- $at true; /run/ringfence-ssh -o ProxyCommand='echo x >&2' $at true; /run/ringfence-ssh '-oProxyCommand=id@allowed.example' "git-upload-pack '/x'"
/run/ringfence-ssh 'a b@allowed.example' "git-upload-pack '$BASE/one.git'"; echo "user $?"
git archive --remote=$at:$BASE/one.git main | wc -c
git commit -q --allow-empty -S -m signed && git cat-file commit HEAD | grep -c gpgsig
python3 - <<'END'
import socket, struct
def packed(*parts): return b"".join(struct.pack(">I", len(part)) + part for part in parts)
for message in (b"", packed(b"allowed.example"), packed(b"allowed.example", b"22", b"git", b"\xff", b""), packed(b"allowed.example", b"x", b"git", b"a", b""), packed(b"other.example", b"22", b"git", b"git-upload-pack '/x'", b"")):
    s = socket.socket(socket.AF_UNIX); s.settimeout(9); s.connect("/run/ringfence-ssh-agent")
    s.sendall(packed(b"\x1b" + packed(b"speak-git@ringfence") + message))
    print("raw", s.recv(99))
END
"#;
    let credential = format!("{HOSTS}\npush = []\nsign = [\"git\"]\nexpose = {{ env = \"SIGNING_KEY\" }}");
    let setup =
        "git config --global gpg.format ssh; git config --global user.signingKey \"key::$SIGNING_KEY\"\n";
    let outcome = run(&world, NETWORK, &credential, &format!("{setup}{inside}"), REFERENCES);
    for line in [
        "cloned\npush 128\nssh 255\nown 128\n",
        &"command 255\n".repeat(8),
        "user 255\n0\n1\n",
        "raw b''\nraw b''\nraw b''\nraw b''\nraw b'\\x00\\x00\\x00\\x01\\x05'\n",
        "server has refs/heads/main\nsessions 1\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(!outcome.out.contains("SIGNED IN"), "{outcome:?}");
    assert!(outcome.err.contains("names no branch: the task fetches alone"), "{outcome:?}");
    for rule in ["git alone uses it, by `/run/ringfence-ssh`", "for nothing else", "no plain name"] {
        assert!(told(&world, "credential.deny", rule), "{rule}: {:#?}", world.events());
    }
}

#[test]
fn a_push_is_sent_once_its_list_is_read_to_the_end() {
    let world = World::new();
    let inside = r#"
cat > ask.py <<'END'
import os, socket, struct, sys
def packed(*parts): return b"".join(struct.pack(">I", len(part)) + part for part in parts)
def line(text): return b"%04x" % (len(text) + 4) + text
def session(said, close=True):
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("/run/ringfence-ssh-agent")
    path = os.environ["BASE"] + "/one.git"
    s.sendall(packed(b"\x1b" + packed(b"speak-git@ringfence", b"allowed.example", b"22", os.environ["WHO"].encode(), b"git-receive-pack '" + path.encode() + b"'", b"version=2")))
    told = {1: b"", 2: b"", 3: b""}
    if s.recv(5, socket.MSG_WAITALL) != b"\0\0\0\1\6": return told
    # First what the server has.
    heard = b""
    def frame():
        try: head = s.recv(5, socket.MSG_WAITALL)
        except ConnectionResetError: return False
        if len(head) < 5: return False
        told[head[0]] += s.recv(struct.unpack(">I", head[1:])[0], socket.MSG_WAITALL)
        return True
    while b"refs/heads/main" not in told[1] and frame(): pass
    for part in said(told[1][4:44]):
        try: s.sendall(part)
        except OSError: break
    if close: s.shutdown(socket.SHUT_WR)
    while frame(): pass
    return told
none = b"0" * 40
def tell(name, said, **more):
    told = session(said, **more)
    print(name, told[3], b"version" in told[1][:20], told[2].decode().strip()[:60], flush=True)
tell("deleted", lambda main: [line(main + b" " + none + b" refs/heads/main\0 report-status delete-refs"), b"0000"])
tell("in bytes", lambda main: [bytes([byte]) for byte in line(main + b" " + none + b" refs/heads/agent/a") + line(main + b" " + none + b" refs/heads/main") + b"0000"])
tell("certificate", lambda main: [line(b"push-cert\0 x\n"), line(main + b" " + none + b" refs/heads/main"), b"0000"], close=False)
tell("no list", lambda main: [b"\xff" * 99], close=False)
tell("behind a delimiter", lambda main: [line(main + b" " + none + b" refs/heads/agent/a"), b"0001", line(main + b" " + none + b" refs/heads/main"), b"0000"], close=False)
tell("no end", lambda main: [line(none + b" " + main + b" refs/heads/agent/x")] * 12000, close=False)
tell("cut off", lambda main: [line(main + b" " + none + b" refs/heads/main")])
tell("two lists", lambda main: [b"0000", line(main + b" " + none + b" refs/heads/main\0 delete-refs"), b"0000"])
END
python3 ask.py
"#;
    let credential = format!("{HOSTS}\npush = [\"agent/*\"]");
    let outcome = run(&world, NETWORK, &credential, inside, REFERENCES);
    for line in [
        "deleted b'\\xff' False ringfence: error: `refs/heads/main` is pushed to",
        "in bytes b'\\xff' False ringfence: error: `refs/heads/main` is pushed to",
        "certificate b'\\xff' False ringfence: error: what is pushed cannot be read",
        "no list b'\\xff' False ringfence: error: what is pushed cannot be read",
        "behind a delimiter b'\\xff' False ringfence: error: what is pushed cannot be read",
        "no end b'\\xff' False ringfence: error: the list of what is pushed is longer than ",
        "cut off b'",
        "two lists b'",
        "server has refs/heads/main\nsessions 8\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(!outcome.out.contains("refs/heads/agent"), "{outcome:?}");
}

#[test]
fn a_key_is_for_the_repositories_that_the_policy_names() {
    let world = World::new();
    let inside = r#"
at=$WHO@allowed.example
git clone -q $at:$BASE/one.git /tmp/one && echo cloned one; git clone -q ssh://$at$BASE/one.git /tmp/again && echo cloned again
for other in $BASE/two.git $BASE/one $BASE/../$(basename $BASE)/one.git /$BASE/one.git $BASE//one.git $BASE/one.git/ $BASE/one.git/../two.git; do
  /run/ringfence-ssh $at "git-upload-pack '$other'" < /dev/null | wc -c
done
git -C /tmp/one push -q $at:$BASE/one.git HEAD:agent/x && echo pushed; git -C /tmp/one push -q $at:$BASE/three.git HEAD:agent/x; echo "push $?"
git clone -q $at:$BASE/three.git /tmp/three && echo cloned three
"#;
    let one = format!("{HOSTS}\npush = [\"agent/*\"]\npaths = [\"{}/one.git\"]", world.base.display());
    let three = format!(
        "[credentials.reader]\nsource = {{ ssh_agent = \"id@invoker\" }}\n{HOSTS}\npush = []\npaths = [\"{}/three.git\"]",
        world.base.display()
    );
    let outcome = run(&world, NETWORK, &format!("{one}\n{three}"), inside, REFERENCES);
    let zeros = "0\n".repeat(7);
    for line in [
        &*format!("cloned one\ncloned again\n{zeros}pushed\npush 128\ncloned three\n"),
        "server has refs/heads/agent/x\nserver has refs/heads/main\nsessions 4\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(
        told(&world, "credential.deny", "two.git`: if it belongs there, add it"),
        "{:#?}",
        world.events()
    );
}

#[test]
fn a_session_ends_with_its_sandbox_and_what_leaves_is_counted() {
    let world = World::new();
    let network = NETWORK.replace("protocol", "bytes_out = \"100KiB\", protocol");
    let inside = r#"
git clone -q $WHO@allowed.example:$BASE/one.git /tmp/c && cd /tmp/c && echo cloned
mkfifo held; (exec 3<> held; exec /run/ringfence-ssh $WHO@allowed.example "git-receive-pack '$BASE/one.git'" < held > said) &
for i in $(seq 100); do [ -s said ] && break; sleep 0.1; done; echo "held $(head -c 4 said | wc -c)"
head -c 300000 /dev/urandom > file; git add file; git commit -qm large; git push -q origin HEAD:agent/large; echo "large $?"
"#;
    // A server that does not take note of the end does not keep ssh: it is stopped meanwhile. Once more where the supervisor is killed.
    let held = r#"mkfifo /tmp/held; exec 3<> /tmp/held; exec /run/ringfence-ssh $WHO@allowed.example "git-receive-pack '$BASE/one.git'" < /tmp/held"#;
    world.place.write(world.place.base.path().join("held.sh"), held);
    let after = format!(
        "left() {{ pgrep -f \"[H]ostKeyAlias=allowed.example.*$BASE/one.git\"; }}
         gone() {{ for i in $(seq 100); do left > /dev/null || break; sleep 0.05; done; echo \"$1 $(left | wc -l)\"; pkill -KILL -f \"^[g]it-receive-pack $BASE/one.git\"; }}
         gone ended
         export WHO=$(id -un); cd {workspace}; \"$RF\" run --quiet --policy $POLICY --workspace . -- env WHO=$WHO bash -c \"$(cat $BASE/../held.sh)\" > $BASE/said & own=$!
         for i in $(seq 200); do [ -s $BASE/said ] && break; sleep 0.05; done; echo \"begun $(left | wc -l)\"
         pkill -STOP -f \"^[g]it-receive-pack $BASE/one.git\"; kill -KILL $own; wait $own; gone killed; cd $BASE; {REFERENCES}",
        workspace = world.place.workspace.display(),
    );
    let credential = format!("{HOSTS}\npush = [\"agent/*\"]");
    let outcome = run(&world, &network, &credential, inside, &after);
    for line in [
        "cloned\nheld 4\n",
        "large 128\n",
        "ended 0\nbegun 1\nkilled 0\nserver has refs/heads/main\nsessions",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert!(outcome.err.contains("no more than 102400 bytes may leave"), "{outcome:?}");
}

#[test]
fn what_git_would_need_and_has_not_is_said() {
    let world = World::new();
    let clone = "git clone -q $WHO@allowed.example:$BASE/one.git /tmp/c; echo \"clone $?\"\n";
    // Beside a list of commands, and for hosts that the policy does not bound, the sandbox's own ssh.
    let list = "[commands]\nallow = [\"env **\", \"bash -c *\", \"git **\"]\n";
    let own = "git ls-remote $WHO@denied.example:/x; echo \"other $?\"; /run/ringfence-ssh run -- true; /run/ringfence-ssh --version";
    let credential = format!("{HOSTS}\npush = []\n{list}");
    let outcome = run(&world, NETWORK, &credential, &format!("{clone}{own}"), REFERENCES);
    assert!(
        outcome.out.contains("clone 0\nother 128\n") && outcome.out.contains("sessions 1\n"),
        "{outcome:?}"
    );
    // A host whose key is another one, and a key that waits.
    let world = World::new();
    let credential = format!("{HOSTS}\npush = []\n[approvals]\ngrantable = {{ credentials = [\"forge\"] }}");
    let outcome = run(&world, NETWORK, &credential, clone, REFERENCES);
    assert!(outcome.out.contains("clone 128\n") && outcome.out.contains("sessions 0\n"), "{outcome:?}");
    assert!(outcome.err.contains("it is not granted: its owner does that by"), "{outcome:?}");
    let world = World::new();
    let known = world.place.base.path().join("known");
    let credential = format!("{HOSTS}\npush = []\nknown_hosts = \"{}\"", known.display());
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGJ1bXBzIGluIHRoZSBuaWdodCBhcmUgbm8ga2V5cyE=";
    world.place.write(&known, &format!("allowed.example ssh-ed25519 {key}\n"));
    let outcome = run(&world, NETWORK, &credential, clone, REFERENCES);
    assert!(outcome.out.contains("clone 128\n") && outcome.out.contains("sessions 0\n"), "{outcome:?}");
    assert!(outcome.err.contains("Host key verification failed"), "{outcome:?}");
    // A name that leads where no rule lets it.
    for (name, network, why) in [
        ("private.example", "", "`private.example` leads to `10."),
        ("loop.example", "", "`loop.example` leads to `127.0.0.1`"),
        ("allowed.example", "\ndeny = [\"203.0.113.10\"]", "network.deny"),
    ] {
        let world = World::new();
        let known =
            world.place.write(world.place.base.path().join("known"), &format!("{name} ssh-ed25519 {key}\n"));
        let credential = format!("hosts = [\"{name}\"]\npush = []\nknown_hosts = \"{}\"", known.display());
        let network = NETWORK.replace("allowed.example", name) + network;
        let outcome = run(&world, &network, &credential, &clone.replace("allowed.example", name), REFERENCES);
        assert!(outcome.out.contains("clone 128\n") && outcome.err.contains(why), "{name}: {outcome:?}");
        assert!(world.refused(name, 22, why), "{name}: {:#?}", world.events());
    }
}

#[test]
fn what_would_make_a_bound_mean_nothing_starts_nothing() {
    let world = World::new();
    let allow = "allow = [\"allowed.example:22\", \"allowed.example:7001\"]";
    let other = "[credentials.other]\nsource = { ssh_agent = \"id@invoker\" }\n";
    for (credential, why) in [
        (format!("{HOSTS}\npaths = [\"/a.git\"]"), "`push` is missing"),
        (format!("{HOSTS}\npush = []\nmethods = [\"GET\"]"), "`methods` is about requests"),
        (format!("{HOSTS}\npush = [\"a b\"]"), "is no branch"),
        (format!("{HOSTS}\npush = [\"!main\", \"*\"]"), "is no branch"),
        (
            format!("{HOSTS}\npush = []\n{other}hosts = [\"allowed.example\"]"),
            "the task signs in there with `other`",
        ),
        (
            format!("{HOSTS}\npush = []\n{other}hosts = [\"allowed.example:7001\"]"),
            "is the same key, for a host that may be another name",
        ),
        (format!("{HOSTS}\npush = [] # SET"), "by `GIT_CONFIG_COUNT`, which is set"),
    ] {
        let policy = world.policy(&format!(
            "{allow}\n[credentials.forge]\nsource = {{ ssh_agent = \"id@invoker\" }}\n{credential}"
        ));
        if credential.ends_with("SET") {
            let text = std::fs::read_to_string(&policy).unwrap();
            std::fs::write(&policy, text.replace("set = {", "set = { GIT_CONFIG_COUNT = \"0\",")).unwrap();
        }
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
