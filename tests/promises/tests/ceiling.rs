//! The administrator's ceiling on a real host: an `/etc/ringfence` in a mount namespace of the test's own.

use std::process::Command;

use ringfence_promises::{Place, binary, root};

/// Runs a script as the namespace's root where /etc may be written; `$RF` is the binary.
fn with_etc(place: &Place, script: &str) -> (i32, String) {
    // What the caller may not read is of no use to it here either.
    let prepare = "mount -t tmpfs tmpfs /mnt; cp -a /etc /mnt/etc 2>/dev/null || true; \
                   mount --bind /mnt/etc /etc && mkdir -p /etc/ringfence";
    let mut command = Command::new("unshare");
    command.args(if root() { &["-m"][..] } else { &["-Urm"] });
    command.args(["sh", "-ec", &format!("{prepare}\n{script}")]).current_dir(&place.workspace);
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state).env("RF", binary());
    let done = command.output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code().unwrap_or(-1), text)
}

const WRITE: &str = "printf 'version = 1\\nextends = [\"coding-agent\"]\\n[limits]\\ntmp = \"1MiB\"\\n' > /etc/ringfence/ceiling.toml";

#[test]
fn it_bounds_what_runs() {
    let place = Place::new();
    let wide = place.policy("[files]\nread = [\"/var\"]");
    let (status, text) = with_etc(&place, &format!("{WRITE}; $RF run --policy {wide} -- true"));
    assert_eq!(status, 125, "{text}");
    assert!(text.contains("above the ceiling") && text.contains("/var"), "{text}");
}

#[test]
fn one_that_others_can_change_is_none() {
    let place = Place::new();
    // Only root of the host can give a file away.
    let given: &[&str] = if root() { &["chown 65532 /etc/ringfence/ceiling.toml"] } else { &[] };
    for spoil in ["chmod 666 /etc/ringfence/ceiling.toml", "chmod 777 /etc/ringfence"].iter().chain(given) {
        let (status, text) = with_etc(&place, &format!("{WRITE}; {spoil}; $RF plan --policy-only -- true"));
        assert_eq!(status, 125, "{spoil}: {text}");
        assert!(text.contains("others than root can change it"), "{spoil}: {text}");
    }
    let (status, text) = with_etc(&place, &format!("{WRITE}; $RF plan --policy-only -- true"));
    assert_ne!(status, 125, "{text}");
}
