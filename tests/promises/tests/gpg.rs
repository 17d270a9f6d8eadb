//! Keys of gpg: commits and tags are signed by the host's gpg, and nothing else is; shown with git and GnuPG.

use ringfence_promises::Place;

/// A place with a repository, two keys, and the fingerprint of the first.
struct Keys {
    place: Place,
    print: String,
}

impl Keys {
    fn new() -> Self {
        let place = Place::new();
        let print = place.host(
            "for who in signer other; do gpg --batch --quiet --passphrase '' --quick-gen-key \"$who <$who@example.org>\" ed25519 sign never; done 2>/dev/null
             git init -q .; git config user.name signer; git config user.email signer@example.org
             gpg --with-colons --list-keys signer@example.org | awk -F: '/^fpr/ { printf $10; exit }'",
        );
        assert_eq!(print.len(), 40, "{print}");
        Self { place, print }
    }

    fn policy(&self, more: &str) -> String {
        format!(
            "[credentials.signer]\nsource = {{ gpg = \"{}\" }}\nexpose = {{ env = \"KEY\" }}\n{more}",
            self.print
        )
    }
}

/// The agent that gpg started lives for its home.
impl Drop for Keys {
    fn drop(&mut self) {
        let _ = self.place.host("gpgconf --kill all");
    }
}

#[test]
fn commits_and_tags_are_signed_by_the_key_that_the_policy_names() {
    let keys = Keys::new();
    let place = &keys.place;
    let script = "echo $KEY; echo a > a; git add a; git commit -q -S -m one && git tag -s v1 -m tag && echo made
        cat ~/.gnupg/private-keys-v1.d/* 2>/dev/null | wc -c; gpg --list-secret-keys 2>/dev/null | wc -l; echo \"auth ${SSH_AUTH_SOCK-none}\"";
    for list in [
        "",
        "[commands]\nallow = [\"git **\", \"sh -c *\", \"cat\", \"gpg\", \"wc\"]\nfrom_workspace = false\n",
    ] {
        let outcome = place.run(&keys.policy(list), script);
        assert_eq!(outcome.out, format!("{}\nmade\n0\n0\nauth none\n", keys.print), "{list}: {outcome:?}");
        let used: Vec<_> = place.events().iter().map(ToString::to_string).collect();
        assert!(
            used.iter().any(|event| event.contains("credential.use") && event.contains("the tag v1")),
            "{used:#?}"
        );
        let applied = place.ringfence(&["apply", "--yes"]);
        assert_eq!(applied.status, 0, "{applied:?}");
        let seen = place.host("git verify-commit HEAD 2>&1; git verify-tag v1 2>&1");
        assert_eq!(seen.matches("Good signature from \"signer").count(), 2, "{seen}");
        place.host("git tag -d v1 && git reset -q --hard && git update-ref -d HEAD && git rm -q --cached -r . && rm a");
    }
}

#[test]
fn gpg_signs_nothing_else() {
    let keys = Keys::new();
    let place = &keys.place;
    let python = r#"
import socket, struct, subprocess, sys
def packed(*parts): return b"".join(struct.pack(">I", len(part)) + part for part in parts)
def ask(message):
    s = socket.socket(socket.AF_UNIX); s.connect("/run/ringfence-ssh-agent"); s.settimeout(9)
    s.sendall(packed(message))
    size = s.recv(4, socket.MSG_WAITALL)
    return s.recv(struct.unpack(">I", size)[0], socket.MSG_WAITALL) if len(size) == 4 else b"closed"
name = b"sign-openpgp@ringfence"
tree = b"tree " + b"a" * 40 + b"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n"
release = tree[:-1] + b"Origin: x\nSuite: y\nSHA256:\n 00 0 main/binary-amd64/Packages\n\nmessage\n"
print(ask(b"\x1b" + packed(name, release))[:1])
print(ask(b"\x0b"), ask(b"\x1b" + packed(name, b"release 1.0"))[:1], ask(b"\x1b" + packed(name, b"certificate version 0.1\npusher x\n\n" + tree))[:1])
print(ask(b"\x1b" + packed(name)), ask(b"\x1b" + packed(name) + b"\xff\xff\xff\xff"), ask(b"\x1b" + packed(name, tree + b"x" * 61000))[:1], ask(b"\x1b" + packed(name, tree))[:1])
"#;
    place.write("ask.py", python);
    let script = "python3 ask.py; echo text | /run/ringfence-gpg --status-fd=2 -bsau other; echo $?; head -c 70000 /dev/zero | /run/ringfence-gpg --status-fd=2 -bsau x; echo $?; /run/ringfence-gpg --version | head -1 | cut -c1-11";
    let outcome = place.run(&keys.policy(""), script);
    let expected = "b'\\x05'\nb'\\x0c\\x00\\x00\\x00\\x00' b'\\x05' b'\\x05'\nb'\\x05' b'\\x05' b'\\x0e' b'\\x0e'\n2\n2\ngpg (GnuPG)\n";
    assert_eq!(outcome.out, expected, "{outcome:?} {:#?}", place.events());
    assert!(place.ringfence(&["explain"]).out.contains("is no commit and no tag of git"));
    // Nobody is led to it without the credential, and what is not there, or more than one, is said before anything starts.
    let without = place.run("", "ls /run/ringfence-gpg; env | grep -c gpg");
    assert_eq!(without.out, "0\n", "{without:?}");
    for (source, why) in [("nobody@example.org", "secret key"), ("example.org", "several")] {
        let policy = keys.policy("").replace(&keys.print, source);
        let refused = place.run(&policy, "echo RAN");
        assert!(refused.status == 125 && refused.err.contains(why) && refused.out.is_empty(), "{refused:?}");
    }
    let written = keys.policy(&format!("[files]\nwrite = [\"{}\"]", place.home.join(".gnupg").display()));
    let refused = place.run(&written, "echo RAN");
    assert!(refused.status == 125 && refused.err.contains("which the task writes"), "{refused:?}");
    // Options of gpg and of its agent are files and programs of whoever writes them.
    for name in ["gpg.conf", "gpg-agent.conf"] {
        place.write(name, "");
        let link = place.home.join(".gnupg").join(name);
        std::os::unix::fs::symlink(place.workspace.join(name), &link).unwrap();
        let refused = place.run(&keys.policy("[workspace]\nmode = \"direct\""), "echo RAN");
        assert!(
            refused.status == 125 && refused.err.contains("which the task writes"),
            "{name}: {refused:?}"
        );
        std::fs::remove_file(link).unwrap();
    }
}

#[test]
fn a_key_may_wait_until_it_is_granted() {
    let keys = Keys::new();
    let place = &keys.place;
    let policy = keys.policy("[approvals]\ngrantable = { credentials = [\"signer\"] }");
    let path = place.policy(&policy);
    assert_eq!(place.ringfence(&["start", "box", "--policy", &path, "--workspace", "."]).status, 0);
    let commit = || {
        place
            .ringfence(&["exec", "box", "--", "git", "commit", "-q", "--allow-empty", "-S", "-m", "x"])
            .status
    };
    let before = commit();
    let granted = place.ringfence(&["grant", "box", "--credential", "signer", "--for", "1m"]);
    let then = commit();
    let revoked = place.ringfence(&["revoke", "box", "--credential", "signer"]);
    let after = commit();
    let _ = place.ringfence(&["stop", "box", "--grace", "0"]);
    assert_eq!((granted.status, revoked.status), (0, 0), "{granted:?} {revoked:?}");
    assert!(before != 0 && then == 0 && after != 0, "{before} {then} {after}");
}
