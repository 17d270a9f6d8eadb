//! The verdict on one start: what is run, link by link, and by which rule.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_policy::{CommandRules, Execution};
use rustix::io::Errno;

use super::file::{self, Chain, From, Seen};

/// Who asks, and from where.
pub(super) struct Case<'a> {
    pub(super) rules: &'a CommandRules,
    pub(super) directory: &'a [u8],
    /// By somebody who has a user namespace of its own.
    pub(super) nested: bool,
    /// The command that was given to the sandbox itself.
    pub(super) first: bool,
    /// Whether nothing puts another file at this path, from that directory.
    pub(super) settled: &'a dyn Fn(&[u8], &[u8]) -> bool,
}

/// Why a start is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// By which rule, or for lack of which; in one sentence.
    pub rule: String,
    /// What an entry would have to hold, where one is missing: a program and its arguments, of a script those of its interpreter.
    pub wanted: Vec<Vec<u8>>,
}

impl Why {
    /// No entry has this program with what is given to it.
    fn missing(rule: String, program: &[u8], given: &[Vec<u8>]) -> Self {
        let rest = given.iter().skip(1).cloned();
        Self { rule, wanted: std::iter::once(program.to_vec()).chain(rest).collect() }
    }
}

impl std::convert::From<String> for Why {
    fn from(rule: String) -> Self {
        Self { rule, wanted: Vec::new() }
    }
}

impl Case<'_> {
    /// # Errors
    /// By which rule, or for lack of which, it is refused.
    pub(super) fn decide(&self, chain: &Chain, mut given: Vec<Vec<u8>>) -> Result<(), Why> {
        let directory = self.directory;
        let mut why = None;
        // A script is itself only where nothing can stand in its place; else it is its interpreter, with a file as argument.
        for (number, link) in chain.links.iter().enumerate() {
            let last = number + 1 == chain.links.len();
            let arguments: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
            let file = self.rules.whole(link.identity()).unwrap_or(&link.real);
            let within = self.rules.runs_own(file);
            let execution = Execution { file, arguments: &arguments, directory, first: self.first, within };
            for file in self.rules.other_names(link.identity(), file) {
                self.rules.denied(&Execution { file, ..execution })?;
            }
            if last {
                // `env` finds an interpreter by a path that may be the task's, and some look for modules beside it.
                let leads = |path: &[u8]| {
                    let fixed = !self.nested && (self.settled)(&link.named, directory);
                    // Where anybody may mount, a directory may come from elsewhere.
                    let fixed = fixed && (path.starts_with(b"/") || !self.rules.nested());
                    let real = file::leads(directory, path).filter(|_| fixed)?;
                    ((self.settled)(path, directory) && (self.settled)(&real, b"/")).then_some(real)
                };
                let Err(rule) = self.rules.judge(&execution, leads) else { return Ok(()) };
                // What stands above every list is the reason, whatever else there is.
                if self.rules.stands(&execution).is_err() || !self.rules.unnamed(&rule) {
                    return Err(rule.into());
                }
                return Err(why.unwrap_or_else(|| {
                    let real = if number == 0 { &link.real } else { &link.named };
                    let wanted = self.rules.wanted(&execution, &link.named, real);
                    Why { rule, wanted }
                }));
            }
            self.rules.stands_as_script(&execution)?;
            // Whoever may mount shows the interpreter what it likes; and a directory may come from such a one.
            let shown = self.rules.nested() && (self.nested || !link.named.starts_with(b"/"));
            let stays = !shown
                && !self.rules.shared(&link.real)
                && (self.settled)(&link.named, directory)
                && (self.settled)(&link.real, b"/");
            match self.rules.script(&execution) {
                Ok(()) if stays => match chain.runs_alone(number, &arguments) {
                    Ok(()) => return Ok(()),
                    Err(more) => why = Some(more),
                },
                Ok(()) => {
                    // By its own name it is itself.
                    let own = !shown && !self.rules.shared(&link.real) && (self.settled)(&link.real, b"/");
                    let (shown, real) =
                        (String::from_utf8_lossy(&link.named), String::from_utf8_lossy(&link.real));
                    why = Some(match own && link.named != link.real {
                        true => Why::from(format!(
                            "`{shown}` is a name that the task may give to another file: call it by `{real}`"
                        )),
                        false => chain.beside(
                            number,
                            &arguments,
                            &format!("`{shown}` may be replaced, or changed by another name"),
                        ),
                    });
                }
                // Another program with these arguments would be its interpreter.
                Err(rule) if stays => why = Some(Why::missing(rule, &link.real, &given)),
                Err(_) => {}
            }
            given = Chain::arguments_of(&chain.links, number, given);
        }
        Err("nothing is to be run".to_owned().into())
    }
}

/// What the guard would say of a start on this host, by the rules of a plan: the file, all words of the command, where it is given, and
/// the trees that its task writes. `None`: the file leads to nothing that could be looked at.
#[must_use]
pub fn foreseen(
    rules: &CommandRules,
    file: &Path,
    words: &[String],
    directory: &Path,
    written: &[PathBuf],
) -> Option<Result<(), Why>> {
    let thread = rustix::process::getpid().as_raw_nonzero().get();
    let mut from = From::of(thread, false, false).ok()?;
    let chain = Chain::follow(&mut from, file.as_os_str().as_bytes(), None, &mut Seen::new(false)).ok()?;
    let settled = |path: &[u8], directory: &[u8]| {
        let whole = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(path));
        !written.iter().any(|tree| whole.starts_with(tree))
    };
    let directory = directory.as_os_str().as_bytes();
    let rules = &rules.uncopied();
    let case = Case { rules, directory, nested: false, first: true, settled: &settled };
    Some(case.decide(&chain, words.iter().map(|word| word.clone().into_bytes()).collect()))
}

/// Whether a file is a program of this machine or a script, as far as it can be looked at.
#[must_use]
pub fn is_program(file: &Path) -> bool {
    let thread = rustix::process::getpid().as_raw_nonzero().get();
    let followed = From::of(thread, false, false).and_then(|mut from| {
        Chain::follow(&mut from, file.as_os_str().as_bytes(), None, &mut Seen::new(false))
    });
    followed.err() != Some(Errno::NOEXEC)
}
