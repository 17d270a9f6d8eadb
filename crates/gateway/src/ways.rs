//! Tier `landlock`: init says where each connection goes, since the task's sockets lead to the gateway's listeners alone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfence_confine::gateway::{Way, next_way};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::{Gateway, dns};

/// Sockets at which names are asked for, at one time; who comes later is told of no name.
const MOST_ASKERS: usize = 512;
/// A connection that nothing is said of for so long is none of the task's.
const PATIENCE: Duration = Duration::from_secs(5);

/// What init has said of connections that were not taken yet, by the task's side of them.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    asked: RefCell<HashMap<SocketAddr, SocketAddr>>,
    news: Notify,
}

impl Ways {
    /// Where a connection goes. `None`: it comes from elsewhere.
    pub(crate) async fn asked(&self, from: SocketAddr) -> Option<SocketAddr> {
        let told = async {
            loop {
                let news = self.news.notified();
                if let Some(asked) = self.asked.borrow_mut().remove(&from) {
                    return asked;
                }
                news.await;
            }
        };
        timeout(PATIENCE, told).await.ok()
    }
}

/// Hears what init says, until it is gone.
pub(crate) async fn listen(gateway: Rc<Gateway>, ways: OwnedFd) {
    let own = StdUnix::from(ways);
    if own.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(own) = UnixStream::from_std(own) else { return };
    let room = Arc::new(Semaphore::new(MOST_ASKERS));
    loop {
        let heard = own.async_io(Interest::READABLE, || Ok(next_way(own.as_fd())?)).await;
        match heard {
            Ok((Way::Connection { from, asked }, _)) => {
                if let Some(ways) = &gateway.ways {
                    ways.asked.borrow_mut().insert(from, asked);
                    ways.news.notify_waiters();
                }
            }
            Ok((Way::Asker { source }, Some(socket))) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
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
