//! A connection that becomes a WebSocket (RFC 6455): from there on its bytes are carried as they are, and counted.

use std::rc::Rc;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ringfence_policy::Pass;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

use crate::Gateway;

/// How long it may be silent.
const IDLE: Duration = Duration::from_secs(3600);
const BUFFER: usize = 16 << 10;

/// The two halves of one, and what the task's bytes are counted against.
pub(crate) struct Tunnel {
    pub(crate) task: OnUpgrade,
    pub(crate) up: OnUpgrade,
    pub(crate) pass: Pass,
}

/// Is that what a message asks for, or agrees to?
pub(crate) fn wants(headers: &HeaderMap) -> bool {
    let mut upgrade = headers.get_all(header::UPGRADE).iter();
    upgrade.any(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Says so on the other connection.
pub(crate) fn announce(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

impl Tunnel {
    /// Carries it to its end. The refusal, if the task went beyond its bounds.
    pub(crate) async fn carry(self, gateway: &Rc<Gateway>) -> Option<String> {
        let (Ok(task), Ok(up)) = tokio::join!(self.task, self.up) else { return None };
        let (mut task_in, mut task_out) = split(TokioIo::new(task));
        let (mut up_in, mut up_out) = split(TokioIo::new(up));
        let budget = &self.pass.budget;
        let spend = |bytes| budget.as_ref().is_none_or(|budget| gateway.spend(budget, bytes));
        let ended = tokio::try_join!(
            pump(&mut task_in, &mut up_out, &spend),
            pump(&mut up_in, &mut task_out, &|_| true)
        );
        match ended {
            Err(true) => budget.as_ref().map(ringfence_policy::Budget::exceeded),
            _ => None,
        }
    }
}

/// `Err(true)`: more than may leave.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    spend: &dyn Fn(usize) -> bool,
) -> Result<(), bool> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = timeout(IDLE, from.read(&mut buffer)).await.map_err(|_| false)?.map_err(|_| false)?;
        if length == 0 {
            return to.shutdown().await.map_err(|_| false);
        }
        if !spend(length) {
            return Err(true);
        }
        to.write_all(buffer.get(..length).unwrap_or_default()).await.map_err(|_| false)?;
        to.flush().await.map_err(|_| false)?;
    }
}
