//! Programs and forms that run code from a command line or an input, for `commands.shell = false`. The list is data
//! (`shells.toml`); what is here is how its kinds are read.

mod options;
mod sed;

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use self::options::Part;
use crate::model::Origin;

pub(crate) use self::options::flags_hold_code;

/// Where the key was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shells {
    origin: String,
}

#[derive(Debug, Deserialize)]
struct List {
    program: Vec<Program>,
}

/// One line of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    names: Vec<String>,
    kind: Kind,
    #[serde(default)]
    code: Vec<String>,
    #[serde(default)]
    value: Vec<String>,
    #[serde(default)]
    info: Vec<String>,
    #[serde(default)]
    module: String,
    #[serde(default)]
    modules: Vec<String>,
    /// Letters that take nothing, before one of `code` in the same word.
    #[serde(default)]
    flags: String,
    #[serde(default)]
    bare: bool,
    #[serde(default)]
    script: bool,
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Shell,
    Interpreter,
    Option,
    Word,
    Awk,
    Sed,
    Make,
}

fn list() -> &'static [Program] {
    static LIST: OnceLock<Vec<Program>> = OnceLock::new();
    // A test reads it; where it could not be read, `judge` would find nothing: then everything is refused.
    LIST.get_or_init(|| {
        toml::from_str::<List>(include_str!("shells.toml")).map(|list| list.program).unwrap_or_default()
    })
}

impl Shells {
    pub(crate) fn new(origin: Option<&Origin>) -> Self {
        Self { origin: origin.map(ToString::to_string).unwrap_or_default() }
    }

    /// Judges a script by its name.
    ///
    /// # Errors
    /// Why it is refused, in one sentence.
    pub(crate) fn judge_script(&self, name: &[u8]) -> Result<(), String> {
        let name = String::from_utf8_lossy(name);
        let named = |program: &&Program| program.script && program.names.iter().any(|own| fits(own, &name));
        list().iter().find(named).map_or(Ok(()), |program| Err(self.refusal(&name, "", program)))
    }

    fn refusal(&self, name: &str, form: &str, program: &Program) -> String {
        let (origin, why) = (&self.origin, &program.why);
        let form = if form.is_empty() { String::new() } else { format!(" ({form})") };
        format!("`commands.shell = false` ({origin}) refuses `{name}`{form}: {why}")
    }

    /// Judges a program by its name, without a directory, and its arguments without the name, where it starts.
    ///
    /// # Errors
    /// The form that is refused, in one sentence.
    pub(crate) fn judge(&self, name: &[u8], arguments: &[&[u8]], directory: &[u8]) -> Result<(), String> {
        let name = String::from_utf8_lossy(name);
        // The first of a login shell.
        let name = name.strip_prefix('-').unwrap_or(&name);
        if list().is_empty() {
            return Err("the list of shells cannot be read".to_owned());
        }
        for program in list().iter().filter(|program| program.names.iter().any(|own| fits(own, name))) {
            if let Some(form) = program.form(arguments, &String::from_utf8_lossy(directory)) {
                return Err(self.refusal(name, &form, program));
            }
        }
        Ok(())
    }
}

/// Whether a program of this name runs code that somebody hands it, and which kind it is: a shell or a prompt (`true`), an interpreter.
pub fn runs_code(name: &str) -> Option<bool> {
    let named = |program: &&Program| program.names.iter().any(|own| fits(own, name));
    list().iter().filter(named).find_map(|program| match program.kind {
        Kind::Shell | Kind::Word => Some(true),
        Kind::Interpreter => Some(false),
        Kind::Option | Kind::Awk | Kind::Sed | Kind::Make => None,
    })
}

/// Whether a name fits one of the list, in which `*` stands for any characters.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, "")) => name.starts_with(head),
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().any(|(at, _)| rest.get(at..).is_some_and(|rest| fits(tail, rest)))
                || fits(tail, "")
        }),
    }
}

impl Program {
    /// What is refused of it, in words; empty for all.
    fn form(&self, arguments: &[&[u8]], directory: &str) -> Option<String> {
        let words: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        match self.kind {
            Kind::Shell => Some(String::new()),
            Kind::Interpreter => self.interpreter(&words, directory),
            Kind::Option => words
                .iter()
                .find(|word| {
                    self.code.iter().any(|code| {
                        fits(code, word)
                            || code.starts_with("--") && word.strip_prefix(code.as_str()).is_some_and(|rest| rest.starts_with('='))
                            // A short option with its value in the same word.
                            || code.len() == 2 && code.starts_with('-') && word.starts_with(code.as_str())
                            || self.clustered(word, code)
                            // Long options may be cut short.
                            || cut(word, code)
                    })
                })
                .map(|word| (*word).to_owned()),
            Kind::Word => {
                let first = words.iter().find(|word| !word.starts_with('-'));
                first.filter(|word| self.code.iter().any(|code| code == **word)).map(|word| (*word).to_owned())
            }
            // With its program in a file it is that file's, which the policy allowed; `system` in it starts what is judged.
            Kind::Awk => awk(&options::AWK.parts(&words), directory),
            Kind::Sed => sed(&options::SED.parts(&words), directory),
            Kind::Make => make(&options::MAKE.parts(&words), directory),
        }
    }

    /// Whether a letter of `code` stands behind others in a word.
    fn clustered(&self, word: &str, code: &str) -> bool {
        let (Some(wanted), Some(letters)) = (code.strip_prefix('-'), word.strip_prefix('-')) else {
            return false;
        };
        let mut rest = letters.chars().skip_while(|letter| self.flags.contains(*letter));
        wanted.len() == 1 && !letters.starts_with('-') && rest.next() == wanted.chars().next()
    }

    fn interpreter(&self, words: &[&str], directory: &str) -> Option<String> {
        let mut words = words.iter();
        let mut info = false;
        while let Some(word) = words.next() {
            if *word == "-" {
                return Some("code from its input".into());
            }
            if *word == "--" {
                return self.file(words.next(), info, directory);
            }
            if !word.starts_with('-') {
                return self.file(Some(word), info, directory);
            }
            if self.info.iter().any(|own| own == word) {
                info = true;
                continue;
            }
            // node takes one for the other.
            let same = word.replace('_', "-");
            let long = same.split_once('=').map_or(same.as_str(), |(name, _)| name);
            if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
                if self.code.iter().any(|code| code.len() > 1 && fits(code, long)) {
                    return Some((*word).to_owned());
                }
                if let Some(verdict) = self.cluster(rest, &mut words, word) {
                    return verdict;
                }
            } else if self.code.iter().any(|code| fits(code, long) || cut(&same, code)) {
                return Some((*word).to_owned());
            } else if self.value.contains(&same) {
                words.next();
            }
        }
        self.file(None, info, directory)
    }

    /// A word of single letters. `Some`: the verdict is known.
    fn cluster<'a>(
        &self,
        rest: &str,
        words: &mut impl Iterator<Item = &'a &'a str>,
        word: &str,
    ) -> Option<Option<String>> {
        let has = |list: &[String], letter: char| list.iter().any(|own| own.chars().eq([letter]));
        for (at, letter) in rest.char_indices() {
            let behind = rest.get(at + letter.len_utf8()..).unwrap_or_default();
            if has(&self.code, letter) {
                return Some(Some(word.to_owned()));
            }
            if self.module.chars().eq([letter]) {
                let module = if behind.is_empty() { words.next().map_or("", |word| word) } else { behind };
                let top = module.split('.').next().unwrap_or_default();
                return Some(self.modules.iter().any(|own| own == top).then(|| format!("-m {module}")));
            }
            if has(&self.value, letter) {
                if behind.is_empty() {
                    words.next();
                }
                return None;
            }
        }
        None
    }

    fn file(&self, file: Option<&&str>, info: bool, directory: &str) -> Option<String> {
        match file {
            None if self.bare && !info => Some("code from its input".into()),
            None => None,
            Some(file) => descriptor(file, directory).then(|| format!("code from {file}")),
        }
    }
}

/// What stands for its input, or for what some process has open.
fn input(file: &str, directory: &str) -> bool {
    file == "-" || descriptor(file, directory)
}

/// What is no file of its own: a pipe, a terminal, or what some process has open; as far as its name says.
fn descriptor(file: &str, directory: &str) -> bool {
    let whole = if file.starts_with('/') { file.to_owned() } else { format!("{directory}/{file}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    match names.as_slice() {
        ["dev", "null" | "zero" | "full" | "shm", ..] | ["proc", _, "cwd", ..] => false,
        ["dev" | "proc", ..] => true,
        _ => false,
    }
}

/// Whether a word is the beginning of a long option, or that with a value: GNU programs take it for it.
fn cut(word: &str, code: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    let code = code.trim_end_matches('*').trim_end_matches('=');
    code.starts_with("--") && name.len() > 3 && name.starts_with("--") && code.starts_with(name)
}

fn awk(parts: &[Part<'_>], directory: &str) -> Option<String> {
    let code = [('e', "source"), ('E', "exec"), ('i', "include"), ('l', "load"), ('D', "debug")];
    // Another way to write a long option (POSIX, Utility Syntax Guidelines, 1), and mawk's way.
    let named = |value: &str| {
        let name = value.split('=').next().unwrap_or_default();
        let mut names = code.iter().map(|(_, name)| *name).chain(["file"]);
        !name.is_empty() && names.any(|own| own.starts_with(name))
    };
    let files: Vec<&Part<'_>> = parts.iter().filter(|part| part.is('f', &["file"])).collect();
    if files.iter().any(|part| input(part.value(), directory)) {
        Some("code from its input".into())
    } else if files.is_empty()
        || parts.iter().any(|part| {
            code.iter().any(|(letter, name)| part.is(*letter, &[name]))
                || matches!(part, Part::Short('W', value) if named(value))
        })
    {
        Some("a program on the command line".into())
    } else {
        None
    }
}

fn make(parts: &[Part<'_>], directory: &str) -> Option<String> {
    parts.iter().find_map(|part| {
        if part.is('f', &["file", "makefile"]) && input(part.value(), directory) {
            return Some("code from its input".to_owned());
        }
        let code = part.is('E', &["eval"]) && !matches!(part, Part::Long(name, _) if name.len() < 2);
        // What stands in a variable, or in a target, is expanded.
        let word = matches!(part, Part::Word(word) if word.contains("$(") || word.contains("${") || fits("SHELL*=*", word));
        (code || word).then(|| part.value().to_owned())
    })
}

/// `e` as a command, the flag of `s`, and files of commands from a descriptor.
fn sed(parts: &[Part<'_>], directory: &str) -> Option<String> {
    let is = |letter: char, name: &'static str| move |part: &&Part<'_>| part.is(letter, &[name]);
    if parts.iter().any(|part| matches!(part, Part::Long("sandbox", _))) {
        return None;
    }
    let mut files = parts.iter().filter(is('f', "file")).peekable();
    let given = files.peek().is_some();
    if files.any(|part| input(part.value(), directory)) {
        return Some("code from its input".into());
    }
    let mut scripts: Vec<&str> = parts.iter().filter(is('e', "expression")).map(Part::value).collect();
    if scripts.is_empty() && !given {
        scripts.extend(parts.iter().find(|part| matches!(part, Part::Word(_))).map(Part::value));
    }
    let script = scripts.join("\n");
    sed::executes(&script).then_some(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> bool {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Shells::new(None).judge(words[0], &words[1..], b"/w").is_err()
    }

    #[test]
    fn the_list_can_be_read() {
        assert!(list().len() > 15);
    }

    #[test]
    fn code_on_a_command_line_is_seen() {
        for line in [
            "sh -c id",
            "sh x",
            "bash",
            "-bash",
            "zsh-5.9",
            "python3 -c 1",
            "python3.11 -Ic 1",
            "node inspect x.js",
            "node --title x -e 1",
            "node --test-reporter dot -e 1",
            "python3 --check-hash-based-pycs default -c 1",
            "python3 -m runpy timeit 1",
            "python3 //dev/stdin",
            "python3 /./dev/stdin",
            "python3 ../dev/stdin",
            "python3 ../proc/self/fd/0",
            "make -f ../dev/stdin",
            "make X:=$(eval 1)",
            "make SHELL:=/x",
            "sed --fil=/dev/stdin x",
            "sed --expr=1eid x",
            "sed --line-l 5 1eid x",
            "node --experimental_loader x y.js",
            "node --debug-port 9 -e 1",
            "node --input_type module -e 1",
            "vim -Xe x",
            "vim -nes x",
            "perl -F/x/ x.pl",
            "ruby --disable gems -e 1",
            "guile -L d -c 1",
            "gawk -f x.awk -be 1",
            "gawk -f x.awk --sour 1",
            "sed -l 5 1eid x",
            "gdb -nx -q",
            "ex x",
            "env -iS id",
            "make -nE x",
            "make -sf-",
            "make -f /dev/fd/0",
            "tar -cIid x",
            "node --inspect-brk=127.0.0.1:0 x.js",
            "nodejs debug localhost:9229",
            "python3 -",
            "python3",
            "python3 -W error",
            "python3 -m timeit 1",
            "python3 -mcode",
            "python3 /dev/stdin",
            "python3 /proc/self/fd/0",
            "perl -e 1",
            "perl -ne 1",
            "perl -Mbase x",
            "ruby -e 1",
            "node -e 1",
            "node --eval=1",
            "node --ev 1",
            "nodejs -pe 1",
            "node",
            "php -r 1",
            "php -d auto_prepend_file=x y",
            "lua -e 1",
            "env -S sh",
            "find . -exec id ;",
            "tar --to-command=id x",
            "tar --to-com id",
            "make --eval=x:",
            "make SHELL=/x",
            "git -c alias.x=!id x",
            "git --config-env=a=b x",
            "ssh -oProxyCommand=id h",
            "ssh -o ProxyCommand=id h",
            "xargs id",
            "vim +!id",
            "vim -c :!id",
            "gdb -ex x",
            "awk BEGIN{system(\"id\")}",
            "gawk -f x -e y",
            "gawk -f /dev/stdin",
            "sed s/a/b/e x",
            "sed 1e x",
            "sed -n -e 1eid x",
            "busybox sh",
            "deno eval x",
        ] {
            assert!(refused(line), "{line}");
        }
    }

    #[test]
    fn code_from_an_input_or_behind_another_option_is_seen() {
        for line in [
            "deno run -",
            "deno run --allow-all data:text/typescript,1",
            "bun run -",
            "gawk -f p -Wso=1 x",
            "gawk -f p -bW source=1 x",
            "gawk -f p -W file=/dev/stdin",
            "gawk -f p -D",
            "mawk -We /dev/stdin",
            "make -f -",
            "make -sf -",
            "make --file=-",
            "make --makef - all",
            "make -f//dev/stdin",
            "make --file=/proc/self/fd/0",
            "awk -f -",
            "awk --file - x",
            "sed -f - x",
            "sed -nf- x",
            "sed -nf /dev/stdin x",
            "sed --file=/dev/stdin x",
        ] {
            assert!(refused(line), "{line}");
        }
    }

    #[test]
    fn files_and_questions_are_not_code() {
        for line in [
            "python3 x.py -c",
            "python3 -m http.server",
            "python3 -V",
            "python3 -W error x.py",
            "perl x.pl -e",
            "perl -v",
            "node x.js",
            "node --version",
            "ruby x.rb",
            "php x.php",
            "find . -name x",
            "tar xf x",
            "make all",
            "make -f x.mk DEV=/dev/ttyS0",
            "sed -nf x.sed y",
            "sed s/one/e/ x",
            "sed s/$/e/",
            "sed /^version/p;/edge/d x",
            "deno run main.ts --port 1",
            "bun run build",
            "awk -v n=1 -f p.awk x",
            "awk -F , -f p.awk x",
            "awk -f p.awk x -e",
            "awk -vx=f- -f p.awk",
            "make -o /dev/null all /dev/null",
            "make -C /proc/self/cwd",
            "make --output-sync=target -j 4 -k",
            "node --test",
            "git status",
            "env A=b true",
            "vim file",
            "awk -f x.awk y",
            "sed s/a/b/ x",
            "sed -n s/b/f/p e",
            "sed --sandbox 1e",
            "busybox ls",
            "lua x.lua",
            "cat -c",
        ] {
            assert!(!refused(line), "{line}");
        }
    }
}
