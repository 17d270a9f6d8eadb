//! What an owner grants while a sandbox runs: judged by the policy, written down, then opened.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::executions::{Names, Written};
use crate::scribe::Scribe;
use crate::{executions, masks, terminal};
use ringfence_confine::survey;
use ringfence_plan::{Plan, Step};
use ringfence_policy::{
    Access, CommandRules, Context as PolicyContext, Endpoint, Execution, Judge, Origin, Policy, Rule,
    check_grant, network_remedy, written_endpoint,
};
use ringfence_record::{Event, Writer};
use ringfence_supervise::{
    Clerk, Command, Fate, GrantedCommand, GrantedHost, Opening, Refusal, Refused, Terms, Wish,
};

/// Decides for one run. The log is also others' to write.
pub(crate) struct Approvals<'a> {
    policy: &'a Policy,
    plan: &'a Plan,
    /// With what is granted now.
    guard: Option<CommandRules>,
    context: PolicyContext,
    log: &'a RefCell<&'a mut Writer>,
    /// The run's id, for whoever answers from elsewhere.
    run: &'a str,
    /// No terminal shows the owner a question.
    silent: bool,
    /// Commands that are granted, as they were written down.
    started: BTreeMap<u32, String>,
    /// Writes down what is granted to later sandboxes too.
    scribe: Option<Scribe>,
}

/// What a mount shows.
#[derive(Clone, Copy)]
enum Shown {
    /// The root itself.
    Root,
    /// What is the sandbox's own and may be written.
    Own,
    /// What is granted as it is, or what nobody can grant.
    Host,
}

/// Whether anything may be granted while it runs.
pub(crate) fn any(policy: &Policy) -> bool {
    let approvals = &policy.approvals;
    let more =
        !approvals.commands.is_empty() || !approvals.hosts.is_empty() || !approvals.credentials.is_empty();
    files(policy) || more
}

/// Who waits to start what, and what the owner may do; `whole`: nothing of it is masked. An entry with a mask in it would mean another
/// command, since `*` stands for anything; so would one that is shown in another way than it is.
fn waiting(who: &str, shown: &str, run: &str, whole: bool) -> String {
    let how = if whole && terminal::line(shown) != shown {
        format!(
            "no line that grants it is shown, for no entry holds all its letters: `ringfence revoke {run}` refuses it"
        )
    } else if whole {
        let entry = ringfence_policy::command_entry(shown);
        format!("`ringfence grant {run} --command {}`", terminal::word(&entry))
    } else {
        format!(
            "no line that grants it is shown, for a secret is among its words and `***` in an entry is any words: `--command` of `ringfence grant {run}` takes the words themselves,"
        )
    };
    format!("{who} waits to start {shown}: {how} within 60 seconds")
}

/// An entry as it is written down: its patterns stay, and masks are words.
fn without_secrets(entry: &str) -> String {
    let words = ringfence_policy::command_words(entry);
    let masked = masks::masked(&words);
    let written = ringfence_policy::written_words(entry);
    if written.len() != words.len() {
        return ringfence_policy::command_line(masked.iter());
    }
    let one = |((written, word), masked): ((&str, &String), &String)| match word == masked {
        true => written.to_owned(),
        false => ringfence_policy::command_line([masked].iter()),
    };
    written.into_iter().zip(&words).zip(&masked).map(one).collect::<Vec<_>>().join(" ")
}

/// Whether files may be.
pub(crate) fn files(policy: &Policy) -> bool {
    !policy.approvals.read.is_empty()
}

impl<'a> Approvals<'a> {
    /// For one run.
    pub(crate) fn new(
        policy: &'a Policy,
        plan: &'a Plan,
        context: PolicyContext,
        log: &'a RefCell<&'a mut Writer>,
        (run, silent): (&'a str, bool),
    ) -> Self {
        let (guard, started) = (plan.guard.clone(), BTreeMap::new());
        Self { policy, plan, guard, context, log, run, silent, started, scribe: None }
    }

    /// With somebody who can grant things to later sandboxes too.
    pub(crate) fn lasting(self, scribe: Option<Scribe>) -> Self {
        Self { scribe, ..self }
    }

    /// Whether a directory would be shown, and whether in a mount of the sandbox's own; the policy has been asked.
    fn place(&self, path: &Path) -> Result<(bool, bool), String> {
        let shown = path.display();
        // From the top, so that nothing is looked up behind a link: whether it is there is not to be told.
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        if let Some(link) = above.into_iter().rev().find(|at| at.is_symlink()) {
            let link = link.display();
            return Err(format!("`{shown}` leads through a symbolic link, `{link}`: name what it leads to"));
        }
        let found = path.symlink_metadata().map_err(|error| format!("`{shown}`: {error}"))?;
        let directory = found.is_dir();
        if !directory && !found.is_file() {
            return Err(format!("`{shown}` is neither a file nor a directory"));
        }
        if let Some(below) = self.mounts().map(|(at, _)| at).find(|at| at.starts_with(path)) {
            return Err(format!("`{}` is granted below it: grant what is beside it", below.display()));
        }
        let on =
            self.mounts().filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.as_os_str().len());
        let own = match on {
            None if self.plan.hosted.is_some() => {
                return Err(
                    "tier `landlock` fixes what may be read when a sandbox starts: name it in `files.read`, and start another"
                        .into(),
                );
            }
            None if self.plan.void.is_none() => {
                return Err(
                    "the sandbox's root is in memory, which can show nothing new (no /dev/fuse)".into()
                );
            }
            None => false,
            Some((_, Shown::Root)) => false,
            Some((_, Shown::Own)) => true,
            Some((at, Shown::Host)) => {
                return Err(format!("`{shown}` lies in `{}`, which is granted as it is", at.display()));
            }
        };
        Ok((directory, own))
    }

    /// Why it stays hidden though a rule covers it: it is where a secret lies, by whatever name and in whosever home.
    fn secret(&self, path: &Path) -> Option<String> {
        let named = self.policy.approvals.read.iter().any(|rule| rule.value.literal() == Some(path));
        self.plan.secrets.refuse(path, named)
    }

    /// How it would be shown.
    fn opening(&self, number: u32, path: &Path) -> Result<Opening, String> {
        let (directory, own) = self.place(path)?;
        if let Some(why) = self.secret(path) {
            return Err(why);
        }
        let hidden = if directory {
            survey::hidden_below(self.policy, &self.plan.secrets, &self.plan.workspace, path).map_err(
                |error| {
                    format!("`{}` cannot be searched for what stays hidden in it: {error}", path.display())
                },
            )?
        } else {
            Vec::new()
        };
        if let Some((below, _)) = hidden.first().filter(|_| self.plan.landlock.is_none()) {
            // Whoever is in it keeps the mount: one lock would be all there is, and nobody left to take it away.
            return Err(format!(
                "`{}` stays hidden in it, and without Landlock, which is not used here, its cover alone would keep that so for who is in it when the \
                 grant ends: grant the files that are needed",
                below.display()
            ));
        }
        Ok(Opening { number, path: path.to_path_buf(), directory, own, hidden })
    }

    fn asked_to_reach(&self, refusal: &Refusal, (host, port): (&str, u16)) -> bool {
        let entry = written_endpoint(host, port);
        let event = Event::Ask {
            path: entry.clone(),
            purpose: "connect".into(),
            process: refusal.process,
            program: refusal.program.file.to_string_lossy().into_owned(),
            script: refusal.program.script.to_string_lossy().into_owned(),
        };
        if self.silent {
            let text = format!(
                "{} waits to connect to {entry}: `ringfence grant {} --host {entry}` within 60 seconds",
                refusal.program, self.run
            );
            terminal::error(&format!("{} {}", terminal::label("ask:"), terminal::line(text)));
        }
        self.log.borrow_mut().append(&event).is_ok()
    }

    fn asked_to_start(&self, refusal: &Refusal, command: &Command) -> bool {
        let words: Vec<String> =
            command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let masked = masks::masked(&words);
        let whole = self.line_of(command).filter(|_| masked == words);
        let shown = whole.unwrap_or_else(|| ringfence_policy::command_line(masked.iter()));
        let event = Event::Ask {
            path: shown.clone(),
            purpose: "start".into(),
            process: refusal.process,
            program: refusal.program.file.to_string_lossy().into_owned(),
            script: refusal.program.script.to_string_lossy().into_owned(),
        };
        if self.silent {
            let who = if command.first { "the task".into() } else { refusal.program.to_string() };
            let text = waiting(&who, &shown, self.run, masked == words);
            terminal::error(&format!("{} {}", terminal::label("ask:"), terminal::line(text)));
        }
        self.log.borrow_mut().append(&event).is_ok()
    }

    /// A command that may be granted, as the policy has its words.
    fn line_of(&self, command: &Command) -> Option<String> {
        let guard = self.guard.as_ref()?;
        let words: Vec<&[u8]> = command.arguments.iter().map(|word| word.as_bytes()).collect();
        let execution = Execution {
            file: command.file.as_bytes(),
            arguments: &words,
            directory: command.directory.as_bytes(),
            first: false,
            within: guard.runs_own(command.file.as_bytes()),
        };
        let words = guard.offered(&execution)?.into_iter().map(|word| std::str::from_utf8(word).ok());
        let words = words.collect::<Option<Vec<_>>>()?;
        let (program, words) = words.split_first()?;
        // What is named from a directory would be another file from the next one.
        let names = Names::of(self.policy, self.plan);
        let directory = names.outside(&command.directory.to_string_lossy());
        let written = Written {
            directory: &directory,
            workspace: &self.plan.workspace,
            child: false,
            starts: &|_| false,
        };
        let words: Vec<String> = words.iter().map(|word| written.word(word)).collect();
        let words = words.join(" ");
        // As the policy has it: of the home.
        let (home, name) = program.strip_prefix("~/").map_or(("", *program), |below| ("~/", below));
        let program = ringfence_policy::command_line([name].iter());
        Some(format!("{home}{program} {words}").trim_end().to_owned())
    }

    /// Mounts other than the root.
    fn mounts(&self) -> impl Iterator<Item = (&Path, Shown)> {
        self.plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Tmpfs { path, flags, .. } if !flags.read_only => Some((path.as_path(), Shown::Own)),
                Step::Watch { path } => Some((path.as_path(), Shown::Root)),
                Step::Tmpfs { path, .. }
                | Step::Bind { path, .. }
                | Step::Overlay { path, .. }
                | Step::Hide { path, .. }
                | Step::Cover { path, .. }
                | Step::Processes { path, .. }
                | Step::Device { path }
                | Step::Terminals { path } => Some((path.as_path(), Shown::Host)),
                _ => None,
            })
            .filter(|(path, _)| *path != Path::new("/"))
    }
}

impl Clerk for Approvals<'_> {
    fn grant(&mut self, number: u32, wish: &Wish) -> Result<Opening, String> {
        let judge = Judge::new(self.policy, &self.plan.workspace);
        let rule = judge.grantable(&wish.path)?;
        if let Some(invalid) = check_grant(&wish.path, false, &self.context) {
            return Err(invalid.message);
        }
        let opening = self.opening(number, &wish.path)?;
        let event = Event::Grant {
            path: wish.path.to_string_lossy().into_owned(),
            access: "read".into(),
            seconds: wish.terms.seconds,
            why: wish.terms.why.clone(),
            who: wish.terms.who.clone(),
            rule: format!("`{}` in `approvals.grantable.read` ({})", rule.value.text(), rule.origin),
        };
        match self.log.borrow_mut().append(&event) {
            Ok(_) => Ok(opening),
            Err(error) => Err(format!("it could not be written down: {error}")),
        }
    }

    fn offer(&self, path: &Path) -> Option<bool> {
        if !self.plan.asks || check_grant(path, false, &self.context).is_some() {
            return None;
        }
        Judge::new(self.policy, &self.plan.workspace).grantable(path).ok()?;
        if self.secret(path).is_some() {
            return None;
        }
        // What lies over the root looks names up in a way that must not be held.
        self.place(path).ok().filter(|(_, own)| !own).map(|(directory, _)| directory)
    }

    fn asked(&mut self, refusal: &Refusal) -> bool {
        if let Refused::Command(command) = &refusal.what {
            return self.asked_to_start(refusal, command);
        }
        if let Refused::Network { host, port, .. } = &refusal.what {
            return self.asked_to_reach(refusal, (host, *port));
        }
        let Refused::Asked { path, purpose } = &refusal.what else { return true };
        let event = Event::Ask {
            path: path.to_string_lossy().into_owned(),
            purpose: purpose.word().into(),
            process: refusal.process,
            program: refusal.program.file.to_string_lossy().into_owned(),
            script: refusal.program.script.to_string_lossy().into_owned(),
        };
        if self.silent {
            let text = format!(
                "{} waits for {}: `ringfence grant {} --read {}` within 60 seconds",
                refusal.program,
                path.display(),
                self.run,
                terminal::path(path)
            );
            terminal::error(&format!("{} {}", terminal::label("ask:"), terminal::line(text)));
        }
        self.log.borrow_mut().append(&event).is_ok()
    }

    fn declined(&mut self, refusal: &Refusal, why: &str) -> bool {
        if let Refused::Command(command) = &refusal.what {
            let command = Command { rule: format!("the owner was asked: {why}"), ..command.clone() };
            let program = refusal.program.file.to_string_lossy().into_owned();
            let names = Names::of(self.policy, self.plan);
            let event = executions::event(&command, &names, refusal.process, program, |_| true);
            return self.log.borrow_mut().append(&event).is_ok();
        }
        if let Refused::Network { host, port, rule, .. } = &refusal.what {
            let event = Event::NetDeny {
                unix: String::new(),
                host: host.clone(),
                port: *port,
                process: refusal.process,
                program: refusal.program.file.to_string_lossy().into_owned(),
                script: refusal.program.script.to_string_lossy().into_owned(),
                started_by: refusal.program.starter.to_string_lossy().into_owned(),
                times: 1,
                rule: format!("the owner was asked: {why}"),
                remedy: network_remedy(host, *port, rule),
                grantable: true,
            };
            return self.log.borrow_mut().append(&event).is_ok();
        }
        let Refused::Asked { path, purpose } = &refusal.what else { return true };
        let judge = Judge::new(self.policy, &self.plan.workspace);
        let event = Event::FileDeny {
            path: path.to_string_lossy().into_owned(),
            asked: None,
            purpose: purpose.word().into(),
            process: refusal.process,
            program: refusal.program.file.to_string_lossy().into_owned(),
            script: refusal.program.script.to_string_lossy().into_owned(),
            started_by: refusal.program.starter.to_string_lossy().into_owned(),
            times: 1,
            rule: format!("the owner was asked: {why}"),
            remedy: judge.remedy(Path::new(path), Access::Read),
            grantable: true,
        };
        self.log.borrow_mut().append(&event).is_ok()
    }

    fn permit(&mut self, number: u32, entry: &str, terms: &Terms) -> Result<GrantedCommand, String> {
        let none = || "no entry of `approvals.grantable.commands` covers it".to_owned();
        let guard = self.guard.as_mut().ok_or_else(none)?;
        let origin = Origin { source: "granted".into(), line: 0 };
        let rule = Rule { value: entry.to_owned(), origin };
        let (granted, by) = guard.grant(&rule, &self.policy.home.to_string_lossy())?;
        let shown = without_secrets(entry);
        let event = Event::Grant {
            path: shown.clone(),
            access: "start".into(),
            seconds: terms.seconds,
            why: terms.why.clone(),
            who: terms.who.clone(),
            rule: by.to_owned(),
        };
        match self.log.borrow_mut().append(&event) {
            Ok(_) => {
                guard.permit(number, granted.clone());
                self.started.insert(number, shown);
                Ok(granted)
            }
            Err(error) => Err(format!("it could not be written down: {error}")),
        }
    }

    fn lasts(&self) -> bool {
        self.scribe.is_some()
    }

    fn keep(&mut self, path: &Path) {
        if let Some(scribe) = &self.scribe {
            scribe.add(path);
        }
    }

    fn reach(&mut self, entry: &str, terms: &Terms) -> Result<GrantedHost, String> {
        let endpoint = Endpoint::parse(entry).map_err(|invalid| invalid.to_string())?;
        let (granted, by) = self.policy.grant_host(&endpoint)?;
        let event = Event::Grant {
            path: endpoint.to_string(),
            access: "connect".into(),
            seconds: terms.seconds,
            why: terms.why.clone(),
            who: terms.who.clone(),
            rule: by,
        };
        match self.log.borrow_mut().append(&event) {
            Ok(_) => Ok(granted),
            Err(error) => Err(format!("it could not be written down: {error}")),
        }
    }

    fn lend(&mut self, name: &str, terms: &Terms) -> Result<(), String> {
        let grantable = &self.policy.approvals.credentials;
        let rule = grantable.iter().find(|rule| rule.value == name).ok_or_else(|| {
            format!(
                "`{name}` is not in `approvals.grantable.credentials`: no credential but those can be granted"
            )
        })?;
        let event = Event::Grant {
            path: name.to_owned(),
            access: "credential".into(),
            seconds: terms.seconds,
            why: terms.why.clone(),
            who: terms.who.clone(),
            rule: format!("`approvals.grantable.credentials` ({})", rule.origin),
        };
        match self.log.borrow_mut().append(&event) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("it could not be written down: {error}")),
        }
    }

    fn offer_host(&self, host: &str, port: u16) -> Option<String> {
        if !self.policy.approvals.ask || port == 0 {
            return None;
        }
        let endpoint = Endpoint::parse(&written_endpoint(host, port)).ok()?;
        self.policy.grant_host(&endpoint).ok().map(|_| endpoint.to_string())
    }

    fn offer_command(&self, command: &Command) -> Option<String> {
        if !self.policy.approvals.ask || command.fate != Fate::Refused || command.file.is_empty() {
            return None;
        }
        self.line_of(command).map(|line| ringfence_policy::command_entry(&line))
    }

    fn ended(&mut self, number: u32, path: &Path, cause: &str) -> bool {
        self.guard.iter_mut().for_each(|guard| guard.withdraw(number));
        let started = self.started.remove(&number);
        let path = started.unwrap_or_else(|| path.to_string_lossy().into_owned());
        let event = Event::Revoke { path, cause: cause.to_owned() };
        self.log.borrow_mut().append(&event).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_offered_that_grants_a_mask() {
        let whole = waiting("sh", "id -u", "r1", true);
        assert!(whole.contains("`ringfence grant r1 --command 'id -u'` within"), "{whole}");
        let alone = waiting("sh", "id", "r1", true);
        assert!(alone.contains("`ringfence grant r1 --command 'id ()'` within"), "{alone}");
        let masked = waiting("sh", "id '--token=***'", "r1", false);
        assert!(!masked.contains("--command '") && masked.contains("a secret is among"), "{masked}");
        let hidden = waiting("sh", "id 'a\nb'", "r1", true);
        assert!(!hidden.contains("--command") && hidden.contains("no entry holds"), "{hidden}");
    }
}
