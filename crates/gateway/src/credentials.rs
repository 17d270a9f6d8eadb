//! Credentials on requests: the placeholder that the task wrote becomes the secret, for exactly the requests that the policy names;
//! anywhere else it is refused.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use memchr::memmem;
use ringfence_confine::gateway::Held;
use ringfence_leaks::Known;
use ringfence_policy::{AwsScope, Form, HttpRequest, SecretSource, decide_http};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Gateway;
use crate::connection::Target;
use crate::mask::Mask;
use crate::sigv4::{self, Keys};
use crate::vault::Vault;

/// Headers that say who asks. Where a credential says that, another one would send what the task has to somebody else's account.
static IDENTITIES: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token", "x-auth-token"];
/// Where keys of AWS stand in the head of a request.
static SIGNED: &[&str] = &["authorization", "x-amz-security-token"];
/// So many bodies are kept at one time, each of at most [`LONGEST_BODY`] bytes.
const BODIES: usize = 4;
/// Bytes of a body that is signed with its request.
pub(crate) const LONGEST_BODY: usize = 16 << 20;
/// Bytes of a request's line in a record.
const SHOWN: usize = 200;

/// By credential, host and port: how often, and the port in the sandbox that the last came from.
type Uses = HashMap<(usize, String, u16), (u64, u16)>;

/// All credentials of a sandbox.
#[derive(Debug)]
pub(crate) struct Credentials {
    held: Vec<Held>,
    pub(crate) vault: Rc<Vault>,
    /// Where each was used, and how often since that was last told.
    used: RefCell<Uses>,
    /// Those that were granted, by the numbers of their grants.
    lent: RefCell<HashMap<u32, String>>,
    /// So many bodies wait whole for a signature.
    room: Arc<Semaphore>,
}

/// Why a request is not sent.
pub(crate) struct Denied {
    pub(crate) credential: String,
    pub(crate) rule: String,
}

/// A secret that is about to be put somewhere.
struct Put<'a> {
    number: usize,
    form: &'a Form,
}

/// What was done to a request.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) mask: Mask,
    numbers: Vec<usize>,
    /// Kept until the request is answered.
    _room: Option<OwnedSemaphorePermit>,
}

impl Credentials {
    pub(crate) fn new(held: Vec<Held>, asked: Option<std::os::fd::OwnedFd>) -> Result<Self, Errno> {
        let kind = |one: &Held| {
            let fetched = !matches!(one.credential.source, SecretSource::Env(_));
            (fetched, one.credential.refresh)
        };
        let kinds: Vec<_> = held.iter().map(kind).collect();
        Ok(Self {
            held,
            vault: Rc::new(Vault::new(&kinds, asked)?),
            used: RefCell::default(),
            lent: RefCell::default(),
            room: Arc::new(Semaphore::new(BODIES)),
        })
    }

    /// The owner grants one.
    pub(crate) fn lend(&self, number: u32, name: &str) {
        self.lent.borrow_mut().insert(number, name.to_owned());
    }

    /// It ends; what was fetched is dropped.
    pub(crate) fn take_back(&self, number: u32) {
        let Some(name) = self.lent.borrow_mut().remove(&number) else { return };
        for (number, _) in (0..).zip(&self.held).filter(|(_, one)| one.name == name) {
            self.vault.forget(number);
        }
    }

    /// Why it is of no use now, if it is not.
    pub(crate) fn waits(&self, one: &Held) -> Option<String> {
        let lent = !one.waits || self.lent.borrow().values().any(|name| *name == one.name);
        (!lent).then(|| {
            format!(
                "it is not granted: its owner does that by `ringfence grant RUN --credential {} --for 10m`",
                one.name
            )
        })
    }

    /// What must not leave but where it is replaced: each placeholder with the name of its credential.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = (&str, &str)> {
        self.held.iter().flat_map(|one| parts(one).map(|part| (one.name.as_str(), part)))
    }

    /// The keys of ssh among them, by their numbers.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, &Held)> {
        (0..).zip(&self.held).filter(|(_, one)| one.credential.ssh())
    }

    /// Those secrets that are there right now, or were before.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Known> {
        (0..).zip(&self.held).flat_map(|(number, one)| {
            let name = format!("the credential `{}`", one.name);
            let values: Vec<Vec<u8>> = match one.credential.aws() {
                // The id of the keys is told to everybody.
                true => self.vault.here(number).iter().flat_map(|whole| pieces(whole).skip(1)).collect(),
                false => self.vault.here(number),
            };
            let values = values.into_iter().filter(|value| !value.is_empty());
            values.map(move |value| Known { name: name.clone(), value }).collect::<Vec<_>>()
        })
    }

    /// What no answer may show: a server may repeat a secret in the answer to another request, or tell it to other servers.
    fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        for (number, one) in (0..).zip(&self.held) {
            for secret in self.vault.here(number) {
                if one.credential.aws() {
                    let mut stand = parts(one);
                    pieces(&secret).for_each(|piece| mask.hide(&piece, stand.next()));
                    continue;
                }
                mask.hide(&secret, one.placeholder.as_deref());
                for form in &one.credential.inject {
                    match form {
                        Form::Query(_) => mask.hide(escaped(&secret).as_bytes(), None),
                        Form::Basic(_) => mask.hide_encoded(&secret),
                        Form::Header(..) | Form::Sigv4(_) => {}
                    }
                }
            }
        }
        mask
    }

    /// Is this a request whose signature needs its body? Then there is room for that now.
    pub(crate) async fn body_first<B>(
        &self,
        request: &Request<B>,
        target: &Target,
    ) -> Option<(OwnedSemaphorePermit, &str)> {
        let one = self.held.iter().find(|one| one.credential.aws() && goes(one, target))?;
        if !sigv4::signed(request) || !sigv4::needs_body(request) {
            return None;
        }
        Some((Arc::clone(&self.room).acquire_owned().await.ok()?, &one.name))
    }

    /// Puts secrets on a request that the rules allow, `secure` over TLS that is looked into. `payload`: the hash of its body, if that
    /// was needed.
    pub(crate) async fn apply<B>(
        &self,
        gateway: &Gateway,
        request: &mut Request<B>,
        target: &Target,
        secure: bool,
        payload: Option<&str>,
    ) -> Result<Used, Denied> {
        let puts = self.judge(request, target, secure)?;
        let mut used = Used::default();
        // What comes back compressed could not be masked.
        if self
            .held
            .iter()
            .any(|one| one.credential.hosts.iter().any(|host| host.is(&target.peer(), host.port)))
        {
            request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        for put in puts {
            let Some(one) = self.held.get(put.number) else { continue };
            let number = u32::try_from(put.number).unwrap_or(u32::MAX);
            let placeholder = one.placeholder.as_deref();
            let put_it = |secret: &[u8]| match put.form {
                Form::Sigv4(scope) => {
                    sign(request, placeholder, secret, (scope.as_ref(), payload), &mut used.mask)
                }
                form => {
                    used.mask.hide_clothed(secret, placeholder);
                    place(request, form, placeholder, secret, &mut used.mask)
                        .ok_or_else(|| "it does not fit there".to_owned())
                }
            };
            let denied = |rule: String| Denied { credential: one.name.clone(), rule };
            let placed = self.vault.with(number, put_it).await.map_err(|why| {
                denied(format!("the secret is not there: {}: {why}", one.credential.source))
            })?;
            placed.map_err(denied)?;
            used.numbers.push(put.number);
        }
        used.mask.add(self.mask());
        for number in &used.numbers {
            self.note(gateway, *number, target, request).await;
        }
        Ok(used)
    }

    /// The first use at each host is written down before it takes effect; the others are counted.
    async fn note<B>(&self, gateway: &Gateway, number: usize, target: &Target, request: &Request<B>) {
        let key = (number, target.host(), target.port);
        if let Some((count, source)) = self.used.borrow_mut().get_mut(&key) {
            (*count, *source) = (count.saturating_add(1), target.source);
            return;
        }
        let Some(one) = self.held.get(number) else { return };
        gateway.refusals.credential(&one.name, target, line(request), String::new(), 1).await;
        self.used.borrow_mut().entry(key).or_insert((0, target.source));
    }

    /// Tells how often they were used since the last time.
    pub(crate) async fn count(&self, gateway: &Gateway) {
        let mut counts = Vec::new();
        for ((number, host, port), (count, source)) in
            self.used.borrow_mut().iter_mut().filter(|(_, (count, _))| *count > 0)
        {
            counts.push((*number, host.clone(), *port, std::mem::take(count), *source));
        }
        for (number, host, port, count, source) in counts {
            let Some(one) = self.held.get(number) else { continue };
            let target = Target { name: Some(host), address: [0, 0, 0, 0].into(), port, source };
            gateway.refusals.credential(&one.name, &target, String::new(), String::new(), count).await;
        }
    }

    /// Where secrets go, or why something is refused.
    fn judge<B>(&self, request: &Request<B>, target: &Target, secure: bool) -> Result<Vec<Put<'_>>, Denied> {
        let mut puts = Vec::new();
        let own: Vec<bool> = self.held.iter().map(|one| secure && goes(one, target)).collect();
        for (number, one) in self.held.iter().enumerate() {
            let denied = |rule: String| Denied { credential: one.name.clone(), rule };
            let here = own.get(number).copied().unwrap_or_default();
            if one.placeholder.is_none() {
                if here
                    && covers(one, request)
                    && let Some(form) = one.credential.inject.first()
                {
                    if let Some(why) = self.waits(one) {
                        return Err(denied(why));
                    }
                    puts.push(Put { number, form });
                }
                continue;
            }
            let aws = one.credential.aws();
            for place in parts(one).flat_map(|part| found(request, part)) {
                if !here {
                    return Err(denied(self.elsewhere(one, target, secure)));
                }
                if !covers(one, request) {
                    let text = line(request);
                    return Err(denied(format!(
                        "`methods` and `paths` of the credential do not cover `{text}`"
                    )));
                }
                if let Some(why) = self.waits(one) {
                    return Err(denied(why));
                }
                let stands = |form: &&Form| if aws { signs(request, &place) } else { fits(form, &place) };
                let Some(form) = one.credential.inject.iter().find(stands) else {
                    let forms: Vec<String> = one.credential.inject.iter().map(Form::text).collect();
                    let rule = format!(
                        "its placeholder stands in {place}, and the policy puts it in `{}`: add the form to `inject`, or have the program send it so",
                        forms.join("`, `")
                    );
                    return Err(denied(rule));
                };
                if !aws || puts.iter().all(|put: &Put<'_>| put.number != number) {
                    puts.push(Put { number, form });
                }
            }
        }
        // Who asks is what the policy says, and nobody else.
        let ours = |name: &str| {
            let of = |put: &Put<'_>| put.form.header() == Some(name);
            puts.iter().any(of)
        };
        let of_here = self.held.iter().zip(&own).find(|(_, here)| **here);
        if let Some((one, _)) = of_here
            && let Some(name) = IDENTITIES
                .iter()
                .find(|name| request.headers().contains_key(**name) && !ours(name))
                .or_else(|| {
                    let other = sigv4::signed(request) && !ours("authorization");
                    other.then_some(&"X-Amz-Signature")
                })
        {
            let rule = format!(
                "`{name}` holds something else than the placeholder: only the policy's own credential is sent to this host"
            );
            return Err(Denied { credential: one.name.clone(), rule });
        }
        Ok(puts)
    }

    fn elsewhere(&self, one: &Held, target: &Target, secure: bool) -> String {
        let hosts: Vec<String> = one.credential.hosts.iter().map(ToString::to_string).collect();
        let why = if secure { "" } else { " (it is not TLS that is looked into)" };
        format!(
            "its placeholder is sent to `{}:{}`{why}, and the policy lets it go to `{}`: if it belongs here, add the host to `hosts`",
            target.host(),
            target.port,
            hosts.join("`, `")
        )
    }
}

impl Used {
    /// Holds the place of a body that is kept whole.
    pub(crate) fn in_room(mut self, room: Option<OwnedSemaphorePermit>) -> Self {
        self._room = room;
        self
    }

    /// The server did not take a secret.
    pub(crate) fn refused(&self, credentials: &Credentials) {
        for number in &self.numbers {
            credentials.vault.doubt(u32::try_from(*number).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// Where in a request a placeholder stands.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Header(String),
    Basic,
    Parameter(String),
    Path,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header `{name}`"),
            Self::Basic => formatter.write_str("basic authentication"),
            Self::Parameter(name) => write!(formatter, "the parameter `{name}` of the query"),
            Self::Path => formatter.write_str("the path"),
        }
    }
}

fn fits(form: &Form, place: &Place) -> bool {
    match (form, place) {
        (Form::Header(own, ..), Place::Header(name)) => own == name,
        (Form::Basic(_), Place::Basic) => true,
        (Form::Query(own), Place::Parameter(name)) => own == name,
        _ => false,
    }
}

/// The placeholders that stand for one: each part of it has its own.
fn parts(one: &Held) -> impl Iterator<Item = &str> {
    let most = if one.credential.aws() { 3 } else { 1 };
    // What is public stands for nothing.
    one.placeholder.iter().filter(|_| !one.credential.ssh()).flat_map(move |whole| whole.splitn(most, ':'))
}

/// The parts of keys of AWS: the id, the secret one and the token.
fn pieces(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    whole.splitn(3, |byte| *byte == b':').map(<[u8]>::to_vec)
}

/// Does its secret go to this host?
fn goes(one: &Held, target: &Target) -> bool {
    let peer = target.peer();
    !one.credential.ssh() && one.credential.hosts.iter().any(|host| host.is(&peer, target.port))
}

/// Where the parts of keys stand on a request that is signed with them; the secret one stands nowhere.
fn signs<B>(request: &Request<B>, place: &Place) -> bool {
    let header = request.headers().contains_key(header::AUTHORIZATION);
    match place {
        Place::Header(name) => header && sigv4::signed(request) && SIGNED.contains(&name.as_str()),
        Place::Parameter(name) => {
            !header && ["X-Amz-Credential", "X-Amz-Security-Token"].contains(&name.as_str())
        }
        _ => false,
    }
}

/// Signs a request anew; what comes back of that is masked.
fn sign<B>(
    request: &mut Request<B>,
    placeholder: Option<&str>,
    secret: &[u8],
    (scope, payload): (Option<&AwsScope>, Option<&str>),
    mask: &mut Mask,
) -> Result<(), String> {
    let line = str::from_utf8(secret).ok().and_then(Keys::parse);
    let (Some(keys), Some(like)) = (line, placeholder.and_then(Keys::parse)) else {
        return Err("its secret is no keys of AWS".to_owned());
    };
    let signature = sigv4::sign(request, like, keys, scope, payload)?;
    mask.hide(keys.id.as_bytes(), Some(like.id));
    mask.hide_clothed(keys.secret.as_bytes(), Some(like.secret));
    mask.hide(signature.as_bytes(), None);
    if let Some(token) = keys.token {
        mask.hide_clothed(token.as_bytes(), like.token);
    }
    Ok(())
}

fn covers<B>(one: &Held, request: &Request<B>) -> bool {
    let target = request.uri().to_string();
    let asked = HttpRequest {
        method: request.method().as_str(),
        target: target.as_bytes(),
        length: None,
        websocket: false,
    };
    decide_http(std::slice::from_ref(&one.credential.http), &asked).is_ok()
}

/// Method and path, for a record.
pub(crate) fn line<B>(request: &Request<B>) -> String {
    let mut text = format!("{} {}", request.method(), request.uri().path());
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Every place in the head of a request where a placeholder stands.
fn found<B>(request: &Request<B>, placeholder: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let holds = |bytes: &[u8]| memmem::find(bytes, placeholder.as_bytes()).is_some();
    for (name, value) in request.headers() {
        if holds(value.as_bytes()) || holds(name.as_str().as_bytes()) {
            places.push(Place::Header(name.as_str().to_owned()));
        } else if *name == header::AUTHORIZATION
            && basic(value).is_some_and(|(user, word)| holds(&user) || holds(&word))
        {
            places.push(Place::Basic);
        }
    }
    if holds(&decoded(request.uri().path().as_bytes())) {
        places.push(Place::Path);
    }
    for part in request.uri().query().into_iter().flat_map(|query| query.split('&')) {
        if holds(&decoded(part.as_bytes())) {
            places.push(Place::Parameter(part.split('=').next().unwrap_or_default().to_owned()));
        }
    }
    places
}

/// Without percent-encoding (RFC 3986, section 2.1).
pub(crate) fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if *first == b'%'
            && let (Some(high), Some(low)) = (digit(0), digit(1))
        {
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = behind.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// User and password (RFC 7617).
fn basic(value: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, word) = value.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(word.trim()).ok())??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded.get(..colon)?.to_vec(), decoded.get(colon + 1..)?.to_vec()))
}

/// Writes a secret there, in place of the placeholder; what comes back of it is masked. `None`: it does not fit.
fn place<B>(
    request: &mut Request<B>,
    form: &Form,
    placeholder: Option<&str>,
    secret: &[u8],
    mask: &mut Mask,
) -> Option<()> {
    match form {
        Form::Header(name, before, behind) => {
            let value = [before.as_bytes(), secret, behind.as_bytes()].concat();
            set(request.headers_mut(), name, &value)
        }
        Form::Basic(fixed) => {
            let sent = request.headers().get(header::AUTHORIZATION).and_then(basic);
            let user = match (fixed, sent) {
                (Some(user), _) => user.as_bytes().to_vec(),
                // Some servers take the token as the user.
                (None, Some((user, word))) if placeholder.is_some_and(|own| user == own.as_bytes()) => {
                    let word = if word == user { secret } else { &word };
                    let word = STANDARD.encode([secret, b":", word].concat());
                    mask.hide(word.as_bytes(), None);
                    return set(request.headers_mut(), "authorization", format!("Basic {word}").as_bytes());
                }
                (None, Some((user, _))) => user,
                (None, None) => b"x-access-token".to_vec(),
            };
            let word = STANDARD.encode([&user, &b":"[..], secret].concat());
            mask.hide(word.as_bytes(), None);
            set(request.headers_mut(), "authorization", format!("Basic {word}").as_bytes())
        }
        // The whole request is signed.
        Form::Sigv4(_) => None,
        Form::Query(name) => {
            let escaped = escaped(secret);
            let kept = request.uri().query().into_iter().flat_map(|query| query.split('&'));
            let kept = kept.filter(|part| part.split('=').next() != Some(name)).map(str::to_owned);
            let query: Vec<String> = kept.chain([format!("{name}={escaped}")]).collect();
            let whole = format!("{}?{}", request.uri().path(), query.join("&"));
            *request.uri_mut() = whole.parse::<Uri>().ok()?;
            Some(())
        }
    }
}

/// As a parameter of a query (RFC 3986, section 2.3).
fn escaped(secret: &[u8]) -> String {
    let mut escaped = String::new();
    for byte in secret {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => escaped.push(char::from(*byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn set(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Option<()> {
    let mut value = HeaderValue::from_bytes(value).ok()?;
    // Kept out of what HTTP/2 remembers between requests (RFC 7541, section 7.1.3).
    value.set_sensitive(true);
    headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    Some(())
}

/// Does a name that is asked for hold a placeholder, in whatever case and over whichever labels?
pub(crate) fn in_name(credentials: &Credentials, name: &str) -> Option<Denied> {
    let plain = name.replace('.', "").to_ascii_lowercase();
    let held = |placeholder: &str| {
        let small = placeholder.to_ascii_lowercase();
        name.to_ascii_lowercase().contains(&small) || plain.contains(&small.replace(['.', '_', '='], ""))
    };
    credentials.placeholders().find(|(_, placeholder)| held(placeholder)).map(|(name, _)| Denied {
        credential: name.to_owned(),
        rule: "its placeholder is part of a name that is asked for".to_owned(),
    })
}
