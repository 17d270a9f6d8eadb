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

/// An interpreter with what stands before the script, a script that says that it ran, and code for it.
struct Language {
    line: &'static str,
    script: &'static str,
    code: &'static str,
}

const SHELL: &str = "echo \"own $*\"";
const C_SHELL: &str = "echo own $argv:q";
const ECHO: &str = "echo RF-$((1))HIT";
const PYTHON: (&str, &str) = ("import sys; print('own', *sys.argv[1:])", "print('RF-' + '1HIT')");

/// They run the script and nothing else, and hand it every word.
const ALONE: &[Language] = &[
    Language { line: "sh", script: SHELL, code: ECHO },
    Language { line: "sh -", script: SHELL, code: ECHO },
    Language { line: "dash -e", script: SHELL, code: ECHO },
    Language { line: "bash -eu", script: SHELL, code: ECHO },
    Language { line: "ksh", script: SHELL, code: ECHO },
    Language { line: "mksh", script: SHELL, code: ECHO },
    Language { line: "posh", script: SHELL, code: ECHO },
    Language { line: "yash", script: SHELL, code: ECHO },
    Language { line: "zsh -f", script: SHELL, code: ECHO },
    Language { line: "busybox sh", script: SHELL, code: ECHO },
    Language { line: "tcsh -f", script: C_SHELL, code: "set x=1; echo RF-${x}HIT" },
    Language { line: "bsd-csh -f", script: C_SHELL, code: "set x=1; echo RF-${x}HIT" },
    Language { line: "python3", script: PYTHON.0, code: PYTHON.1 },
    Language { line: "python3 -I", script: PYTHON.0, code: PYTHON.1 },
    Language { line: "perl -w", script: "print \"own @ARGV\\n\";", code: "print 'RF-' . \"1HIT\\n\";" },
    Language {
        line: "node",
        script: "console.log('own', ...process.argv.slice(2))",
        code: "console.log('RF-' + '1HIT')",
    },
    Language { line: "tclsh", script: "puts \"own $argv\"", code: "puts RF-[expr 1]HIT" },
    Language { line: "env python3", script: PYTHON.0, code: PYTHON.1 },
];
/// They would go on with what stands behind the script, or with their input.
const NOT_ALONE: &[Language] = &[
    Language { line: "awk -f", script: "BEGIN { print \"own\" }", code: "BEGIN { print \"RF-\" \"1HIT\" }" },
    Language { line: "gawk -f", script: "BEGIN { print \"own\" }", code: "BEGIN { print \"RF-\" \"1HIT\" }" },
    Language {
        line: "busybox awk -f",
        script: "BEGIN { print \"own\" }",
        code: "BEGIN { print \"RF-\" \"1HIT\" }",
    },
    Language { line: "sed -nf", script: "1p", code: "1s/.*/RF-1/;1s/$/HIT/p" },
    Language { line: "jq -nf", script: "\"own\"", code: "\"RF-\" + \"1HIT\"" },
    Language { line: "make -f", script: "all: ; @echo own", code: "$(info RF-$(words 1)HIT)" },
    Language { line: "env -S make -f", script: "all: ; @echo own", code: "$(info RF-$(words 1)HIT)" },
    Language {
        line: "vim -S",
        script: "\" nothing",
        code: "call writefile(['RF-' . '1HIT'], '/dev/stdout') | q!",
    },
    Language { line: "sqlite3 -init", script: "select 'own';", code: "select 'RF-' || '1HIT';" },
    Language {
        line: "bc",
        script: "print \"own\\n\"",
        code: "print \"RF-\"; print 1; print \"HIT\\n\"\nquit",
    },
    Language { line: "gdb -x", script: "echo own\\n", code: "printf \"RF-%dHIT\\n\", 1" },
    Language { line: "php -f", script: "<?php echo \"own\\n\";", code: "<?php echo 'RF-' . \"1HIT\\n\";" },
    Language { line: "python3 -iu", script: PYTHON.0, code: PYTHON.1 },
    Language { line: "bash -l", script: SHELL, code: ECHO },
    Language { line: "sh -se", script: SHELL, code: ECHO },
    Language { line: "tcsh", script: C_SHELL, code: "set x=1; echo RF-${x}HIT" },
    Language { line: "zsh", script: SHELL, code: ECHO },
    Language { line: "fish", script: "echo own $argv", code: "set x 1; echo RF-{$x}HIT" },
    Language {
        line: "php",
        script: "<?php echo 'own ', implode(' ', array_slice($argv, 1)), \"\\n\";",
        code: "<?php echo 'RF-' . \"1HIT\\n\";",
    },
    Language { line: "ruby", script: "puts \"own #{ARGV.join(' ')}\"", code: "puts 'RF-' + '1HIT'" },
    Language {
        line: "lua5.4",
        script: "print('own ' .. table.concat(arg, ' '))",
        code: "print('RF-' .. '1HIT')",
    },
];

struct Tool {
    world: World,
    policy: String,
    path: String,
}

impl Tool {
    /// `None`: the interpreter is not here.
    fn new(language: &Language) -> Option<Self> {
        let mut words = language.line.split(' ');
        let interpreter = words.next().unwrap_or_default();
        let path = ["/bin", "/usr/bin"].map(|at| Path::new(at).join(interpreter));
        let path = path.iter().find(|path| path.exists())?;
        let rest = words.collect::<Vec<_>>().join(" ");
        let world = World::new();
        let line = format!("#!{} {rest}\n{}\n", path.display(), language.script);
        let tool = world.write(world.base.join("listed/tool"), &line);
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("a script");
        world.write("evil", &format!("{}\n", language.code));
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

#[test]
fn a_listed_script_is_all_that_its_interpreter_runs() {
    let long = std::env::var_os("RINGFENCE_LONG").is_some();
    let mut tried = 0;
    for language in ALONE {
        let Some(tool) = Tool::new(language) else { continue };
        tried += 1;
        let lines = [format!("--eval={}", language.code), format!("+{}", language.code)];
        for words in words(language.code, &lines) {
            let said = tool.run(&words, language.code);
            assert!(said.starts_with("own"), "{} {words:?}: {said}", language.line);
            // The script may say what it was handed.
            let said = said.replacen(&words.join(" "), "", 1);
            assert!(!said.contains(MARK), "{} {words:?}: {said}", language.line);
        }
    }
    assert!(tried >= if long { 16 } else { 10 }, "{tried} interpreters");
    let mut tried = 0;
    for language in NOT_ALONE {
        let Some(tool) = Tool::new(language) else { continue };
        tried += 1;
        let lines = [
            format!("--eval={}", language.code),
            format!("+{}", language.code),
            format!("X:=$(eval {})", language.code),
            format!("--source={}", language.code),
            format!("--expression={}", language.code),
        ];
        for words in words(language.code, &lines) {
            for words in [words.clone(), [&["--"], words.as_slice()].concat()] {
                let said = tool.run(&words, language.code);
                // The answer names the words.
                let said: Vec<_> = said.lines().filter(|line| !line.starts_with("ringfence")).collect();
                assert!(
                    !said.iter().any(|line| line.contains(MARK)),
                    "{} {words:?}: {said:?}",
                    language.line
                );
            }
        }
    }
    assert!(tried >= if long { 20 } else { 11 }, "{tried} others");
}
