//! The leak guard: looks for secrets in what leaves, by one scanner for all of them.

use std::cell::RefCell;
use std::rc::Rc;

use hyper::header::HeaderValue;
use hyper::{Request, Uri};
use memchr::memmem;
use ringfence_leaks::{Hit, Known, Scanner, Stream};
use ringfence_policy::Leaks;
use ringfence_sys::secret::wipe;

use crate::credentials::Credentials;

/// Fewer bytes that a secret may go on from are not held back.
const FEWEST: usize = 6;

/// It, of one sandbox.
pub(crate) struct Guard {
    pub(crate) action: Leaks,
    known: Vec<(String, Vec<u8>)>,
    /// What is looked for, and of which state of the credentials.
    scanner: RefCell<Option<(u64, Rc<Scanner>)>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.known.iter_mut().for_each(|(_, value)| wipe(value));
    }
}

impl Guard {
    pub(crate) fn new(action: Leaks, known: Vec<(String, Vec<u8>)>) -> Self {
        Self { action, known, scanner: RefCell::default() }
    }

    /// The scanner for all secrets that are known by now. `None`: they are too many to be looked for, and nothing may leave.
    pub(crate) fn scanner(&self, credentials: Option<&Credentials>) -> Option<Rc<Scanner>> {
        let state = credentials.map_or(0, |credentials| credentials.vault.state());
        if let Some((_, scanner)) = self.scanner.borrow().as_ref().filter(|(of, _)| *of == state) {
            return Some(Rc::clone(scanner));
        }
        let own = self.known.iter().map(|(name, value)| Known { name: name.clone(), value: value.clone() });
        let held = credentials.into_iter().flat_map(Credentials::secrets);
        // A credential is called by its name, wherever else it lies.
        let all: Vec<Known> = held.chain(own).collect();
        let scanner = Rc::new(Scanner::new(&all, true)?);
        *self.scanner.borrow_mut() = Some((state, Rc::clone(&scanner)));
        Some(scanner)
    }
}

/// What is said where nothing can be looked for.
pub(crate) fn unable() -> Hit {
    Hit { name: "more than can be looked for".to_owned(), way: "too many secrets" }
}

/// Looks through the head of a request; with what was found, whether it is in its line.
pub(crate) fn head<B>(
    scanner: &Scanner,
    credentials: Option<&Credentials>,
    request: &Request<B>,
) -> Option<(Hit, bool)> {
    let plain = |bytes: &[u8]| without(credentials, bytes);
    if let Some(hit) = scanner.whole(request.method().as_str().as_bytes()) {
        return Some((hit, true));
    }
    let target = plain(request.uri().to_string().as_bytes());
    if let Some(hit) = scanner.whole(&target) {
        return Some((hit, true));
    }
    // Parts of several parameters, or headers, are one text too.
    let joined: Vec<u8> =
        target.split(|byte| matches!(byte, b'&' | b'/' | b'?')).flat_map(after_name).copied().collect();
    if let Some(hit) = secret(scanner, &joined) {
        return Some((hit, true));
    }
    let mut all = Vec::new();
    for (name, value) in request.headers() {
        let value = plain(value.as_bytes());
        if let Some(hit) = scanner.whole(&value).or_else(|| scanner.whole(name.as_str().as_bytes())) {
            return Some((hit, false));
        }
        all.extend_from_slice(&value);
    }
    secret(scanner, &all).map(|hit| (hit, false))
}

/// Texts that were put together have no forms in them.
fn secret(scanner: &Scanner, text: &[u8]) -> Option<Hit> {
    scanner.whole(text).filter(|hit| hit.way != "form")
}

fn after_name(part: &[u8]) -> &[u8] {
    let at = part.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
    part.get(at..).unwrap_or_default()
}

/// A name that is asked for, in which labels may hold parts of something.
pub(crate) fn name(scanner: &Scanner, name: &str) -> Option<Hit> {
    scanner
        .whole(name.as_bytes())
        .or_else(|| secret(scanner, name.replace(['.', '-'], "").as_bytes()))
        .or_else(|| secret(scanner, name.replace('.', "").as_bytes()))
}

/// What of a secret is in a text that is going to be written down.
pub(crate) fn told(guard: &Guard, credentials: Option<&Credentials>, text: &str) -> Option<Hit> {
    let Some(scanner) = guard.scanner(credentials) else { return Some(unable()) };
    name(&scanner, &String::from_utf8_lossy(&without(credentials, text.as_bytes())))
}

/// With nothing in the place of placeholders: these have the forms of what they stand for, and are looked for by themselves.
fn without(credentials: Option<&Credentials>, bytes: &[u8]) -> Vec<u8> {
    let mut text = bytes.to_vec();
    for (_, placeholder) in credentials.map(Credentials::placeholders).unwrap_or_default() {
        while let Some(at) = memmem::find(&text, placeholder.as_bytes()).filter(|_| !placeholder.is_empty()) {
            text.iter_mut().skip(at).take(placeholder.len()).for_each(|byte| *byte = b' ');
        }
    }
    text
}

/// Replaces what is in the head of a request: what was found first. An error: what cannot be replaced.
pub(crate) fn mask<B>(
    scanner: &Scanner,
    credentials: Option<&Credentials>,
    request: &mut Request<B>,
) -> Result<Option<Hit>, Hit> {
    let mut first = None;
    let mut masked = |bytes: &[u8]| -> Result<Option<(Vec<u8>, Hit)>, Hit> {
        let plain = without(credentials, bytes);
        let Some((out, hit)) = scanner.mask(&plain)? else { return Ok(None) };
        first.get_or_insert_with(|| hit.clone());
        let both = out.iter().zip(&plain).zip(bytes);
        // Placeholders stand as they did.
        Ok(Some((both.map(|((new, old), own)| if new == old { *own } else { *new }).collect(), hit)))
    };
    let mut parts = request.uri().clone().into_parts();
    if let Some(own) = &parts.path_and_query
        && let Some((new, hit)) = masked(own.as_str().as_bytes())?
    {
        parts.path_and_query = Some(new.try_into().map_err(|_| hit.clone())?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| hit)?;
    }
    for value in request.headers_mut().values_mut() {
        if let Some((new, hit)) = masked(value.as_bytes())? {
            *value = HeaderValue::from_bytes(&new).map_err(|_| hit)?;
        }
    }
    head(scanner, credentials, request).map_or(Ok(first), |(hit, _)| Err(hit))
}

/// A scan of a stream.
pub(crate) struct Watched {
    scanner: Rc<Scanner>,
    stream: Stream,
}

impl Watched {
    pub(crate) fn new(scanner: Rc<Scanner>) -> Self {
        Self { stream: scanner.begin(), scanner }
    }

    pub(crate) fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Another one for the same.
    pub(crate) fn anew(&self) -> Self {
        Self::new(Rc::clone(&self.scanner))
    }

    pub(crate) fn push(&mut self, part: &[u8]) -> Option<Hit> {
        self.stream.push(&self.scanner, part)
    }

    pub(crate) fn end(&mut self) -> Option<Hit> {
        self.stream.end(&self.scanner)
    }

    /// How many of the last bytes may go on to be a secret, if they are many.
    pub(crate) fn open(&self) -> usize {
        self.stream.open(&self.scanner, FEWEST)
    }
}
