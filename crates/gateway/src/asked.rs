//! The body of a request as its client sends it. One that is not read to its end is read a little further beside the answer: a client that
//! is told to stop while it still sends may take that for a failure, and never look at the answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header;
use tokio::time::timeout;

/// What is read of a body that nobody wants, and for how long; then HTTP/2 says that no more is needed (RFC 9113, section 8.1), and
/// HTTP/1.1 ends the connection.
const UNWANTED: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// One. It is dropped in a task of the gateway's.
pub(crate) struct Asked {
    body: Option<Incoming>,
    /// What was read before, and comes first.
    front: VecDeque<Frame<Bytes>>,
    /// The client sends it once it is told to go on, which nobody did.
    waits: bool,
}

/// A request with it.
pub(crate) fn asked(request: Request<Incoming>) -> Request<Asked> {
    let waits = request.headers().contains_key(header::EXPECT);
    request.map(|body| Asked { body: Some(body), front: VecDeque::new(), waits })
}

impl Asked {
    /// Reads until `whole` says that the beginning is there, and keeps it for whoever reads the body; `Err`: that is longer than `most`, or
    /// does not come.
    pub(crate) async fn front(
        &mut self,
        most: usize,
        mut whole: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ()> {
        self.waits = false;
        let mut begun = Vec::new();
        while !whole(&begun) {
            let body = self.body.as_mut().ok_or(())?;
            let frame = body.frame().await.ok_or(())?.map_err(|_| ())?;
            begun.extend_from_slice(frame.data_ref().ok_or(())?);
            self.front.push_back(frame);
            if begun.len() > most && !whole(&begun) {
                return Err(());
            }
        }
        Ok(())
    }

    /// Whether there is nothing in it: HTTP/2 may say so behind the head of the request. What was read is kept.
    pub(crate) async fn is_nothing(&mut self) -> bool {
        self.waits = false;
        while self.front.is_empty() {
            let Some(body) = self.body.as_mut() else { return true };
            match body.frame().await {
                None => self.body = None,
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Some(Ok(frame)) => self.front.push_back(frame),
                Some(Err(_)) => return false,
            }
        }
        false
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !self.waits && !body.is_end_stream()) else {
            return;
        };
        tokio::task::spawn_local(timeout(PATIENCE, async move {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > UNWANTED {
                    return;
                }
            }
        }));
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        if let Some(frame) = self.front.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint);
        let front: usize = self.front.iter().filter_map(|frame| Some(frame.data_ref()?.len())).sum();
        let front = u64::try_from(front).unwrap_or(u64::MAX);
        let (least, most) = (hint.lower().saturating_add(front), hint.upper());
        if let Some(most) = most {
            hint.set_upper(most.saturating_add(front));
        }
        hint.set_lower(least);
        hint
    }
}
