//! Decides about a command line by its words, before anything is looked up on the host.

use std::path::Path;

use crate::argv::{As, CommandPattern, Place};
use crate::decision::{Access, Decision, Judge, Reason};
use crate::model::{Children, Policy, Rule};
use crate::shells::Shells;
use crate::verbs;

/// A line, split.
struct Line<'a> {
    program: &'a str,
    arguments: Vec<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// The arguments of git that it means: `git-NAME` is `git NAME`.
    fn of_git(&self) -> Option<Vec<&'a [u8]>> {
        let name = self.program.rsplit('/').next()?.strip_prefix("git")?;
        let command = if name.is_empty() { None } else { Some(name.strip_prefix('-')?.as_bytes()) };
        Some(command.into_iter().chain(self.arguments.iter().copied()).collect())
    }
}

/// Whether an entry denies these words of git's, however it spells them.
fn denies_of_git(pattern: CommandPattern, words: &[&[u8]], place: Place<'_>) -> bool {
    let own = Path::new(&pattern.program).file_name() == Some("git".as_ref());
    let git = if own { Some(pattern) } else { pattern.of_git() };
    git.is_some_and(|git| git.matches(words, place, As::Deny))
}

impl Judge<'_> {
    /// Decides about a program and its arguments: the program is a name that is looked up, or a path.
    pub fn run(&self, line: &str) -> Decision {
        let words = words(line);
        let [program, arguments @ ..] = words.as_slice() else {
            return refuse("there is no command".to_owned());
        };
        let arguments = arguments.iter().map(String::as_bytes).collect();
        self.command(&Line { program, arguments })
    }

    /// The same of what a command starts.
    pub fn child(&self, line: &str) -> Decision {
        let decision = self.run(line);
        let first = words(line);
        let listed = matches!(decision.reason(), Reason::BuiltIn(_)) && !decision.is_allow();
        match (&self.policy.guard.children, first.split_first()) {
            (Children::Free, Some((program, _))) if listed && !self.shell_refuses(line) => self.free(program),
            (Children::Programs(list), Some((program, arguments))) if listed && !self.shell_refuses(line) => {
                let arguments = arguments.iter().map(String::as_bytes).collect();
                self.listed(list, "commands.children", &Line { program, arguments }).unwrap_or(decision)
            }
            _ => decision,
        }
    }

    /// The entry of `approvals.grantable.commands` by which a command that is refused may be granted.
    pub fn grantable_command(&self, line: &str) -> Option<Reason> {
        let words = words(line);
        let (program, arguments) = words.split_first()?;
        let arguments = arguments.iter().map(String::as_bytes).collect();
        let line = Line { program, arguments };
        if self.denial(&line).is_some()
            || self.policy.commands.is_none()
            || self.shell(&line).is_err()
            || self.command(&line).is_allow()
        {
            return None;
        }
        let grantable = &self.policy.approvals.commands;
        let found = self.matching(grantable, "approvals.grantable.commands", &line, As::Allow)?;
        Some(found.reason().clone())
    }

    fn command(&self, line: &Line<'_>) -> Decision {
        let path = line.program.contains('/').then(|| self.root().join(line.program));
        if let Some(path) = &path {
            let decision = self.file(path, Access::Exec);
            if !decision.is_allow() {
                return decision;
            }
        }
        if let Some(by) = self.denial(line) {
            return Decision::Refuse { by };
        }
        if let Err(why) = self.shell(line) {
            return refuse(why);
        }
        let Some(commands) = &self.policy.commands else {
            return self.any(line.program);
        };
        if let Some(decision) = self.listed(&commands.allow, "commands.allow", line) {
            return decision;
        }
        // What the workspace built is allowed as such: no list could know its names beforehand.
        if self.policy.from_workspace && path.is_some_and(|path| self.holds(&path)) {
            return allow("`commands.from_workspace` allows what the workspace holds");
        }
        let named = commands.allow.iter().any(|entry| self.names(entry, line.program));
        let list = list_at(self.policy);
        refuse(match named {
            true => format!("{list} names `{}`, but not with these arguments", line.program),
            false => format!("{list} does not name `{}`", line.program),
        })
    }

    /// What `commands.deny` says of it.
    fn denial(&self, line: &Line<'_>) -> Option<Reason> {
        let deny = &self.policy.guard.deny;
        let verb = verbs::of([last(line.program).as_bytes()]);
        if let Some(found) = self.matching(deny, "commands.deny", line, As::Deny) {
            let Reason::Rule { text, .. } = found.reason() else { return Some(found.reason().clone()) };
            let pattern = CommandPattern::parse(text, "/").ok();
            let meant = verb.zip(pattern.as_ref().and_then(CommandPattern::first_word));
            let misread = meant.and_then(|(verb, meant)| Some((verb, verb.misread(&line.arguments, meant)?)));
            let told = |(verb, word): (&verbs::Verb, &[u8])| verb.told(&found.reason().to_string(), word);
            return Some(misread.map(told).map_or_else(|| found.reason().clone(), Reason::BuiltIn));
        }
        let verb = verb?;
        let word = verb.unknown(&line.arguments, true)?;
        let entry = deny.iter().find(|entry| self.names(entry, line.program))?;
        let named = |entry: &&Rule<String>| {
            let pattern = CommandPattern::parse(&entry.value, "/").ok();
            pattern.is_some_and(|pattern| pattern.first_word() == Some(word))
                && self.matching(std::slice::from_ref(*entry), "commands.allow", line, As::Allow).is_some()
        };
        let allowed = self.policy.commands.as_ref().map(|commands| &commands.allow);
        if allowed.is_some_and(|list| list.iter().any(|entry| named(&entry))) {
            return None;
        }
        let told = format!("`{}` in `commands.deny` ({})", entry.value, entry.origin);
        Some(Reason::BuiltIn(verb.told(&told, word)))
    }

    /// Any program, for a command starts it.
    fn free(&self, program: &str) -> Decision {
        if program.contains('/') || self.policy.files.exec.is_empty() {
            return self.any(program);
        }
        let origin = self.policy.origins.get("commands.children");
        let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
        allow(&format!("`commands.children = \"free\"`{origin}: any program in an executable tree may start"))
    }

    fn any(&self, program: &str) -> Decision {
        match program.contains('/') {
            true => self.file(&self.root().join(program), Access::Exec),
            false => self.any_program(),
        }
    }

    fn shell(&self, line: &Line<'_>) -> Result<(), String> {
        let guard = &self.policy.guard;
        if guard.shell() {
            return Ok(());
        }
        let name = line.program.rsplit('/').next().unwrap_or_default();
        Shells::new(guard.shell.as_ref().map(|rule| &rule.origin)).judge(
            name.as_bytes(),
            &line.arguments,
            self.root().as_os_str().as_encoded_bytes(),
        )
    }

    fn shell_refuses(&self, line: &str) -> bool {
        let words = words(line);
        words.split_first().is_some_and(|(program, arguments)| {
            let arguments = arguments.iter().map(String::as_bytes).collect();
            self.shell(&Line { program, arguments }).is_err()
        })
    }

    fn listed(&self, list: &[Rule<String>], key: &'static str, line: &Line<'_>) -> Option<Decision> {
        self.matching(list, key, line, As::Allow)
    }

    fn matching(
        &self,
        list: &[Rule<String>],
        key: &'static str,
        line: &Line<'_>,
        how: As,
    ) -> Option<Decision> {
        let workspace = self.root().as_os_str().as_encoded_bytes();
        let read = verbs::of([last(line.program).as_bytes()]).map(|verb| verb.line(&line.arguments));
        let place = Place {
            workspace,
            copy: None,
            home: None,
            directory: workspace,
            program: [b""; 3],
            read: read.as_ref(),
        };
        let home = self.policy.home.to_string_lossy();
        let as_git = (how == As::Deny).then(|| line.of_git()).flatten();
        let found = list.iter().find(|entry| {
            let Ok(pattern) = CommandPattern::parse(&entry.value, &home) else { return false };
            self.names(entry, line.program) && pattern.matches(&line.arguments, place, how)
                || as_git.as_ref().is_some_and(|words| denies_of_git(pattern, words, place))
        })?;
        let (text, origin) = (found.value.clone(), found.origin.clone());
        Some(Decision::Allow { by: Reason::Rule { key, text, origin } })
    }

    /// An entry that is a path means that file only; a name means it in any executable tree.
    fn names(&self, entry: &Rule<String>, program: &str) -> bool {
        let Ok(pattern) = CommandPattern::parse(&entry.value, "/") else { return false };
        let entry = Path::new(&pattern.program);
        match program.contains('/') {
            true if entry.is_absolute() => entry == self.root().join(program),
            _ => entry.file_name() == Path::new(program).file_name(),
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The denial that refuses all that an entry means, as far as their words say: what begins with denied words is denied whole.
pub fn denied_entry<'a>(entry: &CommandPattern, deny: &'a [Rule<String>]) -> Option<&'a Rule<String>> {
    let line = Line { program: &entry.program, arguments: entry.leading_words() };
    let (name, git) = (line.program.rsplit('/').next(), line.of_git());
    let read = verbs::of([last(line.program).as_bytes()]).map(|verb| verb.line(&line.arguments));
    let place = Place {
        workspace: b"/",
        copy: None,
        home: None,
        directory: b"/",
        program: [b""; 3],
        read: read.as_ref(),
    };
    deny.iter().find(|rule| {
        // What names a path depends on where a process stands.
        let pattern = CommandPattern::parse(&rule.value, "/").ok().filter(|pattern| !pattern.names_paths());
        pattern.is_some_and(|pattern| {
            let anywhere = !pattern.program.contains('/');
            let same = pattern.program == entry.program || anywhere && Some(&*pattern.program) == name;
            same && pattern.matches(&line.arguments, place, As::Deny)
                || anywhere && git.as_ref().is_some_and(|words| denies_of_git(pattern, words, place))
        })
    })
}

/// The list, and where it was written.
pub(crate) fn list_at(policy: &Policy) -> String {
    let origin = policy.origins.get("commands.allow").map(|origin| format!(" ({origin})"));
    format!("`commands.allow`{}", origin.unwrap_or_default())
}

/// Splits at blanks; single quotes hold together, as in patterns.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if quoted && characters.next_if_eq(&'\'').is_some() => {
                word.get_or_insert_default().push('\'');
            }
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            character if character.is_whitespace() && !quoted => words.extend(word.take()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The same words as they are written, quotes and all.
pub fn written_words(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = line.split(|character: char| {
        quoted ^= character == '\'';
        character.is_whitespace() && !quoted
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// Words as one line, of which patterns and [`words`] make the same words.
pub fn command_line(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    words.map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A line of words as an entry that means them alone: a program by itself would be any arguments.
pub fn command_entry(line: &str) -> String {
    if words(line).len() == 1 { format!("{line} ()") } else { line.to_owned() }
}

fn quoted(word: &str) -> String {
    let plain = |character: char| {
        !character.is_whitespace() && !character.is_control() && !"'\"()|*?;&<>$`\\".contains(character)
    };
    // A home, and a list of words.
    let means_more = word.starts_with('~') || word.contains('{') && word.contains(',');
    match !word.is_empty() && !means_more && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "''")),
    }
}

fn refuse(sentence: String) -> Decision {
    Decision::Refuse { by: Reason::BuiltIn(sentence) }
}

fn allow(sentence: &str) -> Decision {
    Decision::Allow { by: Reason::BuiltIn(sentence.to_owned()) }
}
