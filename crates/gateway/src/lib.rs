//! The only way out of a sandbox, as a process of its own: it answers names, judges connections and carries their bytes.
//!
//! The way through this crate: [`run()`] takes orders and listeners and confines itself (`enclosure`), then serves: `dns`
//! answers names with addresses of the sandbox's own, `connection` judges what comes to those, `resolver` asks
//! where a name leads, `upstream` connects to what was vetted, `relay` and `http` carry. What is refused is written down by
//! the supervisor before it takes effect (`refusals`).

#![forbid(unsafe_code)]

mod agent;
mod asked;
mod authority;
mod body;
mod carried;
pub mod certificate;
mod chunks;
mod connection;
mod counted;
mod credentials;
mod dns;
mod enclosure;
mod engine;
mod forward;
mod git;
mod guard;
mod hellos;
mod http;
mod inspect;
mod issued;
mod kept;
mod late;
mod loose;
mod mask;
mod openpgp;
mod overrides;
mod packed;
mod packets;
mod pending;
mod place;
mod publish;
mod push;
mod refusals;
mod relay;
mod resets;
mod resolver;
mod rewrite;
mod search;
mod sigv4;
mod socket;
mod ssh;
pub mod token;
mod unpack;
mod upstream;
mod vault;
mod ways;
mod websocket;
pub mod workload;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;
use std::net::UdpSocket as StdSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfence_confine::gateway::{
    Doors, GatewayFirst, GatewayTell, gateway_first, gateway_listeners, started_by_supervisor,
};
use ringfence_confine::{Message, report};
use ringfence_policy::{Budget, EngineRules, Names, NetworkJudge};
use ringfence_sys::secret;
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Resource, Rlimit};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, Semaphore};
use tokio::task::LocalSet;

use crate::authority::Authority;
use crate::carried::Sessions;
use crate::credentials::Credentials;
use crate::guard::Guard;
use crate::kept::Kept;
use crate::pending::Pending;
use crate::refusals::Refusals;
use crate::relay::Buffer;
use crate::resolver::Resolver;
use crate::ways::Ways;

/// Descriptors that are kept for other things than connections.
const RESERVED: usize = 128;
/// Connections at one time, however many descriptors there are; who comes later waits in the listener's queue.
const MOST_CONNECTIONS: usize = 16_384;

/// How often uses of credentials are counted for the record.
const COUNT: Duration = Duration::from_millis(150);

/// What every part of it shares. One thread serves all.
struct Gateway {
    judge: RefCell<NetworkJudge>,
    /// What is granted for a time; connections that stand and fall with one wait for its end.
    grants: RefCell<HashMap<u32, Rc<Notify>>>,
    names: RefCell<Names>,
    resolver: Resolver,
    refusals: Refusals,
    buffer: Buffer,
    /// Bytes that have left by rules that bound them.
    spent: RefCell<HashMap<usize, u64>>,
    /// Where TLS is looked into.
    authority: Option<Authority>,
    /// What is put on requests.
    credentials: Option<Rc<Credentials>>,
    /// What must not leave.
    guard: Option<Rc<Guard>>,
    /// Sessions of ssh that last.
    sessions: Sessions,
    /// Connections to servers that wait for another client.
    kept: Kept,
    /// Connections that wait for a server.
    pending: Pending,
    /// Room for sessions of git over ssh.
    git: Semaphore,
    /// The sandbox has ended.
    last: Notify,
    /// Where connections go, if that is told.
    ways: Option<Ways>,
}

/// Serves until its supervisor is gone. The exit status.
pub fn run() -> u8 {
    let told = rustix::stdio::stdin();
    if !started_by_supervisor(told) {
        return 125;
    }
    match prepare() {
        Ok(ready) => {
            ready.serve();
            0
        }
        Err(errno) => {
            let _ = report::tell(told, &Message::no_gateway(errno), None);
            125
        }
    }
}

impl Gateway {
    /// The owner grants something, or takes it back.
    fn told(&self, tell: GatewayTell) {
        match tell {
            GatewayTell::Reach { number, granted } => {
                self.judge.borrow_mut().grant(number, granted);
                self.grants.borrow_mut().insert(number, Rc::default());
            }
            GatewayTell::Unreach(number) => {
                self.judge.borrow_mut().withdraw(number);
                self.kept.forget();
                if let Some(ends) = self.grants.borrow_mut().remove(&number) {
                    ends.notify_waiters();
                }
            }
            GatewayTell::Use { number, name } => {
                self.credentials.iter().for_each(|credentials| credentials.lend(number, &name));
            }
            GatewayTell::Unuse(number) => {
                self.credentials.iter().for_each(|credentials| credentials.take_back(number));
            }
            GatewayTell::Last => self.last.notify_one(),
            GatewayTell::Written(_) | GatewayTell::Again(_) => {}
        }
    }

    /// Counts what leaves; `false`: it may not, and nothing more may.
    fn spend(&self, budget: &Budget, bytes: usize) -> bool {
        let mut spent = self.spent.borrow_mut();
        let own = spent.entry(budget.number).or_default();
        *own = own.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        *own <= budget.most
    }

    /// Until that grant ends.
    async fn lasts(&self, number: u32) {
        let ends = self.grants.borrow().get(&number).cloned();
        if let Some(ends) = ends {
            ends.notified().await;
        }
    }
}

struct Ready {
    runtime: tokio::runtime::Runtime,
    gateway: Gateway,
    told: OwnedFd,
    doors: Doors,
    /// Sockets of the host, and where connections for them come.
    unix: Vec<(PathBuf, OwnedFd)>,
    connections: usize,
    /// Ports of the host that lead to the task, and who connects there.
    published: Vec<publish::Listening>,
    inside: OwnedFd,
    engine: Option<EngineRules>,
}

fn prepare() -> Result<Ready, Errno> {
    let (told, taking) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    enclosure::die_with_supervisor(told)?;
    let (mut authority, mut credentials, mut guard) = (None, None, None);
    let first = loop {
        match gateway_first(told)? {
            (GatewayFirst::Inspect { hosts, roots }, _) => {
                let made = Authority::new(&hosts, &roots).map_err(|_| Errno::INVAL)?;
                report::tell(told, &Message::Answer { done: true, text: made.pem.clone() }, None)?;
                authority = Some(made);
            }
            (GatewayFirst::Hold(held, known), asked) => {
                secret::wipe_what_is_freed();
                process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
                process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
                let made = Credentials::new(held, asked)?;
                for _ in 0..known {
                    vault::take(told, &made.vault)?;
                }
                report::tell(told, &Message::Answer { done: true, text: String::new() }, None)?;
                credentials = Some(Rc::new(made));
            }
            (GatewayFirst::Watch(action, names), _) => {
                secret::wipe_what_is_freed();
                let known = names.into_iter().map(|name| Ok((name, vault::packet(told)?)));
                guard = Some(Rc::new(Guard::new(action, known.collect::<Result<_, Errno>>()?)));
            }
            (first, _) => break first,
        }
    };
    let GatewayFirst::Serve(orders) = first else { return Err(Errno::BADMSG) };
    let resolver = Resolver::of_host();
    let names = Names::new(orders.rules.names());
    let connections = enclosure::raise_descriptors();
    let told = rustix::io::fcntl_dupfd_cloexec(told, 3)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| Errno::NOMEM)?;
    let (doors, unix) = gateway_listeners(taking, orders.told)?;
    let published = publish::listen(orders.rules.published()).map_err(|(port, errno)| {
        let _ = report::tell(told.as_fd(), &Message::no_port(port, errno), None);
        errno
    })?;
    let inside = rustix::io::fcntl_dupfd_cloexec(taking, 3)?;
    // What is behind it comes from the sandbox.
    enclosure::enter(orders.ids, &orders.rules, told.as_fd())?;
    let engine = orders.rules.engine().cloned();
    let unix = orders.rules.unix().iter().cloned().zip(unix).collect();
    let gateway = Gateway {
        judge: RefCell::new(NetworkJudge::new(orders.rules)),
        grants: RefCell::default(),
        spent: RefCell::default(),
        names: RefCell::new(names),
        resolver,
        refusals: Refusals::new(
            rustix::io::fcntl_dupfd_cloexec(&told, 3)?,
            guard.clone(),
            credentials.clone(),
        ),
        buffer: Buffer::default(),
        authority,
        credentials,
        guard,
        sessions: Sessions::default(),
        kept: Kept::default(),
        pending: Pending::default(),
        last: Notify::new(),
        git: Semaphore::new(git::MOST),
        ways: orders.told.then(Ways::default),
    };
    let connections = (connections.saturating_sub(RESERVED) / 2).clamp(16, MOST_CONNECTIONS);
    Ok(Ready { runtime, gateway, told, doors, unix, connections, published, inside, engine })
}

impl Ready {
    fn serve(self) {
        let Self { runtime, gateway, told, doors, unix, connections, published, inside, engine } = self;
        let gateway = Rc::new(gateway);
        LocalSet::new().block_on(&runtime, async move {
            // Whoever may connect to the host's loopback takes no place of the task's.
            let lent = if published.is_empty() { 0 } else { connections / 4 };
            let room = Arc::new(Semaphore::new(connections - lent));
            let (streams, long, questions) = match doors {
                Doors::Diverted([streams, streams6, questions, questions6, long, long6], refused) => {
                    tokio::task::spawn_local(packets::listen(Rc::clone(&gateway), refused));
                    (vec![streams, streams6], vec![long, long6], vec![questions, questions6])
                }
                Doors::Told { streams, long_questions, ways } => {
                    tokio::task::spawn_local(packets::quiet(Rc::clone(&gateway)));
                    tokio::task::spawn_local(ways::listen(Rc::clone(&gateway), ways));
                    (vec![streams], vec![long_questions], Vec::new())
                }
            };
            for listener in streams {
                let (gateway, room) = (Rc::clone(&gateway), Arc::clone(&room));
                tokio::task::spawn_local(accept(listener, room, move |stream, from| {
                    connection::serve(Rc::clone(&gateway), stream, from)
                }));
            }
            for listener in long {
                let (gateway, room) = (Rc::clone(&gateway), Arc::clone(&room));
                tokio::task::spawn_local(accept(listener, room, move |stream, from| {
                    dns::converse(Rc::clone(&gateway), stream, from)
                }));
            }
            for socket in questions {
                if let Ok(socket) = UdpSocket::from_std(StdSocket::from(socket)) {
                    tokio::task::spawn_local(dns::answer_all(Rc::clone(&gateway), Rc::new(socket)));
                }
            }
            for (path, listener) in unix {
                let engine = engine.as_ref().filter(|_| path.as_os_str() == ringfence_policy::ENGINE);
                if let Some(engine) = engine.cloned() {
                    let (gateway, room) = (Rc::clone(&gateway), Arc::clone(&room));
                    tokio::task::spawn_local(engine::serve(engine, listener, gateway, room));
                    continue;
                }
                if path.as_os_str() == ringfence_policy::AGENT {
                    tokio::task::spawn_local(agent::serve(listener, Rc::clone(&gateway)));
                    continue;
                }
                tokio::task::spawn_local(socket::serve(
                    path,
                    listener,
                    Rc::clone(&gateway),
                    Arc::clone(&room),
                ));
            }
            if !published.is_empty() {
                let Ok(inside) = publish::Inside::new(inside) else { return };
                let inside = Rc::new(inside);
                let room = Arc::new(Semaphore::new(lent));
                for (port, listener) in published {
                    let (gateway, inside, room) =
                        (Rc::clone(&gateway), Rc::clone(&inside), Arc::clone(&room));
                    tokio::task::spawn_local(accept(listener, room, move |stream, _| {
                        publish::serve(Rc::clone(&gateway), Rc::clone(&inside), port, stream)
                    }));
                }
            }
            let own = Rc::clone(&gateway);
            tokio::task::spawn_local(async move { own.pending.listen(&own.refusals).await });
            if let Some(credentials) = gateway.credentials.clone() {
                tokio::task::spawn_local(Rc::clone(&credentials.vault).listen());
                let gateway = Rc::clone(&gateway);
                tokio::task::spawn_local(async move {
                    loop {
                        tokio::time::sleep(COUNT).await;
                        credentials.count(&gateway).await;
                    }
                });
            }
            // What it says is heard only while the runtime runs.
            if report::tell(told.as_fd(), &Message::Ready, None).is_err() {
                return;
            }
            gateway.refusals.listen(told, |tell| gateway.told(tell)).await;
        });
    }
}

/// Takes connections for as long as there is room, each served beside the others.
async fn accept<F, S>(listener: OwnedFd, room: Arc<Semaphore>, serve: S)
where
    F: Future<Output = ()> + 'static,
    S: Fn(tokio::net::TcpStream, SocketAddr) -> F,
{
    let Ok(listener) = TcpListener::from_std(StdListener::from(listener)) else { return };
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let served = serve(stream, from);
                tokio::task::spawn_local(async move {
                    served.await;
                    drop(place);
                });
            }
            // No descriptor is free, or who connected is gone.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
