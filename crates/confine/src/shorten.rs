//! What is too long for a message, cut so that it fits: a task names things as it likes, and each refusal of them is told of.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::report::{Command, Fate, Life, Process, Refusal, Refused};

/// Bytes of a path, of anything else, and of all of a list, that are kept. Together they are fewer than [`crate::report::LONGEST`].
const PATH: usize = 2048;
const PART: usize = 1024;
const NAME: usize = 128;

impl Refusal {
    /// Cuts what is long.
    pub(crate) fn shorten(&mut self) {
        cut(&mut self.program.file, PATH);
        self.program.script.clear();
        self.program.starter.clear();
        match &mut self.what {
            Refused::Command(command) => command.shorten(),
            Refused::File { path, asked, .. } => {
                cut(path, PATH);
                asked.iter_mut().for_each(|asked| cut(asked, PATH));
            }
            Refused::Connect { path } | Refused::Asked { path, .. } | Refused::Decoy { path } => {
                cut(path, PATH);
            }
            _ => {}
        }
    }
}

impl Process {
    /// Cuts what is long.
    pub(crate) fn shorten(&mut self) {
        match &mut self.life {
            Life::Began { command, .. } => command.shorten(),
            Life::Ended { file, .. } => cut(file, PATH),
        }
    }
}

impl Command {
    fn shorten(&mut self) {
        cut(&mut self.file, PATH);
        cut(&mut self.directory, PATH);
        cut_all(&mut self.arguments);
        // Half of an entry is none.
        self.wanted.clear();
        if self.rule.len() > PART {
            let end = (0..=PART).rev().find(|end| self.rule.is_char_boundary(*end)).unwrap_or(0);
            self.rule.truncate(end);
            self.rule.push_str("...");
        }
        if let Fate::Cleaned(names) = &mut self.fate {
            cut_all(names);
        }
    }
}

fn cut(text: &mut OsString, most: usize) {
    if let Some(begins) = text.as_bytes().get(..most).filter(|_| text.len() > most) {
        let mut less = OsStr::from_bytes(begins).to_owned();
        less.push("...");
        *text = less;
    }
}

/// The first of them, each not long.
fn cut_all(list: &mut Vec<OsString>) {
    let (mut left, mut fit) = (PART, 0);
    for one in list.iter_mut() {
        cut(one, NAME);
        let Some(rest) = left.checked_sub(one.len() + 4) else { break };
        (left, fit) = (rest, fit + 1);
    }
    if fit < list.len() {
        list.truncate(fit);
        list.push("...".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LONGEST, Message};
    use crate::script::Program;

    /// Everything as long as a task could make it.
    fn longest() -> Command {
        let long = || OsString::from("x".repeat(200_000));
        Command {
            file: long(),
            arguments: vec![long(); 50],
            directory: long(),
            parent: 1,
            rule: "\u{fffd}".repeat(50_000),
            wanted: vec![long(); 50],
            first: false,
            fate: Fate::Cleaned(vec![long(); 50]),
        }
    }

    #[test]
    fn whatever_a_task_names_is_told() {
        let long = || OsString::from("x".repeat(200_000));
        let program = || Program { file: long(), script: long(), starter: long(), given: [0, 0] };
        let purpose = crate::Purpose::Look;
        for what in [
            Refused::Command(longest()),
            Refused::File { path: long(), asked: Some(long()), purpose },
            Refused::Connect { path: long() },
            Refused::Decoy { path: long() },
        ] {
            let refusal = Refusal { number: 1, process: 2, program: program(), what };
            let mut less = refusal.clone();
            less.shorten();
            assert!(postcard::to_stdvec(&less).unwrap().len() <= LONGEST);
            let (one, other) = rustix::net::socketpair(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::SEQPACKET,
                rustix::net::SocketFlags::CLOEXEC,
                None,
            )
            .unwrap();
            use std::os::fd::AsFd;
            crate::report::send(one.as_fd(), &Message::Refused(refusal));
            assert_eq!(
                crate::report::receive(other.as_fd()).map(|(told, _)| told),
                Some(Message::Refused(less))
            );
        }
        let mut process =
            Process { process: 1, life: Life::Began { command: longest(), digest: Some([0; 32]) } };
        process.shorten();
        assert!(postcard::to_stdvec(&process).unwrap().len() <= LONGEST);
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let mut words: Vec<OsString> = vec!["a".into(), "b".repeat(NAME).into()];
        let own = words.clone();
        cut_all(&mut words);
        assert_eq!(words, own);
    }
}
