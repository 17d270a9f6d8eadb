//! Homes of tier `landlock`: one that its task left as it was made serves another run; of any other nothing comes back.

use ringfence_promises::Place;

fn homes(place: &Place) -> Vec<std::ffi::OsString> {
    let homes = place.base.path().join("state/homes");
    std::fs::read_dir(homes).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

#[test]
fn a_home_serves_again_only_as_it_was_made() {
    let place = Place::in_home().in_tier("landlock");
    for path in ["grants/one", "grants/two"] {
        std::fs::create_dir_all(place.home.join(path)).unwrap();
    }
    let policy = "[files]\nread = [\"~/grants/one\", \"~/grants/two\"]";
    let look = "cd; find . | sort | tr '\\n' ' '; stat -c %a . grants; readlink grants/one; python3 -c \"import os; print(os.listxattr('.'), os.listxattr('grants'), os.stat('grants').st_mtime > 1e9, os.lstat('grants/one').st_mtime > 1e9)\"";
    let made = place.run(policy, look).out;
    assert!(made.starts_with(". ./grants ./grants/one ./grants/two 700\n700\n/"), "{made}");
    assert!(made.ends_with("[] [] True True\n"), "{made}");
    assert_eq!(homes(&place).len(), 1);
    for change in [
        "true",
        "cat grants/one/x; readlink grants/two; ls -R",
        "echo x > x",
        "mkdir grants/x",
        "rm grants/one",
        "ln -sf /etc/passwd grants/one",
        "mv grants/one grants/x; mv grants/x grants/one",
        "mv grants x; mkdir grants; mv x/* grants; rmdir x",
        "chmod 777 grants",
        "chmod 1700 .",
        "touch -d 1970-01-02 . grants",
        "touch -h -d 1970-01-02 grants/one",
        "python3 -c \"import os; os.setxattr('grants', 'user.x', b'1'); os.setxattr('.', 'user.y', b'1')\"",
        "for i in $(seq 300); do : > grants/a-long-name-that-takes-room-$i; done; rm grants/a-*",
        "python3 -c \"import fcntl, os, struct; f = os.open('grants', 0); fcntl.ioctl(f, 0x40086602, struct.pack('l', 0x80 | 0x80000))\"",
    ] {
        let changed = place.run(policy, &format!("cd; {change}; true"));
        assert_eq!(changed.status, 0, "{change}: {changed:?}");
        let again = place.run(policy, look);
        assert_eq!(
            again.out.replace(char::is_numeric, ""),
            made.replace(char::is_numeric, ""),
            "{change}: {again:?}"
        );
        assert!(homes(&place).len() <= 1, "{change}: {:?}", homes(&place));
    }
    // Another policy has another home.
    let other = place.run("[files]\nread = [\"~/grants/one\"]", "cd; find . | sort | tr '\\n' ' '").out;
    assert_eq!(other, ". ./grants ./grants/one ");
}
