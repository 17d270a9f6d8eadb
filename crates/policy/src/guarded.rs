//! The keys of `[commands]` that somebody must look at each execution for: how they are read, merged and bounded.

use crate::argv::CommandPattern;
use crate::collected::Collected;
use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::document::{Children as Written, CommandsTable};
use crate::merge::{replace_by, rule, rules};
use crate::model::{self, Children};
use crate::path::{Scope, absolute, check_characters, normal};
use crate::reader::{At, choice};

/// As they are merged.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) deny: Collected<String>,
    pub(crate) shell: Option<At<bool>>,
    pub(crate) pipes: Option<At<bool>>,
    children: Option<At<Listed>>,
    pub(crate) pin: Option<At<bool>>,
}

#[derive(Clone, Debug)]
enum Listed {
    Same,
    Free,
    Programs(Vec<At<String>>),
}

impl Keys {
    pub(crate) fn add(&mut self, commands: &CommandsTable, scope: &Scope<'_>, report: &mut Report) {
        for entry in commands.deny.iter().flat_map(|list| &list.value) {
            match program(entry, scope) {
                Ok(read) => drop(self.deny.add(entry.with(read))),
                Err(problem) => report.push(problem),
            }
        }
        replace_by(&mut self.shell, commands.shell.as_ref());
        replace_by(&mut self.pipes, commands.pipes.as_ref());
        replace_by(&mut self.pin, commands.pin.as_ref());
        let Some(children) = &commands.children else { return };
        let read = match &children.value {
            Written::Text(text) => {
                let text = At::new(text.clone(), children.place);
                choice("commands.children", &text, &[("same", false), ("free", true)], report)
                    .map(|free| if free { Listed::Free } else { Listed::Same })
            }
            Written::List(list) => {
                // Lists add up over what is extended; a word takes the place of one.
                let mut programs = match self.children.as_ref().map(|at| &at.value) {
                    Some(Listed::Programs(before)) => before.clone(),
                    _ => Vec::new(),
                };
                for entry in list {
                    match program(entry, scope) {
                        Ok(read) if programs.iter().any(|known| known.value == read) => {}
                        Ok(read) => programs.push(entry.with(read)),
                        Err(problem) => report.push(problem),
                    }
                }
                Some(Listed::Programs(programs))
            }
        };
        replace_by(&mut self.children, read.map(|read| children.with(read)).as_ref());
    }

    /// A list of children starts anew; begun over `"free"`, too.
    pub(crate) fn forget_children(&mut self) {
        match &mut self.children {
            Some(At { value: Listed::Programs(programs), .. }) => programs.clear(),
            _ => self.children = None,
        }
    }

    /// Where the key was written.
    pub(crate) fn children_at(&self) -> Option<Place> {
        self.children.as_ref().map(|at| at.place)
    }

    /// Where a list of children was written, if one was.
    pub(crate) fn listed(&self) -> Option<Place> {
        let listed = self.children.as_ref().filter(|at| matches!(at.value, Listed::Programs(_)));
        listed.map(|at| at.place)
    }

    pub(crate) fn finish(&self, report: &Report) -> model::Guard {
        model::Guard {
            deny: rules(&self.deny.items, report),
            shell: self.shell.as_ref().map(|at| rule(at, report)),
            pipes: self.pipes.as_ref().map(|at| rule(at, report)),
            pin: self.pin.as_ref().map(|at| rule(at, report)),
            children: match self.children.as_ref().map(|at| &at.value) {
                None | Some(Listed::Same) => Children::Same,
                Some(Listed::Free) => Children::Free,
                Some(Listed::Programs(list)) => Children::Programs(rules(list, report)),
            },
        }
    }

    /// What the ceiling denies holds for all; what it does not leave to children, by its list of them or by `allow`, no policy may.
    pub(crate) fn bound(
        &mut self,
        ceiling: &Self,
        start: Place,
        allow: Option<&Collected<String>>,
        report: &mut Report,
    ) {
        for entry in &ceiling.deny.items {
            self.deny.add(entry.clone());
        }
        if ceiling.shell.as_ref().is_some_and(|at| !at.value) {
            self.shell.clone_from(&ceiling.shell);
        }
        if ceiling.pipes.as_ref().is_some_and(|at| !at.value) {
            self.pipes.clone_from(&ceiling.pipes);
        }
        if ceiling.pin.as_ref().is_some_and(|at| at.value) {
            self.pin.clone_from(&ceiling.pin);
        }
        // A ceiling without a list of programs bounds none of them.
        let Some((children, allow)) = self.children.as_ref().zip(allow) else { return };
        let most = ceiling.children.as_ref();
        let listed = match most.map(|at| &at.value) {
            Some(Listed::Programs(most)) => most.as_slice(),
            _ => &[],
        };
        let within =
            |wanted: &At<String>| [listed, &allow.items].iter().any(|most| covered(&wanted.value, most));
        let above = match (&children.value, most.map(|at| &at.value)) {
            (Listed::Same, _) | (_, Some(Listed::Free)) => false,
            (Listed::Programs(wanted), _) => !wanted.iter().all(within),
            (Listed::Free, _) => true,
        };
        if above {
            let problem = Problem::new(children.place, "`commands.children` is above the ceiling");
            let bound = most.map_or(start, |at| at.place);
            let problem = problem.label("set here").related(bound, "the ceiling allows less");
            report.push(problem.help("remove it, or name only what the ceiling's list names".to_owned()));
        }
    }
}

/// Whether one of these means all that the entry does.
pub(crate) fn covered(entry: &str, most: &[At<String>]) -> bool {
    let read = |text: &str| CommandPattern::parse(text, "/").ok();
    let Some(entry) = read(entry) else { return false };
    most.iter().filter_map(|most| read(&most.value)).any(|most| most.covers(&entry))
}

/// Reads an entry: a bare name or an absolute path, then what its arguments may be.
pub(crate) fn program(entry: &At<String>, scope: &Scope<'_>) -> Result<String, Problem> {
    let text = entry.value.as_str();
    let invalid = |invalid: Invalid| invalid.at(entry.place);
    check_characters(text).map_err(invalid)?;
    let home = scope.context.home.to_string_lossy();
    let pattern = CommandPattern::parse(text, &home).map_err(invalid)?;
    let name = pattern.program.as_str();
    let program = if name.starts_with(['/', '~', '$']) {
        let path = absolute(name, scope).and_then(|path| normal(&path)).map_err(invalid)?;
        path.into_os_string().into_string().map_err(|_| Problem::new(entry.place, "a path is not UTF-8"))?
    } else if name.contains('/') || matches!(name, "." | "..") {
        return Err(Problem::new(entry.place, format!("`{name}` is neither a name nor an absolute path"))
            .help("programs of the workspace are allowed by `commands.from_workspace = true`; of a script name its interpreter as well: `sh ./build.sh`".to_owned()));
    } else {
        name.to_owned()
    };
    let optional = if pattern.optional { "?" } else { "" };
    Ok(format!("{}{optional}{}", spelled(&program), behind(text)))
}

/// A program so that reading it back gives the same.
fn spelled(program: &str) -> String {
    let plain = |character: char| !character.is_whitespace() && !"'\"()|*?".contains(character);
    if program.chars().all(plain) { program.to_owned() } else { format!("'{}'", program.replace('\'', "''")) }
}

/// What stands behind the program, with the blank before it.
pub(crate) fn behind(text: &str) -> &str {
    let text = text.trim();
    let mut quoted = false;
    let end = text.char_indices().find(|(_, character)| {
        quoted ^= *character == '\'';
        !quoted && (character.is_whitespace() || *character == '(')
    });
    end.and_then(|(at, _)| text.get(at..)).unwrap_or_default()
}
