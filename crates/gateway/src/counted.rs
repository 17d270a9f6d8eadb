//! The body of a request on its way out: counted, and cut where its rule bounds it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use ringfence_policy::Pass;

use crate::Gateway;
use crate::body::{Carried, Stopped};

/// Why a body did not pass, once that is so.
pub(crate) type Cut = Rc<RefCell<Option<String>>>;

pub(crate) struct Counted {
    body: Carried,
    bounds: Option<(Rc<Gateway>, Pass)>,
    passed: u64,
    cut: Cut,
}

impl Counted {
    /// `bounds`: what it may be, if that is bounded.
    pub(crate) fn new(body: Carried, bounds: Option<(Rc<Gateway>, Pass)>, cut: &Cut) -> Self {
        Self { body, bounds, passed: 0, cut: Rc::clone(cut) }
    }

    fn takes(&mut self, bytes: usize) -> Result<(), String> {
        self.passed = self.passed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some((gateway, pass)) = &self.bounds else { return Ok(()) };
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
            other => return other,
        };
        let trailers = |frame: &Frame<Bytes>| frame.trailers_ref().map_or(0, crate::http::octets);
        let bytes = frame.data_ref().map_or_else(|| trailers(&frame), Bytes::len);
        match own.takes(bytes) {
            Ok(()) => Poll::Ready(Some(Ok(frame))),
            Err(why) => {
                *own.cut.borrow_mut() = Some(why);
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
