//! Questions on the owner's terminal: what is in view of them, how the task left the terminal, and which answers last.

use ringfence_promises::Place;

use crate::asked::Asking;

const POLICY: &str = "[commands]\nallow = [\"sh -c *\", \"sleep *\", \"tr **\", \"sed **\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"id **\"] }";

/// Answers; whatever is not as `steps` say it prints.
fn answered(place: &Place, policy: &str, script: &str, steps: &str) -> String {
    let asking = Asking::new();
    let arguments = ["run", "--quiet", "--policy", policy, "--workspace", ".", "--", "sh", "-c", script];
    let begin = r#"
import re
def drawn():
    return seen[seen.rindex(b"\x1b[999;1H\r\n", 0, asked):asked]
"#;
    let mut command = asking.under_terminal(&arguments, &format!("{begin}{steps}"));
    command.current_dir(&place.workspace).env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    let done = command.output().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

fn granted(place: &Place) -> Vec<String> {
    place.told("grant").iter().map(|event| event["path"].as_str().unwrap().to_owned()).collect()
}

/// Neither blanks nor letters push the beginning of a question out of view; `y` means all of its words, as they are.
#[test]
fn no_words_push_their_question_out_of_view() {
    let place = Place::new();
    let script = "pad() { id --force evil \"$1\" 'ringfence: /usr/bin/id wants to start: id x' 2>/dev/null; }; \
        pad \"$(printf '%1700s' '')\"; pad \"$(printf '%1700s' '' | tr ' ' x)\"; pad \"$(printf '%300s' '' | sed 's/ /a     /g')\"; echo END";
    let steps = r#"
for told in (b"[1700 blanks]", b" letters more]", b" letters more]"):
    question()
    text = re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", drawn()).decode()
    rows = sum(max(1, -(-len(line) // 80)) for line in text.split("\r\n"))
    if rows > 18 or "wants to start: id --force evil " not in text or told not in drawn(): print(rows, text)
    time.sleep(0.7); os.write(terminal, b"what\r")
    again = find(b"`n` or `x`", asked)
    if again - asked > 100: print("long", seen[asked:])
    os.write(terminal, b"y\r")
find(b"END", asked)
end()
"#;
    assert_eq!(answered(&place, &place.policy(POLICY), script, steps), "status 0\n");
    let quoted =
        [" ".repeat(1700), "x".repeat(1700), "a     ".repeat(300)].map(|pad| match pad.contains(' ') {
            true => format!("'{pad}'"),
            false => pad,
        });
    let whole =
        quoted.map(|pad| format!("id --force evil {pad} 'ringfence: /usr/bin/id wants to start: id x'"));
    assert_eq!(granted(&place), whole);
    assert_eq!(place.told("ask").len(), 3);
}

/// On a window that becomes smaller another part of it would be in view: it is drawn anew, and no key counts for a moment.
#[test]
fn a_question_is_drawn_anew_when_the_window_changes() {
    let place = Place::new();
    let script = "id \"$(printf '%600s' '' | tr ' ' x)\" 2>/dev/null; echo END";
    let steps = r#"
question()
time.sleep(0.7)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 50, 0, 0))
question()
os.write(terminal, b"n\r")
text = re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", drawn()).decode()
rows = sum(max(1, -(-len(line) // 50)) for line in text.split("\r\n"))
if rows > 12 or "wants to start: id xxx" not in text: print(rows, text)
time.sleep(0.7); os.write(terminal, b"y\r")
find(b"END", asked)
end()
"#;
    assert_eq!(answered(&place, &place.policy(POLICY), script, steps), "status 0\n");
    assert_eq!(granted(&place).len(), 1);
}

/// Modes that the task has reset since are held back with what it drew: the question that is drawn anew is not in them.
#[test]
fn a_question_that_is_drawn_anew_is_as_plain_as_the_first() {
    let place = Place::new();
    let script = "printf '\\033[?1047;5;2026hSET'; id -u & sleep 1.5; printf '\\033[?2026;5;1047lRESET'; wait; echo END";
    let steps = r#"
find(b"SET", 0)
question()
time.sleep(2.5)
first = asked
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
question()
for mode in (2026, 5, 1047):
    on, off = (seen.rfind(b"\x1b[?%d%s" % (mode, end), 0, asked) for end in (b"h", b"l"))
    if on > off: print("left on", mode, seen[first:asked])
time.sleep(0.7); os.write(terminal, b"y\r")
end_of_it = find(b"END", asked)
behind = seen[asked:end_of_it]
on = [behind.find(b"\x1b[?%dh" % mode) for mode in (2026, 5, 1047)]
if min(on) < 0 or max(on) > behind.find(b"RESET"): print("behind", behind)
end()
"#;
    assert_eq!(answered(&place, &place.policy(POLICY), script, steps), "status 0\n");
}

/// The name of a file likewise.
#[test]
fn no_name_pushes_its_question_out_of_view() {
    let asking = Asking::new();
    let directory =
        format!("{}/{}", asking.data, ["x".repeat(250), "y".repeat(250), "z".repeat(250)].join("/"));
    std::fs::create_dir_all(&directory).unwrap();
    let path = format!("{directory}/{}end", " ".repeat(200));
    std::fs::write(&path, "granted\n").unwrap();
    let steps = r#"
question()
if b" letters more]" not in seen or len(seen) > 1500: print(seen)
answer(b"y\r", b"granted")
end()
"#;
    let script = format!("cat '{path}'");
    let arguments = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &script];
    let done = asking.under_terminal(&arguments, steps).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{done:?}");
    assert_eq!(granted(&asking.place), [path]);
}

/// What the task set is set aside while a question stands, and put back behind it; what a terminal tells in sequences is no word.
#[test]
fn a_question_is_drawn_and_answered_however_the_task_left_the_terminal() {
    let place = Place::new();
    let script =
        "printf '\\033[?2026h\\033[>31u\\033[?1003;1006;1004;2004h\\033[?5h\\033[>4;2mSET'; id -u; echo END";
    let steps = r#"
reset = [b"\x1b[?%dl" % mode for mode in (2026, 1003, 1006, 1004, 2004, 5)] + [b"\x1b[>0u", b"\x1b[>4m"]
again = [b"\x1b[?%dh" % mode for mode in (2026, 1003, 1006, 1004, 2004, 5)] + [b"\x1b[<1u", b"\x1b[>4;2m"]
first = find(b"SET", 0)
question()
before = seen[first:seen.index(b"wants to")]
if not all(one in before for one in reset): print("not reset", before)
time.sleep(0.7)
for told in (b"\x1b[<35;10;5M", b"\x1b[121u", b"\x1b[13u", b"\x1b[I", b"\x1b[M #!", b"\x1b]11;n\x07", b"y", b"\x1b[", b"A", b"\r"):
    os.write(terminal, told)
    time.sleep(0.05)
end_of_it = find(b"END", asked)
behind = seen[asked:end_of_it]
if not behind.startswith(b"y\r\n") or not all(one in behind for one in again): print("behind", behind)
end()
"#;
    assert_eq!(answered(&place, &place.policy(POLICY), script, steps), "status 0\n");
    assert_eq!(granted(&place), ["id -u"]);
}

/// Of a command as of a file, until it is granted.
#[test]
fn what_was_refused_is_not_asked_about_again() {
    let place = Place::new();
    let script =
        "id -u; sleep 2.2; id -u; id -g; echo NOW; while ! id -u 2>/dev/null; do sleep 0.2; done; echo END";
    let steps = r#"
question(); answer(b"n\r", b"denied")
question()
if b"id -g" not in drawn(): print(drawn())
answer(b"y\r", b"NOW")
import subprocess
subprocess.run([sys.argv[1], "grant", "last", "--command", "id -u"], stdout=subprocess.DEVNULL)
find(b"END", asked)
end()
"#;
    assert_eq!(answered(&place, &place.policy(POLICY), script, steps), "status 0\n");
    assert_eq!(
        (granted(&place).as_slice(), place.told("ask").len()),
        (&["id -g", "id -u"].map(String::from)[..], 2)
    );
}

/// An entry that is written of real words means those and no others: `~` is the home only outside of quotes.
#[test]
fn entries_of_real_words_mean_those_words() {
    let place = Place::new();
    let words = ["id '~'", "id '~/x'", "id '{x,y}'", "id"];
    let script = format!("{}; echo END", words.join(" 2>/dev/null; "));
    let steps = "for n in range(4): question(); time.sleep(0.7); os.write(terminal, b'y\\r')\nfind(b'END', asked)\nend()\n";
    assert_eq!(answered(&place, &place.policy(POLICY), &script, steps), "status 0\n");
    let entries = ["id '~'", "id '~/x'", "id '{x,y}'", "id ()"];
    assert_eq!((granted(&place).as_slice(), place.told("ask").len()), (&entries.map(String::from)[..], 4));
    // And what `explain` offers of them, for a policy and while it runs.
    let fails = POLICY.replace("on_refusal = \"ask\"\n", "");
    let _ = place.run(&fails, &script);
    let explained = place.ringfence(&["explain", "last"]).out;
    let list: Vec<String> = entries.iter().map(|entry| format!("\"{entry}\"")).collect();
    for entry in entries {
        assert!(explained.contains(&format!("allow = [\"{entry}\"]")), "{entry}: {explained}");
        let pasted = format!("--command '{}' --for", entry.replace('\'', "'\\''"));
        assert!(explained.contains(&pasted), "{pasted}: {explained}");
    }
    let all = fails.replace("\"sleep *\"", &list.join(", "));
    let place = Place::new();
    let ran = place.run(&all, &format!("{script}; id '~/y'"));
    let denied = place.told("exec.deny");
    assert!(
        !denied.is_empty() && denied.iter().all(|event| event["command"][1] == "~/y"),
        "{ran:?} {denied:?}"
    );
}

/// Who only looks at a directory is given all below it, which the owner is told.
#[test]
fn a_question_says_that_a_directory_is_granted_with_all_below_it() {
    let asking = Asking::new();
    std::fs::create_dir(format!("{}/tree", asking.data)).unwrap();
    let script = format!("ls -d {0}/tree; cat {0}/one; true", asking.data);
    let steps = "question(); first = asked\nif b'this directory, with all below it' not in seen: print(seen)\n\
                 answer(b'n\\r', b'No such'); question()\n\
                 if b'this directory' in seen[first:]: print(seen[first:])\nanswer(b'n\\r', b'No such'); end()\n";
    let words = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &script];
    let done = asking.under_terminal(&words, steps).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{done:?}");
}
