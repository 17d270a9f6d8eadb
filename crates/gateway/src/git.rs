//! Sessions of git with a server of ssh, where a policy says what it may push: judged here, and carried by the invoker's own ssh, which the
//! keeper starts. The task has no key for such a host, so there is no other way.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use ringfence_confine::gateway::Held;
use ringfence_confine::keeper::Session;
use ringfence_policy::{Budget, Endpoint, GitCommand, Protocol, plain_user};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout};

use crate::Gateway;
use crate::connection::Target;
use crate::push::{self, List, Pushed};
use crate::ssh::Reader;
use crate::upstream::{self, NoWay};

/// Sessions at one time; others wait.
pub(crate) const MOST: usize = 16;
/// How long nothing may move.
const IDLE: Duration = Duration::from_secs(600);
/// How long the status of ssh is waited for once it says nothing more.
const ENDING: Duration = Duration::from_secs(10);
/// Bytes of names of references, and one name more, that are told of at once.
const EVENT: usize = 256;
/// Bytes that are read at once.
const PART: usize = 16 << 10;

/// What the client is answered (draft-ietf-sshm-ssh-agent, section 6.1).
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];
const SUCCESS: &[u8] = &[0, 0, 0, 1, 6];
const REFUSED: u8 = 28;
/// What it is told then, each with its length.
const SAID: u8 = 1;
const COMPLAINED: u8 = 2;
const ENDED: u8 = 3;
/// As ssh's own, where it could not do what it was asked.
const FAILED: u8 = 255;

/// What a client asks for.
struct Asked<'a> {
    host: String,
    port: u16,
    user: &'a str,
    command: &'a str,
    version: Option<u8>,
}

impl<'a> Asked<'a> {
    fn read(mut reader: Reader<'a>) -> Option<Self> {
        let (host, port, user) = (reader.text()?, reader.text()?, reader.text()?);
        let (command, protocol) = (reader.text()?, reader.text()?);
        reader.end()?;
        let version = match protocol {
            "version=1" => Some(1),
            "version=2" => Some(2),
            _ => None,
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        Some(Self { host, port: port.parse().ok()?, user, command, version })
    }

    fn target(&self) -> Target {
        let address = self.host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let name = address.is_none().then(|| self.host.clone());
        Target { name, address: address.unwrap_or([0, 0, 0, 0].into()), port: self.port, source: 0 }
    }
}

/// What may begin.
struct Judged<'a> {
    number: u32,
    user: &'a str,
    one: &'a Held,
    endpoint: &'a Endpoint,
    command: GitCommand,
    address: IpAddr,
    budget: Option<Budget>,
    /// The grant that it stands and falls with.
    granted: Option<u32>,
}

impl Judged<'_> {
    /// In words: what is run there, and as whom.
    fn shown(&self) -> String {
        shown(&self.command.to_string(), self.user)
    }
}

fn shown(command: &str, user: &str) -> String {
    if user.is_empty() { command.to_owned() } else { format!("{command} as {user}") }
}

/// Why it may not: by a credential, or by the network.
enum No {
    Credential(String, String),
    Network(String),
    /// Nobody refuses it, and it does not work.
    Failed(String),
}

/// Serves one.
///
/// # Errors
/// The client is gone.
pub(crate) async fn serve(mut client: UnixStream, gateway: &Gateway, asked: Reader<'_>) -> io::Result<()> {
    let Some(asked) = Asked::read(asked) else { return Ok(()) };
    let target = asked.target();
    let own: Vec<_> = gateway
        .credentials
        .iter()
        .flat_map(|credentials| credentials.keys())
        .filter_map(|(number, one)| {
            let mut hosts = one.credential.hosts.iter().filter(|_| one.credential.git_only());
            Some((number, one, hosts.find(|host| host.is(&target.peer(), target.port))?))
        })
        .collect();
    if own.is_empty() {
        return client.write_all(FAILURE).await;
    }
    let Ok(_place) = gateway.git.acquire().await else { return Ok(()) };
    let request: String =
        asked.command.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let begun = match judge(gateway, &asked, &target, own).await {
        Ok(judged) => {
            // On disk before anything is sent.
            let name = judged.one.name.as_str();
            gateway.refusals.credential(name, &target, judged.shown(), String::new(), 1).await;
            begin(gateway, &asked, &judged).map(|streams| (judged, streams)).map_err(No::Failed)
        }
        Err(no) => Err(no),
    };
    let (judged, streams) = match begun {
        Ok(begun) => begun,
        Err(no) => {
            let why = match no {
                No::Credential(name, why) => {
                    gateway.refusals.credential(&name, &target, request, why.clone(), 1).await;
                    why
                }
                No::Network(why) => {
                    gateway.refusals.tell(&target.host(), target.port, why.clone(), 0).await;
                    why
                }
                No::Failed(why) => why,
            };
            let length = u32::try_from(why.len() + 1).unwrap_or(u32::MAX).to_be_bytes();
            return client.write_all(&[&length[..], &[REFUSED], why.as_bytes()].concat()).await;
        }
    };
    client.write_all(SUCCESS).await?;
    carry(gateway, client, &judged, &target, streams).await
}

async fn judge<'a>(
    gateway: &Gateway,
    asked: &Asked<'a>,
    target: &Target,
    own: Vec<(u32, &'a Held, &'a Endpoint)>,
) -> Result<Judged<'a>, No> {
    let first = own.first().map(|(_, one, _)| one.name.clone()).unwrap_or_default();
    let no = |why: &str| No::Credential(first.clone(), why.to_owned());
    if !asked.user.is_empty() && !plain_user(asked.user) {
        return Err(no("the user has no plain name"));
    }
    let command = GitCommand::parse(asked.command).ok_or_else(|| {
        no("a key with `push` is for `git-upload-pack` and `git-receive-pack` with one path, as git asks for them, and for nothing else")
    })?;
    let over = |(_, one, _): &(u32, &Held, _)| command.within(&one.credential.http);
    let Some((number, one, endpoint)) = own.into_iter().find(over) else {
        let shown = command.path.escape_debug().take(200).collect::<String>();
        return Err(no(&format!(
            "`paths` of the credential do not cover `{shown}`: if it belongs there, add it"
        )));
    };
    let no = |why: String| No::Credential(one.name.clone(), why);
    if let Some(why) = gateway.credentials.as_deref().and_then(|credentials| credentials.waits(one)) {
        return Err(no(why));
    }
    if command.push && one.credential.push.as_ref().is_none_or(Vec::is_empty) {
        return Err(no(push::NONE.to_owned()));
    }
    let way = gateway.judge.borrow().connect(&target.peer(), target.port).map_err(No::Network)?;
    if way.judged || !matches!(way.protocol, Protocol::Ssh | Protocol::Tcp) {
        return Err(No::Network(format!("ssh is spoken there, and the rule has `{}`", way.protocol.word())));
    }
    let found = upstream::addresses(gateway, target).await.map_err(|no| match no {
        NoWay::Refused(why) | NoWay::Unverified(why) => No::Network(why),
        NoWay::Failed(why) => No::Failed(why),
    })?;
    let address = found.iter().find(|address| leads(**address, target.port)).or(found.first()).copied();
    let address = address.ok_or_else(|| No::Failed("the server has no address".to_owned()))?;
    Ok(Judged {
        number,
        user: asked.user,
        one,
        endpoint,
        command,
        address,
        budget: way.budget,
        granted: way.granted,
    })
}

/// Whether packets would find a way there; none is sent. ssh is told of one address alone, which was vetted.
fn leads(address: IpAddr, port: u16) -> bool {
    let own: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    UdpSocket::bind(SocketAddr::new(own, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(address, port)))
        .is_ok()
}

/// What git and the server say, what ssh says, and where its end is told.
type Streams = [UnixStream; 3];

/// Has the keeper begin it.
fn begin(gateway: &Gateway, asked: &Asked<'_>, judged: &Judged<'_>) -> Result<Streams, String> {
    let credentials = gateway.credentials.as_deref().ok_or("there are no credentials")?;
    let pair = || {
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let own = StdStream::from(own);
        own.set_nonblocking(true)?;
        Ok::<_, io::Error>((UnixStream::from_std(own)?, other))
    };
    let made = || Ok::<_, io::Error>([pair()?, pair()?, pair()?]);
    let [one, two, three] = made().map_err(|error| format!("a session of ssh cannot begin: {error}"))?;
    let session = Session {
        number: judged.number,
        host: (judged.endpoint.host.to_string(), judged.endpoint.port),
        address: judged.address,
        user: asked.user.to_owned(),
        command: judged.command.to_string(),
        version: asked.version.filter(|_| !judged.command.push),
    };
    credentials.vault.session(&session, [&one.1, &two.1, &three.1].map(OwnedFd::as_fd))?;
    Ok([one.0, two.0, three.0])
}

/// Why a session ends before its time.
enum End {
    /// It is refused.
    Refused(String),
    /// No more bytes may leave.
    Spent(String),
    /// For another reason, which is told.
    Told(&'static str),
    /// Somebody is gone.
    Gone(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

async fn carry(
    gateway: &Gateway,
    client: UnixStream,
    judged: &Judged<'_>,
    target: &Target,
    [carried, says, watched]: Streams,
) -> io::Result<()> {
    let (mut from, to) = client.into_split();
    let mut to = Told { to, rest: Vec::new() };
    let (server, mut up) = carried.into_split();
    let alive = Alive(Cell::new(Instant::now()));
    let granted = async {
        match judged.granted {
            Some(number) => gateway.lasts(number).await,
            None => std::future::pending().await,
        }
    };
    let taken = async {
        match gateway.credentials.as_deref() {
            Some(credentials) => credentials.until_taken(judged.one).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        // First, so that a refusal is told before what the server says of the end.
        Err(why) = out(gateway, judged, target, &mut from, &mut up, &alive) => Err(why),
        status = back(server, says, watched, &mut to, &alive) => status,
        () = alive.ended() => Err(End::Told("nothing has moved for 10 minutes")),
        () = granted => Err(End::Told("the grant has ended")),
        why = taken => Err(End::Refused(why)),
    };
    let (name, request) = (judged.one.name.as_str(), judged.shown());
    let why = match ended {
        Ok(status) => return to.end(None, status).await,
        Err(End::Gone(error)) => return Err(error),
        Err(End::Told(why)) => why.to_owned(),
        Err(End::Refused(why)) => {
            gateway.refusals.credential(name, target, request, why.clone(), 1).await;
            why
        }
        Err(End::Spent(why)) => {
            gateway.refusals.tell(&target.host(), target.port, why.clone(), 0).await;
            why
        }
    };
    to.end(Some(why), FAILED).await
}

/// What git says: of a push, nothing before its list is judged.
async fn out(
    gateway: &Gateway,
    judged: &Judged<'_>,
    target: &Target,
    from: &mut OwnedReadHalf,
    up: &mut OwnedWriteHalf,
    alive: &Alive,
) -> Result<(), End> {
    let mut part = vec![0; PART];
    let mut held = judged.command.push.then(|| (Vec::new(), List::default()));
    loop {
        let length = from.read(&mut part).await?;
        alive.moved();
        let read = part.get(..length).unwrap_or_default();
        if length == 0 {
            // What was not judged is not sent.
            let _ = up.shutdown().await;
            return Ok(());
        }
        if let Some(budget) = &judged.budget
            && !gateway.spend(budget, length)
        {
            return Err(End::Spent(budget.exceeded()));
        }
        let Some((whole, list)) = &mut held else {
            // A server that hears nothing more may still say why.
            if up.write_all(read).await.is_err() {
                return Ok(());
            }
            alive.moved();
            continue;
        };
        whole.extend_from_slice(read);
        match list.more(whole) {
            Pushed::More if whole.len() <= push::LONGEST_SSH => {}
            Pushed::More => return Err(End::Refused(push::too_long(push::LONGEST_SSH))),
            Pushed::Options => return Err(End::Refused(push::OPTED.to_owned())),
            Pushed::Strange => return Err(End::Refused(push::STRANGE.to_owned())),
            Pushed::Changes(names) => {
                pushes(gateway, judged, target, &names).await?;
                if up.write_all(whole).await.is_err() {
                    return Ok(());
                }
                held = None;
            }
        }
    }
}

/// Whether the references may be changed; that they are is on disk before the server hears of it.
async fn pushes(
    gateway: &Gateway,
    judged: &Judged<'_>,
    target: &Target,
    names: &[String],
) -> Result<(), End> {
    let branches = judged.one.credential.push.as_deref().unwrap_or_default();
    push::judge(names, branches).map_err(End::Refused)?;
    if let Some(why) = gateway.credentials.as_deref().and_then(|credentials| credentials.waits(judged.one)) {
        return Err(End::Refused(why));
    }
    let mut told: Vec<&str> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        told.push(name);
        // As many as one event holds whole.
        let length: usize = told.iter().map(|name| name.len() + 1).sum();
        if length >= EVENT || at + 1 == names.len() {
            let request = format!("{} to {}", judged.shown(), told.join(" "));
            gateway.refusals.credential(&judged.one.name, target, request, String::new(), 1).await;
            told.clear();
        }
    }
    Ok(())
}

/// What the server and ssh say, until both have ended: the status.
async fn back(
    mut server: OwnedReadHalf,
    mut says: UnixStream,
    mut watched: UnixStream,
    to: &mut Told,
    alive: &Alive,
) -> Result<u8, End> {
    let (mut said, mut complained) = (vec![0; PART], vec![0; PART]);
    let (mut more, mut words) = (true, true);
    while more || words {
        let (kind, length) = tokio::select! {
            length = server.read(&mut said), if more => (SAID, length),
            length = says.read(&mut complained), if words => (COMPLAINED, length),
        };
        // A socket whose other side has ended with something unread says that it was reset.
        let length = length.or_else(|error| match error.kind() {
            ErrorKind::ConnectionReset => Ok(0),
            _ => Err(error),
        })?;
        alive.moved();
        let (open, buffer) = if kind == SAID { (&mut more, &said) } else { (&mut words, &complained) };
        *open = length > 0;
        if length > 0 {
            to.frame(kind, buffer.get(..length).unwrap_or_default()).await?;
            alive.moved();
        }
    }
    let status = timeout(ENDING, watched.read_u8()).await;
    Ok(status.ok().and_then(Result::ok).unwrap_or(FAILED))
}

/// What the client is told. What was begun and not sent yet goes before what is told next.
struct Told {
    to: OwnedWriteHalf,
    rest: Vec<u8>,
}

impl Told {
    async fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidData)?;
        self.rest.extend([&[kind][..], &length.to_be_bytes(), bytes].concat());
        while !self.rest.is_empty() {
            let sent = self.to.write(&self.rest).await?;
            self.rest.drain(..sent);
        }
        Ok(())
    }

    /// The last of it. A client that does not read is waited for no longer than this.
    async fn end(&mut self, why: Option<String>, status: u8) -> io::Result<()> {
        let told = async {
            if let Some(why) = why {
                self.frame(COMPLAINED, format!("ringfence: error: {why}\n").as_bytes()).await?;
            }
            self.frame(ENDED, &[status]).await
        };
        timeout(ENDING, told).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
    }
}

/// When something last moved, in either direction.
struct Alive(Cell<Instant>);

impl Alive {
    fn moved(&self) {
        self.0.set(Instant::now());
    }

    async fn ended(&self) {
        loop {
            let end = self.0.get() + IDLE;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
