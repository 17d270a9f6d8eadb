//! The keeper, a process of its own in the host's world: reads secrets from files and commands when the gateway asks, and tells it
//! when a file holds another one. It keeps none.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_confine::gateway::started_by_supervisor;
use ringfence_confine::keeper::{self, About, FOREVER, Fetching, HEAD, Kind, LONGEST};
use ringfence_gateway::certificate;
use ringfence_leaks::placeholder;
use ringfence_policy::SecretSource;
use ringfence_record::Timestamp;
use ringfence_sys::{exec, secret};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use crate::{aws, engine, git_session, gpg, oauth, secret_service, spiffe, ssh};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often files that were read are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How many looks in turn a file may hold no secret, half written or between two names, before it is taken for gone.
const HALF: u8 = 5;

/// Serves until its supervisor or its gateway is gone. The exit status.
pub(crate) fn run() -> u8 {
    let told = rustix::stdio::stdin();
    if !started_by_supervisor(told) {
        return 125;
    }
    u8::from(serve().is_err())
}

fn serve() -> Result<(), Errno> {
    rustix::thread::set_name(c"ringfence-keep")?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    secret::wipe_what_is_freed();
    // What a terminal sends to a whole group is not for it; commands get a fresh mask.
    ringfence_sys::signals::block_only(&ringfence_sys::signals::Set::all())?;
    let told = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let asked = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    // Who started a sandbox that goes on waits for nobody to hold its pipe.
    rustix::stdio::dup2_stderr(&null)?;
    let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    exec::wipe_start();
    let keeper::Keeping { fetching, engine } = keeper::keeping(told.as_fd())?;
    if engine.is_some() {
        // What it removes at the end is there whoever is killed first: it hears of that by its sockets.
        set_parent_process_death_signal(None)?;
    }
    let placeholders = fetching.iter().map(|one| first(one, &variables)).collect();
    keeper::placeholders(told.as_fd(), &placeholders)?;
    let mut keeper = Keeper {
        told,
        asked: Arc::new(asked),
        fetching,
        variables: Arc::new(variables),
        seen: BTreeMap::new(),
        made: Vec::new(),
    };
    let served = keeper.serve();
    if let Some(engine) = engine.filter(|_| !keeper.made.is_empty()) {
        engine::remove(&engine, &keeper.made);
    }
    served
}

/// What the task will see; a file is looked at for that, a command is not run.
fn first(one: &Fetching, variables: &BTreeMap<OsString, OsString>) -> Result<String, String> {
    let like = match (&one.like, &one.source) {
        (_, SecretSource::SshAgent(name)) => return ssh::key(name, agent(variables)),
        (_, SecretSource::Gpg(name)) => return gpg::key(name, variables),
        (Some(like), _) => Zeroizing::new(like.clone().into_bytes()),
        (None, SecretSource::File(path)) => read(&file(path)?.0, one.kind)?.0,
        (None, SecretSource::SecretService(attributes)) => {
            read(&secret_service::fetch(attributes, variables)?, one.kind)?.0
        }
        // Nothing stands for it.
        _ if one.kind == Kind::Certificate => Zeroizing::default(),
        (None, SecretSource::Spiffe(_)) => Zeroizing::new(spiffe::LIKE.as_bytes().to_vec()),
        (None, _) if one.kind == Kind::Aws => Zeroizing::new(aws::LIKE.as_bytes().to_vec()),
        (None, _) => Zeroizing::default(),
    };
    if one.kind == Kind::Certificate {
        return Ok(String::new());
    }
    let made = if one.kind == Kind::Aws {
        like.splitn(3, |byte| *byte == b':').map(shaped).collect()
    } else {
        shaped(&like).map(|made| vec![made])
    };
    made.map(|parts: Vec<String>| parts.join(":")).map_err(|errno| format!("random numbers: {errno}"))
}

/// Where the invoker's agent is.
fn agent(variables: &BTreeMap<OsString, OsString>) -> Option<&Path> {
    variables.get(OsStr::new("SSH_AUTH_SOCK")).map(Path::new)
}

/// A placeholder of the form of this secret.
pub(crate) fn shaped(like: &[u8]) -> Result<String, Errno> {
    let mut failed = None;
    let mut random = || {
        let mut byte = [0];
        if let Err(errno) = getrandom(&mut byte, GetRandomFlags::empty()) {
            failed = Some(errno);
        }
        byte.first().copied().unwrap_or_default() ^ u8::from(failed.is_some())
    };
    let made = match getrandom(&mut [0; 1], GetRandomFlags::empty()) {
        Ok(_) => placeholder(&String::from_utf8_lossy(like), &mut random),
        Err(errno) => return Err(errno),
    };
    failed.map_or(Ok(made), Err)
}

/// A secret as the gateway takes it, and for how many seconds it is good.
pub(crate) fn read(bytes: &[u8], kind: Kind) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let (whole, ends) = match kind {
        Kind::Line => return Ok((Zeroizing::new(plain(bytes)?.to_vec()), FOREVER)),
        Kind::Aws => {
            let (line, ends) = aws::read(bytes)?;
            plain(&line).map(drop)?;
            (line, ends)
        }
        Kind::Certificate => {
            let (text, ends) = certificate::read(bytes)?;
            if text.len() > LONGEST {
                return Err(format!("it is longer than {LONGEST} bytes: leave out what the host knows"));
            }
            (text, Some(ends))
        }
    };
    let left = ends.map(|ends| ends.saturating_sub(Timestamp::now().sec).max(0));
    Ok((whole, left.map_or(FOREVER, |left| u32::try_from(left).unwrap_or(FOREVER))))
}

/// A secret as it goes on a request: without the line break at its end.
pub(crate) fn plain(bytes: &[u8]) -> Result<&[u8], String> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match bytes {
        [] => Err("it is empty".to_owned()),
        // Anything else would end the header that it is put into.
        _ if bytes.iter().any(|byte| !(b' '..=b'~').contains(byte)) => {
            Err("it holds a line break, or what is no visible character of ASCII: a secret on a request is one line (a certificate with its key: `inject = \"certificate\"`)".to_owned())
        }
        _ if bytes.len() > LONGEST => Err(format!("it is longer than {LONGEST} bytes")),
        _ => Ok(bytes),
    }
}

/// What a file is known by: another one under the same name has another.
type Version = (u64, u64, i64, i64, u64);

/// Who puts back the time of a file cannot put back when that was done (`st_ctime`), nor who changes whose it is.
fn version(metadata: &Metadata) -> Version {
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.size())
}

pub(crate) fn file(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Version), String> {
    // A FIFO would wait for whoever writes to it.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let opened = opened.map_err(|error| error.to_string())?;
    let metadata = opened.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    Ok((all(opened)?, version(&metadata)))
}

/// Everything, into memory that does not move while it grows.
fn all(mut from: impl Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 3]);
    let mut filled = 0;
    loop {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match from.read(rest) {
            Ok(0) if rest.is_empty() => return Err(format!("it is longer than {LONGEST} bytes")),
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

struct Seen {
    path: PathBuf,
    version: Version,
    kind: Kind,
    /// Looks in turn at which there was no secret.
    none: u8,
}

struct Keeper {
    told: OwnedFd,
    asked: Arc<OwnedFd>,
    fetching: Vec<Fetching>,
    variables: Arc<BTreeMap<OsString, OsString>>,
    /// Files that were read, by the number of their credential.
    seen: BTreeMap<u32, Seen>,
    /// Containers that the sandbox made.
    made: Vec<String>,
}

impl Keeper {
    fn serve(&mut self) -> Result<(), Errno> {
        let mut packet = vec![0; keeper::QUESTION];
        let mut looked = Instant::now();
        loop {
            // Whatever is asked meanwhile: a task could ask without an end.
            if looked.elapsed() >= LOOK {
                self.look();
                looked = Instant::now();
            }
            let asked = Arc::clone(&self.asked);
            let mut polled =
                [PollFd::new(&self.told, PollFlags::empty()), PollFd::new(&asked, PollFlags::IN)];
            let rest = Timespec::try_from(LOOK.saturating_sub(looked.elapsed()));
            let patience = if self.seen.is_empty() { None } else { rest.ok() };
            match poll(&mut polled, patience.as_ref()) {
                Err(Errno::INTR) => continue,
                polled => drop(polled?),
            }
            let [supervisor, gateway] = polled.map(|polled| polled.revents());
            if supervisor.contains(PollFlags::HUP) || gateway.contains(PollFlags::HUP) {
                // Of what was made last it is told in the queue.
                while let Ok((length, _)) = rustix::net::recv(&asked, &mut packet, RecvFlags::DONTWAIT)
                    && length > 0
                {
                    self.hear(packet.get(..length).unwrap_or_default());
                }
                return Ok(());
            }
            if gateway.contains(PollFlags::IN) {
                let (length, streams) = keeper::question(asked.as_fd(), &mut packet)?;
                let told = packet.get(..length).unwrap_or_default();
                if let Some(session) = keeper::session(told) {
                    git_session::begin(session, streams, &self.fetching, &self.variables);
                    continue;
                }
                if !self.hear(told)
                    && let Some((number, question)) = told.split_first_chunk()
                {
                    self.fetch(u32::from_ne_bytes(*number), question);
                }
            }
        }
    }

    /// Whether it is about a container that was made.
    fn hear(&mut self, packet: &[u8]) -> bool {
        let id = packet.strip_prefix(&keeper::CONTAINER.to_ne_bytes());
        self.made.extend(id.and_then(|id| str::from_utf8(id).ok()).map(str::to_owned));
        id.is_some()
    }

    fn fetch(&mut self, number: u32, question: &[u8]) {
        let Some(one) = self.fetching.iter().find(|one| one.number == number) else { return };
        let kind = one.kind;
        match &one.source {
            SecretSource::File(path) => match file(path) {
                Ok((bytes, version)) => {
                    self.seen.insert(number, Seen { path: path.clone(), version, kind, none: 0 });
                    answer(&self.asked, number, About::Value, read(&bytes, kind));
                }
                Err(why) => answer(&self.asked, number, About::Value, Err(why)),
            },
            SecretSource::Command(words) => {
                let (words, asked, variables) =
                    (words.clone(), Arc::clone(&self.asked), Arc::clone(&self.variables));
                std::thread::spawn(move || {
                    let bytes = command(&words, &variables);
                    answer(&asked, number, About::Value, bytes.and_then(|bytes| read(&bytes, kind)));
                });
            }
            SecretSource::SecretService(attributes) => {
                let (attributes, asked, variables) =
                    (attributes.clone(), Arc::clone(&self.asked), Arc::clone(&self.variables));
                std::thread::spawn(move || {
                    let bytes = secret_service::fetch(&attributes, &variables);
                    answer(&asked, number, About::Value, bytes.and_then(|bytes| read(&bytes, kind)));
                });
            }
            SecretSource::Oauth(oauth) => {
                let (oauth, asked, variables) =
                    (oauth.clone(), Arc::clone(&self.asked), Arc::clone(&self.variables));
                std::thread::spawn(move || {
                    answer(&asked, number, About::Value, oauth::fetch(&oauth, &variables));
                });
            }
            SecretSource::Spiffe(spiffe) => {
                let (spiffe, asked, variables) =
                    (spiffe.clone(), Arc::clone(&self.asked), Arc::clone(&self.variables));
                std::thread::spawn(move || {
                    answer(&asked, number, About::Value, spiffe::fetch(&spiffe, &variables));
                });
            }
            SecretSource::SshAgent(_) | SecretSource::Gpg(_) => {
                let (question, asked, variables) =
                    (question.to_vec(), Arc::clone(&self.asked), Arc::clone(&self.variables));
                let source = one.source.clone();
                std::thread::spawn(move || {
                    let Some((name, question)) = question.split_at_checked(4) else { return };
                    let signed = match &source {
                        SecretSource::Gpg(key) => gpg::sign(key, question, &variables),
                        _ => ssh::sign(question, agent(&variables)),
                    };
                    let (about, bytes) = match &signed {
                        Ok(signature) => (About::Signed, signature.as_slice()),
                        Err(why) => (About::Unsigned, why.as_bytes()),
                    };
                    let mut packet = [&[0; HEAD], name, bytes].concat();
                    let _ = keeper::packet(asked.as_fd(), number, about, FOREVER, &mut packet);
                });
            }
            SecretSource::Env(_) => {
                answer(&self.asked, number, About::Value, Err("nobody keeps it".to_owned()));
            }
        }
    }

    /// Tells the gateway of files that hold something else, or nothing any more.
    fn look(&mut self) {
        let asked = &self.asked;
        self.seen.retain(|number, seen| {
            let now = std::fs::metadata(&seen.path).map(|metadata| version(&metadata));
            if now.is_ok_and(|now| now == seen.version) {
                seen.none = 0;
                return true;
            }
            let found = file(&seen.path).and_then(|(bytes, version)| Ok((read(&bytes, seen.kind)?, version)));
            match found {
                Ok((found, version)) => {
                    (seen.version, seen.none) = (version, 0);
                    answer(asked, *number, About::Changed, Ok(found));
                }
                Err(_) => seen.none += 1,
            }
            let gone = seen.none >= HALF;
            if gone {
                answer(asked, *number, About::Gone, Ok((Zeroizing::default(), FOREVER)));
            }
            // Whoever uses it reads it again, and hears why it cannot be.
            !gone
        });
    }
}

fn answer(asked: &OwnedFd, number: u32, about: About, value: Result<(Zeroizing<Vec<u8>>, u32), String>) {
    let (about, bytes, seconds) = match &value {
        Ok((bytes, seconds)) => (about, bytes.as_slice(), *seconds),
        Err(why) => (About::Failure, why.as_bytes(), FOREVER),
    };
    let mut packet = Zeroizing::new(vec![0; HEAD]);
    packet.reserve_exact(bytes.len());
    packet.extend_from_slice(bytes);
    let _ = keeper::packet(asked.as_fd(), number, about, seconds, &mut packet);
}

/// What a command writes, in time. What it says on its standard error is nobody's.
pub(crate) fn command(
    words: &[String],
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    given(words, variables, &[])
}

/// The same of one that is given something to read.
pub(crate) fn given(
    words: &[String],
    variables: &BTreeMap<OsString, OsString>,
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    // What is relative in them must not mean the workspace, which the task writes.
    command.args(arguments).env_clear().envs(variables).current_dir("/");
    let asks = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(asks).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    if let Some(mut asks) = child.stdin.take() {
        let input = input.to_vec();
        // Whoever does not read it is ended in time; who ends without reading says so by its status.
        std::thread::spawn(move || drop(asks.write_all(&input)));
    }
    let written = child.stdout.take().ok_or("it has no output")?;
    let end = Instant::now() + PATIENCE;
    let read = in_time(written, end);
    if read.is_err() {
        let _ = child.kill();
    }
    let ended = wait(&mut child, end);
    let bytes = read?;
    match ended {
        Some(status) if status.success() => Ok(bytes),
        Some(status) => Err(format!("`{program}` ended with {status}")),
        None => Err(format!("`{program}` did not end within {} s", PATIENCE.as_secs())),
    }
}

/// All that comes until the end of the stream.
fn in_time(written: ChildStdout, end: Instant) -> Result<Zeroizing<Vec<u8>>, String> {
    struct Timed(ChildStdout, Instant);
    impl Read for Timed {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let left = Timespec::try_from(self.1.saturating_duration_since(Instant::now()));
            let left = left.map_err(|_| std::io::ErrorKind::TimedOut)?;
            let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut polled, Some(&left))? {
                0 => Err(std::io::Error::other(format!("it did not end within {} s", PATIENCE.as_secs()))),
                _ => self.0.read(buffer),
            }
        }
    }
    all(Timed(written, end))
}

fn wait(child: &mut Child, end: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_a_request_is_one_line() {
        assert_eq!(plain(b"abc\n"), Ok(&b"abc"[..]));
        assert_eq!(plain(b"abc\r\n"), Ok(&b"abc"[..]));
        for bad in [&b""[..], b"\n", b"a\nb", b"a\r\nX-Y: z", "ä".as_bytes(), b"a\0", &[b'a'; LONGEST + 1]] {
            assert!(plain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_command_is_held_to_its_end() {
        let run =
            |script: &str| command(&["sh".to_owned(), "-c".to_owned(), script.to_owned()], &BTreeMap::new());
        assert_eq!(&**run("echo x; echo secret >&2").unwrap(), b"x\n");
        assert!(run("echo secret; exit 3").unwrap_err().contains("exit status: 3"));
        assert!(run("yes").unwrap_err().contains("longer"));
        assert!(
            command(&["/nonexistent".to_owned()], &BTreeMap::new())
                .unwrap_err()
                .contains("cannot be started")
        );
    }
}
