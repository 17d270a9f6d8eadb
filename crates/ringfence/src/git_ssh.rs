//! What git starts as `core.sshCommand` inside: sessions that the policy bounds are asked for at the gateway, for all others the sandbox's
//! own ssh is started.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use ringfence_policy::{AGENT, SPEAK_GIT};

/// Of the agent's protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const EXTENSION: u8 = 27;
const SUCCESS: u8 = 6;
/// With a reason behind it: it is refused.
const REFUSED: u8 = 28;
/// Bytes of the longest answer.
const LONGEST: u32 = 64 << 10;
/// Kinds of what comes then: what the server says, what ssh says, and the status that it ended with.
const SAID: u8 = 1;
const COMPLAINED: u8 = 2;
const ENDED: u8 = 3;
/// As ssh's own, where it could not do what it was asked.
const FAILED: u8 = 255;

/// What git wants, as it writes that (connect.c of git, `push_ssh_options`).
#[derive(Debug, PartialEq, Eq)]
struct Call {
    host: String,
    port: u16,
    user: String,
    command: String,
}

impl Call {
    /// `[-o SendEnv=GIT_PROTOCOL] [-4|-6] [-p PORT] [USER@]HOST COMMAND`. `None`: git calls it in no such way.
    fn parse(words: &[OsString]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
        let (mut rest, mut port) = (words.as_slice(), 22);
        loop {
            rest = match rest {
                ["-o", "SendEnv=GIT_PROTOCOL", rest @ ..] | ["-4" | "-6", rest @ ..] => rest,
                ["-p", number, rest @ ..] => {
                    port = number.parse().ok()?;
                    rest
                }
                _ => break,
            };
        }
        let [place, command] = rest else { return None };
        let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
        let fine = !place.starts_with('-') && !host.is_empty();
        let text = |text: &str| text.to_owned();
        fine.then(|| Self { host: text(host), port, user: text(user), command: text(command) })
    }

    fn question(&self, protocol: &str) -> Vec<u8> {
        let mut message = vec![EXTENSION];
        let port = self.port.to_string();
        let parts = [SPEAK_GIT, self.host.as_bytes(), port.as_bytes(), self.user.as_bytes()];
        for part in parts.into_iter().chain([self.command.as_bytes(), protocol.as_bytes()]) {
            message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            message.extend_from_slice(part);
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&length[..], &message].concat()
    }
}

/// What the gateway answers.
enum Answer {
    Begins(UnixStream),
    Refused(String),
    /// The policy bounds nothing there, or nobody can be asked, and then no key of the policy's signs in.
    Other,
}

pub(crate) fn inside() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let asked = Call::parse(&words).map(|call| ask(&call));
    match asked {
        Some(Ok(Answer::Begins(stream))) => match carry(&stream) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                eprintln!("ringfence: error: the session of git: {error}");
                ExitCode::from(FAILED)
            }
        },
        Some(Ok(Answer::Refused(why))) => {
            eprintln!("ringfence: error: {why}");
            ExitCode::from(FAILED)
        }
        Some(Err(error)) => {
            eprintln!("ringfence: error: the agent of the sandbox: {error}");
            ExitCode::from(FAILED)
        }
        Some(Ok(Answer::Other)) | None => {
            let error = Command::new("ssh").args(&words).exec();
            eprintln!("ringfence: error: ssh cannot be started: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn ask(call: &Call) -> io::Result<Answer> {
    let protocol = std::env::var_os("GIT_PROTOCOL").unwrap_or_default();
    let mut agent = match UnixStream::connect(AGENT) {
        Ok(agent) => agent,
        Err(error) => {
            eprintln!("ringfence: warning: the agent of the sandbox cannot be asked: {error}");
            return Ok(Answer::Other);
        }
    };
    agent.write_all(&call.question(protocol.as_os_str().to_str().unwrap_or_default()))?;
    let mut length = [0; 4];
    agent.read_exact(&mut length)?;
    let length = Some(u32::from_be_bytes(length)).filter(|length| (1..=LONGEST).contains(length));
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = vec![0; length];
    agent.read_exact(&mut answer)?;
    Ok(match answer.split_first() {
        Some((&SUCCESS, _)) => Answer::Begins(agent),
        Some((&REFUSED, why)) => Answer::Refused(String::from_utf8_lossy(why).into_owned()),
        _ => Answer::Other,
    })
}

/// Carries what git says and what comes back, until the session's end: the status.
fn carry(stream: &UnixStream) -> io::Result<u8> {
    let mut out = stream.try_clone()?;
    // It may still read when all has ended.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut out);
        let _ = out.shutdown(Shutdown::Write);
    });
    let mut from = stream;
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u64::from(u32::from_be_bytes(length));
        let mut part = from.take(length);
        let moved = match kind {
            SAID => {
                let mut own = io::stdout().lock();
                io::copy(&mut part, &mut own).and_then(|moved| own.flush().map(|()| moved))?
            }
            COMPLAINED => io::copy(&mut part, &mut io::stderr().lock())?,
            ENDED => {
                let mut status = [FAILED];
                part.read_exact(&mut status)?;
                let [status] = status;
                return Ok(status);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        if moved != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Call> {
        Call::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn calls_of_git_are_read() {
        let call = |user: &str, host: &str, port| Call {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            command: "git-upload-pack '/a b'".to_owned(),
        };
        let command = "git-upload-pack '/a b'";
        for (words, expected) in [
            (&["git@a.example", command][..], call("git", "a.example", 22)),
            (&["a.example", command], call("", "a.example", 22)),
            (
                &["-o", "SendEnv=GIT_PROTOCOL", "-p", "2222", "git@a.example", command],
                call("git", "a.example", 2222),
            ),
            (&["-p", "22", "-6", "me@x@::1", command], call("me@x", "::1", 22)),
        ] {
            assert_eq!(parse(words), Some(expected), "{words:?}");
        }
        for words in [
            &[][..],
            &["git@a.example"],
            &["git@a.example", "git-upload-pack", "'/a'"],
            &["-G", "a.example"],
            &["-o", "ProxyCommand=id", "a.example", command],
            &["-p", "x", "a.example", command],
            &["-p", "70000", "a.example", command],
            &["-Dx", command],
            &["git@", command],
        ] {
            assert_eq!(parse(words), None, "{words:?}");
        }
    }
}
