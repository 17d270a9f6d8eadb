//! The names of servers in TLS that is passed through: in the first message, and in the one that a server may ask for after it.

use std::cell::RefCell;

use ringfence_inspect::{Again, ClientHello};

use crate::connection::Target;

/// What is still looked at behind the first ClientHello.
pub(crate) struct Hellos {
    target: Target,
    again: RefCell<Again>,
    why: RefCell<Option<String>>,
}

impl Hellos {
    /// `behind`: what the client said behind its hello already.
    ///
    /// # Errors
    /// Why that may not go on.
    pub(crate) fn new(target: &Target, behind: &[u8]) -> Result<Self, String> {
        let own = Self { target: target.clone(), again: RefCell::default(), why: RefCell::default() };
        if own.said(behind) { Ok(own) } else { Err(own.why().unwrap_or_default()) }
    }

    /// Whether what the client says may go on to the server.
    pub(crate) fn said(&self, bytes: &[u8]) -> bool {
        let said = match self.again.borrow_mut().said(bytes) {
            Ok(None) => return true,
            Ok(Some(hello)) => named(&hello, &self.target),
            Err(why) => Err(format!("{why}, where a second one may come")),
        };
        *self.why.borrow_mut() = said.err();
        self.why.borrow().is_none()
    }

    /// Hears what the server says, before the client does.
    pub(crate) fn answered(&self, bytes: &[u8]) {
        self.again.borrow_mut().answered(bytes);
    }

    /// Whether nothing more is looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.again.borrow().is_over()
    }

    /// Why something did not go on.
    pub(crate) fn why(&self) -> Option<String> {
        self.why.borrow_mut().take()
    }
}

/// Whether a hello names the very server that was asked for.
///
/// # Errors
/// Why not, in words.
pub(crate) fn named(hello: &ClientHello, target: &Target) -> Result<(), String> {
    match (&target.name, hello.sni.is_none() && !hello.encrypted) {
        (Some(name), _) => hello.judge(name).map_err(|why| why.to_string()),
        // An address has no name that could be sent.
        (None, true) => Ok(()),
        (None, false) => Err("the TLS ClientHello names a server, and an address was asked for".to_owned()),
    }
}
