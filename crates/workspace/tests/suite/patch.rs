//! The diff in full, and the patch that real git applies.

use std::path::Path;
use std::process::Command;

use ringfence_workspace::{Look, Review};

use super::support::{Case, shell, snapshot};

/// Everything that git can say.
const SETUP: &str = "mkdir -p src dir; printf 'a\\nb\\nc\\nd\\ne\\nf\\ng\\n' > src/main.txt; printf 'x\\0y' > bin; echo run > tool;
    echo gone > gone; seq 100 > long; ln -s tool link; ln -s a flip; : > empty; printf 'no end' > end; seq 50 > dir/one; seq 60 > 'dir/two words'";
const TASK: &str = "printf 'a\\nb\\nX\\nd\\ne\\nf\\ng\\n' > src/main.txt; printf 'x\\0zz' > bin; head -c 200000 /dev/urandom > new.bin; chmod 755 tool;
    rm gone; sed -i 's/^50$/fifty/; s/^2$/two/' long; rm link; ln -s long link; rm flip; echo file > flip; : > empty2; rm empty; printf 'no end!' > end;
    mkdir moved; mv dir/one moved/one; mv 'dir/two words' 'moved/two words'; echo extra >> 'moved/two words'; echo q > 'q\"uo\\te'; echo ü > ümlaut; rmdir dir";

fn patch(case: &Case) -> (Vec<u8>, Vec<String>) {
    let mut out = Vec::new();
    let missing = Review::open(&case.layers(), &[], &[]).unwrap().patch(Path::new(""), &mut out).unwrap();
    (out, missing.iter().map(|one| format!("{}: {}", one.path.display(), one.why)).collect())
}

fn shown(case: &Case, colour: bool) -> String {
    let mut out = Vec::new();
    Review::open(&case.layers(), &[], &[]).unwrap().show(Look { colour, all: false }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn git_applies_the_patch_and_has_what_apply_makes() {
    for inside in [false, true] {
        let case = Case::new(SETUP, TASK);
        let (text, missing) = patch(&case);
        assert_eq!(missing, Vec::<String>::new());
        let other = tempfile::tempdir().unwrap();
        shell(other.path(), SETUP);
        if inside {
            shell(
                other.path(),
                "git init -q . && git add -A && git -c user.name=x -c user.email=x@x commit -qm x",
            );
        }
        std::fs::write(case.home.path().join("patch"), &text).unwrap();
        let mut git = Command::new("git");
        git.args(["apply", "--whitespace=nowarn"]).args(inside.then_some("--index"));
        let done = git.arg(case.home.path().join("patch")).current_dir(other.path()).output().unwrap();
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), text.escape_ascii());
        let _ = std::fs::remove_dir_all(other.path().join(".git"));
        case.apply().unwrap();
        assert_eq!(snapshot(&case.host), snapshot(other.path()));
    }
}

#[test]
fn the_patch_says_what_it_leaves_out() {
    let case = Case::new(
        "echo a > a; mkdir d",
        "echo b > a; mkfifo p; ln -s /etc/passwd out; mkdir hollow; chmod 700 d; mkdir .vscode; echo {} > .vscode/tasks.json; chmod 600 a",
    );
    let (text, missing) = patch(&case);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("+b") && !text.contains("passwd") && !text.contains("tasks.json"), "{text}");
    for path in ["p:", "out:", "hollow:", "d:", ".vscode/tasks.json:"] {
        assert!(missing.iter().any(|line| line.starts_with(path)), "{path} {missing:?}");
    }
}

#[test]
fn the_diff_shows_lines_and_words_and_renames() {
    let case = Case::new(
        SETUP,
        &format!("{TASK}; printf 'let value = 2;\\n' > words; sed -i 's/^f$/F/' src/main.txt"),
    );
    let text = shown(&case, false);
    for part in [
        "M src/main.txt | +2 -2\n@@ -1,7 +1,7 @@\n a\n b\n-c\n+X\n d\n e\n-f\n+F\n g\n",
        "R dir/one -> moved/one",
        "R dir/two words -> moved/two words | +1 -0\n",
        "+extra\n",
        "M bin | bin 3 -> 4 bytes\n",
        "link tool -> long",
        "-no end\n\\ No newline at end of file\n+no end!\n\\ No newline at end of file\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("D dir/one") && !text.contains('\u{1b}'), "{text}");
    let case = Case::new("echo 'let value = 1;' > f", "echo 'let value = 2;' > f");
    let text = shown(&case, true);
    assert!(text.contains("let value = \u{1b}[1;4m2\u{1b}[22;24m;"), "{text:?}");
}

#[test]
fn hostile_contents_neither_act_nor_take_for_ever() {
    let script = r#"printf 'a\033[8mhidden\033[0m\nb\r\033]0;title\007\xe2\x80\xae\n' > f; head -c 600000 /dev/zero | tr '\0' 'x' > one-line
        python3 - <<'END'
import random
random.seed(1)
for n in range(10):
    with open(f"h{n}", "w") as f:
        f.write("".join(random.choice("ab") + "\n" for _ in range(200000)))
END
        truncate -s 1T huge"#;
    let setup = r#"python3 - <<'END'
import random
random.seed(2)
for n in range(10):
    with open(f"h{n}", "w") as f:
        f.write("".join(random.choice("bc") + "\n" for _ in range(200000)))
END"#;
    let case = Case::new(setup, script);
    let start = std::time::Instant::now();
    let text = shown(&case, true);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    assert!(text.contains("a\\u{1b}[8mhidden") && text.contains("\\u{202e}"), "no escape");
    // Only our own colours are left.
    let foreign = text.split('\u{1b}').skip(1).filter(|rest| {
        !["[0m", "[1m", "[36m", "[31m", "[32m", "[1;4m", "[22;24m"].iter().any(|own| rest.starts_with(own))
    });
    assert_eq!(foreign.count(), 0);
    assert!(text.contains("bytes") && text.len() < 20 << 20, "{}", text.len());
    let mut sink = std::io::sink();
    let error = Review::open(&case.layers(), &[], &[]).unwrap().patch(Path::new(""), &mut sink).unwrap_err();
    assert!(error.to_string().contains("huge"), "{error}");
}

#[test]
fn the_dangerous_stands_first_in_the_full_diff_too() {
    let case = Case::new(SETUP, "echo x >> long; mkdir .vscode; echo {} > .vscode/tasks.json; mkfifo zzz");
    let text = shown(&case, false);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("zzz") < at(".vscode/tasks.json") && at(".vscode/tasks.json") < at("M long"), "{text}");
    assert!(text.contains("! refused: a FIFO"), "{text}");
}
