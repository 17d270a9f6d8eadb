//! What is written down of a program that was refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Plan;
use ringfence_policy::{Children, CommandPattern, Policy, command_line};
use ringfence_record::Event;
use ringfence_supervise::{Command, Fate, Life, Process};

use crate::cautions::is_any;
use crate::chain::{behind_env, starts};
use crate::masks::masked;
use crate::parts;

/// The event of one; `grantable` says whether its owner may grant a command.
pub(crate) fn event(
    command: &Command,
    names: &Names,
    process: i32,
    program: String,
    grantable: impl Fn(&str) -> bool,
) -> Event {
    let texts = |words: &[OsString]| -> Vec<String> {
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    let words = texts(&command.arguments);
    let file = names.outside(&command.file.to_string_lossy());
    let mut rule = names.outside(&command.rule);
    match &command.fate {
        Fate::Refused => {}
        Fate::Changed => return Event::ExecTamper { command: masked(&words), file, process, program, rule },
        Fate::Cleaned(names) => {
            let variables = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            return Event::ExecClean { command: masked(&words), file, variables, process, times: 1, rule };
        }
    }
    let shown = masked(&words);
    let directory = names.outside(&command.directory.to_string_lossy());
    let wanted: Vec<String> =
        command.wanted.iter().enumerate().map(|(at, word)| names.wanted(at, &lettered(word))).collect();
    if let Some(home) = names.home_of(&words).filter(|_| rule.ends_with(ARGUMENTS)) {
        rule.push_str(&format!("{HOMELY} {home}"));
    }
    let child = names.children && !command.first;
    let starts = |program: &str| starts(program, names.search.as_deref(), &names.trees);
    let written = Written { directory: &directory, workspace: &names.workspace, child, starts: &starts };
    // A line of policy with a secret in it, or without, helps nobody.
    let plain =
        shown == words && masked(&wanted) == wanted && !wanted.iter().any(|word| names.is_of_run(word));
    // Of parts nothing is offered but their names.
    let parts = (!command.first).then(|| parts::remedy(&program, &wanted, &names.trees)).flatten();
    let remedy = parts.or_else(|| plain.then(|| written.remedy(&wanted))).unwrap_or_default();
    Event::ExecDeny {
        remedy,
        grantable: plain && !words.is_empty() && grantable(&command_line(words.iter())),
        rule: masked(&[rule]).concat(),
        command: shown,
        parent: (process != 0).then_some(command.parent),
        file,
        directory,
        process,
        // Until then it is ringfence's own.
        program: if command.first { String::new() } else { program },
        times: 1,
    }
}

/// With these words ends the reason for which a program is refused for its arguments, and another one begins.
const ARGUMENTS: &str = "but not with these arguments";
pub(crate) const HOMELY: &str = "; the home is the run's own here, and entries mean";

/// A word in letters: for each byte that makes none, one of a byte that no policy may hold either.
fn lettered(word: &OsStr) -> String {
    let chunks = word.as_bytes().utf8_chunks();
    chunks.map(|chunk| format!("{}{}", chunk.valid(), "\u{1}".repeat(chunk.invalid().len()))).collect()
}

/// The event of a program that starts or has ended.
pub(crate) fn life(process: &Process) -> Event {
    let number = process.process;
    match &process.life {
        Life::Began { command, digest } => {
            let words: Vec<String> =
                command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            Event::ProcessStart {
                process: number,
                parent: command.parent,
                file: command.file.to_string_lossy().into_owned(),
                sha256: digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
                command: masked(&words),
                directory: command.directory.to_string_lossy().into_owned(),
            }
        }
        Life::Ended { file, exit, signal, milliseconds, user, system, memory } => Event::ProcessEnd {
            process: number,
            file: file.to_string_lossy().into_owned(),
            exit: *exit,
            signal: *signal,
            duration_ms: *milliseconds,
            user_ms: *user,
            system_ms: *system,
            memory_kib: *memory,
            times: 1,
        },
    }
}

/// Of programs that were not written down one by one.
pub(crate) fn more(times: u64) -> Event {
    Event::ProcessEnd {
        process: 0,
        file: String::new(),
        exit: None,
        signal: None,
        duration_ms: 0,
        user_ms: None,
        system_ms: None,
        memory_kib: None,
        times,
    }
}

/// How an entry that is missing is written: where commands stand, and what of them is a list of their own.
pub(crate) struct Written<'a> {
    /// The directory of who starts it.
    pub(crate) directory: &'a str,
    /// As the policy names it.
    pub(crate) workspace: &'a Path,
    /// It is a part that a command starts, and the policy has a list of those (`commands.children`).
    pub(crate) child: bool,
    /// Whether an entry of this program lets start what it names, and nothing else: see [`starts`].
    pub(crate) starts: &'a dyn Fn(&str) -> bool,
}

impl Written<'_> {
    /// The line that would allow a program with these arguments; none where no entry can hold them.
    pub(crate) fn remedy(&self, wanted: &[String]) -> Vec<String> {
        let Some((program, arguments)) = wanted.split_first().filter(|(program, _)| !program.is_empty())
        else {
            return Vec::new();
        };
        let file = Path::new(program);
        // What no PATH leads to is named whole.
        let found = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];
        let known = file.parent().is_some_and(|parent| found.iter().any(|path| parent == Path::new(path)));
        let name = file.file_name().filter(|_| known).map_or(file, Path::new);
        let name = name.to_string_lossy();
        // As a path has it, where that begins a variable (`$$`).
        let program = command_line([&name].iter()).replace('$', "$$");
        let alone = spelled(&program);
        let mut entry = vec![program];
        entry.extend(arguments.iter().map(|word| self.kind(word)));
        // A program alone would be any arguments.
        entry.extend((entry.len() == 1).then(|| "()".to_owned()));
        let entry = spelled(&entry.join(" "));
        // Some can be named by no entry, such as absolute paths with `..`, or would be read as another program: from the home, or optional.
        let same = |read: CommandPattern| {
            read.program == name.replace('$', "$$") && !read.optional && !name.starts_with('~')
        };
        let reads = |entry: &str| CommandPattern::parse(entry, "/").is_ok_and(same);
        // A part has words of its own making, with paths that no entry can hold (`crt1.o` of gcc's by `..`): all there is is the part itself.
        let entry = match reads(&entry) {
            true => entry,
            false if self.child && !is_any(&name) && reads(&alone) => alone,
            false => return Vec::new(),
        };
        let key = if self.child { "children" } else { "allow" };
        let mut entries = format!("\"{}\"", quoted(&entry));
        // It would be refused next. Its words are the task's: what no entry starts would only break the policy, or allow something else.
        let behind =
            behind_env(wanted).filter(|words| words.first().is_some_and(|first| (self.starts)(first)));
        let behind = behind.map(|behind| self.remedy(&behind));
        let behind = behind
            .iter()
            .flatten()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = [")?.strip_suffix(']'));
        if let Some(behind) = behind {
            entries.push_str(", ");
            entries.push_str(behind);
        }
        vec!["[commands]".into(), format!("{key} = [{entries}]")]
    }

    /// A word of a line of policy, which is to hold in later runs too.
    fn kind(&self, word: &str) -> String {
        let (own, plain) = (self.word(word), command_line([word].iter()));
        made_up(word).filter(|_| own == plain).unwrap_or(own)
    }

    /// A word of an entry, which means that word alone.
    pub(crate) fn word(&self, word: &str) -> String {
        // A path is one from the workspace, wherever its process stands.
        let whole = match word.strip_prefix("./") {
            Some(rest) => Path::new(self.directory).join(rest.trim_start_matches('/')),
            None => PathBuf::from(word),
        };
        match whole.strip_prefix(self.workspace) {
            Ok(below) if whole.is_absolute() && !below.as_os_str().is_empty() => {
                // As it is compared: without what is there twice.
                let below: PathBuf = below.components().collect();
                command_line([format!("./{}", below.display())].iter())
            }
            _ if word.starts_with("./") => command_line([whole.to_string_lossy()].iter()),
            _ => command_line([word].iter()),
        }
    }
}

/// For a word that leads to a file of a name that no second run has (mkstemp(3)), a pattern of its kind.
fn made_up(word: &str) -> Option<String> {
    const DIRECTORY: &str = "/tmp/";
    let at = word.find(DIRECTORY)?;
    let (before, rest) = word.split_at(at + DIRECTORY.len());
    // Options and lists of options are put before a path: `@/tmp/..`, `-o/tmp/..`, `--out=/tmp/..`.
    if before.trim_end_matches(DIRECTORY).contains('/') {
        return None;
    }
    let (name, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let plain = |ending: &&str| ending.len() <= 4 && ending.bytes().all(|byte| byte.is_ascii_lowercase());
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(plain);
    let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
    let stem = name.strip_suffix(&ending)?;
    let drawn = stem.get(stem.len().checked_sub(6)?..)?;
    let all = drawn.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let some = drawn.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let text = |part: &str| if part.is_empty() { String::new() } else { command_line([part].iter()) };
    (all && some).then(|| format!("{}*{}", text(before), text(&format!("{ending}{below}"))))
}

/// An entry without what no policy may hold, in whose place any bytes may be: outside of quotes.
fn spelled(entry: &str) -> String {
    let (mut out, mut quote) = (String::new(), "");
    for letter in entry.chars() {
        if letter == '\'' {
            quote = if quote.is_empty() { "'" } else { "" };
        }
        match ringfence_policy::is_hostile(letter) {
            true => out.push_str(&format!("{quote}{}{quote}", "?".repeat(letter.len_utf8()))),
            false => out.push(letter),
        }
    }
    out
}

/// As a file holds it.
fn quoted(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('"', "\\\"")
}

/// What the task names otherwise than the policy does, in tier `landlock`: its copy of the workspace, and its home.
pub(crate) struct Names {
    pairs: Vec<(String, String)>,
    /// Of these, the home.
    home: Option<(String, String)>,
    /// What holds the rest of a run's own directories, in tier `landlock`.
    base: Option<String>,
    workspace: PathBuf,
    /// The policy has a list of what commands start.
    children: bool,
    /// The task's PATH, and where programs may be.
    search: Option<OsString>,
    trees: Vec<PathBuf>,
}

impl Names {
    pub(crate) fn of(policy: &Policy, plan: &Plan) -> Self {
        let mut pairs = vec![(plan.inside(), plan.workspace.clone())];
        let home =
            plan.hosted.as_ref().and_then(|hosted| hosted.own.iter().find(|own| own.ends_with("home")));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let own = home.map(|home| (text(home.clone()), text(policy.home.clone())));
        pairs.extend(home.map(|home| (home.clone(), policy.home.clone())));
        let pairs = pairs.into_iter().filter(|(inside, host)| inside != host);
        Self {
            pairs: pairs.map(|(inside, host)| (text(inside), text(host))).collect(),
            home: own,
            base: plan.hosted.as_ref().map(|hosted| text(hosted.base.clone())),
            workspace: plan.workspace.clone(),
            children: policy.commands.is_some() && matches!(policy.guard.children, Children::Programs(_)),
            search: plan.environment.get(OsStr::new("PATH")).cloned(),
            trees: policy.files.exec.iter().map(|rule| rule.value.path.clone()).collect(),
        }
    }

    /// Whether a word names what this run alone has (`$TMPDIR`): an entry with it would hold for no other.
    fn is_of_run(&self, word: &str) -> bool {
        self.base.as_ref().is_some_and(|base| word.contains(base.as_str()))
    }

    /// A word of an entry that is missing. No entry means what lies in the run's own home, where the task may put anything.
    fn wanted(&self, at: usize, word: &str) -> String {
        let own = self.home.as_ref().is_some_and(|(own, _)| word.contains(own.as_str()));
        if at > 0 && own { word.to_owned() } else { self.outside(word) }
    }

    /// The home that entries mean, where arguments name the run's own.
    fn home_of(&self, words: &[String]) -> Option<&str> {
        let (own, home) = self.home.as_ref()?;
        words.iter().skip(1).any(|word| Path::new(word).starts_with(own)).then_some(home)
    }

    /// The same in the policy's names.
    pub(crate) fn outside(&self, text: &str) -> String {
        self.pairs.iter().fold(text.to_owned(), |text, (inside, host)| {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((before, behind)) = rest.split_once(inside.as_str()) {
                // Behind a slash it goes on from somewhere else.
                let begins = !before.ends_with('/') || before.chars().all(|letter| letter == '/');
                let whole = begins && (behind.is_empty() || behind.starts_with(['/', '`', ' ', '\'']));
                out.push_str(before);
                out.push_str(if whole { host } else { inside });
                rest = behind;
            }
            out + rest
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_drawn_become_patterns() {
        for (word, pattern) in [
            ("/tmp/ccMgP3Rh.s", "/tmp/*.s"),
            ("@/tmp/cclPLWs9", "@/tmp/*"),
            ("--out=/tmp/tmp.XyZ12abcde/a b", "--out=/tmp/*'/a b'"),
            ("/var/tmp/x1y2z3a4", ""),
            ("/tmp/report.txt", ""),
            ("/tmp/configuration", ""),
            ("/home/a/tmp/ccMgP3Rh.s", ""),
            ("~/x", ""),
        ] {
            assert_eq!(made_up(word).unwrap_or_default(), pattern, "{word}");
        }
    }
}
