//! What the words of a command line mean: which run, which sandbox, a kind or a path; and hints that can be pasted.

use std::path::Path;
use std::process::{Command, Stdio};

use ringfence_promises::{Outcome, Place};

use crate::landing::answered;

fn at(place: &Place, directory: &Path, arguments: &[&str]) -> Outcome {
    let done = place.command(arguments).current_dir(directory).output().unwrap();
    Outcome {
        status: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// The command of a hint, as a shell takes it.
fn pasted(place: &Place, said: &str, begins: &str) -> Outcome {
    let line = said.split('`').find(|part| part.starts_with(begins)).unwrap_or_default();
    assert!(line.starts_with(begins), "{said}");
    let arguments = line.strip_prefix("ringfence ").unwrap();
    let script = format!("exec \"$0\" {arguments}");
    let place_of = place.command(&[]);
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(place_of.get_program()).current_dir(&place.workspace);
    command.envs(place_of.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = command.output().unwrap();
    Outcome {
        status: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

#[test]
fn last_is_the_last_run_of_this_directory() {
    let place = Place::new();
    let other = place.home.join("other");
    for directory in [&other, &place.home.join("third"), &place.workspace.join("sub")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    assert_eq!(place.run("", "echo here > f; echo b > b").status, 0);
    let policy = place.policy("");
    let there = ["run", "-q", "--policy", &policy, "--", "sh", "-c", "echo there > f"];
    assert_eq!(at(&place, &other, &there).status, 0);
    let applied = place.ringfence(&["apply", "last", "--", "f"]);
    assert!(applied.status == 0 && !applied.out.contains("landed in "), "{applied:?}");
    assert_eq!(place.read("f").as_deref(), Some("here\n"));
    assert!(!other.join("f").exists());
    let below = at(&place, &place.workspace.join("sub"), &["diff", "last", "--name-only"]);
    assert_eq!(below.out, "b\n", "{below:?}");
    // Where there is none, it is the last of all, and where that is is said.
    let third = at(&place, &place.home.join("third"), &["apply", "last"]);
    assert!(third.status == 0 && third.out.contains(&format!("landed in {}", other.display())), "{third:?}");
    let undone = at(&place, &place.home.join("third"), &["undo", "last"]);
    assert!(undone.status == 0 && undone.out.contains(&format!(" in {}", other.display())), "{undone:?}");
    assert_eq!(at(&place, &other, &there).status, 0);
    let gone = at(&place, &place.home.join("third"), &["discard", "last"]);
    assert!(gone.status == 0 && gone.out.contains(&format!(" in {} are gone", other.display())), "{gone:?}");
}

#[test]
fn names_that_mean_something_are_none() {
    let place = Place::new();
    for (name, why) in [("last", "the last run"), ("1m8h", "a run's id"), ("0123456789abc", "a run's id")] {
        let refused = place.ringfence(&["start", name, "--preset", "default"]);
        assert!(refused.status == 125 && refused.err.contains(why), "{name}: {refused:?}");
    }
    assert!(place.last_run().is_empty());
}

#[test]
fn a_name_is_the_newest_sandbox_of_that_name_alone() {
    let place = Place::new().in_tier("landlock");
    for text in ["first", "second"] {
        assert_eq!(place.ringfence(&["start", "tw", "--preset", "default"]).status, 0);
        let script = format!("echo {text} > {text}");
        assert_eq!(place.ringfence(&["exec", "tw", "--", "sh", "-c", &script]).status, 0);
        assert_eq!(place.ringfence(&["stop", "tw"]).status, 0);
    }
    assert_eq!(place.ringfence(&["apply", "tw"]).status, 0);
    let again = place.ringfence(&["apply", "tw"]);
    assert!(again.status == 125 && again.err.contains("have landed already"), "{again:?}");
    assert!(place.read("second").is_some() && place.read("first").is_none());
    // Other verbs know it too.
    let explained = place.ringfence(&["explain", "tw"]);
    assert_eq!(explained.status, 0, "{explained:?}");
    let logs = place.ringfence(&["logs", "tw"]);
    assert_eq!(logs.status, 0, "{logs:?}");
    let elsewhere = at(&place, &place.home, &["apply", "tw"]);
    assert!(elsewhere.err.contains("name it by its id"), "{elsewhere:?}");
}

#[test]
fn what_no_run_matches_says_how_runs_are_named() {
    let place = Place::new();
    place.write("src/a", "x");
    for verb in ["diff", "apply", "undo", "discard", "explain", "logs"] {
        let none = place.ringfence(&[verb, "nope"]);
        assert!(none.status == 125 && none.err.contains("`ringfence ps -a` lists them"), "{verb}: {none:?}");
        let path = place.ringfence(&[verb, "src/a"]);
        assert!(path.err.contains("ringfence diff -- src/a"), "{verb}: {path:?}");
    }
}

#[test]
fn a_kind_is_not_taken_for_a_path_of_its_name() {
    let place = Place::new();
    // A program that is no text is held back; what CI runs too.
    let script = "printf '\\177ELF\\0x' > ci; chmod +x ci; printf '\\177ELF\\0x' > -x; chmod +x -- -x; \
                  cp ci kind:ci; mkdir -p .github/workflows; echo x > .github/workflows/a.yml";
    assert_eq!(place.run("", script).status, 0);
    let held = place.ringfence(&["apply"]);
    assert!(held.status == 0 && held.out.contains("5 changes held back"), "{held:?}");
    let refused = place.ringfence(&["apply", "--accept", "ci"]);
    assert!(refused.status == 126 && refused.err.contains("which is meant?"), "{refused:?}");
    assert!(refused.err.contains("--accept kind:ci") && refused.err.contains("./ci"), "{refused:?}");
    let kind = place.ringfence(&["apply", "--accept", "kind:ci"]);
    assert_eq!((kind.status, place.read("ci")), (0, None), "{kind:?}");
    assert!(place.read(".github/workflows/a.yml").is_some());
    // Each hint can be pasted.
    for landed in ["-x", "ci", "kind:ci"] {
        let hint = place.ringfence(&["apply"]).out;
        let done = pasted(&place, &hint, "ringfence apply ");
        assert!(done.status == 0 && place.workspace.join(landed).exists(), "{hint}\n{done:?}");
    }
}

#[test]
fn refusals_name_their_files_and_a_way_that_can_be_pasted() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(name, "before\n");
    }
    assert_eq!(place.run("", "for f in a b c; do echo task > $f; done; echo d > d; mkfifo out").status, 0);
    for name in ["a", "b", "c"] {
        place.write(name, "host\n");
    }
    let refused = place.ringfence(&["apply"]);
    assert!(refused.status == 126 && !refused.err.contains("..."), "{refused:?}");
    assert!(refused.err.contains("for out: ") && refused.err.contains("for a, b, c: "), "{refused:?}");
    assert!(refused.err.contains("version of b is kept: "), "{refused:?}");
    let merge = place.ringfence(&["apply", "--merge"]);
    assert!(merge.err.contains("version of a is kept: "), "{merge:?}");
    let rest = pasted(&place, &refused.err, "ringfence apply ");
    assert!(rest.status == 0 && place.read("d").is_some(), "{rest:?}");
}

#[test]
fn many_that_are_held_back_are_summed_up() {
    let place = Place::new();
    let script = "mkdir -p .github/workflows; for i in $(seq 300); do echo x > .github/workflows/$i.yml; done; echo x > f";
    assert_eq!(place.run("", script).status, 0);
    let applied = place.ringfence(&["apply"]);
    assert!(applied.out.lines().count() < 20, "{}", applied.out);
    assert!(applied.out.contains("301 ci") && applied.out.contains("--stat` lists them"), "{}", applied.out);
}

#[test]
fn questions_are_of_what_may_land() {
    let place = Place::new();
    place.host("echo gone > gone");
    let script = "umask 0; mkdir open; chmod 777 open; echo i > open/i; ln -s /etc out; echo secret-line > .envrc; \
                  rm gone; echo fresh-line > z";
    assert_eq!(place.run("", script).status, 0);
    // .envrc, the link out, what everybody may write (open, open/i, z), gone.
    let (status, text) = answered(&place, "y\nn\ny\ny\ny\nn\n");
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("symlinks: a link out") && !place.workspace.join("out").exists(), "{text}");
    assert!(text.contains("+secret-line") && text.contains("which is held back"), "{text}");
    assert!(text.contains("+fresh-line") && text.contains("-gone"), "{text}");
    assert!(text.contains("others may write (mode 777)"), "{text}");
    assert!(place.read("open/i").is_some() && place.read("gone").is_some(), "{text}");
    assert!(text.contains("left out") && !text.contains("by name"), "{text}");
    assert!(text.find(".envrc").unwrap() < text.find("fresh-line").unwrap(), "{text}");
}

#[test]
fn a_held_child_of_what_is_refused_is_not_asked_about() {
    let place = Place::new();
    assert_eq!(place.run("", "mkdir GIT~1; echo x > GIT~1/.envrc; echo f > f").status, 0);
    let (status, text) = answered(&place, "y\ny\n");
    assert!(status == 0 && place.read("f").is_some() && !text.contains(".envrc"), "{text}");
    // Nor is what lies in a directory that the host exchanged.
    place.host("mkdir d; echo x > d/x");
    assert_eq!(place.run("", "echo h > d/.envrc; echo g > g").status, 0);
    place.host("mv d old; mkdir d; cp old/x d");
    let (status, text) = answered(&place, "y\ny\n");
    assert!(status == 0 && place.read("g").is_some(), "{text}");
    assert!(
        text.contains("it stays with the run: d: replaced") && place.read("d/.envrc").is_none(),
        "{text}"
    );
}

#[test]
fn a_patch_has_the_paths_of_its_repository() {
    let place = Place::new();
    place.host("git init -q ..; seq 3 > f; mkdir sub");
    assert_eq!(place.run("", "echo 4 >> f; echo n > sub/new").status, 0);
    place.host("true");
    let script = "\"$RF\" diff --patch | git apply";
    let mut command = place.under("sh", &["-ec", &script.replace("\"$RF\"", "\"$0\"")], &place.command(&[]));
    let done = command.output().unwrap();
    assert!(String::from_utf8_lossy(&done.stderr).contains("the repository's root"), "{done:?}");
    assert_eq!(place.read("f").as_deref(), Some("1\n2\n3\n4\n"), "{done:?}");
    assert_eq!(place.read("sub/new").as_deref(), Some("n\n"));
}

#[test]
fn pages_and_switches_say_what_they_take() {
    let place = Place::new();
    let page = place.ringfence(&["man", "apply"]).out;
    assert!(page.contains("[\\fB\\-\\-\\fR \\fIPATH\\fR...]"), "{page}");
    assert!(page.contains(concat!("ringfence ", env!("CARGO_PKG_VERSION"))), "{page}");
    let run = place.ringfence(&["man", "run"]).out;
    assert!(run.contains("\\fB\\-\\-\\fR \\fICOMMAND\\fR..."), "{run}");
    assert_eq!(place.run("", "echo x > f").status, 0);
    let branch = place.ringfence(&["apply", "--branch", "b", "--", "f"]);
    assert!(branch.status == 125 && branch.err.contains("git checkout BRANCH -- PATH"), "{branch:?}");
    let relative = place.command(&["ps"]).env("RINGFENCE_STATE", "rel").output().unwrap();
    assert_eq!(relative.status.code(), Some(125));
    assert!(!place.workspace.join("rel").exists(), "{relative:?}");
    let hosted = Place::new().in_tier("landlock");
    // `--quiet`, and a weaker boundary is said all the same.
    let quiet = hosted.run("", "true");
    assert!(quiet.status == 0 && quiet.err.contains("tier `landlock`"), "{quiet:?}");
}

#[test]
fn the_diff_of_a_killed_run_says_so() {
    let place = Place::new().in_tier("landlock");
    // Putting together what changed takes its time, and the warden outlives the supervisor.
    let files = "for i in $(seq 3000); do echo > g$i; done";
    assert!(Command::new("sh").args(["-c", files]).current_dir(&place.workspace).status().unwrap().success());
    let mut child =
        place.to_run("", "echo half > f; for g in g*; do echo 1 > $g; done; sleep 60").spawn().unwrap();
    for _ in 0..400 {
        if !place.told("sandbox.start").is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    let other = place.command(&["diff", "--name-only"]).stdout(Stdio::piped()).spawn().unwrap();
    let diff = place.ringfence(&["diff", "--name-only"]);
    assert!(diff.err.contains("was interrupted"), "{diff:?}");
    assert!(diff.out.lines().any(|line| line == "f") && diff.out.lines().count() == 3001, "{diff:?}");
    assert_eq!(String::from_utf8(other.wait_with_output().unwrap().stdout).unwrap(), diff.out);
}

/// A task may call a file as another one is shown.
#[test]
fn a_hint_means_the_file_that_it_shows() {
    let place = Place::new();
    let script = "import os\nfor n, t in (('x' + chr(27), 'innocent'), ('x' + chr(92) + 'u{1b}', 'evil')):\n    os.makedirs(n); open(n + '/.envrc', 'w').write(t)";
    let run = place.run("", &format!("python3 -c \"{script}\""));
    assert_eq!(run.status, 0, "{run:?}");
    let refused = place.ringfence(&["apply"]);
    let hint = &refused.out;
    assert_eq!(pasted(&place, hint, "ringfence apply ").status, 0, "{hint}");
    let read = |name: &str| place.read(format!("{name}/.envrc"));
    assert_eq!((read("x\u{1b}").as_deref(), read("x\\u{1b}")), (Some("innocent"), None), "{hint}");
}

/// Git's index is written anew by a look at the repository: `diff` shows no change there, and the end of the run counts none.
#[test]
fn the_end_of_a_run_counts_what_diff_shows() {
    let place = Place::new();
    place.write("f", "1\n");
    place.host("git init -q .; git config user.email a@b; git config user.name a; git add f; git commit -qm x; touch -d '1 hour ago' f");
    for (script, shown) in
        [("git status --short >/dev/null; touch a", "1 change"), ("touch b; git add b", "4 changes")]
    {
        let outcome = place.ringfence(&["run", "--", "sh", "-c", script]);
        assert!(outcome.err.contains(&format!("{shown} wait")), "{outcome:?}");
        let diff = place.ringfence(&["diff", "--stat"]);
        assert!(diff.out.contains(&format!(" {shown},")), "{diff:?}");
        assert_eq!(place.ringfence(&["discard", "last"]).status, 0);
    }
}

/// What did not begin leaves nothing that waits, and what a run leaves for the next one goes with the next look.
#[test]
fn nothing_waits_of_what_did_not_begin() {
    let place = Place::new();
    if !ringfence_promises::root() {
        let closed = place.home.join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let outcome = place.ringfence(&["run", "--workspace", "../closed", "--", "true"]);
        assert!(outcome.status == 125 && !outcome.err.contains("wait"), "{outcome:?}");
    }
    assert_eq!(place.ringfence(&["run", "--", "nothing-of-that-name"]).status, 127);
    assert_eq!(place.ringfence(&["run", "--", "true"]).status, 0);
    let listed = place.ringfence(&["ps", "-a"]);
    assert!(!listed.out.contains("waits"), "{listed:?}");
    let aside = std::fs::read_dir(place.state.join("aside")).into_iter().flatten().count();
    assert_eq!(aside, 0, "{:?}", place.listing());
}
