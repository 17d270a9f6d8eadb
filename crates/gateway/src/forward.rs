//! The way from a client's requests on to their server: a connection for each client, or one that another client has left.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder as Client, SendRequest};
use hyper::client::conn::http2::{Builder as Client2, SendRequest as SendRequest2};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::MutexGuard;

use crate::body::Carried;
use crate::connection::Target;
use crate::http::{FIELDS, HEAD, HEAD_LIST, Local, Way, too_large};
use crate::kept::{self, Place};
use crate::upstream::NoWay;
use crate::{inspect, upstream};

/// A connection to the server.
pub(crate) enum Sender {
    One(SendRequest<Carried>, IpAddr),
    Two(SendRequest2<Carried>, IpAddr),
}

impl Sender {
    /// Whether it takes a request, once it is done with the one before.
    pub(crate) async fn ready(&mut self) -> bool {
        match self {
            Self::One(open, _) => open.ready().await.is_ok(),
            Self::Two(open, _) => open.ready().await.is_ok(),
        }
    }

    /// Where it goes.
    fn address(&self) -> IpAddr {
        match self {
            Self::One(_, address) | Self::Two(_, address) => *address,
        }
    }
}

impl Way {
    fn place(&self) -> Place {
        Place::new(&self.target, self.kind.secure, self.kind.multiplexed)
    }

    /// The client is gone.
    pub(crate) fn leave(&self) {
        let sender = self.sender.try_lock().ok().and_then(|mut sender| sender.take());
        if let Some(sender) = sender.filter(|_| self.lasting.get()) {
            kept::keep(Rc::clone(&self.gateway), self.place(), sender);
        }
    }

    /// One that another client has left, if it goes where a new one would.
    async fn left(&self) -> Option<Sender> {
        while let Some(mut sender) = self.gateway.kept.take(&self.place()) {
            let fine = upstream::addresses(&self.gateway, &self.target).await.ok()?;
            if fine.contains(&sender.address()) && sender.ready().await {
                return Some(sender);
            }
        }
        None
    }

    /// Sends a request on, and waits for the answer's head.
    pub(crate) async fn send(&self, request: Request<Carried>) -> Result<Response<Incoming>, NoWay> {
        let ended = |error: hyper::Error| {
            if let Some(why) = unread(&error) {
                return NoWay::Failed(why);
            }
            // By TLS 1.3 a client hears only now that its certificate is not taken (RFC 8446, section 4.4.2.4).
            let shown = self.gateway.credentials.as_ref().filter(|_| self.kind.secure);
            let shown = shown.is_some_and(|held| held.doubt(&self.target));
            let why = "the server ended the connection without an answer";
            NoWay::Failed(if shown {
                format!("{why}: it may not take the certificate")
            } else {
                why.to_owned()
            })
        };
        self.lasting.set(self.lasting.get() && kept::leaves_nothing(&request));
        let mut own = self.sender.lock().await;
        if let Some(mut open) = own.take()
            && open.ready().await
        {
            return self.pass(request, own, open).await.map_err(ended);
        }
        if self.lasting.get()
            && let Some(left) = self.left().await
        {
            // It may have ended at this moment: then a new one is asked.
            if let Ok(answer) = self.pass(kept::again(&request), own, left).await {
                return Ok(answer);
            }
            own = self.sender.lock().await;
        }
        let open = self.connect().await?;
        self.pass(request, own, open).await.map_err(ended)
    }

    /// A request to the server by a connection that is open, which waits for the next one behind `own`.
    async fn pass(
        &self,
        mut request: Request<Carried>,
        mut own: MutexGuard<'_, Option<Sender>>,
        open: Sender,
    ) -> hyper::Result<Response<Incoming>> {
        let alone = self.is_alone(&request);
        match open {
            Sender::Two(open, address) => {
                let mut other = open.clone();
                *own = Some(Sender::Two(open, address));
                drop(own);
                absolute(&mut request, &self.target);
                other.send_request(request).await
            }
            // Others of the same client do not wait for its answer: they get connections of their own.
            Sender::One(mut open, _) if self.kind.multiplexed || alone => {
                drop(own);
                if alone {
                    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                open.send_request(request).await
            }
            Sender::One(mut open, address) => {
                let answer = open.send_request(request).await?;
                *own = Some(Sender::One(open, address));
                Ok(answer)
            }
        }
    }

    /// Is this the last request on its connection? A server may take a body that it leaves unread for the next one, as many do of a `GET`:
    /// nobody would have judged that; and where a certificate says who asks, it would be asked with that. HTTP/2 says where each ends.
    fn is_alone(&self, request: &Request<Carried>) -> bool {
        let held = self.gateway.credentials.as_ref().filter(|_| self.kind.secure);
        let certified = held.is_some_and(|held| held.certified(&self.target).is_some());
        let usual = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        !request.body().is_end_stream() && (certified || !usual)
    }

    async fn connect(&self) -> Result<Sender, NoWay> {
        let failed = |_| NoWay::Failed("the server speaks no HTTP".to_owned());
        let stream = upstream::connect(&self.gateway, &self.target).await?;
        let peer =
            stream.peer_addr().map_err(|_| NoWay::Failed("the server cannot be reached".to_owned()))?;
        let address = peer.ip();
        if !self.kind.secure {
            let (sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::task::spawn_local(connection.with_upgrades());
            return Ok(Sender::One(sender, address));
        }
        let spoken = inspect::connect(&self.gateway, stream, &self.target, self.kind.multiplexed);
        let pending = &self.gateway.pending;
        let (stream, http2) = pending.answered(&self.target, "the server's TLS", spoken).await?;
        if http2 {
            let mut client = Client2::new(Local);
            client.timer(TokioTimer::new()).max_header_list_size(HEAD_LIST);
            let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::task::spawn_local(connection);
            return Ok(Sender::Two(sender, address));
        }
        let (sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::task::spawn_local(connection.with_upgrades());
        Ok(Sender::One(sender, address))
    }
}

/// Why what was said could not be carried on, where neither side just ended.
fn unread(error: &hyper::Error) -> Option<String> {
    if error.is_parse_too_large() {
        Some(too_large("server's answer"))
    } else if error.is_parse() {
        Some(format!("the server's answer is no HTTP: {error}"))
    } else if error.is_user() {
        Some("the body of the request did not come to its end".to_owned())
    } else {
        None
    }
}

fn client() -> Client {
    let mut client = Client::new();
    client.max_buf_size(HEAD).max_headers(FIELDS).preserve_header_case(true);
    client
}

/// For HTTP/2 the host is part of the target (RFC 9113, section 8.3.1).
fn absolute(request: &mut Request<Carried>, target: &Target) {
    let host = match (target.name.as_deref(), target.address) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
        (None, address) => address.to_string(),
    };
    let port = if target.port == 443 { String::new() } else { format!(":{}", target.port) };
    request.headers_mut().remove(header::HOST);
    if let Ok(uri) = format!("https://{host}{port}{}", request.uri()).parse() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}
