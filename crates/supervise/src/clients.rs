//! The clients of a sandbox that holds many commands: what each asks, and what it is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_confine::{Command, Job, Message, Program, Query, Refused, Stream, report};
use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
use rustix::io::Errno;

use crate::questions::{Choice, Question};
use crate::remote::{Ask, asked};
use crate::restack::{self, Wish};
use crate::serve::{Happening, Server};
use crate::{Notice, Refusal, desk, grants};

const KILL: i32 = 9;

/// Somebody who asks for something, often a command.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) job: Option<u32>,
    /// Its owner sees what it says.
    terminal: bool,
    /// The question that it has.
    shown: Option<PathBuf>,
    /// Everything is stopped for it.
    pub(crate) holds: bool,
}

impl Server<'_> {
    /// Tells the client whose command it is; to it, its command is the only one. One that does not listen is dropped.
    pub(crate) fn pass_on(&mut self, job: u32, message: &Message, descriptor: Option<&OwnedFd>) {
        self.clients.retain(|client| {
            client.job != Some(job)
                || report::tell(client.socket.as_fd(), &message.clone().of_job(0), descriptor).is_ok()
        });
    }

    pub(crate) fn accept(&mut self) {
        self.clients.extend(desk::accept(&self.socket).map(|socket| Client {
            socket,
            job: None,
            terminal: false,
            shown: None,
            holds: false,
        }));
    }

    pub(crate) fn serve(&mut self, ready: &[bool]) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut index = 0;
        clients.retain_mut(|client| {
            let asks = ready.get(index) == Some(&true);
            index += 1;
            !asks || self.answer(client)
        });
        clients.append(&mut self.clients);
        self.clients = clients;
    }

    /// Whether the client stays.
    fn answer(&mut self, client: &mut Client) -> bool {
        match asked(&client.socket, &mut self.request) {
            Ok((Ask::Exec { command, directory, term, streams, terminal }, passed))
                if client.job.is_none() =>
            {
                let wanted = streams.iter().filter(|stream| **stream == Stream::Passed).count();
                if command.is_empty()
                    || wanted != passed.len()
                    || !passed.iter().all(fit)
                    || self.until.is_some()
                {
                    return false;
                }
                if let Some(rule) = self.template.alone.clone().filter(|_| self.running > 0) {
                    self.busy(&command, &directory, rule, client);
                    return false;
                }
                if let Some((uid, gid)) = self.template.foreign {
                    for fd in &passed {
                        let _ = fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                    }
                }
                let job = Job {
                    id: 0,
                    command,
                    environment: self.environment_for(term),
                    directory: self.directory_for(Path::new(&directory)),
                    streams,
                    terminal,
                }
                .in_copy(&self.template.workspace, &self.template.inside);
                client.job = Some(self.next);
                client.terminal = terminal.is_some();
                self.start(job, &passed, Vec::new()).is_ok()
            }
            Ok((Ask::Signal { signal, group }, _)) => {
                if let Some(job) = client.job {
                    self.boundary.signal(job, signal, group);
                }
                true
            }
            Ok((
                ask @ (Ask::Grant { .. }
                | Ask::Waiting
                | Ask::Revoke { .. }
                | Ask::Permit { .. }
                | Ask::Withdraw { .. }),
                _,
            )) => match &mut self.grants {
                Some(grants) => grants.answer(self.boundary, ask, &client.socket),
                // Nobody waits for what nobody can grant.
                None if matches!(ask, Ask::Waiting) => {
                    grants::answer(&client.socket, true, "");
                    true
                }
                None => grants::refuse(&client.socket),
            },
            Ok((Ask::Answer { path, choice }, _)) => {
                self.answered(client, Path::new(&path), choice);
                true
            }
            Ok((Ask::Restack { stacks, record, end, note }, _)) => {
                // Once every client is in its place again: what ends meanwhile is told to whose it is.
                self.wish =
                    client.socket.try_clone().ok().map(|socket| (Wish { stacks, record, end, note }, socket));
                self.wish.is_some()
            }
            Ok((Ask::Note(note), _)) => {
                restack::note(self.tell, client, &note);
                true
            }
            Ok((Ask::Flooded, _)) => {
                self.limiter.iter_mut().for_each(|limiter| limiter.flooded());
                true
            }
            Ok((Ask::Hold { hold }, _)) => {
                restack::hold(self.boundary, client, hold);
                true
            }
            Ok((Ask::Stop { grace }, _)) => {
                self.stop(Duration::from_millis(grace.into()));
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // Gone, or confused: its command goes with it.
            _ => {
                if client.holds {
                    self.boundary.pause(false);
                }
                if let Some(job) = client.job {
                    self.boundary.signal(job, KILL, true);
                }
                false
            }
        }
    }

    /// One command runs already, and no other may beside it.
    fn busy(&mut self, command: &[OsString], directory: &OsStr, rule: String, client: &Client) {
        let command = Command {
            file: OsString::new(),
            arguments: command.to_vec(),
            directory: directory.to_owned(),
            parent: 0,
            rule,
            ..Command::default()
        };
        let what = Refused::Command(command);
        let refusal = Refusal { number: 0, process: 0, program: Program::default(), what };
        if (self.tell)(Happening::Noticed(Notice::Refusal(&refusal))) {
            let busy = Message::NotExecuted { job: 0, errno: Errno::BUSY, needs: None, unfit: None };
            let _ = report::tell(client.socket.as_fd(), &busy, None);
        }
    }

    /// What the sandbox was started with; the kind of terminal is the client's.
    fn environment_for(&self, term: Option<OsString>) -> BTreeMap<OsString, OsString> {
        let mut environment = self.template.environment.clone();
        let plain = |term: &OsStr| {
            term.len() <= 64
                && term.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(byte))
        };
        if let Some(term) = term.filter(|term| plain(term)) {
            environment.insert("TERM".into(), term);
        }
        environment
    }

    /// Where the client stands, if that is in the workspace.
    fn directory_for(&self, directory: &Path) -> OsString {
        let plain = !directory.components().any(|part| part == std::path::Component::ParentDir);
        match directory.strip_prefix(&self.template.workspace) {
            Ok(below) if plain && below.as_os_str().is_empty() => {
                self.template.inside.clone().into_os_string()
            }
            Ok(below) if plain => self.template.inside.join(below).into_os_string(),
            _ => self.template.directory.clone().into_os_string(),
        }
    }

    /// Puts the next question to all who have a terminal; the first who answers it does so for all.
    pub(crate) fn put_question(&mut self) {
        let query = self.grants.as_ref().and_then(|grants| grants.question()).map(Question::query);
        let query = query.filter(Query::fits);
        let path = query.as_ref().map(|query| Path::new(&query.path));
        for client in self.clients.iter_mut().filter(|client| client.terminal) {
            let told = || {
                let message = Message::Question(query.clone());
                report::tell(client.socket.as_fd(), &message, None)
            };
            // One that does not listen now is told later.
            if client.shown.as_deref() != path && told().is_ok() {
                client.shown = path.map(Path::to_owned);
            }
        }
    }

    /// What was asked a moment ago may be answered already: nothing else is granted instead.
    fn answered(&mut self, client: &mut Client, path: &Path, choice: Choice) {
        let Some(grants) = self.grants.as_mut().filter(|_| client.terminal) else { return };
        let asked = grants.question().is_some_and(|question| question.path == path);
        if client.shown.take().as_deref() == Some(path)
            && asked
            && !grants.decide(self.boundary, path, choice)
        {
            self.boundary.kill();
        }
    }
}

/// A pipe: what [`crate::standard`] makes.
fn fit(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}
