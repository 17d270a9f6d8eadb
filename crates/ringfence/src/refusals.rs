//! What was refused while a sandbox ran: written down when it happens, repeated ones counted.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use ringfence_confine::BEYOND;
use ringfence_confine::gateway::NUMBERS;
use ringfence_plan::{Plan, asked, syscalls};
use ringfence_policy::{Access, Decision, GitCommand, Judge, Policy, Reason};
use ringfence_record::{Event, Writer};
use ringfence_supervise::{Command, Fate, Life, Notice, Purpose, Refusal, Refused};

use crate::failure::{Context, Failure};
use crate::host::Host;
use crate::outgoing;
use crate::rooms::{Rooms, repeated};
use crate::{cautions, counted, detail, executions as commands, leaks, remedies};

/// Refusals that get events of their own: a task could ask for as many as it likes, and a log is not for it to fill.
const MOST: usize = 4096;

/// Programs of one run that get events of their own when they start and end.
const MOST_PROCESSES: usize = 50_000;

/// The refusals of one run.
pub(crate) struct Refusals {
    policy: &'static Policy,
    workspace: &'static Path,
    /// Nothing lies over the host's own files.
    hosted: bool,
    /// The policy grants one.
    network: bool,
    /// Directories of PATH, of which only listed programs are code there.
    searched: &'static [PathBuf],
    /// Where the task finds its workspace.
    inside: PathBuf,
    /// Programs that were changed while they were judged, each by its number: no flood of refusals takes their room.
    tampered: BTreeMap<String, (Event, u64)>,
    names: commands::Names,
    host: Host,
    /// Made at the first refusal.
    judge: OnceCell<Judge<'static>>,
    /// How often each connect was repeated, by its event.
    connects: BTreeMap<String, (Event, u64)>,
    /// The same of credentials and containers, of credentials that were used, and of secrets in what left: none takes another's place.
    credentials: BTreeMap<String, (Event, u64)>,
    uses: BTreeMap<String, (Event, u64)>,
    /// And of granted connections that came to nothing, whose names the task may choose.
    failed: BTreeMap<String, (Event, u64)>,
    /// Those for which that has no room: they are no refusals.
    more_failed: u64,
    leaks: BTreeMap<String, (Event, u64)>,
    /// Secrets that were masked or let through, beyond those in `leaks`.
    passed: u64,
    /// Which of those have a number by which they are counted.
    packets: BTreeMap<u32, String>,
    /// The same of commands, by their words and the rule.
    commands: BTreeMap<String, (Event, u64)>,
    /// The same of files, by the number that the root's server gave it.
    files: BTreeMap<u32, (Event, u64)>,
    /// The same of system calls: no flood of names takes their room.
    calls: BTreeMap<u32, (Event, u64)>,
    /// Files for which that has no room.
    rooms: Rooms,
    /// Decoys that were opened, and by what, in their order.
    decoys: Vec<(String, String)>,
    /// Those beyond [`MOST`].
    others: u64,
    /// Programs that were written down one by one, those of them that run, and how many were not.
    started: usize,
    running: BTreeSet<i32>,
    more: u64,
}

impl Refusals {
    /// Of one run.
    pub(crate) fn new(policy: &'static Policy, plan: &'static Plan) -> Self {
        Self {
            policy,
            workspace: &plan.workspace,
            hosted: plan.hosted.is_some(),
            network: plan.network.is_some(),
            searched: plan.hosted.as_ref().map(|hosted| hosted.searched.as_slice()).unwrap_or_default(),
            inside: plan.inside(),
            tampered: BTreeMap::new(),
            names: commands::Names::of(policy, plan),
            host: Host::new(),
            judge: OnceCell::new(),
            connects: BTreeMap::new(),
            credentials: BTreeMap::new(),
            uses: BTreeMap::new(),
            failed: BTreeMap::new(),
            more_failed: 0,
            leaks: BTreeMap::new(),
            passed: 0,
            packets: BTreeMap::new(),
            commands: BTreeMap::new(),
            files: BTreeMap::new(),
            calls: BTreeMap::new(),
            rooms: Rooms::default(),
            decoys: Vec::new(),
            others: 0,
            started: 0,
            running: BTreeSet::new(),
            more: 0,
        }
    }

    /// How many secrets were masked or let through, as `leaks.action` says.
    pub(crate) fn passed(&self) -> u64 {
        self.leaks.values().filter(|(event, _)| passed(event)).count() as u64 + self.passed
    }

    /// How many different things were refused, as [`crate::explanation`] lists them; most names that programs look for are nowhere, and do
    /// not count.
    pub(crate) fn total(&self) -> u64 {
        let known = self.connects.values().chain(self.credentials.values()).chain(self.leaks.values());
        let known =
            known.chain(self.files.values()).chain(self.commands.values()).chain(self.tampered.values());
        let known = known.chain(self.calls.values()).chain(self.rooms.known());
        counted::refused(known.map(|(event, _)| event), &self.host)
    }

    /// Refusals that are told of only as a number.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }

    /// Variables that programs ran without.
    pub(crate) fn cleaned(&self) -> BTreeSet<String> {
        let cleaned = self.commands.values().filter_map(|(event, _)| match event {
            Event::ExecClean { variables, .. } => Some(variables.clone()),
            _ => None,
        });
        cleaned.flatten().collect()
    }

    /// The rule by which a command was refused with these words.
    pub(crate) fn rule(&self, words: &[String]) -> Option<&str> {
        self.commands.values().find_map(|(event, _)| match event {
            Event::ExecDeny { command, rule, .. } if command == words => Some(rule.as_str()),
            _ => None,
        })
    }

    /// The decoys that were opened, each with the program that did.
    pub(crate) fn decoys(&self) -> &[(String, String)] {
        &self.decoys
    }

    /// Writes one down; `false` if that failed.
    pub(crate) fn note(&mut self, notice: &Notice<'_>, log: &mut Writer) -> bool {
        match notice {
            Notice::Refusal(refusal) => {
                let given = refusal.program.given != [0, 0];
                let named = given.then(|| Refusal {
                    program: refusal.program.as_given(|script| self.may_have(script)),
                    ..(*refusal).clone()
                });
                match self.first(named.as_ref().unwrap_or(refusal)) {
                    Some(event) => log.append(&event).is_ok(),
                    None => true,
                }
            }
            Notice::Process(process) => {
                let event = match &process.life {
                    Life::Began { .. } if self.started >= MOST_PROCESSES => {
                        self.more += 1;
                        return true;
                    }
                    // Its beginning was not written down either.
                    Life::Ended { .. } if !self.running.remove(&process.process) => return true,
                    _ => commands::life(process),
                };
                if matches!(process.life, Life::Began { .. }) {
                    self.started += 1;
                    self.running.insert(process.process);
                }
                log.append(&event).is_ok()
            }
            Notice::Again { counts, others } => {
                self.others = self.others.saturating_add(*others);
                for (number, times) in *counts {
                    let again = self.again(*number, *times);
                    self.others = self.others.saturating_add(again);
                }
                true
            }
            Notice::Leak(found) => {
                let event =
                    leaks::event(found.hit.name.clone(), found.hit.way.into(), found.action.word().into());
                let key = format!("{}\n{}\noutput\n{}", found.hit.way, found.hit.name, found.action.word());
                !self.leaked(key, &event) || log.append(&event).is_ok()
            }
            Notice::NoNetwork => {
                let what = "the gateway has ended: from here on every connection is refused";
                log.append(&Event::NetDown { what: what.into() }).is_ok()
            }
        }
    }

    /// Whether a script may stand there: the host has it, or the sandbox has files of its own there.
    fn may_have(&self, script: &Path) -> bool {
        let judge = self.judge.get_or_init(|| Judge::new(self.policy, self.workspace));
        let own = || match judge.undenied(script, Access::Read) {
            Decision::Allow { by: Reason::BuiltIn(_) } => true,
            _ => judge.scratch(script) || script.starts_with(&self.inside),
        };
        self.host.has(script) != Some(false) || own()
    }

    /// One was repeated so often: how many of that are told only as a number.
    fn again(&mut self, number: u32, times: u64) -> u64 {
        let known = match self.packets.get(&number) {
            Some(key) => self.connects.get_mut(key),
            None => self.files.get_mut(&number).or_else(|| self.calls.get_mut(&number)),
        };
        let Some((_, again)) = known else { return self.rooms.again(number, times) };
        *again = again.saturating_add(times);
        0
    }

    /// The event of one that was not told before.
    fn first(&mut self, refusal: &Refusal) -> Option<Event> {
        let event = self.event(refusal)?;
        let new = match &refusal.what {
            Refused::Connect { path } => self.connected(path.to_string_lossy().into_owned(), &event, 1),
            Refused::Network { host, port, rule, times, .. } => {
                let key = format!("{port}\n{host}\n{rule}\n{}", refusal.program);
                // Those of calls are counted by init, which tells how often.
                if self.packets.len() < MOST && (NUMBERS / 2..NUMBERS).contains(&refusal.number) {
                    self.packets.insert(refusal.number, key.clone());
                }
                if !self.connects.contains_key(&key) && self.connects.len() >= MOST {
                    self.packets.remove(&refusal.number);
                    self.rooms.only_counted(refusal.number);
                }
                self.connected(key, &event, *times)
            }
            Refused::Credential { name, host, port, request, rule, times, .. } => {
                let used = rule.is_empty();
                // A session of git, and a push, is on disk before it begins.
                if used && GitCommand::begins(request) {
                    return Some(event);
                }
                // What is signed is told of each by itself; requests are many. Of what is refused the rule says enough.
                let request = if used && *port == 0 { request } else { "" };
                let key = format!("{port}\n{host}\n{rule}\n{name}\n{request}\ncredential");
                let known = if used { &mut self.uses } else { &mut self.credentials };
                count(known, &mut self.others, key, &event, *times)
            }
            Refused::Failed { host, port, why, .. } => {
                let key = format!("{port}\n{host}\n{why}\n{}", refusal.program.file.display());
                count(&mut self.failed, &mut self.more_failed, key, &event, 1)
            }
            Refused::Engine { request, rule } => {
                let key = format!("{request}\n{rule}\nengine");
                count(&mut self.credentials, &mut self.others, key, &event, 1)
            }
            Refused::Leak { name, way, host, port, action, .. } => {
                let key = format!("{port}\n{host}\n{way}\n{name}\nleak\n{}", action.word());
                self.leaked(key, &event)
            }
            Refused::Command(Command { fate: Fate::Changed, .. }) => {
                let key = self.tampered.len().to_string();
                count(&mut self.tampered, &mut self.others, key, &event, 1)
            }
            Refused::Command(command) => {
                let words: Vec<_> = command.arguments.iter().map(|word| word.to_string_lossy()).collect();
                let key = match &command.fate {
                    Fate::Cleaned(names) => format!("{names:?}\n{}", command.file.display()),
                    // Each place in PATH is tried of it.
                    _ if command.first => {
                        let rule = command.rule.replace(&*command.file.to_string_lossy(), "");
                        format!("{rule}\n{}\nfirst", words.join(" "))
                    }
                    _ => {
                        let file = command.file.display();
                        // A name from there means another file elsewhere.
                        let here = command.wanted.iter().any(|word| word.as_bytes().starts_with(b"./"));
                        let place = command.directory.display().to_string();
                        let place = if here { place } else { String::new() };
                        format!(
                            "{}\n{}\n{file}\n{:?}\n{place}",
                            command.rule,
                            words.join(" "),
                            command.wanted
                        )
                    }
                };
                if command.first && self.commands.contains_key(&key) {
                    return None;
                }
                count(&mut self.commands, &mut self.others, key, &event, 1)
            }
            Refused::Syscall { .. } => {
                if self.calls.len() >= MOST {
                    self.others += 1;
                    self.rooms.only_counted(refusal.number);
                    return None;
                }
                self.calls.insert(refusal.number, (event.clone(), 0));
                true
            }
            Refused::File { .. } | Refused::Decoy { .. } | Refused::Asked { .. } => {
                if let Event::DecoyOpen { path, .. } = &event {
                    self.decoys.push((path.clone(), refusal.program.to_string()));
                } else if self.files.len() >= MOST || BEYOND.contains(&refusal.number) {
                    let noted = self.rooms.note(&event, refusal.number, &self.host);
                    self.others += u64::from(noted.is_none());
                    return noted.unwrap_or(false).then_some(event);
                }
                self.files.insert(refusal.number, (event.clone(), 0));
                true
            }
        };
        new.then_some(event)
    }

    fn connected(&mut self, key: String, event: &Event, times: u64) -> bool {
        count(&mut self.connects, &mut self.others, key, event, times)
    }

    fn leaked(&mut self, key: String, event: &Event) -> bool {
        let full = self.leaks.len() >= MOST && !self.leaks.contains_key(&key);
        if full && passed(event) {
            self.passed += 1;
            return false;
        }
        count(&mut self.leaks, &mut self.others, key, event, 1)
    }

    /// `None`: it is not refused, there only is nothing yet.
    fn event(&self, refusal: &Refusal) -> Option<Event> {
        let text = |name: &OsStr| name.to_string_lossy().into_owned();
        let (process, program) = (refusal.process, text(&refusal.program.file));
        let (script, started_by) = (text(&refusal.program.script), text(&refusal.program.starter));
        match &refusal.what {
            Refused::Connect { path } => Some(Event::NetDeny {
                unix: text(path),
                host: String::new(),
                port: 0,
                process,
                program,
                script,
                started_by,
                times: 1,
                rule: "a socket of the host needs a grant of its own".into(),
                remedy: Vec::new(),
                grantable: false,
            }),
            Refused::Network { host, port, rule, .. } => Some(Event::NetDeny {
                unix: String::new(),
                host: host.clone(),
                port: *port,
                process,
                program,
                script,
                started_by,
                times: 1,
                remedy: ringfence_policy::network_remedy(host, detail::meant(*port, &refusal.program), rule),
                grantable: ringfence_policy::grantable_host(
                    self.policy,
                    host,
                    detail::meant(*port, &refusal.program),
                    rule,
                ),
                rule: rule.clone(),
            }),
            Refused::Credential { .. }
            | Refused::Engine { .. }
            | Refused::Leak { .. }
            | Refused::Failed { .. } => outgoing::event(&refusal.what, process, program),
            Refused::Command(command) => Some(self.command(command, process, program)),
            Refused::Syscall { number, arguments } => {
                let (name, why) = syscalls::refused(*number).unwrap_or(("unknown", "not on the list"));
                let why = asked::why(name, arguments).unwrap_or_else(|| why.to_owned());
                let rule = match self.hosted && !self.network && asked::of_network(*number, arguments) {
                    true => cautions::NO_SOCKETS.to_owned(),
                    false if self.hosted && asked::of_routes(*number, arguments) => {
                        cautions::NO_ROUTES.to_owned()
                    }
                    false => format!("the list of system calls: {why}"),
                };
                Some(Event::SyscallDeny {
                    name: name.into(),
                    arguments: arguments.iter().map(|argument| format!("{argument:#x}")).collect(),
                    process,
                    program,
                    script,
                    started_by,
                    times: 1,
                    rule,
                })
            }
            // Its owner decides, and that is written down.
            Refused::Asked { .. } => None,
            Refused::Decoy { path } => {
                let judge = self.judge.get_or_init(|| Judge::new(self.policy, self.workspace));
                let rule = judge.file(Path::new(path), Access::Read).reason().to_string();
                Some(Event::DecoyOpen {
                    path: text(path),
                    process,
                    program,
                    script,
                    started_by,
                    times: 1,
                    rule,
                })
            }
            Refused::File { path, asked, purpose } => self.file(refusal, (path, asked.as_ref()), *purpose),
        }
    }

    fn file(
        &self,
        refusal: &Refusal,
        (path, asked): (&OsString, Option<&OsString>),
        purpose: Purpose,
    ) -> Option<Event> {
        let text = |name: &OsStr| name.to_string_lossy().into_owned();
        let judge = self.judge.get_or_init(|| Judge::new(self.policy, self.workspace));
        // What lies in the copy of the workspace is told of by the name that the policy has for it.
        let below = Path::new(path).strip_prefix(&self.inside).map(|below| self.workspace.join(below));
        let path = &below.map_or_else(|_| path.clone(), PathBuf::into_os_string);
        let up = asked.filter(|asked| Path::new(asked).components().any(|part| part == Component::ParentDir));
        let led = up.and_then(|named| self.host.led_up(Path::new(named)));
        let open = led
            .as_ref()
            .is_some_and(|led| remedies::decide(judge, &self.host, led, access(purpose)).is_allow());
        let led = led.filter(|_| !open).map(PathBuf::into_os_string);
        let (asked, purpose) = match (up, &led) {
            (None, _) => (asked, purpose),
            (_, Some(led)) => (Some(led), purpose),
            // What is open itself, or not to be told, is no reason: this only leads there.
            _ => (None, Purpose::Look),
        };
        let whole = Path::new(asked.unwrap_or(path));
        let access = access(purpose);
        let removed = whole.parent().filter(|_| purpose == Purpose::Remove);
        let decision = match removed {
            Some(_) => remedies::decide_removal(judge, &self.host, whole),
            None => remedies::decide(judge, &self.host, whole, access),
        };
        // A name that is made in the sandbox's own home; where the way to it is missing, it is not.
        let own = !self.hosted && access == Access::Write && judge.scratch(whole) && asked.is_none();
        // There, attributes of what the other tier shows a copy of are refused too.
        (self.hosted || !decision.is_allow() && !own).then(|| Event::FileDeny {
            path: text(path),
            asked: asked.map(|asked| text(asked)),
            purpose: purpose.word().into(),
            process: refusal.process,
            program: text(&refusal.program.file),
            script: text(&refusal.program.script),
            started_by: text(&refusal.program.starter),
            times: 1,
            rule: if path.is_empty() {
                "its path is longer than any that can be judged".into()
            } else if decision.is_allow() && purpose == Purpose::Map {
                match self.searched.iter().find(|path| whole.starts_with(path)) {
                    Some(path) => format!(
                        "`[commands]` lets only listed programs be loaded as code from {}, a directory of PATH",
                        path.display()
                    ),
                    None => "`[commands]` lets no other code of this tree be loaded".into(),
                }
            } else if decision.is_allow() {
                "tier `landlock`: only `files.write` and the workspace are the task's own".into()
            } else if led.is_some() {
                format!("{}; its way leads up from `{}`{}", decision.reason(), text(path), cautions::UNSHOWN)
            } else {
                decision.reason().to_string()
            },
            remedy: match decision.is_allow() {
                // Where the way itself is not shown, no line for what it leads to helps.
                _ if path.is_empty() || led.is_some() || up.is_some() && !open => Vec::new(),
                true if purpose == Purpose::Map => Vec::new(),
                true => judge.lines(Path::new(path), Access::Write),
                false if matches!(decision.reason(), Reason::Rule { .. }) => {
                    remedies::by_name(judge, &self.host, whole, access)
                }
                false => {
                    let named = removed.unwrap_or_else(|| self.host.named(whole, access == Access::Write));
                    remedies::lines(judge, (&self.host, &self.policy.home), named, access)
                }
            },
            grantable: led.is_none()
                && access != Access::Exec
                && access != Access::Write
                && judge.grantable(whole).is_ok(),
        })
    }

    fn command(&self, command: &Command, process: i32, program: String) -> Event {
        let judge = self.judge.get_or_init(|| Judge::new(self.policy, self.workspace));
        let grantable = |line: &str| judge.grantable_command(line).is_some();
        let mut event = commands::event(command, &self.names, process, program, grantable);
        if !command.wanted.is_empty() {
            misplaced(judge, &self.host, &mut event);
        }
        event
    }

    /// At the end: how often each was repeated, and what had no event of its own.
    pub(crate) fn sum_up(&self, log: &mut Writer) -> Result<(), Failure> {
        let known = self.connects.values().chain(self.credentials.values()).chain(self.uses.values());
        let known = known.chain(self.leaks.values()).chain(self.commands.values()).chain(self.files.values());
        let known = known.chain(self.calls.values()).chain(self.failed.values()).chain(self.rooms.known());
        // Each program that was changed while it was judged is an event of its own.
        let mut events: Vec<Event> = known.filter_map(|(event, again)| repeated(event, *again)).collect();
        if self.others > 0 {
            events.push(Event::FileDeny {
                path: "(others)".into(),
                asked: None,
                purpose: Purpose::Look.word().into(),
                process: 0,
                program: String::new(),
                script: String::new(),
                started_by: String::new(),
                times: self.others,
                rule: "too many to be told of one by one".into(),
                remedy: Vec::new(),
                grantable: false,
            });
        }
        if self.more_failed > 0 {
            events.push(outgoing::more_failed(self.more_failed));
        }
        if self.more > 0 {
            events.push(commands::more(self.more));
        }
        events.iter().try_for_each(|event| log.append(event).map(drop).context("the run's log"))
    }
}

/// What lies where nothing starts is told with that: no entry of `[commands]` lets it start.
fn misplaced(judge: &Judge<'_>, host: &Host, event: &mut Event) {
    let Event::ExecDeny { file, rule, remedy, grantable, .. } = event else { return };
    let path = Path::new(file.as_str());
    let decision = judge.file(path, Access::Exec);
    let lies = |real: PathBuf| judge.file(&real, Access::Exec).is_allow();
    // Policies may name it by links of the host's.
    if decision.is_allow() || host.has(path) == Some(true) && path.canonicalize().is_ok_and(lies) {
        return;
    }
    (*rule, *remedy, *grantable) = (decision.reason().to_string(), judge.remedy(path, Access::Exec), false);
}

/// Whether it is new: what was told of before is only counted, and what is too much is in `others`.
fn count(
    known: &mut BTreeMap<String, (Event, u64)>,
    others: &mut u64,
    key: String,
    event: &Event,
    times: u64,
) -> bool {
    if let Some((_, again)) = known.get_mut(&key) {
        *again = again.saturating_add(times);
        return false;
    }
    if known.len() >= MOST {
        *others += 1;
        return false;
    }
    known.insert(key, (event.clone(), times.saturating_sub(1)));
    true
}

/// Whether it was no refusal.
fn passed(event: &Event) -> bool {
    matches!(event, Event::Leak { action, .. } if action != "block")
}

fn access(purpose: Purpose) -> Access {
    match purpose {
        Purpose::Look | Purpose::Read => Access::Read,
        Purpose::Write | Purpose::Remove => Access::Write,
        Purpose::Execute | Purpose::Map => Access::Exec,
    }
}
