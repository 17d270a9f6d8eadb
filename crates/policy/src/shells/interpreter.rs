//! Command lines of interpreters, for `kind = "interpreter"`.

use std::cell::{OnceCell, RefCell};

use super::lines::{descriptor, directories, input, names};
use super::options::{Taken, Takes, letters};
use super::{Program, cut, fits};

/// How far a line is read, and what stood before.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: usize,
    /// It answers and ends.
    info: bool,
    /// What may be a file was there.
    named: bool,
    /// The word before may take this one.
    behind: bool,
}

impl Reading {
    fn flags(self) -> u8 {
        u8::from(self.info) | u8::from(self.named) << 1 | u8::from(self.behind) << 2
    }

    fn to(self, at: usize, behind: bool) -> Self {
        Self { at, behind, ..self }
    }
}

/// Where a reading leads.
enum Step {
    Code(String),
    Ends,
    Goes(Reading),
    /// Programs differ: some take a word that begins like an option for a value.
    Both(Reading, Reading),
}

/// What a word of options leads to.
enum Options<'a> {
    Code(String),
    Ends,
    /// Whether what it runs was among them.
    Read(bool),
    /// The last one takes the next word.
    Takes(&'a str),
}

struct Line<'a> {
    program: &'a Program,
    words: &'a [&'a str],
    /// Where it may be when it reads its files.
    directories: Vec<String>,
    /// The last word that is a descriptor.
    descriptor: OnceCell<Option<usize>>,
    /// What it may run, by its name, and where the arguments of that begin.
    runs: RefCell<Vec<(String, usize)>>,
}

/// Reads the line of an interpreter: what files and modules it may run, each by its name, and where the arguments of that begin.
///
/// # Errors
/// The code that it is handed, in whichever reading.
pub(super) fn read(
    program: &Program,
    words: &[&str],
    directory: &str,
) -> Result<Vec<(String, usize)>, String> {
    let directories = directories(directory, gone(program, words).into_iter());
    let line = Line { program, words, directories, descriptor: OnceCell::new(), runs: RefCell::default() };
    line.code().map_or(Ok(()), Err)?;
    Ok(line.runs.into_inner())
}

/// The directory that an option has it go to before it reads a file; one that is not known, if there may be several.
fn gone<'a>(program: &Program, words: &[&'a str]) -> Option<&'a str> {
    let mut found = words.iter().enumerate().flat_map(|(at, word)| {
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or_default();
        let gone = letters.match_indices(|letter| program.chdir.contains(letter));
        gone.filter_map(move |(letter, _)| match letters.get(letter + 1..) {
            None | Some("") => words.get(at + 1).copied(),
            glued => glued,
        })
    });
    let first = found.next()?;
    Some(if found.next().is_some() { "/proc/1/cwd" } else { first })
}

impl Line<'_> {
    fn code(&self) -> Option<String> {
        // Each place is read once for each of what may stand before it: a long line of forks takes no longer than its words.
        let mut seen = vec![0_u8; self.words.len() + 1];
        let mut readings = vec![Reading::default()];
        while let Some(reading) = readings.pop() {
            let bit = 1_u8 << reading.flags();
            match seen.get_mut(reading.at) {
                Some(seen) if *seen & bit == 0 => *seen |= bit,
                _ => continue,
            }
            match self.step(reading) {
                Step::Code(code) => return Some(code),
                Step::Ends => {}
                Step::Goes(next) => readings.push(next),
                Step::Both(one, other) => readings.extend([other, one]),
            }
        }
        None
    }

    fn input(&self, file: &str) -> bool {
        self.directories.iter().any(|directory| input(file, directory))
    }

    fn descriptor(&self, file: &str) -> bool {
        self.directories.iter().any(|directory| descriptor(file, directory))
    }

    fn step(&self, reading: Reading) -> Step {
        let (program, at) = (self.program, reading.at);
        let Some(&word) = self.words.get(at) else {
            return if reading.named { Step::Ends } else { self.ends(None, at, reading.info) };
        };
        let next = reading.to(at + 1, true);
        if word == "-" {
            return Step::Code("code from its input".into());
        }
        if word == "--" {
            return match self.ends(self.words.get(at + 1).copied(), at + 2, reading.info) {
                Step::Ends if program.loose && reading.behind => Step::Goes(reading.to(at + 1, false)),
                ends => ends,
            };
        }
        if !word.starts_with('-') {
            return match self.ends(Some(word), at + 1, reading.info) {
                Step::Ends if program.loose && reading.behind => {
                    Step::Goes(Reading { named: reading.named || !program.sure, behind: false, ..next })
                }
                ends => ends,
            };
        }
        let next = Reading { info: next.info && !self.takes_back(word), ..next };
        if program.info.iter().any(|own| fits(own, word)) {
            let asked = Reading { info: true, ..next };
            return match program.sure && reading.behind {
                true => Step::Both(asked, next.to(at + 1, false)),
                false => Step::Goes(asked),
            };
        }
        if program.is_plain(word) {
            return Step::Goes(next.to(at + 1, false));
        }
        // node takes one for the other.
        let same = word.replace('_', "-");
        let (long, value) = same
            .split_once('=')
            .map_or((same.as_str(), None), |(name, _)| (name, word.split_once('=').map(|(_, value)| value)));
        if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
            if program.code.iter().any(|code| code.len() > 1 && fits(code, long)) {
                return Step::Code(word.to_owned());
            }
            if self.takes(long) {
                return match value {
                    None => self.value(long, next.to(at + 1, false)),
                    Some(value) => self
                        .loaded(long, value)
                        .map_or_else(|| Step::Goes(next.to(at + 1, false)), Step::Code),
                };
            }
            let own = |glued: &String| glued.len() == 1 && rest.starts_with(glued.as_str());
            return match self.cluster(rest, at + 1) {
                Options::Code(code) => Step::Code(code),
                Options::Ends => Step::Ends,
                Options::Takes(letter) => self.value(letter, next),
                Options::Read(given) => Step::Goes(Reading {
                    named: next.named || given,
                    ..next.to(at + 1, !(program.glued.iter().any(own) || program.sure && value.is_some()))
                }),
            };
        }
        if program.code.iter().any(|code| fits(code, long) || cut(&same, code)) {
            return Step::Code(word.to_owned());
        }
        match value {
            Some(value) => match self.loaded(long, value) {
                Some(code) => Step::Code(code),
                None => {
                    self.given(long, value, at + 1);
                    Step::Goes(Reading { named: next.named || self.gives(long), ..next.to(at + 1, false) })
                }
            },
            None if self.takes(long) => self.value(long, next.to(at + 1, false)),
            None => Step::Goes(next),
        }
    }

    /// Whether what was asked before is not asked any more (node's `--no-version`, also as `--no_version`).
    fn takes_back(&self, word: &str) -> bool {
        let word = word.replace('_', "-");
        let name = word.split('=').next().and_then(|name| name.strip_prefix("--no-"));
        name.is_some_and(|name| self.program.info.iter().any(|own| own.strip_prefix("--") == Some(name)))
    }

    /// Behind an option that takes the next word: if that may be an option itself, it is read as a value and as an option.
    fn value(&self, option: &str, next: Reading) -> Step {
        let Some(&value) = self.words.get(next.at) else { return Step::Goes(next) };
        if let Some(code) = self.loaded(option, value) {
            return Step::Code(code);
        }
        self.given(option, value, next.at + 1);
        let taken = Reading { named: next.named || self.gives(option), ..next.to(next.at + 1, false) };
        if value.starts_with('-') { Step::Both(next, taken) } else { Step::Goes(taken) }
    }

    fn takes(&self, option: &str) -> bool {
        self.program.value.iter().chain(&self.program.loads).any(|own| own == option)
    }

    /// A file that an option names is run as one that stands by itself.
    fn given(&self, option: &str, file: &str, at: usize) {
        if self.gives(option) {
            self.runs.borrow_mut().push((last(file), at));
        }
    }

    fn gives(&self, option: &str) -> bool {
        self.program.given.iter().any(|own| own == option)
    }

    /// What an option is given to run from where no file is.
    fn loaded(&self, option: &str, value: &str) -> Option<String> {
        let from = self.input(value) || value.starts_with("data:");
        let loads = from && self.program.loads.iter().any(|own| own == option);
        loads.then(|| format!("{option} {value}"))
    }

    /// A word of single letters; the next word is at `at`.
    fn cluster<'b>(&self, rest: &'b str, at: usize) -> Options<'b> {
        let program = self.program;
        let has = |list: &[String], letter: char| list.iter().any(|own| own.chars().eq([letter]));
        let module = |letter: char| program.module.chars().eq([letter]);
        let takes = |letter: char, behind: &str| {
            let glued =
                |own: &String| own.strip_prefix(letter).is_some_and(|begin| behind.starts_with(begin));
            if program.one.contains(letter) {
                Takes::Letter
            } else if program.glued.iter().any(glued) {
                Takes::ToBlank
            } else if self.takes(letter.encode_utf8(&mut [0; 4]))
                || module(letter)
                || has(&program.code, letter)
            {
                Takes::Value
            } else {
                Takes::Nothing
            }
        };
        let mut given = false;
        for (letter, taken) in letters(rest, takes) {
            let value = match taken {
                Taken::Nothing => None,
                Taken::Glued(value) => Some(value),
                Taken::NextWord => self.words.get(at).copied(),
            };
            let next = taken == Taken::NextWord;
            if has(&program.code, letter) {
                let harmless = |value| {
                    program.pairs.contains(&format!("-{letter} {value}"))
                        || program.setting == format!("-{letter}") && program.is_setting(value)
                };
                if !value.is_some_and(harmless) {
                    return Options::Code(format!("-{rest}"));
                }
            } else if module(letter) {
                return self.module(value.unwrap_or_default(), at + usize::from(next));
            }
            if next {
                return Options::Takes(rest.get(rest.len() - letter.len_utf8()..).unwrap_or_default());
            }
            let mut buffer = [0; 4];
            let letter: &str = letter.encode_utf8(&mut buffer);
            if let Some(code) = value.and_then(|value| self.loaded(letter, value)) {
                return Options::Code(code);
            }
            given |= value.is_some() && self.gives(letter);
            if let Some(value) = value {
                self.given(letter, value, at);
            }
        }
        Options::Read(given)
    }

    /// What is run of modules, with its arguments from `at` on.
    fn module<'b>(&self, module: &str, at: usize) -> Options<'b> {
        match self.module_code(module, at) {
            Some(code) => Options::Code(format!("-m {code}")),
            None => Options::Ends,
        }
    }

    /// A module of code that may be run by the one whose arguments begin at `at`.
    fn inner(&self, at: usize) -> Option<&str> {
        let behind = self.words.get(at..)?;
        let asked = behind.iter().position(|word| {
            word.strip_prefix('-').is_some_and(|letters| !letters.starts_with('-') && letters.contains('m'))
        })?;
        let top = |word: &str| word.split('.').next().unwrap_or_default().to_owned();
        let code = |word: &&&str| self.program.modules.contains(&top(word));
        behind.iter().skip(asked + 1).find(code).copied()
    }

    fn module_code(&self, module: &str, at: usize) -> Option<String> {
        let top = module.split('.').next().unwrap_or_default();
        if self.program.modules.iter().any(|own| own == top) {
            return Some(module.to_owned());
        }
        self.runs.borrow_mut().extend([(module.to_owned(), at), (top.to_owned(), at)]);
        let runs = self.program.runs.iter().any(|own| own == top);
        if !runs && !self.program.files.iter().any(|own| own == top) {
            return None;
        }
        // Which one it runs may stand behind other options.
        if runs && let Some(inner) = self.inner(at) {
            return Some(format!("{module}, {inner}"));
        }
        let last = || self.words.iter().rposition(|word| self.descriptor(word));
        let from = self.descriptor.get_or_init(last).filter(|last| *last >= at)?;
        self.words.get(from).map(|from| format!("{module}, code from {from}"))
    }

    /// The module that a file of the interpreter's own is.
    fn library(&self, file: &str) -> Option<String> {
        let program = self.program;
        self.directories.iter().filter(|_| !program.library.is_empty()).find_map(|directory| {
            let whole = if file.starts_with('/') { file.to_owned() } else { format!("{directory}/{file}") };
            let names = names(&whole);
            let own = |pair: &[&str]| {
                matches!(pair, ["lib" | "lib64" | "share", name] if program.library.iter().any(|own| fits(own, name)))
            };
            let at = names.windows(2).position(own)?;
            let within = |name: &&&str| !name.ends_with("-packages") && !name.starts_with("__");
            let first = names.iter().skip(at + 2).find(within)?;
            first.split('.').next().map(str::to_owned)
        })
    }

    /// The options end, with a file or without; its arguments begin at `at`.
    fn ends(&self, file: Option<&str>, at: usize, info: bool) -> Step {
        match file {
            None if self.program.bare && !info => Step::Code("code from its input".into()),
            Some(file) if self.input(file) => Step::Code(format!("code from {file}")),
            Some(file) => {
                let module = self.library(file).and_then(|module| self.module_code(&module, at));
                self.runs.borrow_mut().push((last(file), at));
                module.map_or(Step::Ends, |module| Step::Code(format!("{file}, which is -m {module}")))
            }
            None => Step::Ends,
        }
    }
}

fn last(file: &str) -> String {
    file.rsplit('/').next().unwrap_or_default().to_owned()
}
