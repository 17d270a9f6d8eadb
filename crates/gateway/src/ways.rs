//! Tier `landlock`: init says where each connection goes, since the task's sockets lead to the gateway's listeners alone.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_confine::gateway::{MOST_ASKERS, Way, next_way};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Gateway, dns};

/// So often it is looked whether an asker that is gone has left its place: what ended has been heard of by then.
const ROUNDS: usize = 64;
/// A connection that nothing is said of for so long is none of the task's.
const PATIENCE: Duration = Duration::from_secs(5);
/// What nobody has taken for so long was given up before it came: its number may come again, from elsewhere on the host.
const KEPT: Duration = Duration::from_secs(60);
/// So many connections that nothing is said of may take that long, and the others no longer than this: whoever else may connect to the
/// host's loopback is not to take the places of the task's, of which each is told of at once.
const MOST_STRANGERS: usize = 12;
const HASTE: Duration = Duration::from_millis(250);
/// How many are known when it is looked which of them are old.
const FEW: usize = 256;

/// What init has said of connections that were not taken yet, by the task's side of them.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    asked: RefCell<HashMap<SocketAddr, (SocketAddr, Instant)>>,
    /// How many are known when it is looked next.
    most: Cell<usize>,
    news: Notify,
    /// Held once by each of which nothing is known.
    strangers: Rc<()>,
}

impl Ways {
    /// Where a connection goes. `None`: it comes from elsewhere.
    pub(crate) async fn asked(&self, from: SocketAddr) -> Option<SocketAddr> {
        let told = async {
            loop {
                let news = self.news.notified();
                let known = self.asked.borrow_mut().remove(&from);
                if let Some((asked, _)) = known.filter(|(_, since)| since.elapsed() < KEPT) {
                    return asked;
                }
                news.await;
            }
        };
        let stranger = Rc::clone(&self.strangers);
        let few = Rc::strong_count(&stranger) <= 1 + MOST_STRANGERS;
        timeout(if few { PATIENCE } else { HASTE }, told).await.ok()
    }

    fn tell(&self, from: SocketAddr, asked: SocketAddr) {
        let mut known = self.asked.borrow_mut();
        if known.len() >= self.most.get().max(FEW) {
            known.retain(|_, (_, since)| since.elapsed() < KEPT);
            self.most.set(2 * known.len());
        }
        known.insert(from, (asked, Instant::now()));
        self.news.notify_waiters();
    }
}

/// Hears what init says, until it is gone.
pub(crate) async fn listen(gateway: Rc<Gateway>, ways: OwnedFd) {
    let own = StdUnix::from(ways);
    if own.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(own) = UnixStream::from_std(own) else { return };
    let (room, crowd) = (Arc::new(Semaphore::new(MOST_ASKERS)), Rc::new(Crowd::default()));
    loop {
        let heard = own.async_io(Interest::READABLE, || Ok(next_way(own.as_fd())?)).await;
        match heard {
            Ok((Way::Connection { from, asked }, _)) => {
                if let Some(ways) = &gateway.ways {
                    ways.tell(from, asked);
                }
            }
            Ok((Way::Asker { source }, Some(socket))) => {
                let Some(place) = place(&room).await else {
                    drop(socket);
                    crowd.refused(&gateway, source);
                    continue;
                };
                let socket = StdUnix::from(socket);
                if socket.set_nonblocking(true).is_err() {
                    continue;
                }
                let Ok(socket) = UnixStream::from_std(socket) else { continue };
                let gateway = Rc::clone(&gateway);
                tokio::task::spawn_local(async move {
                    dns::answer_one(gateway, socket, source).await;
                    drop(place);
                });
            }
            // Its descriptor could not be had.
            Ok((Way::Asker { .. }, None)) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// A place for one who asks, if there is one.
async fn place(room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    for _ in 0..ROUNDS {
        if let Ok(place) = Arc::clone(room).try_acquire_owned() {
            return Some(place);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Those for whom there was no place: told of one after the other, and counted meanwhile.
#[derive(Debug, Default)]
struct Crowd {
    untold: Cell<u64>,
    telling: Cell<bool>,
}

impl Crowd {
    fn refused(self: &Rc<Self>, gateway: &Rc<Gateway>, source: u16) {
        self.untold.set(self.untold.get().saturating_add(1));
        if self.telling.replace(true) {
            return;
        }
        let (own, gateway) = (Rc::clone(self), Rc::clone(gateway));
        tokio::task::spawn_local(async move {
            while own.untold.get() > 0 {
                let (name, times) = ("(a packet of UDP that asks for a name)", own.untold.take());
                let why = format!("{MOST_ASKERS} sockets ask for names already: further ones get no answer");
                gateway.refusals.asked_often(name, why, source, times).await;
            }
            own.telling.set(false);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    }

    #[test]
    fn what_was_given_up_is_forgotten() {
        let ways = Ways::default();
        let old = Instant::now().checked_sub(KEPT).unwrap();
        let taken = |port| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime
                .block_on(async { timeout(Duration::from_millis(5), ways.asked(address(port))).await.ok()? })
        };
        ways.tell(address(1), address(443));
        assert_eq!(taken(1), Some(address(443)));
        assert_eq!(taken(1), None);
        ways.asked.borrow_mut().insert(address(2), (address(443), old));
        assert_eq!(taken(2), None);
        ways.asked.borrow_mut().extend((10..1000).map(|port| (address(port), (address(443), old))));
        ways.tell(address(3), address(443));
        assert_eq!(ways.asked.borrow().len(), 1);
    }

    #[test]
    fn strangers_take_no_place_of_what_is_told_of() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let begun = Instant::now();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let ways = Rc::new(Ways::default());
            let own = Rc::clone(&ways);
            let task = tokio::task::spawn_local(async move { own.asked(address(1)).await });
            tokio::task::yield_now().await;
            let strangers: Vec<_> = (2..100)
                .map(|port| {
                    let ways = Rc::clone(&ways);
                    tokio::task::spawn_local(async move { ways.asked(address(port)).await })
                })
                .collect();
            ways.tell(address(1), address(443));
            assert_eq!(task.await.unwrap(), Some(address(443)));
            tokio::task::yield_now().await;
            tokio::time::sleep(2 * HASTE).await;
            let ended = strangers.iter().filter(|stranger| stranger.is_finished()).count();
            assert!(ended >= strangers.len() - MOST_STRANGERS && begun.elapsed() < PATIENCE, "{ended} ended");
        });
    }
}
