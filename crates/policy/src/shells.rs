//! Programs and forms that run code from a command line or an input, for `commands.shell = false`. The list is data
//! (`shells.toml`); what is here is how its kinds are read.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::model::Origin;

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
    /// The letter of a file that holds code.
    #[serde(default)]
    input: String,
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

    /// Judges a program by its name, without a directory, and its arguments without the name.
    ///
    /// # Errors
    /// The form that is refused, in one sentence.
    pub(crate) fn judge(&self, name: &[u8], arguments: &[&[u8]]) -> Result<(), String> {
        let name = String::from_utf8_lossy(name);
        // The first of a login shell.
        let name = name.strip_prefix('-').unwrap_or(&name);
        if list().is_empty() {
            return Err("the list of shells cannot be read".to_owned());
        }
        for program in list().iter().filter(|program| program.names.iter().any(|own| fits(own, name))) {
            if let Some(form) = program.form(arguments) {
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
        Kind::Option | Kind::Awk | Kind::Sed => None,
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
    fn form(&self, arguments: &[&[u8]]) -> Option<String> {
        let words: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        match self.kind {
            Kind::Shell => Some(String::new()),
            Kind::Interpreter => self.interpreter(&words),
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
                    }) || self.reads_input(word)
                })
                .map(|word| (*word).to_owned()),
            Kind::Word => {
                let first = words.iter().find(|word| !word.starts_with('-'));
                first.filter(|word| self.code.iter().any(|code| code == **word)).map(|word| (*word).to_owned())
            }
            // With its program in a file it is that file's, which the policy allowed; `system` in it starts what is judged.
            Kind::Awk => {
                let file = words.iter().take_while(|word| word.starts_with('-') && **word != "-" && **word != "--");
                let mut file = file.filter(|word| word.starts_with("-f") || word.starts_with("--file"));
                if files(&words).any(input) {
                    Some("code from its input".into())
                } else if file.next().is_some() && !words.iter().any(|word| source(word)) {
                    None
                } else {
                    Some("a program on the command line".into())
                }
            }
            Kind::Sed => sed(&words),
        }
    }

    /// Whether a word names what is no file, where a file of code may be named.
    fn reads_input(&self, word: &str) -> bool {
        let value = match word.strip_prefix('-') {
            _ if self.input.is_empty() => return false,
            Some(long) if long.starts_with('-') => long.split_once('=').map(|(_, value)| value),
            Some("") | None => Some(word),
            Some(letters) => {
                let letters = letters.trim_start_matches(|letter| self.flags.contains(letter));
                letters.strip_prefix(self.input.as_str())
            }
        };
        value.is_some_and(input)
    }

    /// Whether a letter of `code` stands behind others in a word.
    fn clustered(&self, word: &str, code: &str) -> bool {
        let (Some(wanted), Some(letters)) = (code.strip_prefix('-'), word.strip_prefix('-')) else {
            return false;
        };
        let mut rest = letters.chars().skip_while(|letter| self.flags.contains(*letter));
        wanted.len() == 1 && !letters.starts_with('-') && rest.next() == wanted.chars().next()
    }

    fn interpreter(&self, words: &[&str]) -> Option<String> {
        let mut words = words.iter();
        let mut info = false;
        while let Some(word) = words.next() {
            if *word == "-" {
                return Some("code from its input".into());
            }
            if *word == "--" {
                return self.file(words.next(), info);
            }
            if !word.starts_with('-') {
                return self.file(Some(word), info);
            }
            if self.info.iter().any(|own| own == word) {
                info = true;
                continue;
            }
            let long = word.split_once('=').map_or(*word, |(name, _)| name);
            if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
                if self.code.iter().any(|code| code.len() > 1 && fits(code, long)) {
                    return Some((*word).to_owned());
                }
                if let Some(verdict) = self.cluster(rest, &mut words, word) {
                    return verdict;
                }
            } else if self.code.iter().any(|code| fits(code, long) || cut(word, code)) {
                return Some((*word).to_owned());
            } else if self.value.iter().any(|value| value == word) {
                words.next();
            }
        }
        self.file(None, info)
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

    fn file(&self, file: Option<&&str>, info: bool) -> Option<String> {
        match file {
            None if self.bare && !info => Some("code from its input".into()),
            None => None,
            Some(file) => descriptor(file).then(|| format!("code from {file}")),
        }
    }
}

/// The files that `-f` and `--file` name, also behind other letters.
fn files<'a>(words: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let next = words.iter().skip(1).map(Some).chain([None]);
    words.iter().zip(next).filter_map(|(word, next)| match word.strip_prefix('-')? {
        "-file" => next.copied(),
        long if long.starts_with('-') => long.strip_prefix("-file="),
        letters => match letters.split_once('f')?.1 {
            "" => next.copied(),
            value => Some(value),
        },
    })
}

/// What stands for its input, or for what some process has open.
fn input(file: &str) -> bool {
    file == "-" || descriptor(file)
}

/// What is no file of its own: a pipe, a terminal, or what some process has open.
fn descriptor(file: &str) -> bool {
    let file = file.trim_start_matches("./");
    let beyond = file.trim_start_matches('/');
    file.starts_with('/') && (beyond.starts_with("dev/") || beyond.starts_with("proc/"))
        || file.contains("/../") && (file.contains("dev/") || file.contains("proc/"))
}

/// Whether a word is the beginning of a long option, or that with a value: GNU programs take it for it.
fn cut(word: &str, code: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    let code = code.trim_end_matches('*').trim_end_matches('=');
    code.starts_with("--") && name.len() > 3 && name.starts_with("--") && code.starts_with(name)
}

/// An option of gawk that holds a program, or reads one; also cut short, and behind letters that take nothing.
fn source(word: &str) -> bool {
    let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    let letters = letters.map(|rest| rest.trim_start_matches(|letter| "bcCghIkMnNOPrsStV".contains(letter)));
    letters.is_some_and(|rest| rest.starts_with(['e', 'i', 'l', 'E']))
        || ["--source", "--include", "--load", "--exec"]
            .iter()
            .any(|own| word.starts_with(own) || cut(word, own))
}

/// `e` as a command, the flag of `s`, and files of commands from a descriptor.
fn sed(words: &[&str]) -> Option<String> {
    if words.contains(&"--sandbox") {
        return None;
    }
    if files(words).any(input) {
        return Some("code from its input".into());
    }
    let mut scripts = Vec::new();
    let mut rest = words.iter();
    let mut given = false;
    let mut first = None;
    while let Some(word) = rest.next() {
        match word.strip_prefix("-e").or_else(|| word.strip_prefix("--expression=")) {
            Some("") => {
                given = true;
                scripts.extend(rest.next().copied());
            }
            Some(script) if !word.starts_with("--") || word.starts_with("--expression=") => {
                given = true;
                scripts.push(script);
            }
            _ if word.starts_with("-f") || word.starts_with("--file") => given = true,
            _ if ["-l", "--line-length"].contains(word) => drop(rest.next()),
            // A cluster that ends in `e`: the script is the next word.
            _ if word.starts_with('-') && !word.starts_with("--") && word.ends_with('e') => {
                given = true;
                scripts.extend(rest.next().copied());
            }
            _ if first.is_none() && !word.starts_with('-') => first = Some(*word),
            _ => {}
        }
    }
    if !given {
        scripts.extend(first);
    }
    scripts.iter().find(|script| executes(script)).map(|script| (*script).to_owned())
}

/// Whether a sed script may hold the command `e`, or the flag `e` of `s`: more scripts are refused than have it.
fn executes(script: &str) -> bool {
    script.split(['\n', ';', '{', '}']).any(|part| {
        let part = part.trim_start_matches(|c: char| c.is_ascii_digit() || " \t$,!~+/".contains(c));
        let flags = part.strip_prefix('s').and_then(|rest| {
            let end = rest.chars().next()?;
            rest.rsplit_once(end).map(|(_, flags)| flags)
        });
        part.starts_with('e')
            || flags.is_some_and(|flags| flags.split(' ').next().is_some_and(|flags| flags.contains('e')))
    }) || script.contains("/e")
        && script.split('/').any(|part| part.trim_start().starts_with("e ") || part.trim() == "e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> bool {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Shells::new(None).judge(words[0], &words[1..]).is_err()
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
