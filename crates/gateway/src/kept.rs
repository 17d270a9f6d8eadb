//! Connections to servers that are kept for a moment, for the next client of the sandbox that asks the same server: a handshake
//! costs more than all that is done here.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper::header::{self, HeaderMap};
use hyper::{Method, Request};
use tokio::time::{sleep, timeout};

use crate::Gateway;
use crate::body::{self, Carried};
use crate::connection::Target;
use crate::forward::Sender;

/// Shorter than servers usually wait for another request: one of them that is still in use is closed by none.
const LASTS: Duration = Duration::from_secs(4);
/// How long the end of an answer may take to be seen.
const SETTLING: Duration = Duration::from_millis(200);
/// At one time; the oldest goes first.
const MOST: usize = 16;

/// Ways to say who asks that are about one request.
const SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "token", "aws4-hmac-sha256"];

/// Whose connection it is, and how it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    host: String,
    port: u16,
    secure: bool,
    multiplexed: bool,
}

impl Place {
    pub(crate) fn new(target: &Target, secure: bool, multiplexed: bool) -> Self {
        Self { host: target.host(), port: target.port, secure, multiplexed }
    }
}

/// Those that no client uses.
#[derive(Default)]
pub(crate) struct Kept {
    idle: RefCell<Vec<(u64, Place, Sender)>>,
    number: Cell<u64>,
}

impl Kept {
    /// One to there, which may have ended meanwhile.
    pub(crate) fn take(&self, place: &Place) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().rposition(|(_, own, _)| own == place)?;
        Some(idle.remove(at).2)
    }

    /// What is granted has changed: none of them is of before.
    pub(crate) fn forget(&self) {
        self.idle.borrow_mut().clear();
    }

    fn put(&self, place: Place, sender: Sender) -> u64 {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MOST {
            idle.remove(0);
        }
        let number = self.number.replace(self.number.get() + 1);
        idle.push((number, place, sender));
        number
    }
}

/// Keeps one whose client is gone, for as long as that is of use.
pub(crate) fn keep(gateway: Rc<Gateway>, place: Place, mut sender: Sender) {
    tokio::task::spawn_local(async move {
        if !matches!(timeout(SETTLING, sender.ready()).await, Ok(true)) {
            return;
        }
        let number = gateway.kept.put(place, sender);
        sleep(LASTS).await;
        gateway.kept.idle.borrow_mut().retain(|(own, _, _)| *own != number);
    });
}

/// Whether nothing of a request stays behind on its connection, and it may be sent twice: a server that leaves a body unread takes that for
/// the next request, and some remember by their connection who asked (RFC 4559; RFC 9110, section 9.2.2). Some answer HEAD with a body, too.
pub(crate) fn leaves_nothing(request: &Request<Carried>) -> bool {
    let known = |headers: &HeaderMap, name| headers.contains_key(name);
    let other = request.headers().get_all(header::AUTHORIZATION).iter().any(|value| {
        let word = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        !SCHEMES.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    });
    *request.method() == Method::GET
        && hyper::body::Body::is_end_stream(request.body())
        && !known(request.headers(), header::CONTENT_LENGTH)
        && !known(request.headers(), header::TRANSFER_ENCODING)
        && !known(request.headers(), header::UPGRADE)
        && !other
}

/// The same request once more.
pub(crate) fn again(request: &Request<Carried>) -> Request<Carried> {
    let mut copy = Request::new(body::whole(bytes::Bytes::new()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
