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
#[derive(Clone, Default)]
pub(crate) struct Cut(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    why: Option<String>,
    /// Who is told once nobody waits for the request any more.
    late: Option<Box<dyn FnOnce(String)>>,
}

impl Cut {
    /// So far; `late` hears of what comes from now on.
    pub(crate) fn take(&self, late: impl FnOnce(String) + 'static) -> Option<String> {
        let mut state = self.0.borrow_mut();
        state.late = Some(Box::new(late));
        state.why.take()
    }

    fn put(&self, why: String) {
        let mut state = self.0.borrow_mut();
        match state.late.take() {
            Some(late) => late(why),
            None => state.why = Some(why),
        }
    }
}

/// `bounds`: what it may be, if that is bounded.
pub(crate) fn bounded(body: Carried, bounds: Option<(Rc<Gateway>, Pass)>, cut: &Cut) -> Carried {
    match bounds {
        Some((gateway, pass)) if pass.size.is_some() || pass.budget.is_some() => {
            Box::pin(Counted { body, gateway, pass, passed: 0, cut: cut.clone() })
        }
        _ => body,
    }
}

struct Counted {
    body: Carried,
    gateway: Rc<Gateway>,
    pass: Pass,
    passed: u64,
    cut: Cut,
}

impl Counted {
    fn takes(&mut self, bytes: usize) -> Result<(), String> {
        self.passed = self.passed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(most) = self.pass.size.filter(|most| self.passed > *most) {
            return Err(format!("the body of the request is larger than {most} bytes"));
        }
        match &self.pass.budget {
            Some(budget) if !self.gateway.spend(budget, bytes) => Err(budget.exceeded()),
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
        let trailers = |frame: &Frame<Bytes>| frame.trailers_ref().map_or(0, crate::rewrite::octets);
        let bytes = frame.data_ref().map_or_else(|| trailers(&frame), Bytes::len);
        match own.takes(bytes) {
            Ok(()) => Poll::Ready(Some(Ok(frame))),
            Err(why) => {
                own.cut.put(why);
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
