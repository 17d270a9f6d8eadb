//! Scripts that a policy lists, run by the interpreters that this machine has: whatever words are handed on, none of them is run as
//! code, and no other interpreter runs for a script at all. The long form has all that Debian has.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use ringfence_real::world::World;

/// What only code prints.
const MARK: &str = "RF-1HIT";

/// An interpreter with what stands before the script; a script that says that it ran; code that it would run.
type Language = (&'static str, &'static str, &'static str);

const SHELL: &str = "echo \"own $*\"";
const C_SHELL: (&str, &str) = ("echo own $argv:q", "set x=1; echo RF-${x}HIT");
const AWK: (&str, &str) = ("BEGIN { print \"own\" }", "BEGIN { print \"RF-\" \"1HIT\" }");
const ECHO: &str = "echo RF-$((1))HIT";
const PYTHON: (&str, &str) = ("import sys; print('own', *sys.argv[1:])", "print('RF-' + '1HIT')");

/// They run the script and nothing else, and hand it every word.
const ALONE: &[Language] = &[
    ("sh", SHELL, ECHO),
    ("sh -", SHELL, ECHO),
    ("dash -e", SHELL, ECHO),
    ("bash -eu", SHELL, ECHO),
    ("mksh", SHELL, ECHO),
    ("posh", SHELL, ECHO),
    ("busybox sh", SHELL, ECHO),
    ("tcsh -f", C_SHELL.0, C_SHELL.1),
    ("bsd-csh -f", C_SHELL.0, C_SHELL.1),
    ("python3", PYTHON.0, PYTHON.1),
    ("python3 -I", PYTHON.0, PYTHON.1),
    ("perl -w", "print \"own @ARGV\\n\";", "print 'RF-' . \"1HIT\\n\";"),
    ("node", "console.log('own', ...process.argv.slice(2))", "console.log('RF-' + '1HIT')"),
    ("tclsh", "puts \"own $argv\"", "puts RF-[expr 1]HIT"),
    ("env python3", PYTHON.0, PYTHON.1),
];
/// They would go on with what stands behind the script, or with their input.
const NOT_ALONE: &[Language] = &[
    ("awk -f", AWK.0, AWK.1),
    ("gawk -f", AWK.0, AWK.1),
    ("busybox awk -f", AWK.0, AWK.1),
    ("sed -nf", "1p", "1s/.*/RF-1/;1s/$/HIT/p"),
    ("jq -nf", "\"own\"", "\"RF-\" + \"1HIT\""),
    ("make -f", "all: ; @echo own", "$(info RF-$(words 1)HIT)"),
    ("env -S make -f", "all: ; @echo own", "$(info RF-$(words 1)HIT)"),
    ("vim -S", "\" nothing", "call writefile(['RF-' . '1HIT'], '/dev/stdout') | q!"),
    ("sqlite3 -init", "select 'own';", "select 'RF-' || '1HIT';"),
    ("bc", "print \"own\\n\"", "print \"RF-\"; print 1; print \"HIT\\n\"\nquit"),
    ("gdb -x", "echo own\\n", "printf \"RF-%dHIT\\n\", 1"),
    ("php -f", "<?php echo \"own\\n\";", "<?php echo 'RF-' . \"1HIT\\n\";"),
    ("python3 -iu", PYTHON.0, PYTHON.1),
    ("bash -l", SHELL, ECHO),
    ("sh -se", SHELL, ECHO),
    ("tcsh", C_SHELL.0, C_SHELL.1),
    ("zsh", SHELL, ECHO),
    ("zsh -f", SHELL, ECHO),
    ("yash", SHELL, ECHO),
    ("ksh93", SHELL, ECHO),
    ("fish", "echo own $argv", "set x 1; echo RF-{$x}HIT"),
    (
        "php",
        "<?php echo 'own ', implode(' ', array_slice($argv, 1)), \"\\n\";",
        "<?php echo 'RF-' . \"1HIT\\n\";",
    ),
    ("ruby", "puts \"own #{ARGV.join(' ')}\"", "puts 'RF-' + '1HIT'"),
    ("lua5.4", "print('own ' .. table.concat(arg, ' '))", "print('RF-' .. '1HIT')"),
];

struct Tool {
    world: World,
    policy: String,
    path: String,
}

impl Tool {
    /// `None`: the interpreter is not here.
    fn new((line, script, code): &Language) -> Option<Self> {
        let mut words = line.split(' ');
        let interpreter = words.next().unwrap_or_default();
        let path = ["/bin", "/usr/bin"].map(|at| Path::new(at).join(interpreter));
        let path = path.iter().find(|path| path.exists())?;
        let rest = words.collect::<Vec<_>>().join(" ");
        let world = World::new();
        let line = format!("#!{} {rest}\n{}\n", path.display(), script);
        let tool = world.write(world.base.join("listed/tool"), &line);
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("a script");
        world.write("evil", &format!("{code}\n"));
        let list = format!(
            "[files]\nexec = [\"{}\"]\n[commands]\nallow = [\"{} **\"]\nfrom_workspace = false\n",
            world.base.join("listed").display(),
            tool.display()
        );
        let policy = world.policy("default", &list);
        Some(Self { path: tool.display().to_string(), world, policy })
    }

    /// With code for its input.
    fn run(&self, words: &[&str], code: &str) -> String {
        let mut command = self.world.command(ringfence_real::binary());
        command.args(["run", "--policy", &self.policy, "--workspace", ".", "--", &self.path]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ringfence");
        let _ = child.stdin.take().expect("its input").write_all(format!("{code}\n").as_bytes());
        let done = child.wait_with_output().expect("its output");
        String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
    }
}

/// Words that some interpreter takes for more than the script's own.
fn words<'a>(code: &'a str, made: &'a [String]) -> Vec<Vec<&'a str>> {
    let mut all =
        vec![vec![], vec!["evil"], vec!["-"], vec!["-", "evil"], vec!["--", code], vec!["a=1", "-f", "evil"]];
    for option in
        ["-c", "-e", "-E", "-f", "-r", "-x", "-i", "-s", "-S", "--eval", "-ex", "-init", "-cmd", "-F"]
    {
        all.push(vec![option, code]);
        all.push(vec![option, "evil"]);
    }
    all.extend(made.iter().map(|word| vec![word.as_str()]));
    all
}

fn long() -> bool {
    std::env::var_os("RINGFENCE_LONG").is_some()
}

#[test]
fn a_listed_script_is_all_that_its_interpreter_runs() {
    let mut tried = 0;
    for language @ (line, _, code) in ALONE {
        let Some(tool) = Tool::new(language) else { continue };
        tried += 1;
        let lines = [format!("--eval={code}"), format!("+{code}")];
        for words in words(code, &lines) {
            let said = tool.run(&words, code);
            assert!(said.starts_with("own"), "{line} {words:?}: {said}");
            // The script may say what it was handed.
            let said = said.replacen(&words.join(" "), "", 1);
            assert!(!said.contains(MARK), "{line} {words:?}: {said}");
        }
    }
    assert!(tried >= if long() { ALONE.len() } else { 10 }, "{tried} interpreters");
}

#[test]
fn no_listed_script_is_run_where_its_interpreter_would_go_on() {
    let mut tried = 0;
    for language @ (line, _, code) in NOT_ALONE {
        let Some(tool) = Tool::new(language) else { continue };
        tried += 1;
        let lines = [
            format!("--eval={code}"),
            format!("+{code}"),
            format!("X:=$(eval {code})"),
            format!("--source={code}"),
            format!("--expression={code}"),
        ];
        for words in words(code, &lines) {
            for words in [words.clone(), [&["--"], words.as_slice()].concat()] {
                let said = tool.run(&words, code);
                // The answer names the words.
                let said: Vec<_> = said.lines().filter(|line| !line.starts_with("ringfence")).collect();
                assert!(!said.iter().any(|line| line.contains(MARK)), "{line} {words:?}: {said:?}");
            }
        }
    }
    assert!(tried >= if long() { 20 } else { 11 }, "{tried} others");
}
