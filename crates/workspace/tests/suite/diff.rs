//! What the diff says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ringfence_workspace::{Content, FileType, Kind, Review, render_json, render_stat};

use super::support::{Case, change, kind};

const SETUP: &str =
    "mkdir -p src deep/er; echo one > README.md; printf 'a\\nb\\nc\\n' > src/main.txt; echo x > deep/er/x;
    ln -s README.md link; echo run > tool; chmod 755 tool; echo gone > gone";

#[test]
fn nothing_done_is_no_change() {
    assert!(Case::new(SETUP, "cat README.md src/main.txt > /dev/null").diff().is_empty());
}

#[test]
fn every_kind_is_named() {
    let case = Case::new(
        SETUP,
        "echo two > README.md; echo new > src/new; rm gone; chmod 700 tool; rm link; ln -s tool link; mkdir fresh;
         echo y > fresh/y; rm -r deep; echo now-a-file > deep",
    );
    let changes = case.diff();
    assert_eq!(
        case.summary(),
        [
            "M README.md",
            "T deep",
            "D deep/er",
            "D deep/er/x",
            "A fresh",
            "A fresh/y",
            "D gone",
            "M link",
            "A src/new",
            "m tool"
        ]
    );
    let tool = change(&changes, "tool");
    assert_eq!((tool.old_mode, tool.new_mode), (Some(0o755), Some(0o700)));
    assert_eq!(change(&changes, "link").target.as_deref(), Some("tool".as_ref()));
    assert_eq!(change(&changes, "deep").old_type, Some(FileType::Directory));
    assert_eq!(change(&changes, "README.md").content, Some(Content::Text { added: 1, removed: 1 }));
}

#[test]
fn same_content_and_mode_is_no_change() {
    let case = Case::new(
        SETUP,
        "touch README.md; cp -p src/main.txt t; cat t > src/main.txt; rm t; chmod 755 tool; touch deep/er; rm gone; echo gone > gone",
    );
    assert_eq!(case.summary(), Vec::<String>::new());
}

#[test]
fn an_opaque_directory_deletes_what_it_hides() {
    let case = Case::new(
        "mkdir -p d/sub; echo 1 > d/one; echo 2 > d/two; echo 3 > d/sub/three",
        "rm -r d; mkdir d; echo 2 > d/two; echo 4 > d/four",
    );
    assert_eq!(case.summary(), ["A d/four", "D d/one", "D d/sub", "D d/sub/three"]);
}

/// The kernel marks the directory alone that was made anew, and none of those in it.
#[test]
fn what_an_opaque_directory_hides_stays_hidden_further_down() {
    let case = Case::new(
        "mkdir -p d/sub/deep; echo 1 > d/sub/one; echo 2 > d/sub/deep/two",
        "rm -r d; mkdir -p d/sub/deep",
    );
    assert_eq!(case.summary(), ["D d/sub/deep/two", "D d/sub/one"]);
}

#[test]
fn a_renamed_file_and_hard_links_are_shown() {
    let case = Case::new(SETUP, "mv README.md READ; ln src/main.txt second; echo x >> second");
    assert_eq!(case.summary(), ["A READ", "D README.md", "A second", "M src/main.txt"]);
}

#[test]
fn a_task_that_deletes_everything_is_shown_as_such() {
    let case = Case::new(SETUP, "find . -mindepth 1 -delete");
    let changes = case.diff();
    assert!(changes.iter().all(|change| change.kind == Kind::Deleted));
    assert_eq!(changes.len(), 9);
    assert!(render_stat(&changes).contains("9 deleted"));
    assert_eq!(case.read("README.md"), "one\n");
}

#[test]
fn unreadable_things_are_read_and_closed_again() {
    let case = Case::new(
        "mkdir -p there; echo x > there/x",
        "echo c > none; chmod 000 none; mkdir -p nodir/in; echo d > nodir/in/x; chmod 000 nodir/in nodir there; ",
    );
    let changes = case.diff();
    assert_eq!(kind(&changes, "there"), Kind::ModeChanged);
    assert_eq!(kind(&changes, "nodir/in/x"), Kind::Created);
    assert_eq!(change(&changes, "none").content, Some(Content::Text { added: 1, removed: 0 }));
    for name in ["none", "nodir", "there"] {
        let mode = fs::symlink_metadata(case.layer.upper.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0, "{name}");
    }
}

#[test]
fn a_closed_workspace_is_read_and_lands() {
    let case = Case::new(SETUP, "echo two > README.md; chmod 000 .");
    assert_eq!(case.summary(), ["M README.md"]);
    assert_eq!(fs::metadata(&case.layer.upper).unwrap().permissions().mode() & 0o777, 0);
    case.apply().unwrap();
    assert_eq!(case.read("README.md"), "two\n");
    ringfence_workspace::discard(&case.layers()).unwrap();
}

#[test]
fn names_never_reach_a_terminal_raw() {
    let case = Case::new(
        "",
        r#"touch $'a\nrm -rf important' $'b\n+++ dev-null' $'\e]0;title\a' $'invoice_\u202Etxt.sh' $'README\u200b.md' \
             $'\xff\xfe' $'caf\xe9' $'c1\u009b31m'; mkdir $'\x80dir'; touch $'\x80dir/f'; ln -s $'x\e[8m' link"#,
    );
    let changes = case.diff();
    let shown = render_stat(&changes);
    assert!(shown.lines().all(|line| !line.chars().any(char::is_control)), "{shown:?}");
    assert!(!shown.contains(['\u{202e}', '\u{200b}', '\u{9b}']), "{shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("rm -rf") || line.starts_with("+++")));
    assert_eq!(shown.lines().count(), changes.len() + 1);
    for part in ["\\u{202e}", "\\u{200b}", "\\xff\\xfe", "caf\\xe9", "\\x80dir/f", "a\\nrm -rf important"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = render_json(&changes);
    let raw = json.as_array().unwrap().iter().find(|change| change["shown"] == "\\xff\\xfe").unwrap();
    assert_eq!(raw["path"], serde_json::json!([255, 254]));
}

#[test]
fn bulk_does_not_push_single_changes_away() {
    let case =
        Case::new(SETUP, "mkdir many; for i in $(seq 3000); do : > many/f$i; done; echo pwn > src/main.txt");
    let shown = render_stat(&case.diff());
    assert!(shown.contains("src/main.txt"), "{shown}");
    assert!(shown.contains("3000 files"), "{shown}");
    assert!(shown.lines().count() < 10, "{shown}");
    let case = Case::new(
        SETUP,
        "for i in $(seq 100); do mkdir -p many/$i; for j in $(seq 20); do : > many/$i/f$j; done; done; echo pwn > src/main.txt",
    );
    let shown = render_stat(&case.diff());
    assert!(shown.contains("src/main.txt") && shown.contains("2101 files"), "{shown}");
    assert!(shown.lines().count() < 10, "{shown}");
}

#[test]
fn the_dangerous_comes_first() {
    let case = Case::new(
        SETUP,
        "echo two > README.md; mkfifo zzz; ln -s /etc/passwd out; mkdir .vscode; echo {} > .vscode/tasks.json; touch Makefile",
    );
    let shown = render_stat(&case.diff());
    let at = |text: &str| {
        shown.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {shown}"))
    };
    assert!(at("zzz") < at("tasks.json"), "{shown}");
    assert!(at("tasks.json") < at("Makefile") && at("link -> /etc/passwd") < at("Makefile"), "{shown}");
    assert!(at("Makefile") < at("README.md"), "{shown}");
    assert!(shown.contains("! A zzz"), "{shown}");
}

#[test]
fn binary_is_a_size_and_a_terabyte_of_hole_takes_no_time() {
    let start = std::time::Instant::now();
    let case = Case::new("printf 'a\\0b' > bin", "printf 'a\\0bc' > bin; truncate -s 1T huge");
    let changes = case.diff();
    assert_eq!(change(&changes, "huge").new_size, Some(1 << 40));
    let shown = render_stat(&changes);
    assert!(shown.contains("bin 3 -> 4 bytes"), "{shown}");
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn no_reason_to_look_takes_another_ones_place() {
    let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
    let case = Case::new(
        "ln -s build/m.key Makefile; mkdir build",
        &format!(
            "mkdir .husky; echo > .husky/common.key; echo {token} > build/m.key; umask 0; echo > .env; umask 022
             mkdir x.key; echo > x.key/readme; echo {token} > token; for i in $(seq 60); do echo > $i.pem; done
             echo x > justfile; echo > .bashrc; mkdir home; echo > home/.gitconfig"
        ),
    );
    let review = Review::open(&case.layers(), &[], &[]).unwrap();
    let why =
        |path: &str| change(review.changes(), path).flag.clone().map_or(String::new(), |flag| flag.reason);
    assert!(why(".husky/common.key").starts_with("runs on the host at the next commit; "));
    assert!(why("build/m.key").starts_with("runs on the host at the next build or test; its content holds"));
    assert!(why(".env").starts_with("every user of this machine may write it; files of this name"));
    assert_eq!((why("x.key/readme"), why("x.key")), Default::default());
    assert!(
        why(".bashrc").starts_with("a shell runs it") && why("home/.gitconfig").starts_with("git config")
    );
    // Many that are only named so push nothing away.
    let shown = render_stat(review.changes());
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
    assert!(at("* A token") < at("62 files") && at("* A justfile") < at("62 files"), "{shown}");
    assert_eq!(review.unseen(), 0);
}

#[test]
fn what_is_large_hides_no_secret_in_what_is_small() {
    let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
    let case = Case::new(
        "",
        &format!(
            "mkdir 0; for i in $(seq 64); do truncate -s 1048577 0/a$i; truncate -s 1M 0/b$i; done; echo {token} > z"
        ),
    );
    let review = Review::open(&case.layers(), &[], &[]).unwrap();
    assert!(change(review.changes(), "z").flag.is_some());
    // The last MiB does not fit any more.
    assert_eq!(review.unseen(), 65);
}

#[test]
fn a_script_is_called_nothing_else() {
    let case = Case::new(
        "",
        "printf '#!/bin/sh\n# %%PDF\n' > a; head -c 2M /dev/zero | tr '\\0' x >> a; printf 'BM=1;/*\\0*/evil()' > b
         printf '#!/bin/sh\n\\0%%PDF' > c; printf '\\0%%PDF' > d",
    );
    let shown = render_stat(&case.diff());
    for said in ["a | text/plain, 0 -> 2097169 bytes", "b | bin 0 ->", "c | bin 0 ->", "d | bin 0 ->"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
}

#[test]
fn what_is_no_text_is_shown_by_its_type() {
    let picture = r"printf '\211PNG\r\n\032\n\0\0\0\rIHDR'";
    let case = Case::new(
        &format!("{picture} > old; printf 'a\\0b' > bin"),
        &format!("cp /bin/true old; {picture} > new; printf 'a\\0bc' > bin; seq 200000 > long"),
    );
    let changes = case.diff();
    let shown = render_stat(&changes);
    for said in [
        "image/png -> application/x-executable, 16 -> ",
        "image/png, 0 -> 16 bytes",
        "bin 3 -> 4 bytes",
        "text/plain, 0 -> 1288895 bytes",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let new = Content::Binary { old: None, new: Some("image/png") };
    assert_eq!(change(&changes, "new").content, Some(new));
    assert_eq!(render_json(&changes).as_array().unwrap().len(), 4);
}

#[test]
fn a_tree_deeper_than_any_path_is_shown_and_refused() {
    let case = Case::new(
        "",
        "python3 -c 'import os
for _ in range(1500): os.mkdir(\"dddddddd\"); os.chdir(\"dddddddd\")
open(\"bottom\", \"w\")'",
    );
    assert!(case.diff().len() > 300);
    let refused = case.apply().unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == ringfence_workspace::Reason::TooDeep));
    assert_eq!(fs::read_dir(&case.host).unwrap().count(), 0);
    ringfence_workspace::discard(&case.layers()).unwrap();
    assert!(!case.layer.upper.exists());
}

#[test]
fn a_layer_survives_json() {
    use std::os::unix::ffi::OsStringExt;

    let mut layer = Case::before("").layer.clone();
    layer.host.push(std::ffi::OsString::from_vec(vec![255, b'/', b'x']));
    let text = serde_json::to_string(&layer).unwrap();
    assert_eq!(serde_json::from_str::<ringfence_workspace::Layer>(&text).unwrap(), layer);
}
