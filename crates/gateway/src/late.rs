//! What is found in a request whose answer has begun: it is written down, and nobody waits for that.

use std::rc::Rc;

use ringfence_policy::Leaks;

use crate::Gateway;
use crate::connection::Target;
use crate::credentials::Denied;
use crate::search::{Found, Stop};

/// Writes down what went beyond its bounds.
pub(crate) fn refuse_late((gateway, target): (Rc<Gateway>, Target), why: String) {
    tokio::task::spawn_local(async move {
        gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
    });
}

/// What was found in the rest of a request whose answer had begun.
pub(crate) fn tell_late((gateway, target, line): (Rc<Gateway>, Target, String), found: Found) {
    tokio::task::spawn_local(async move {
        let method = method(&line);
        match found {
            Found::Stop(Stop::Credential(Denied { credential, rule })) => {
                gateway.refusals.credential(&credential, &target, line, rule, 1).await;
            }
            Found::Stop(Stop::Leak(hit)) => gateway.refusals.leak(&hit, &target, method, Leaks::Block).await,
            Found::Sent(hit, action) => gateway.refusals.leak(&hit, &target, method, action).await,
        }
    });
}

/// The method of a line, if it is none that somebody made up to say something.
pub(crate) fn method(line: &str) -> String {
    let word = line.split(' ').next().unwrap_or_default();
    let known = word.len() < 17 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if known { word } else { "(a method that is not written down)" }.to_owned()
}
