//! Programs and forms that run code from a command line or an input, for `commands.shell = false`. The list is data
//! (`shells.toml`); what is here is how its kinds are read.

mod interpreter;
mod lines;
mod names;
mod options;
mod sed;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use self::lines::{awk, descriptor, make, sed};
use crate::argv::CommandPattern;
use crate::model::Origin;
use crate::variables::is_idle;

pub(crate) use self::names::{Called, plain};
pub(crate) use self::options::{Taken, Takes, flags_hold_code, letters};

/// Scripts that one line of an interpreter may run.
const MOST_SCRIPTS: usize = 16;

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
    /// Words that are no code, though they begin like some.
    #[serde(default)]
    plain: Vec<String>,
    #[serde(default)]
    value: Vec<String>,
    /// The same, of what is run, or says what is.
    #[serde(default)]
    loads: Vec<String>,
    /// Options whose value is run, or stands for what is.
    #[serde(default)]
    given: Vec<String>,
    /// Letters that take the rest of their word, if there is one; with what that has to begin with.
    #[serde(default)]
    glued: Vec<String>,
    /// Letters that take the one behind them.
    #[serde(default)]
    one: String,
    /// Letters by which it goes to a directory before it reads its files.
    #[serde(default)]
    chdir: String,
    #[serde(default)]
    info: Vec<String>,
    #[serde(default)]
    module: String,
    #[serde(default)]
    modules: Vec<String>,
    /// Modules that run files which they are given.
    #[serde(default)]
    files: Vec<String>,
    /// Modules that run a file, or another module.
    #[serde(default)]
    runs: Vec<String>,
    /// Letters that take nothing, before one of `code` in the same word.
    #[serde(default)]
    flags: String,
    /// The first word may be options without a dash.
    #[serde(default)]
    dashless: bool,
    /// Commands of its own behind which `code` means something else.
    #[serde(default)]
    except: Vec<String>,
    /// So many words of its own that are no options may stand before the command that it is given for another program.
    #[serde(default)]
    operands: Option<usize>,
    #[serde(default)]
    bare: bool,
    /// Which options take the next argument is not known well.
    #[serde(default)]
    loose: bool,
    /// Nothing that may be an option's value is taken for the file that it runs.
    #[serde(default)]
    sure: bool,
    #[serde(default)]
    script: bool,
    /// An option that takes a setting, and those that name no program.
    #[serde(default)]
    setting: String,
    /// The same as a word.
    #[serde(default)]
    setting_long: String,
    #[serde(default)]
    settings: Vec<String>,
    /// Settings that name a program, each with a variable that names one for the same: it does nothing by the values that are idle there.
    #[serde(default)]
    idle: Vec<(String, String)>,
    /// What is behind `=` may have blanks, and signs of any kind.
    #[serde(default)]
    blanks: bool,
    /// Options that are no code with this value behind them.
    #[serde(default)]
    pairs: Vec<String>,
    /// Places in a file, `+42` or `+/word`, are no code.
    #[serde(default)]
    lines: bool,
    /// Its options stand alone, each as a word of its own.
    #[serde(default)]
    exact: bool,
    /// What a word that is a pipe or a descriptor says.
    #[serde(default)]
    input: Option<Input>,
    /// Directories of its own whose files are modules.
    #[serde(default)]
    library: Vec<String>,
    /// Options that take the next two.
    #[serde(default)]
    twice: Vec<String>,
    /// A program of this name that is no script is this one too.
    #[serde(default = "is_one")]
    compiled: bool,
    /// It loads programs itself.
    #[serde(default)]
    loader: bool,
    /// How the same is done without.
    #[serde(default)]
    instead: String,
    why: String,
}

fn is_one() -> bool {
    true
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Input {
    /// It is code, without any option.
    Code,
    /// An option of `code` counts beside it alone.
    Beside,
}

fn list() -> &'static [Program] {
    static LIST: OnceLock<Vec<Program>> = OnceLock::new();
    // A test reads it; where it could not be read, `judge` would find nothing: then everything is refused.
    LIST.get_or_init(|| {
        let all = concat!(include_str!("shells.toml"), include_str!("shells/scripts.toml"));
        toml::from_str::<List>(all).map(|list| list.program).unwrap_or_default()
    })
}

impl Shells {
    pub(crate) fn new(origin: Option<&Origin>) -> Self {
        Self { origin: origin.map(ToString::to_string).unwrap_or_default() }
    }

    /// Judges a script by its name, and its arguments without the name, where it starts.
    ///
    /// # Errors
    /// Why it is refused, in one sentence.
    pub(crate) fn judge_script(
        &self,
        name: &[u8],
        arguments: &[&[u8]],
        directory: &[u8],
    ) -> Result<(), String> {
        self.among(&String::from_utf8_lossy(name), arguments, directory, |program| program.script)
    }

    fn refusal(&self, name: &str, form: &str, program: &Program) -> String {
        let (origin, why) = (&self.origin, &program.why);
        let form = if form.is_empty() { String::new() } else { format!(" ({form})") };
        let instead = match program.instead.as_str() {
            "" => String::new(),
            instead => format!("; instead: {instead}"),
        };
        format!("`commands.shell = false` ({origin}) refuses `{name}`{form}: {why}{instead}")
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
        self.among(name, arguments, directory, |program| program.compiled)
    }

    fn among(
        &self,
        name: &str,
        arguments: &[&[u8]],
        directory: &[u8],
        counts: impl Fn(&Program) -> bool,
    ) -> Result<(), String> {
        let called = Called::of(name);
        for program in list().iter().filter(|program| program.is_called(called) && counts(program)) {
            if program.kind == Kind::Interpreter && !program.script {
                self.interpreter(name, program, arguments, directory)?;
            } else if let Some(form) = program.form(arguments, &String::from_utf8_lossy(directory)) {
                return Err(self.refusal(name, &form, program));
            }
        }
        Ok(())
    }

    /// Judges an interpreter, and what it runs as the script that it is.
    fn interpreter(
        &self,
        name: &str,
        program: &Program,
        arguments: &[&[u8]],
        directory: &[u8],
    ) -> Result<(), String> {
        let words: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let read = interpreter::read(program, &words, &String::from_utf8_lossy(directory));
        let runs = read.map_err(|form| self.refusal(name, &form, program))?;
        let known = |(name, _): &(String, usize)| {
            let name = Called::of(name);
            list().iter().any(|program| program.script && program.is_called(name))
        };
        let runs: BTreeSet<_> = runs.into_iter().filter(known).collect();
        // Each is read to its end: nobody runs so many.
        if runs.len() > MOST_SCRIPTS {
            return Err(self.refusal(name, "any of many scripts", program));
        }
        runs.iter().try_for_each(|(name, at)| {
            self.judge_script(name.as_bytes(), arguments.get(*at..).unwrap_or_default(), directory)
        })
    }
}

/// Whether a program of this name runs code that somebody hands it, and which kind it is: a shell or a prompt (`true`), an interpreter.
pub fn runs_code(name: &str) -> Option<bool> {
    let name = Called::of(name);
    let named = |program: &&Program| program.compiled && program.is_called(name);
    list().iter().filter(named).find_map(|program| match program.kind {
        // What a loader starts is judged by nobody.
        Kind::Shell | Kind::Word => Some(!program.loader),
        Kind::Interpreter => Some(false),
        Kind::Option | Kind::Awk | Kind::Sed | Kind::Make => None,
    })
}

/// Whether a program of this name loads others itself: a dynamic loader, valgrind, an emulator.
pub fn is_loader(name: &str) -> bool {
    let name = Called::of(name);
    list().iter().filter(|program| program.loader).any(|program| program.is_called(name))
}

/// Why `commands.shell = false` lets nothing start that this entry means, if so, as far as its words say.
pub fn dead_entry(pattern: &CommandPattern, origin: Option<&Origin>) -> Option<String> {
    const SYSTEM: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let (directory, name) = pattern.program.rsplit_once('/').unwrap_or(("", &pattern.program));
    // Elsewhere it may be a script, which is not judged by these names.
    if !directory.is_empty() && !SYSTEM.contains(&directory) {
        return None;
    }
    let shells = Shells::new(origin);
    if let Some(words) = pattern.literal_arguments() {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        return shells.judge(name.as_bytes(), &words, b"/").err();
    }
    let called = Called::of(name);
    let named = |program: &&Program| program.compiled && program.is_called(called);
    let program = list().iter().filter(named).find(|program| program.kind == Kind::Shell)?;
    let but = match program.info.as_slice() {
        [] => String::new(),
        info => format!(" (but for `{name} {}`)", info.join("`, `")),
    };
    Some(format!("{}{but}", shells.refusal(name, "", program)))
}

/// Whether code stands among a command's words, or a setting that may be some. What awk, sed and make are given is their work.
pub fn holds_code(program: &str, arguments: &[&[u8]]) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let name = Called::of(name);
    let named = |program: &&Program| program.is_called(name);
    list().iter().filter(named).any(|program| match program.kind {
        // A shell: what starts others by its words says which.
        Kind::Shell => {
            let mut options = arguments.iter().take_while(|word| word.starts_with(b"-"));
            program.info.is_empty() && options.any(|word| !word.starts_with(b"--") && word.contains(&b'c'))
        }
        Kind::Interpreter | Kind::Option => {
            program.form(arguments, "/").is_some_and(|form| !form.starts_with("code from"))
        }
        Kind::Word | Kind::Awk | Kind::Sed | Kind::Make => false,
    })
}

/// Whether a name fits one of the list, in which `*` stands for any characters.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    // Most of a list is out by its first letter.
    if !pattern.starts_with('*') && pattern.as_bytes().first() != name.as_bytes().first() {
        return false;
    }
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
    fn is_called(&self, name: Called<'_>) -> bool {
        name.is_among(&self.names)
    }

    /// What is refused of it, in words; empty for all.
    fn form(&self, arguments: &[&[u8]], directory: &str) -> Option<String> {
        let words: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        match self.kind {
            Kind::Shell => match words.as_slice() {
                [only] if self.is_info(only) => None,
                _ => Some(String::new()),
            },
            Kind::Interpreter => interpreter::read(self, &words, directory).err(),
            Kind::Option => self.option(&words, directory),
            Kind::Word => self.word(&words),
            // With its program in a file it is that file's, which the policy allowed; `system` in it starts what is judged.
            Kind::Awk if matches!(words.as_slice(), [only] if self.is_info(only)) => None,
            Kind::Awk => awk(&options::AWK.parts(&words), directory),
            Kind::Sed => sed(&options::SED.parts(&words), directory),
            Kind::Make => {
                let mut readings = [&options::MAKE, &options::BMAKE].into_iter();
                readings.find_map(|reading| make(&reading.parts(&words), directory))
            }
        }
    }

    fn is_info(&self, word: &str) -> bool {
        self.info.iter().any(|own| own == word)
    }

    fn word(&self, words: &[&str]) -> Option<String> {
        let named = || words.iter().filter(|word| !word.starts_with('-'));
        if self.bare
            && named().next().is_none()
            && !words.iter().any(|word| self.info.iter().any(|own| own == word))
        {
            return Some("code from its input".into());
        }
        let code = |word: &str| self.code.iter().any(|code| code == word);
        let mut own = self.places(words).into_iter().filter_map(|at| words.get(at));
        own.find(|word| code(word)).map(|word| (*word).to_owned())
    }

    /// Where the first word that is no option may stand: behind one it may be its value.
    fn places(&self, words: &[&str]) -> Vec<usize> {
        let mut reached = vec![false; words.len() + 2];
        let mut found = Vec::new();
        for (at, word) in words.iter().enumerate() {
            if at > 0 && reached.get(at) != Some(&true) {
                continue;
            }
            if !word.starts_with('-') {
                found.push(at);
                continue;
            }
            let goes = [Some(at + 1), (self.loose && !word.contains('=')).then_some(at + 2)];
            for at in goes.into_iter().flatten() {
                if let Some(cell) = reached.get_mut(at) {
                    *cell = true;
                }
            }
        }
        found
    }

    fn option(&self, words: &[&str], directory: &str) -> Option<String> {
        let own = || words.iter().take(self.reach(words));
        let input = self.input.and_then(|_| own().find(|word| is_input(word, directory)));
        match (self.input, input) {
            (Some(Input::Code), Some(input)) => return Some(format!("code from {input}")),
            (Some(Input::Beside), None) => return None,
            _ => {}
        }
        let bundle = words.first().filter(|word| self.dashless && !word.starts_with('-'));
        let bundled = |word: &str| {
            let own = |code: &String| code.len() == 2 && word.chars().any(|letter| code.ends_with(letter));
            self.code.iter().any(own)
        };
        if let Some(word) = bundle.filter(|word| bundled(word)) {
            return Some((*word).to_owned());
        }
        let is_code =
            |word: &str| !self.is_plain(word) && self.code.iter().any(|code| self.names(word, code));
        let code = |(at, word): (usize, &&str)| {
            let next = words.get(at + 1).copied();
            (is_code(word) && !self.is_harmless(word, next)).then(|| match next {
                Some(value) if *word == self.setting || *word == self.setting_long => {
                    format!("{word} {value}")
                }
                _ => (*word).to_owned(),
            })
        };
        own().enumerate().find_map(code)
    }

    /// Whether an option is no code for its value, which may be the next word.
    fn is_harmless(&self, word: &str, next: Option<&str>) -> bool {
        // Behind letters that take nothing, in one word (`-6oNAME=VALUE`).
        let (letter, letters) = (self.setting.strip_prefix('-'), word.strip_prefix('-'));
        let glued = letter.zip(letters).and_then(|(letter, letters)| {
            letters.trim_start_matches(|flag| self.flags.contains(flag)).strip_prefix(letter)
        });
        let glued = glued.and_then(|rest| if rest.is_empty() { next } else { Some(rest) });
        let long = Some(self.setting_long.as_str()).filter(|long| !long.is_empty());
        let long = long.and_then(|long| word.strip_prefix(long)).and_then(|rest| match rest {
            "" => next,
            rest => rest.strip_prefix('='),
        });
        let value = glued.or(long);
        self.lines && is_place(word)
            || next.is_some_and(|next| self.pairs.contains(&format!("{} {next}", self.alone(word))))
            || value.is_some_and(|value| self.is_setting(value))
    }

    /// An option of one letter without those that may stand before it.
    fn alone<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let letters = word.strip_prefix('-').unwrap_or_default();
        let mut last = letters.chars().skip_while(|letter| self.flags.contains(*letter));
        match (last.next(), last.next()) {
            (Some(letter), None) => Cow::Owned(format!("-{letter}")),
            _ => Cow::Borrowed(word),
        }
    }

    /// Whether a setting names no program. A blank or a sign in its value may begin another one.
    fn is_setting(&self, text: &str) -> bool {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let plain = |letter: char| match self.blanks {
            true => !letter.is_control(),
            false => letter.is_ascii_alphanumeric() || "_.,:/@+-~^*".contains(letter),
        };
        let of_name = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        let own = |own: &String| match own.split_once('=') {
            Some((_, path)) if path.starts_with('/') && path != value => false,
            Some(_) => own.eq_ignore_ascii_case(text),
            None => fits(&own.to_ascii_lowercase(), &name.to_ascii_lowercase()),
        };
        let idle = |(own, variable): &(String, String)| {
            let named = text.contains('=') && fits(&own.to_ascii_lowercase(), &name.to_ascii_lowercase());
            named && is_idle(format!("{variable}={value}").as_bytes())
        };
        let known = self.settings.iter().any(own) || self.idle.iter().any(idle);
        name.chars().all(of_name) && value.chars().all(plain) && known
    }

    fn is_plain(&self, word: &str) -> bool {
        self.plain.iter().any(|own| fits(own, word))
    }

    /// Whether a word is this option, with its value or without.
    fn names(&self, word: &str, code: &str) -> bool {
        fits(code, word)
            || code.starts_with("--") && word.strip_prefix(code).is_some_and(|rest| rest.starts_with('='))
            // A short option with its value in the same word.
            || !self.exact && code.len() == 2 && code.starts_with('-') && word.starts_with(code)
            || !self.exact && self.clustered(word, code)
            // Long options may be cut short.
            || cut(word, code)
    }

    /// How many of the words `code` is looked for in: up to a command of `except`, up to what stands behind `operands`, or all.
    fn reach(&self, words: &[&str]) -> usize {
        let (mut at, mut left) = (0, self.operands.unwrap_or(0));
        while let Some(word) = words.get(at) {
            let takes = match word.starts_with('-') {
                true if self.twice.iter().any(|own| own == word || cut(word, own)) => 2,
                true => usize::from(self.takes_next(word)),
                false => 0,
            };
            if takes > 0 && words.get(at + 1).is_some_and(|value| value.starts_with('-')) {
                // An option, where this one takes nothing after all.
                return words.len();
            }
            // `-` is one for some.
            if word.starts_with('-') || self.operands.is_some() && word.contains('=') {
                at += 1 + takes;
            } else if left > 0 {
                (at, left) = (at + 1, left - 1);
            } else {
                let ends = self.operands.is_some() || self.except.iter().any(|own| own == word);
                return if ends { at } else { words.len() };
            }
        }
        words.len()
    }

    /// Whether an option may take the next word: to take one too many is to look further.
    fn takes_next(&self, word: &str) -> bool {
        let valued = |letter: char| {
            self.value.iter().any(|own| own.strip_prefix('-').is_some_and(|own| own.chars().eq([letter])))
        };
        let short = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or_default();
        let first = short.trim_start_matches(|letter| self.flags.contains(letter));
        // With its value in the same word.
        if first.len() > 1 && first.chars().next().is_some_and(valued) {
            return false;
        }
        let letter = short.chars().next_back();
        self.value.iter().any(|own| own == word || !word.contains('=') && cut(word, own))
            || letter.is_some_and(valued)
    }

    /// Whether a letter of `code` stands behind others in a word.
    fn clustered(&self, word: &str, code: &str) -> bool {
        let (Some(wanted), Some(letters)) = (code.strip_prefix('-'), word.strip_prefix('-')) else {
            return false;
        };
        let mut rest = letters.chars().skip_while(|letter| self.flags.contains(*letter));
        wanted.len() == 1 && !letters.starts_with('-') && rest.next() == wanted.chars().next()
    }
}

/// Whether a word, or a value in it, is no file of its own.
fn is_input(word: &str, directory: &str) -> bool {
    let value = word.split_once('=').map(|(_, value)| value);
    let glued = word.strip_prefix('-').and_then(|letters| letters.get(1..));
    let listed = word.strip_prefix('@');
    let own = (!word.starts_with('-')).then_some(word);
    let mut all = [own, listed, value, glued].into_iter().flatten();
    all.any(|file| descriptor(file, directory))
}

/// Whether a word of an editor's is a line, or a word to look for: what stands behind `|` would be a command.
pub(crate) fn is_place(word: &str) -> bool {
    let of_word = |letter: char| letter.is_ascii_alphanumeric() || "_-. ".contains(letter);
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    word.strip_prefix('+').is_some_and(|place| {
        // With a column, as emacs has it.
        place.split_once(':').map_or(number(place), |(line, column)| number(line) && number(column))
            || place.strip_prefix('/').is_some_and(|word| !word.is_empty() && word.chars().all(of_word))
    })
}

/// Whether a word is the beginning of a long option, or that with a value: GNU programs take it for it.
fn cut(word: &str, code: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    let code = code.trim_end_matches('*').trim_end_matches('=');
    code.starts_with("--") && name.len() > 2 && name.starts_with("--") && code.starts_with(name)
}

#[cfg(test)]
mod harmless_tests;
#[cfg(test)]
mod scripts_tests;
#[cfg(test)]
mod tests;
