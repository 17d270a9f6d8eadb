//! Servers of the task on the host's loopback: bytes are carried both ways, init makes the connection inside.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;

use ringfence_confine::publish::{ask_for_port, lent};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use crate::relay::{self, Bounds};
use crate::{Gateway, connection};

/// A port, and where the host listens for it.
pub(crate) type Listening = (u16, OwnedFd);

/// Takes these ports of the host's loopback, IPv6 too where the host has that.
pub(crate) fn listen(ports: &[u16]) -> Result<Vec<Listening>, (u16, Errno)> {
    let mut listening = Vec::new();
    for port in ports {
        for own in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            match take(SocketAddr::new(own, *port)) {
                Ok(listener) => listening.push((*port, listener)),
                Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) if own.is_ipv6() => {}
                Err(errno) => return Err((*port, errno)),
            }
        }
    }
    Ok(listening)
}

fn take(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let listener = StdListener::bind(address).map_err(errno)?;
    listener.set_nonblocking(true).map_err(errno)?;
    Ok(listener.into())
}

/// Where init is asked.
pub(crate) struct Inside(Mutex<UnixStream>);

impl Inside {
    /// Within the runtime.
    pub(crate) fn new(way: OwnedFd) -> io::Result<Self> {
        let way = StdUnix::from(way);
        way.set_nonblocking(true)?;
        // Each read takes a packet, whatever the type is called.
        Ok(Self(Mutex::new(UnixStream::from_std(way)?)))
    }

    /// A connection to a port of the task, by IPv4 or else by IPv6.
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        match self.by(port, false).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.by(port, true).await,
            connected => connected,
        }
    }

    async fn by(&self, port: u16, six: bool) -> io::Result<TcpStream> {
        // One question at a time, so that the answer is to it.
        let way = self.0.lock().await;
        ask_for_port(way.as_fd(), port, six)?;
        let socket = way.async_io(Interest::READABLE, || Ok(lent(way.as_fd())?)).await?;
        drop(way);
        let socket = socket.ok_or(ErrorKind::ConnectionRefused)?;
        let stream = TcpStream::from_std(StdStream::from(socket))?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(stream), Err)
    }
}

/// Serves one connection of the host to its end.
pub(crate) async fn serve(gateway: Rc<Gateway>, inside: Rc<Inside>, port: u16, stream: TcpStream) {
    let Ok(own) = inside.connect(port).await else { return connection::reset(&stream) };
    let _ = (stream.set_nodelay(true), own.set_nodelay(true));
    let _ = relay::both(&gateway.buffer, &stream, &own, &Bounds::NONE).await;
}
