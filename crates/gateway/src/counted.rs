//! The body of a request on its way out: counted, and cut where its rule bounds it.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use ringfence_policy::Pass;

use crate::Gateway;
use crate::body::{Carried, Stopped};

/// Why a body did not pass, once that is so.
#[derive(Clone, Default)]
pub(crate) struct Cut(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    why: Option<Ends>,
    /// Who is told once nobody waits for the request any more.
    late: Option<Box<dyn FnOnce(Ends)>>,
}

/// What a request is answered whose body does not pass, and why.
pub(crate) type Ends = (StatusCode, String);

impl Cut {
    /// So far; `late` hears of what comes from now on.
    pub(crate) fn take(&self, late: impl FnOnce(Ends) + 'static) -> Option<Ends> {
        let mut state = self.0.borrow_mut();
        state.late = Some(Box::new(late));
        state.why.take()
    }

    fn put(&self, why: Ends) {
        let mut state = self.0.borrow_mut();
        match state.late.take() {
            Some(late) => late(why),
            None => state.why = Some(why),
        }
    }
}

/// `bounds`: what it may be, if that is bounded.
pub(crate) fn bounded(body: Carried, bounds: Option<(Rc<Gateway>, Pass)>, cut: &Cut) -> Carried {
    if body.is_end_stream() {
        return body;
    }
    let bounds = bounds.filter(|(_, pass)| pass.size.is_some() || pass.budget.is_some());
    Box::pin(Counted { body, bounds, passed: 0, cut: cut.clone() })
}

struct Counted {
    body: Carried,
    bounds: Option<(Rc<Gateway>, Pass)>,
    passed: u64,
    cut: Cut,
}

impl Counted {
    fn takes(&mut self, bytes: usize) -> Result<(), String> {
        let Some((gateway, pass)) = &self.bounds else { return Ok(()) };
        self.passed = self.passed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(most) = pass.size.filter(|most| self.passed > *most) {
            return Err(format!("the body of the request is larger than {most} bytes"));
        }
        match &pass.budget {
            Some(budget) if !gateway.spend(budget, bytes) => Err(budget.exceeded()),
            _ => Ok(()),
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let own = &mut *self;
        let frame = match own.body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(Stopped::Ended(error)))) if is_malformed(&error) => {
                let why = "the body of the request is malformed: its chunks, or its trailers, cannot be read";
                own.cut.put((StatusCode::BAD_REQUEST, why.to_owned()));
                return Poll::Ready(Some(Err(Stopped::Refused)));
            }
            other => return other,
        };
        let trailers = |frame: &Frame<Bytes>| frame.trailers_ref().map_or(0, crate::rewrite::octets);
        let bytes = frame.data_ref().map_or_else(|| trailers(&frame), Bytes::len);
        match own.takes(bytes) {
            Ok(()) => Poll::Ready(Some(Ok(frame))),
            Err(why) => {
                own.cut.put((StatusCode::FORBIDDEN, why));
                Poll::Ready(Some(Err(Stopped::Refused)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether what the client sent is no body, and not only ended too soon.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData))
}
