//! Sessions of git with a server of ssh, on the host: the invoker's own ssh signs in for the keeper, and what it carries comes from the
//! gateway, which judges it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use ringfence_confine::gateway::Held;
use ringfence_confine::keeper::{Fetching, Git, Session};
use ringfence_policy::{Credential, GitCommand, Policy, SecretSource, plain_user};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal,
};

use crate::failure::{Context, Failure};
use crate::ssh;

/// The first word of its command line until it is ssh.
pub(crate) const NAME: &str = "ringfence-ssh-session";
/// What ssh could not do, or what is none of its statuses.
const FAILED: u8 = 255;

/// Whatever its owner's configuration says: it signs in by the one key, at a host whose own key is known, and does nothing besides.
const OPTIONS: [&str; 18] = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "PreferredAuthentications=publickey",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "CanonicalizeHostname=no",
    "ProxyCommand=none",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "EscapeChar=none",
    "LogLevel=ERROR",
    "ConnectTimeout=30",
    // A server that is gone is noticed within a minute.
    "ServerAliveInterval=20",
];

/// What the keeper is told of a key that git alone uses.
pub(crate) fn of(credential: &Credential, run: &Path) -> Option<Git> {
    let hosts = credential.hosts.iter().map(|one| (one.host.to_string(), one.port));
    credential.git_only().then(|| Git { hosts: hosts.collect(), directory: directory(run) })
}

fn directory(run: &Path) -> PathBuf {
    run.join("ssh")
}

/// Writes what ssh reads: public keys, and the keys of their hosts. The task reaches neither.
pub(crate) fn prepare(policy: &Policy, held: &[Held], run: &Path) -> Result<(), Failure> {
    for (number, own) in held.iter().enumerate().filter(|(_, one)| one.credential.git_only()) {
        // A server may have two names, each known by another key of its own: what the task may not do by the one it could by the other.
        let same = |other: &&Held| !other.credential.git_only() && other.placeholder == own.placeholder;
        if let Some(other) = held.iter().filter(|one| one.credential.ssh()).find(same) {
            let origin = policy.credentials.get(&own.name).map(|rule| rule.origin.to_string());
            return Err(Failure::new(format!(
                "{}: `push` of the credential `{}` would not hold: `{}` is the same key, for a host that may be another name of the same server",
                origin.unwrap_or_default(),
                own.name,
                other.name
            ))
            .hint("write `push` for both, or for none"));
        }
        let directory = directory(run);
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context("the run's directory");
            }
            _ => {}
        }
        let key = ssh::line(own.placeholder.as_deref().unwrap_or_default(), &own.name) + "\n";
        for (kind, text) in [("pub", key), ("hosts", ssh::known_lines(&own.host_keys).concat())] {
            let mut options = fs::OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(directory.join(format!("{number}.{kind}")));
            file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .context("the run's directory")?;
        }
    }
    Ok(())
}

/// In the keeper: begins what the gateway asks for, once it is held against the policy again.
pub(crate) fn begin(
    session: Session,
    streams: Vec<OwnedFd>,
    fetching: &[Fetching],
    variables: &Arc<BTreeMap<OsString, OsString>>,
) {
    // Dropped, they tell the gateway that nothing begins.
    let Ok([carried, says, watched]) = <[OwnedFd; 3]>::try_from(streams) else { return };
    let own = fetching.iter().find(|one| one.number == session.number);
    let own = own.filter(|one| matches!(one.source, SecretSource::SshAgent(_)));
    let Some(git) = own.and_then(|one| one.git.clone()) else { return };
    let Some(command) = GitCommand::parse(&session.command) else { return };
    if !git.hosts.contains(&session.host) || !session.user.is_empty() && !plain_user(&session.user) {
        return;
    }
    let variables = Arc::clone(variables);
    // The thread stays, for it is the one whose end ends ssh.
    std::thread::spawn(move || {
        let begun = start(&session, &command, &git.directory, [carried, says], &variables);
        let status = begun.map_or(FAILED, |child| until_its_end(child, &watched));
        let _ = rustix::net::send(&watched, &[status], rustix::net::SendFlags::NOSIGNAL);
    });
}

fn start(
    session: &Session,
    command: &GitCommand,
    directory: &Path,
    [carried, says]: [OwnedFd; 2],
    variables: &BTreeMap<OsString, OsString>,
) -> std::io::Result<Child> {
    let (host, port) = &session.host;
    let mut started = Command::new("/proc/self/exe");
    started.arg0(NAME).arg(getpid().as_raw_nonzero().to_string()).args(["-F", "/dev/null", "-T", "-x", "-a"]);
    for option in OPTIONS {
        started.args(["-o", option]);
    }
    started.arg("-o").arg(format!("HostKeyAlias={}", ssh::known_as(host, *port)));
    started.arg("-o").arg(format!("UserKnownHostsFile={}.hosts", session.number));
    started.arg("-i").arg(format!("{}.pub", session.number)).arg("-p").arg(port.to_string());
    if !session.user.is_empty() {
        started.args(["-l", &session.user]);
    }
    started.env_clear().envs(variables).env_remove("GIT_PROTOCOL");
    if let Some(version) = session.version.filter(|_| !command.push) {
        started.args(["-o", "SendEnv=GIT_PROTOCOL"]).env("GIT_PROTOCOL", format!("version={version}"));
    }
    started.arg("--").arg(session.address.to_string()).arg(command.to_string());
    // Its files are named from there; no name in them needs quotes that way.
    started.current_dir(directory).stdin(carried.try_clone()?).stdout(carried).stderr(Stdio::from(says));
    started.spawn()
}

/// The status of ssh; once nobody waits for that, it is ended.
fn until_its_end(mut child: Child, watched: &OwnedFd) -> u8 {
    let own = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let own = own.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(own) = own {
        let mut polled = [PollFd::new(&own, PollFlags::IN), PollFd::new(watched, PollFlags::IN)];
        while matches!(poll(&mut polled, None), Err(rustix::io::Errno::INTR)) {}
        let [ended, _] = polled.map(|polled| polled.revents());
        if ended.is_empty() {
            let _ = child.kill();
        }
    } else {
        let _ = child.kill();
    }
    let status = child.wait().ok().and_then(|status| status.code());
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(FAILED)
}

/// Between the keeper and ssh: it ends with whoever started it, however that ends.
pub(crate) fn become_ssh() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let parent = words.next().and_then(|word| word.to_str()?.parse::<i32>().ok()).and_then(Pid::from_raw);
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    if !bound || parent.is_none() || getppid() != parent {
        return ExitCode::from(FAILED);
    }
    // As a program of the invoker's, and none of the keeper's.
    let _ = ringfence_sys::signals::block_only(&ringfence_sys::signals::Set::empty());
    let error = Command::new(OsStr::new("ssh")).args(words).exec();
    eprintln!("ringfence: error: ssh cannot be started on the host: {error}");
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_nobody_waits_for_it_and_its_status_is_told() {
        let (own, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let watched = OwnedFd::from(own);
        assert_eq!(until_its_end(Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap(), &watched), 7);
        drop(other);
        let begun = std::time::Instant::now();
        assert_eq!(until_its_end(Command::new("sleep").arg("60").spawn().unwrap(), &watched), FAILED);
        assert!(begun.elapsed().as_secs() < 30);
    }

    #[test]
    fn what_is_not_judged_begins_nothing() {
        let git = Git { hosts: vec![("a.example".into(), 22)], directory: "/nonexistent".into() };
        let source = SecretSource::SshAgent("k".into());
        let kind = ringfence_confine::keeper::Kind::Line;
        let fetching = [Fetching { number: 3, source, like: None, kind, git: Some(git) }];
        let session = |number, host: &str, user: &str, command: &str| Session {
            number,
            host: (host.to_owned(), 22),
            address: [127, 0, 0, 1].into(),
            user: user.to_owned(),
            command: command.to_owned(),
            version: None,
        };
        let fetch = "git-upload-pack '/a'";
        for wrong in [
            session(2, "a.example", "git", fetch),
            session(3, "b.example", "git", fetch),
            session(3, "a.example", "-oProxyCommand=id", fetch),
            session(3, "a.example", "git", "id"),
        ] {
            let (own, other) = std::os::unix::net::UnixStream::pair().unwrap();
            let streams = vec![own.try_clone().unwrap().into(), own.try_clone().unwrap().into(), own.into()];
            begin(wrong, streams, &fetching, &Arc::default());
            let mut byte = [0; 1];
            assert_eq!(std::io::Read::read(&mut &other, &mut byte).unwrap(), 0);
        }
    }
}
