//! The ssh agent that the task sees: it lists the keys that the policy names, and has the real one sign for the hosts that it names.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_confine::gateway::Held;
use ringfence_policy::{GIT_SSH, SIGN_OPENPGP, SPEAK_GIT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::connection::Target;
use crate::ssh::{Bind, Purpose, Reader, bind, purpose, string};
use crate::{Gateway, git, openpgp};

/// Bytes of the longest message: of a text that gpg signs; what ssh signs is far shorter.
const LONGEST: usize = 61 << 10;
/// Connections at one time.
const MOST: usize = 64;

const FAILURE: &[u8] = &[5];
const SUCCESS: &[u8] = &[6];
const ASK_KEYS: u8 = 11;
const KEYS: u8 = 12;
const SIGN: u8 = 13;
const SIGNED: u8 = 14;
const EXTENSION: u8 = 27;

/// Takes connections to it.
pub(crate) async fn serve(listener: OwnedFd, gateway: Rc<Gateway>) {
    let Ok(listener) = UnixListener::from_std(StdListener::from(listener)) else { return };
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let gateway = Rc::clone(&gateway);
                tokio::task::spawn_local(async move {
                    let _ = converse(stream, &gateway).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Answers one client until it ends, or says what is too long.
async fn converse(mut stream: UnixStream, gateway: &Gateway) -> std::io::Result<()> {
    let mut binds = Vec::new();
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length == 0 || length > LONGEST {
            return Ok(());
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        if let Some(asked) = session(&message) {
            return git::serve(stream, gateway, asked).await;
        }
        let answer = answer(&message, &mut binds, gateway).await;
        let mut whole = Vec::with_capacity(answer.len() + 4);
        string(&mut whole, &answer);
        stream.write_all(&whole).await?;
    }
}

/// What is said of a session of git, which the connection becomes.
fn session(message: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader(message);
    let begins = reader.byte() == Some(EXTENSION) && reader.string() == Some(SPEAK_GIT);
    begins.then_some(reader)
}

async fn answer(message: &[u8], binds: &mut Vec<Bind>, gateway: &Gateway) -> Vec<u8> {
    let Some(credentials) = gateway.credentials.as_deref() else { return FAILURE.to_vec() };
    let mut reader = Reader(message);
    match reader.byte() {
        Some(ASK_KEYS) => {
            let mut out = vec![KEYS];
            // One that signs nothing here would only be tried in vain.
            let listed = credentials
                .keys()
                .filter(|(_, one)| !one.credential.git_only() || !one.credential.sign.is_empty());
            let keys: Vec<(&str, Vec<u8>)> =
                listed.filter_map(|(_, one)| Some((one.name.as_str(), key_of(one)?))).collect();
            out.extend_from_slice(&u32::try_from(keys.len()).unwrap_or_default().to_be_bytes());
            for (name, key) in keys {
                string(&mut out, &key);
                string(&mut out, name.as_bytes());
            }
            out
        }
        Some(SIGN) => {
            let parts = || Some((reader.string()?, reader.string()?, reader.number()?, reader.end()?));
            let mut parts = parts;
            let Some((key, data, flags, ())) = parts() else { return FAILURE.to_vec() };
            sign(gateway, (key, data, flags), binds).await.unwrap_or_else(|| FAILURE.to_vec())
        }
        Some(EXTENSION) => match reader.string() {
            Some(b"session-bind@openssh.com") => match bind(reader.0, binds.len()) {
                Ok(bind) => {
                    binds.push(bind);
                    SUCCESS.to_vec()
                }
                Err(why) => {
                    refuse(gateway, "", why.to_owned(), None).await;
                    FAILURE.to_vec()
                }
            },
            Some(SIGN_OPENPGP) => {
                let made = match reader.string() {
                    Some(text) => openpgp::sign(gateway, text).await,
                    None => None,
                };
                made.map_or_else(|| FAILURE.to_vec(), |made| signed(&made))
            }
            // Extensions are asked for at random; this one has none.
            _ => FAILURE.to_vec(),
        },
        Some(kind) => {
            let rule = format!(
                "the agent of a sandbox lists keys and signs, and does nothing else (message {kind})"
            );
            refuse(gateway, "", rule, None).await;
            FAILURE.to_vec()
        }
        None => FAILURE.to_vec(),
    }
}

fn signed(signature: &[u8]) -> Vec<u8> {
    let mut out = vec![SIGNED];
    string(&mut out, signature);
    out
}

/// The key that a credential is, as it is sent.
fn key_of(one: &Held) -> Option<Vec<u8>> {
    STANDARD.decode(one.placeholder.as_deref()?).ok()
}

/// Has the real agent sign, if the policy lets it. `None`: it does not, and that was said.
async fn sign(gateway: &Gateway, (key, data, flags): (&[u8], &[u8], u32), binds: &[Bind]) -> Option<Vec<u8>> {
    let credentials = gateway.credentials.as_deref()?;
    let purpose = purpose(data, key, binds);
    let own = || credentials.keys().filter(|(_, one)| key_of(one).as_deref() == Some(key));
    // Several credentials may be one key: for git alone, and for the task at other hosts.
    let fits = |(_, one): &(u32, &Held)| match &purpose {
        Ok(Purpose::SignIn(..)) => !one.credential.git_only(),
        Ok(Purpose::File(namespace)) => one.credential.sign.contains(namespace),
        Err(_) => true,
    };
    let Some((number, one)) = own().find(fits).or_else(|| own().next()) else {
        refuse(gateway, "", "a key is asked for that the policy does not name".to_owned(), None).await;
        return None;
    };
    if let Some(why) = credentials.waits(one) {
        refuse(gateway, &one.name, why, None).await;
        return None;
    }
    let (host, request, session) = match judge(gateway, one, purpose, binds) {
        Ok(judged) => judged,
        Err((host, why)) => {
            refuse(gateway, &one.name, why, host).await;
            return None;
        }
    };
    gateway.refusals.credential(&one.name, &host, request.clone(), String::new(), 1).await;
    let mut asked = Vec::new();
    for part in [session.map(|bind| bind.said.as_slice()).unwrap_or_default(), key, data] {
        string(&mut asked, part);
    }
    asked.extend_from_slice(&flags.to_be_bytes());
    match credentials.vault.ask(number, &asked).await {
        Ok(_) if credentials.waits(one).is_some() => {
            refuse(gateway, &one.name, "it was taken back meanwhile".to_owned(), Some(host)).await;
            None
        }
        Ok(signature) => Some(signed(&signature)),
        Err(why) => {
            let rule = format!("{}: {why}", one.credential.source);
            gateway.refusals.credential(&one.name, &host, request, rule, 1).await;
            None
        }
    }
}

/// Where a signature goes, what it is for, and the session that it is bound to; or why it is not made.
type Judged<'a> = Result<(Target, String, Option<&'a Bind>), (Option<Target>, String)>;

fn judge<'a>(
    gateway: &Gateway,
    one: &Held,
    purpose: Result<Purpose, String>,
    binds: &'a [Bind],
) -> Judged<'a> {
    match purpose.map_err(|why| (None, why))? {
        Purpose::SignIn(_, user) if one.credential.git_only() => {
            let why = format!(
                "a session of `{user}` is begun by the task itself, and the credential has `push`: git alone uses it, by `{GIT_SSH}`"
            );
            Err((None, why))
        }
        Purpose::SignIn(number, user) => {
            let bind = binds.get(number).ok_or((None, "there is no such session".to_owned()))?;
            let mut known = one.host_keys.iter().filter(|(_, key)| *key == bind.host_key).peekable();
            let Some((first, _)) = known.peek().copied() else {
                let hosts: Vec<String> = one.credential.hosts.iter().map(ToString::to_string).collect();
                let why = format!(
                    "a session of `{user}` is with a host that has another key than `{}`: if it belongs here, add it to `hosts`",
                    hosts.join("`, `")
                );
                return Err((None, why));
            };
            // Who sends a session in from outside has the key sign what somebody else begins.
            let Some((host, _)) = known.find(|(host, _)| gateway.sessions.signed(host, &bind.signed)) else {
                let why = format!(
                    "a session of `{user}` with `{first}` is none that this sandbox has with it right now: connect there directly, not by way of another host"
                );
                return Err((Some(target(first)), why));
            };
            Ok((target(host), format!("ssh {user}"), Some(bind)))
        }
        Purpose::File(namespace) if one.credential.sign.contains(&namespace) => {
            Ok((target("ssh-agent"), format!("signature for {namespace}"), None))
        }
        Purpose::File(namespace) => {
            let shown: String = namespace.chars().take(64).filter(|letter| !letter.is_control()).collect();
            let why = format!("a file shall be signed for `{shown}`: if it belongs here, add that to `sign`");
            Err((None, why))
        }
    }
}

/// `HOST:PORT`, or a name alone.
pub(crate) fn target(host: &str) -> Target {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let port = port.parse().unwrap_or(0);
    Target { name: Some(name.to_owned()), address: [0, 0, 0, 0].into(), port, source: 0 }
}

async fn refuse(gateway: &Gateway, name: &str, rule: String, host: Option<Target>) {
    let host = host.unwrap_or_else(|| target("ssh-agent"));
    let name = if name.is_empty() { "ssh" } else { name };
    gateway.refusals.credential(name, &host, "ssh".to_owned(), rule, 1).await;
}
