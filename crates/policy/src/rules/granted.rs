//! Commands that the owner grants while a sandbox runs.

use serde::{Deserialize, Serialize};

use super::program::{Meaning, Meanings, by_word};
use super::table::{Entry, permitted};
use super::{CommandRules, Execution, Table, last, many, meanings};
use crate::argv::{As, CommandPattern, Place};
use crate::model::Rule;

/// An entry that holds for as long as it is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedCommand {
    table: Table,
}

/// Which of what it means no entry of these permits.
fn missing<'a>(
    lists: &[&Table],
    execution: &Execution<'a>,
    meant: &Meanings<'a>,
    place: Place<'_>,
) -> Vec<Meaning<'a>> {
    let listed =
        |one: &Meaning<'_>| lists.iter().any(|list| list.find_as(execution, one, place, As::Allow).is_ok());
    meant.judged(execution.file).filter(|one| !listed(one)).cloned().collect()
}

/// Entries that a refusal names.
const MOST_TOLD: usize = 8;

impl CommandRules {
    /// The words of the grant that the owner may be asked for where this was refused.
    #[must_use]
    pub fn offered<'a>(&'a self, execution: &Execution<'a>) -> Option<Vec<&'a [u8]>> {
        self.allow.as_ref()?;
        self.stands(execution).ok()?;
        if self.judge(execution, |path| Some(path.to_vec())).is_ok() {
            return None;
        }
        let (place, all) = (self.place(execution.directory), meanings(execution));
        let mut lists = self.in_force(execution);
        let missing = missing(&lists, execution, &all, place);
        // What is started before that which starts it: each grant opens what it says.
        let meant = missing.last()?;
        // A grant of these words opens no others, and what may be anything needs more than words.
        if all.any || missing.iter().any(|one| one.open) {
            return None;
        }
        lists.push(&self.grantable);
        permitted(&lists, execution, &all, place).ok()?;
        let entry = self.grantable.find_as(execution, meant, place, As::Allow).ok()?;
        let part = by_word(entry.written.as_bytes()).then_some(meant.called);
        let arguments = match many(execution.file) {
            true => meant.arguments(),
            // In git's words the name of an entry for `git-NAME` is the first.
            false if last(execution.file) == b"git" => {
                meant.arguments().get(usize::from(entry.is_of_git())..).unwrap_or_default()
            }
            false => execution.arguments.get(1..).unwrap_or_default(),
        };
        Some(std::iter::once(entry.written.as_bytes()).chain(part).chain(arguments.iter().copied()).collect())
    }

    /// What an entry opens when it is granted, and the rule that lets it be.
    ///
    /// # Errors
    /// Why it may not be, in a sentence.
    pub fn grant(&self, entry: &Rule<String>, home: &str) -> Result<(GrantedCommand, &str), String> {
        let shown = &entry.value;
        if self.allow.is_none() {
            return Err("there is no `commands.allow`: any program may start already".to_owned());
        }
        let wanted = CommandPattern::parse(shown, home).map_err(|invalid| invalid.to_string())?;
        let arguments = wanted.literal_arguments();
        let words: Option<Vec<&[u8]>> =
            arguments.as_ref().map(|words| words.iter().map(Vec::as_slice).collect());
        let place = self.place(&self.workspace);
        let means = |most: &CommandPattern, wanted: &CommandPattern| {
            let words = wanted.literal_arguments();
            let words: Option<Vec<&[u8]>> =
                words.as_ref().map(|words| words.iter().map(Vec::as_slice).collect());
            most.program == wanted.program
                && (most.covers(wanted) || words.is_some_and(|words| most.matches(&words, place, As::Allow)))
        };
        let files_of = |at: usize| -> Vec<&[u8]> {
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            let all = self.grantable.files.iter().filter(|(_, index)| {
                index.others.contains(&number) || index.words.values().flatten().any(|one| *one == number)
            });
            all.map(|(file, _)| file.as_slice()).collect()
        };
        // A file of many programs may be named by its path as well; and no entry of one is one of another.
        let asked = wanted.program.as_bytes();
        let covers = |(at, most): (usize, &Entry)| {
            let (applets, named) = (by_word(most.written.as_bytes()), wanted.program == most.written);
            let by_path = applets && by_word(asked) && files_of(at).contains(&asked);
            if !named && !by_path {
                return false;
            }
            let wanted = wanted.clone().of_program(most.written.clone());
            // As the lists have it: `busybox cat FILE` is `cat FILE`, of that file.
            means(&most.pattern, &wanted) || applets && means(&most.pattern, &wanted.of_applet())
        };
        let found = self.grantable.entries.iter().enumerate().position(covers);
        let rule = found.and_then(|at| Some((at, self.grantable.entries.get(at)?)));
        let none = || {
            let all = self.grantable.entries.iter().take(MOST_TOLD);
            let all = all.filter_map(|entry| entry.told.split(" in `approvals.").next());
            let all = all.collect::<Vec<_>>().join(", ");
            format!("no entry of `approvals.grantable.commands` covers `{shown}`: it has {all}")
        };
        let (at, rule) = rule.ok_or_else(none)?;
        let mut files = files_of(at);
        if wanted.program != rule.written {
            files.retain(|file| *file == asked);
        }
        // What is granted for a time may be granted for another.
        let mut lasting = self.clone();
        lasting.granted.clear();
        for file in &files {
            let program: &[u8] = wanted.program.as_bytes();
            let all: Vec<&[u8]> = std::iter::once(program).chain(words.iter().flatten().copied()).collect();
            let within = self.runs_own(file);
            let execution =
                Execution { file, arguments: &all, directory: &self.workspace, first: true, within };
            self.stands(&execution).map_err(|told| format!("{told}; that stands above every grant"))?;
            if words.is_some() && lasting.judge(&execution, |path| Some(path.to_vec())).is_ok() {
                return Err(format!("`{shown}` is allowed already"));
            }
        }
        let mut table = Table::default();
        let paths: Vec<_> = files.iter().map(|file| super::path(file)).collect();
        table.add(entry, "granted", home, &paths, false);
        if let Some(words) = words {
            self.starts_with(&table, shown, &wanted, &words, &files)?;
        }
        Ok((GrantedCommand { table }, &rule.told))
    }

    /// Whether one line of a file of many may start with this grant: it may start others of its file, which have to be listed or granted.
    fn starts_with(
        &self,
        table: &Table,
        shown: &str,
        wanted: &CommandPattern,
        words: &[&[u8]],
        files: &[&[u8]],
    ) -> Result<(), String> {
        let all: Vec<&[u8]> =
            std::iter::once(wanted.program.as_bytes()).chain(words.iter().copied()).collect();
        for file in files.iter().filter(|file| many(file)) {
            let within = self.runs_own(file);
            let execution =
                Execution { file, arguments: &all, directory: &self.workspace, first: false, within };
            let (meant, place) = (meanings(&execution), self.place(&self.workspace));
            let mut lists = self.in_force(&execution);
            lists.push(table);
            if permitted(&lists, &execution, &meant, place).is_err() {
                let what = match missing(&lists, &execution, &meant, place).last() {
                    Some(one) if !meant.any => format!("`{}`", String::from_utf8_lossy(one.called)),
                    _ => "any program".to_owned(),
                };
                return Err(format!(
                    "`{shown}` may start {what} of its file, which is neither listed nor granted yet"
                ));
            }
        }
        Ok(())
    }

    /// From now on it holds.
    pub fn permit(&mut self, number: u32, granted: GrantedCommand) {
        self.granted.push((number, granted.table));
    }

    /// From now on it does not.
    pub fn withdraw(&mut self, number: u32) {
        self.granted.retain(|(own, _)| *own != number);
    }

    /// Nothing that stands above every list refuses a script by its own name.
    ///
    /// # Errors
    /// What does, in one sentence.
    pub fn stands_as_script(&self, execution: &Execution<'_>) -> Result<(), String> {
        self.denied(execution)?;
        let arguments = execution.arguments.get(1..).unwrap_or_default();
        self.shells.as_ref().map_or(Ok(()), |shells| {
            shells.judge_script(last(execution.file), arguments, execution.directory)
        })
    }

    /// Nothing that stands above every list refuses it.
    ///
    /// # Errors
    /// What does, in one sentence.
    pub fn stands(&self, execution: &Execution<'_>) -> Result<(), String> {
        self.denied(execution)?;
        let Some(shells) = &self.shells else { return Ok(()) };
        let meant = meanings(execution);
        if meant.any {
            return Err(
                "`commands.shell` is false, and it may start any other program of its file".to_owned()
            );
        }
        meant.all.iter().try_for_each(|one| {
            let arguments = one.arguments();
            shells.judge(one.called, arguments, execution.directory)?;
            if many(execution.file) {
                return Ok(());
            }
            shells.judge(last(execution.file), arguments, execution.directory)?;
            // Some do by their name what others do by an option.
            let name = last(execution.arguments.first().copied().unwrap_or_default());
            shells.judge(name, execution.arguments.get(1..).unwrap_or_default(), execution.directory)
        })
    }
}
