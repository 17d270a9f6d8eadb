//! Bodies on their way: of requests, that no placeholder is in them, and of answers, that no secret is.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use memchr::memmem;

use crate::credentials::{Credentials, Denied};
use crate::mask::Mask;

/// A body of either direction.
pub(crate) type Carried = Pin<Box<dyn Body<Data = Bytes, Error = Stopped>>>;

/// Bodies up to this size are looked at whole, before anything is sent.
const WHOLE: u64 = 64 << 10;

/// Why a body ends early.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Its connection did.
    Ended(hyper::Error),
    /// Something in it must not be sent.
    Refused,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(error) => error.fmt(formatter),
            Self::Refused => formatter.write_str("refused by the policy of this sandbox"),
        }
    }
}

impl std::error::Error for Stopped {}

/// As it comes.
pub(crate) fn plain(body: Incoming) -> Carried {
    Box::pin(body.map_err(Stopped::Ended))
}

/// A whole one.
pub(crate) fn whole(bytes: Bytes) -> Carried {
    Box::pin(Full::new(bytes).map_err(|never: Infallible| match never {}))
}

/// What was found in a body while it was sent.
#[derive(Clone, Default)]
pub(crate) struct Found(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    denied: Option<Denied>,
    /// Who is told once nobody waits for the request any more.
    late: Option<Box<dyn FnOnce(Denied)>>,
}

impl Found {
    /// What was found so far; `late` hears of what is found from now on.
    pub(crate) fn take(&self, late: impl FnOnce(Denied) + 'static) -> Option<Denied> {
        let mut state = self.0.borrow_mut();
        state.late = Some(Box::new(late));
        state.denied.take()
    }

    fn put(&self, denied: Denied) {
        let mut state = self.0.borrow_mut();
        match state.late.take() {
            Some(late) => late(denied),
            None => state.denied = Some(denied),
        }
    }
}

/// Looks for placeholders in what is sent.
pub(crate) struct Search {
    /// What is looked for, and the credential that it stands for.
    words: Vec<(Vec<u8>, String)>,
    longest: usize,
    end: Vec<u8>,
}

impl Search {
    /// `None`: there is nothing to look for.
    pub(crate) fn new(credentials: &Credentials) -> Option<Self> {
        let mut words = Vec::new();
        for (name, placeholder) in credentials.placeholders() {
            words.push((placeholder.as_bytes().to_vec(), name.to_owned()));
        }
        let longest = words.iter().map(|(word, _)| word.len()).max()?;
        Some(Self { words, longest, end: Vec::new() })
    }

    fn push(&mut self, part: &[u8]) -> Option<Denied> {
        let look = |bytes: &[u8]| self.words.iter().find(|(word, _)| memmem::find(bytes, word).is_some());
        // Over the seam first, then the part itself.
        let seam = [&self.end, part.get(..part.len().min(self.longest)).unwrap_or_default()].concat();
        let found = look(&seam).or_else(|| look(part)).map(|(_, name)| Denied {
            credential: name.clone(),
            rule: "its placeholder stands in the body of a request, where no secret is put: send it as `inject` says".to_owned(),
        });
        let keep = self.longest.saturating_sub(1);
        self.end = if part.len() >= keep {
            part.get(part.len() - keep..).unwrap_or_default().to_vec()
        } else {
            seam.get(seam.len().saturating_sub(keep)..).unwrap_or_default().to_vec()
        };
        found
    }
}

/// The body of a request: a small one is looked at before anything is sent, a large one while it is.
pub(crate) async fn searched(body: Incoming, mut search: Search, found: &Found) -> Result<Carried, Denied> {
    if body.size_hint().exact().is_none_or(|size| size > WHOLE) {
        return Ok(Box::pin(Searched { inner: body, search, found: found.clone() }));
    }
    // It has trailers only if its length was not told.
    match Limited::new(body, usize::try_from(WHOLE).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => {
            let bytes = collected.to_bytes();
            search.push(&bytes).map_or_else(|| Ok(whole(bytes)), Err)
        }
        // Who sends it went away.
        Err(_) => Ok(Box::pin(Broken)),
    }
}

struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        Poll::Ready(Some(Err(Stopped::Refused)))
    }
}

struct Searched {
    inner: Incoming,
    search: Search,
    found: Found,
}

impl Body for Searched {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let own = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut own.inner).poll_frame(context) else { return Poll::Pending };
        let denied = match &frame {
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => own.search.push(data),
                (None, Some(trailers)) => trailers.iter().find_map(|(name, value)| {
                    own.search.push(name.as_str().as_bytes()).or_else(|| own.search.push(value.as_bytes()))
                }),
                (None, None) => None,
            },
            _ => None,
        };
        if let Some(denied) = denied {
            own.found.put(denied);
            return Poll::Ready(Some(Err(Stopped::Refused)));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Stopped::Ended)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer to a request that a secret was put on.
pub(crate) fn masked(body: Incoming, mask: Mask) -> Carried {
    Box::pin(Masked { inner: body, mask, ended: false })
}

struct Masked {
    inner: Incoming,
    mask: Mask,
    ended: bool,
}

impl Body for Masked {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let own = &mut *self;
        while !own.ended {
            let Poll::Ready(frame) = Pin::new(&mut own.inner).poll_frame(context) else {
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let part = own.mask.push(&data);
                        if !part.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(part))));
                        }
                    }
                    Err(frame) => {
                        let Ok(mut trailers) = frame.into_trailers() else { continue };
                        own.mask.headers(&mut trailers);
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(Stopped::Ended(error)))),
                None => own.ended = true,
            }
        }
        let rest = own.mask.rest();
        Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && !self.mask.holds()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
