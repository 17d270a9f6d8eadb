//! Bodies on their way: of requests, that nothing is in them that must not leave, and of answers, that no secret is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ringfence_leaks::Hit;
use ringfence_policy::Leaks;

use crate::asked::Asked;
use crate::mask::Mask;
use crate::search::{Found, Search, Stop};
use crate::unpack::Unpacked;

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
pub(crate) fn plain(body: impl Body<Data = Bytes, Error = hyper::Error> + 'static) -> Carried {
    Box::pin(body.map_err(Stopped::Ended))
}

/// A whole one.
pub(crate) fn whole(bytes: Bytes) -> Carried {
    Box::pin(Full::new(bytes).map_err(|never: Infallible| match never {}))
}

/// The body of a request.
pub(crate) enum Own {
    Coming(Asked),
    Whole(Bytes),
}

impl Own {
    /// All of it, or why not.
    pub(crate) async fn collected(self, most: usize) -> Result<Bytes, String> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Coming(body) => match Limited::new(body, most).collect().await {
                Ok(collected) => Ok(collected.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => Err(format!(
                    "its signature is over a body of more than {most} bytes, which is not kept: send its hash as `X-Amz-Content-Sha256`, or `UNSIGNED-PAYLOAD`"
                )),
                Err(_) => Err("its body did not come to its end".to_owned()),
            },
        }
    }

    /// As it comes.
    pub(crate) fn plain(self) -> Carried {
        match self {
            Self::Coming(body) => plain(body),
            Self::Whole(bytes) => whole(bytes),
        }
    }
}

/// What was found in a body that is there, or what is sent of it.
pub(crate) fn looked(bytes: Bytes, mut search: Search, seen: &Seen) -> Result<Bytes, Stop> {
    if search.masks() {
        let (mut sent, first) = search.mask(Some(&bytes))?;
        let (rest, last) = search.mask(None)?;
        sent.extend_from_slice(&rest);
        first.or(last).into_iter().for_each(|found| seen.put(found));
        return Ok(sent.into());
    }
    match search.push(&bytes).or_else(|| search.end()) {
        Some(Found::Stop(stop)) => return Err(stop),
        Some(found) => seen.put(found),
        None => {}
    }
    Ok(bytes)
}

/// The body of a request: a small one is looked at before anything is sent, a large one while it is.
pub(crate) async fn searched(body: Own, search: Search, found: &Seen) -> Result<Carried, Stop> {
    let body = match body {
        Own::Whole(bytes) => return looked(bytes, search, found).map(whole),
        Own::Coming(body) => body,
    };
    if body.size_hint().exact().is_none_or(|size| size > WHOLE) {
        let waiting = VecDeque::new();
        return Ok(Box::pin(Searched {
            inner: body,
            search,
            found: found.clone(),
            waiting,
            held: Vec::new(),
            ended: false,
        }));
    }
    // It has trailers only if its length was not told.
    match Limited::new(body, usize::try_from(WHOLE).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => looked(collected.to_bytes(), search, found).map(whole),
        // Who sends it went away.
        Err(_) => Ok(Box::pin(Broken)),
    }
}

/// What was found in a body while it was sent.
#[derive(Clone, Default)]
pub(crate) struct Seen(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    stop: Option<Stop>,
    sent: Option<(Hit, Leaks)>,
    /// Who is told once nobody waits for the request any more.
    late: Option<Box<dyn FnOnce(Found)>>,
}

impl Seen {
    /// What was found so far; `late` hears of what is found from now on.
    pub(crate) fn take(&self, late: impl FnOnce(Found) + 'static) -> Option<Stop> {
        let mut state = self.0.borrow_mut();
        state.late = Some(Box::new(late));
        state.stop.take()
    }

    /// What was found and sent all the same, or without the secret.
    pub(crate) fn sent(&self) -> Option<(Hit, Leaks)> {
        self.0.borrow_mut().sent.take()
    }

    fn put(&self, found: Found) {
        let late = self.0.borrow_mut().late.take();
        match (late, found) {
            (Some(late), found) => late(found),
            (None, Found::Stop(stop)) => self.0.borrow_mut().stop = Some(stop),
            (None, Found::Sent(hit, action)) => self.0.borrow_mut().sent = Some((hit, action)),
        }
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
    inner: Asked,
    search: Search,
    found: Seen,
    waiting: VecDeque<Frame<Bytes>>,
    /// The end of what came, which may be the beginning of something.
    held: Vec<u8>,
    ended: bool,
}

impl Searched {
    /// Takes the next frame with its secrets replaced.
    fn mask(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Stop> {
        let (data, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (Some(data), None),
            Some(Err(trailers)) => (None, Some(trailers)),
            None => {
                self.ended = true;
                (None, None)
            }
        };
        let (sent, found) = self.search.mask(data.as_deref())?;
        found.into_iter().for_each(|found| self.found.put(found));
        if !sent.is_empty() {
            self.waiting.push_back(Frame::data(sent.into()));
        }
        let Some(trailers) = trailers else { return Ok(()) };
        for (name, value) in trailers.trailers_ref().into_iter().flatten() {
            let field = self.search.field(name.as_str().as_bytes());
            if let Some(stop) = field.or_else(|| self.search.field(value.as_bytes())) {
                return Err(stop);
            }
        }
        self.waiting.push_back(trailers);
        Ok(())
    }

    /// Takes the next frame; what may be sent waits.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Stopped> {
        if self.search.masks() {
            return self.mask(frame).map_err(|stop| {
                self.found.put(Found::Stop(stop));
                Stopped::Refused
            });
        }
        let found = match &frame {
            None => self.search.end(),
            Some(frame) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => self.search.push(data),
                (None, Some(trailers)) => trailers.iter().find_map(|(name, value)| {
                    self.search.push(name.as_str().as_bytes()).or_else(|| self.search.push(value.as_bytes()))
                }),
                (None, None) => None,
            },
        };
        match found {
            Some(found @ Found::Stop(_)) => {
                self.found.put(found);
                return Err(Stopped::Refused);
            }
            Some(found @ Found::Sent(..)) => self.found.put(found),
            None => {}
        }
        let mut bytes = std::mem::take(&mut self.held);
        match frame.map(Frame::into_data) {
            Some(Ok(data)) if bytes.is_empty() && self.search.open() == 0 => {
                self.waiting.push_back(Frame::data(data));
            }
            Some(Ok(data)) => {
                bytes.extend_from_slice(&data);
                self.held = bytes.split_off(bytes.len().saturating_sub(self.search.open()));
                if !bytes.is_empty() {
                    self.waiting.push_back(Frame::data(bytes.into()));
                }
            }
            Some(Err(trailers)) => {
                self.waiting.push_back(Frame::data(bytes.into()));
                self.waiting.push_back(trailers);
            }
            None => {
                self.ended = true;
                if !bytes.is_empty() {
                    self.waiting.push_back(Frame::data(bytes.into()));
                }
            }
        }
        Ok(())
    }
}

impl Body for Searched {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let own = &mut *self;
        loop {
            if let Some(frame) = own.waiting.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if own.ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut own.inner).poll_frame(context) else {
                return Poll::Pending;
            };
            let taken = frame.transpose().map_err(Stopped::Ended).and_then(|frame| own.take(frame));
            if let Err(stopped) = taken {
                return Poll::Ready(Some(Err(stopped)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // Nothing is added or taken away.
        self.inner.size_hint()
    }
}

/// The body of an answer to a request that a secret was put on.
pub(crate) fn masked(body: Incoming, mask: Mask, packed: Option<Unpacked>) -> Carried {
    Box::pin(Masked { inner: body, mask, packed, trailers: None, ended: false })
}

struct Masked {
    inner: Incoming,
    mask: Mask,
    packed: Option<Unpacked>,
    /// They come behind what is left of the body.
    trailers: Option<HeaderMap>,
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
                        let unpacked = own.packed.as_mut().map(|packed| packed.push(&data)).transpose();
                        let Ok(unpacked) = unpacked else { return Poll::Ready(Some(Err(Stopped::Refused))) };
                        let part = own.mask.push(unpacked.as_deref().unwrap_or(&data));
                        if !part.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(part))));
                        }
                    }
                    Err(frame) => {
                        let Ok(mut trailers) = frame.into_trailers() else { continue };
                        own.mask.headers(&mut trailers);
                        own.trailers = Some(trailers);
                        own.ended = true;
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(Stopped::Ended(error)))),
                None => {
                    own.ended = true;
                    let last = own.packed.as_mut().map_or(Ok(Vec::new()), Unpacked::end);
                    let Ok(last) = last else { return Poll::Ready(Some(Err(Stopped::Refused))) };
                    let part = own.mask.push(&last);
                    if !part.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    }
                }
            }
        }
        let rest = own.mask.rest();
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        Poll::Ready(own.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && !self.mask.holds() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.packed.is_some() {
            return SizeHint::default();
        }
        self.inner.size_hint()
    }
}
