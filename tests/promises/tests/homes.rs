//! Homes of tier `landlock`: whatever a task did with one, the next run has another.

use ringfence_promises::Place;

fn place() -> Place {
    let place = Place::in_home().in_tier("landlock");
    for path in ["grants/one", "grants/two"] {
        std::fs::create_dir_all(place.home.join(path)).unwrap();
    }
    place
}

const POLICY: &str = "[files]\nread = [\"~/grants/one\", \"~/grants/two\"]";

#[test]
fn nothing_comes_back_from_a_home() {
    let place = place();
    let look = "cd; find . | sort | tr '\\n' ' '; stat -c %a . grants; readlink grants/one; lsattr -dp . grants 2>&1; \
        python3 -c \"import os; print(os.listxattr('.'), os.listxattr('grants'), \
        [all(abs(t - $(date +%s)) < 60 for t in (os.lstat(p).st_mtime, os.lstat(p).st_atime, os.lstat(p).st_ctime)) for p in ('.', 'grants', 'grants/one', 'grants/two')])\"";
    let made = place.run(POLICY, look).out;
    assert!(made.starts_with(". ./grants ./grants/one ./grants/two 700\n700\n/"), "{made}");
    assert!(made.ends_with("[] [] [True, True, True, True]\n"), "{made}");
    for change in [
        "true",
        "cat grants/one/x; readlink grants/two; ls -R",
        "echo x > x",
        "mkdir grants/x",
        "rm grants/one",
        "ln -sf /etc/passwd grants/one",
        "mv grants/one grants/x; mv grants/x grants/one",
        "t=$(readlink grants/one); rm grants/one; ln -s $t grants/one",
        "mv grants x; mkdir grants; mv x/* grants; rmdir x",
        "chmod 777 grants",
        "chmod 1700 .",
        "touch -d 1970-01-02 . grants",
        "touch -h -d 1970-01-02 grants/one",
        // The time of the last change is that of the last modification then, as after making; a look changes no time that is to come.
        "for l in . grants grants/one grants/two; do touch -h -a -d 2050-01-02 $l; touch -h -m $l; done",
        "python3 -c \"import os; os.setxattr('grants', 'user.x', b'1'); os.setxattr('.', 'user.y', b'1')\"",
        "for i in $(seq 300); do : > grants/a-long-name-that-takes-room-$i; done; rm grants/a-*",
        "python3 -c \"import fcntl, os, struct; f = os.open('grants', 0); fcntl.ioctl(f, 0x40086602, struct.pack('l', 0x80 | 0x80000))\"",
        "chattr -p 77 . grants",
    ] {
        let changed = place.run(POLICY, &format!("cd; {change}; true"));
        assert_eq!(changed.status, 0, "{change}: {changed:?}");
        // Also where the policy is another one with the same links.
        for more in ["", "\n[limits]\nprocesses = 900"] {
            let again = place.run(&format!("{POLICY}{more}"), look);
            let told = |text: &str| text.replace(char::is_numeric, "");
            assert_eq!(told(&again.out), told(&made), "{change}: {again:?}");
        }
    }
    // Nothing waits anywhere either.
    let left = named(&place, "home -o -name grants -o -name one");
    assert_eq!(left, "");
}

/// What is called so where the runs' own directories lie.
fn named(place: &Place, name: &str) -> String {
    place.host(&format!("find {} -name {name} || true", place.state.display()))
}
