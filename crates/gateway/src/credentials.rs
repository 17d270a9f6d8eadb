//! Credentials on requests: the placeholder that the task wrote becomes the secret, for exactly the requests that the policy names;
//! anywhere else it is refused.

mod judge;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use ringfence_confine::gateway::Held;
use ringfence_leaks::{Known, password, percent_decoded};
use ringfence_policy::{AwsScope, Form, Peer, SecretSource};
use rustix::io::Errno;
use rustls::sign::SingleCertAndKey;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use self::judge::What;
use crate::Gateway;
use crate::asked::Asked;
use crate::certificate;
use crate::connection::Target;
use crate::issued::{self, Issued};
use crate::mask::Mask;
use crate::place::{escaped, place, set};
use crate::push;
use crate::sigv4::{self, Keys};
use crate::vault::Vault;

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
    pub(crate) issued: Issued,
    /// Where each was used, and how often since that was last told.
    used: RefCell<Uses>,
    /// Those that were granted, by the numbers of their grants.
    lent: RefCell<HashMap<u32, String>>,
    /// One of those has ended.
    taken: Notify,
    /// So many bodies wait whole for a signature.
    room: Arc<Semaphore>,
}

/// Why a request is not sent.
pub(crate) struct Denied {
    pub(crate) credential: String,
    pub(crate) rule: String,
}

/// What was done to a request.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) mask: Mask,
    numbers: Vec<usize>,
    /// The credential that tokens are given out for in the answer.
    pub(crate) issues: Option<usize>,
    /// What was put is no credential itself.
    token: bool,
    /// Something was put: more than a certificate, which is shown to the server beforehand.
    carries: bool,
    /// Kept until the request is answered.
    _room: Option<OwnedSemaphorePermit>,
}

impl Credentials {
    pub(crate) fn new(held: Vec<Held>, asked: Option<std::os::fd::OwnedFd>) -> Result<Self, Errno> {
        let kind = |one: &Held| {
            let fetched = !matches!(one.credential.source, SecretSource::Env(_));
            (fetched, one.credential.refresh)
        };
        let tokens = std::iter::repeat_n((false, None), Issued::places(&held));
        let kinds: Vec<_> = held.iter().map(kind).chain(tokens).collect();
        Ok(Self {
            issued: Issued::new(&held),
            held,
            vault: Rc::new(Vault::new(&kinds, asked)?),
            used: RefCell::default(),
            lent: RefCell::default(),
            taken: Notify::new(),
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
        self.taken.notify_waiters();
        for (number, _) in (0..).zip(&self.held).filter(|(_, one)| one.name == name) {
            self.vault.forget(number);
            self.issued.forget(&self.vault, usize::try_from(number).unwrap_or(usize::MAX));
        }
    }

    /// Waits until it is of no use any more: why.
    pub(crate) async fn until_taken(&self, one: &Held) -> String {
        loop {
            let taken = self.taken.notified();
            if let Some(why) = self.waits(one) {
                return why;
            }
            taken.await;
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
    pub(crate) fn placeholders(&self) -> Vec<(String, String)> {
        let own = self.held.iter().flat_map(|one| parts(one).map(|part| (one.name.clone(), part.to_owned())));
        let given = self
            .issued
            .all()
            .into_iter()
            .filter_map(|token| Some((self.held.get(token.of)?.name.clone(), token.placeholder.clone())));
        own.chain(given).collect()
    }

    /// The hosts of keys of ssh that a connection is with, as the policy names them.
    pub(crate) fn signs_in(&self, target: &Target) -> Vec<String> {
        let hosts = self.keys().flat_map(|(_, one)| &one.credential.hosts);
        hosts.filter(|host| host.is(&target.peer(), target.port)).map(ToString::to_string).collect()
    }

    /// The keys of ssh among them, by their numbers.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, &Held)> {
        (0..).zip(&self.held).filter(|(_, one)| one.credential.ssh())
    }

    /// The keys of gpg among them.
    pub(crate) fn gpg(&self) -> impl Iterator<Item = (u32, &Held)> {
        (0..).zip(&self.held).filter(|(_, one)| one.credential.gpg())
    }

    /// Those secrets that are there right now, or were before.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Known> {
        let own = (0..).zip(&self.held).flat_map(|(number, one)| {
            let name = format!("the credential `{}`", one.name);
            let here = self.vault.here(number);
            let values: Vec<Vec<u8>> = if one.credential.certificate() {
                here.iter().filter_map(|whole| certificate::key(whole)).collect()
            } else if one.credential.aws() {
                // The id of the keys is told to everybody.
                here.iter().flat_map(|whole| pieces(whole).skip(1)).collect()
            } else {
                here.iter().map(|whole| within(whole)).collect()
            };
            let values = values.into_iter().filter(|value| !value.is_empty());
            values.map(move |value| Known { name: name.clone(), value }).collect::<Vec<_>>()
        });
        let given = self.issued.all().into_iter().flat_map(|token| {
            let name = self.held.get(token.of).map(|one| format!("a token of the credential `{}`", one.name));
            let values = self.vault.here(token.slot).into_iter();
            values.filter_map(move |value| Some(Known { name: name.clone()?, value })).collect::<Vec<_>>()
        });
        own.chain(given)
    }

    /// What no answer may show: a server may repeat a secret in the answer to another request, or tell it to other servers.
    fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        // The key of a certificate is sent to nobody.
        for (number, one) in (0..).zip(&self.held).filter(|(_, one)| !one.credential.certificate()) {
            for secret in self.vault.here(number) {
                if one.credential.aws() {
                    let mut stand = parts(one);
                    pieces(&secret).for_each(|piece| mask.hide(&piece, stand.next()));
                    continue;
                }
                let secret = within(&secret);
                mask.hide(&secret, one.placeholder.as_deref().map(stands));
                mask.hide_escaped(&secret);
                for form in &one.credential.inject {
                    match form {
                        Form::Query(_) => mask.hide(escaped(&secret).as_bytes(), None),
                        Form::Basic(_) | Form::Registry(_) => mask.hide_encoded(&secret),
                        Form::Header(..) | Form::Sigv4(_) | Form::Certificate => {}
                    }
                }
            }
        }
        for token in self.issued.all() {
            for secret in self.vault.here(token.slot) {
                mask.hide(&secret, Some(&token.placeholder));
            }
        }
        mask
    }

    /// The certificate of this host.
    fn certificate(&self, target: &Target) -> Option<(u32, &Held)> {
        let own = |(_, one): &(u32, &Held)| {
            one.credential.certificate() && goes(one, target) && self.waits(one).is_none()
        };
        (0..).zip(&self.held).find(own)
    }

    /// A server may not have taken the certificate, if it was shown one.
    pub(crate) fn doubt(&self, target: &Target) -> bool {
        let certificate = self.certificate(target);
        certificate.iter().for_each(|(number, _)| self.vault.doubt(*number));
        certificate.is_some()
    }

    /// Whether a request by this method may have a body. A server that looks for none leaves it unread, and may take it for another
    /// request of whoever the certificate says.
    pub(crate) fn bodied(&self, method: &Method, target: &Target) -> Result<(), Denied> {
        // Of these every server expects one.
        if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            return Ok(());
        }
        match self.certified(target) {
            Some(one) => Err(Denied {
                credential: one.name.clone(),
                rule: format!(
                    "{method} with a body, which a server may leave unread and take for another request: where a certificate is shown, POST, PUT and PATCH have one"
                ),
            }),
            None => Ok(()),
        }
    }

    /// Is a certificate for this host, whether or not it is granted right now? It may have been shown before.
    pub(crate) fn certified(&self, target: &Target) -> Option<&Held> {
        self.held.iter().find(|one| one.credential.certificate() && goes(one, target))
    }

    /// How TLS with this host begins, where a certificate says who asks. Each request is judged before.
    pub(crate) async fn shown(
        &self,
        target: &Target,
    ) -> Result<Option<(u32, Arc<SingleCertAndKey>)>, String> {
        let Some((number, _)) = self.certificate(target) else { return Ok(None) };
        let shown = self.vault.with(number, certificate::shown).await??;
        Ok(Some((number, shown)))
    }

    /// A push of git that one of them is for goes to branches that it names.
    pub(crate) async fn pushes(
        &self,
        head: &Request<()>,
        body: &mut Asked,
        target: &Target,
    ) -> Result<(), Denied> {
        for one in self.held.iter().filter(|one| goes(one, target) && judge::covers(one, head)) {
            push::check(one, head, body).await?;
        }
        Ok(())
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

    /// A server asks for a token of a realm that the policy does not name.
    pub(crate) fn other_realm(&self, target: &Target, headers: &HeaderMap) -> Option<Denied> {
        let gives = |one: &&Held| one.credential.inject.iter().any(|form| matches!(form, Form::Registry(_)));
        let own: Vec<&Held> = self.held.iter().filter(gives).filter(|one| goes(one, target)).collect();
        let first = own.first()?;
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let named = |(host, port): (&str, u16)| {
            let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
            let peer = host.parse().map_or(Peer::Name(&host), Peer::Address);
            own.iter().flat_map(|one| &one.credential.hosts).any(|known| known.is(&peer, port))
        };
        let rule = values.filter_map(issued::realm).find_map(|realm| match realm {
            Ok(server) if named(server) => None,
            Ok((host, port)) => Some(format!(
                "its tokens are given out by `{host}:{port}`: if that belongs to it, add it to `hosts`"
            )),
            Err(text) => Some(format!("its tokens are given out by `{text}`, which is not TLS")),
        });
        rule.map(|rule| Denied { credential: first.name.clone(), rule })
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
            .filter(|one| !one.credential.certificate())
            .any(|one| one.credential.hosts.iter().any(|host| host.is(&target.peer(), host.port)))
        {
            request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        for put in puts {
            let Some(one) = self.held.get(put.number) else { continue };
            let mut number = u32::try_from(put.number).unwrap_or(u32::MAX);
            let placeholder = one.placeholder.as_deref();
            match put.what {
                What::Token(slot, _) => (number, used.token) = (slot, true),
                What::Form(Form::Registry(_)) => used.issues = Some(put.number),
                What::Form(_) => {}
            }
            used.carries |= !one.credential.certificate();
            let put_it = |secret: &[u8]| match &put.what {
                // It is here, for the connection that is about to be made.
                What::Form(Form::Certificate) => Ok(()),
                What::Form(Form::Sigv4(scope)) => {
                    sign(request, placeholder, secret, (scope.as_ref(), payload), &mut used.mask)
                }
                What::Form(form) => {
                    let (secret, placeholder) = (&*within(secret), placeholder.map(stands));
                    used.mask.hide_clothed(secret, placeholder);
                    place(request, form, placeholder, secret, &mut used.mask)
                        .ok_or_else(|| "it does not fit there".to_owned())
                }
                What::Token(_, placeholder) => {
                    used.mask.hide_clothed(secret, Some(placeholder));
                    set(request.headers_mut(), "authorization", &[b"Bearer ", secret].concat())
                        .ok_or_else(|| "it does not fit there".to_owned())
                }
            };
            let denied = |rule: String| Denied { credential: one.name.clone(), rule };
            let placed = self.vault.with(number, put_it).await.map_err(|why| {
                denied(format!("the secret is not there: {}: {why}", one.credential.source))
            })?;
            placed.map_err(denied)?;
            // It may have been taken back while it was fetched.
            if let Some(why) = self.waits(one) {
                self.vault.forget(number);
                return Err(denied(why));
            }
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
}

impl Used {
    /// Holds the place of a body that is kept whole.
    pub(crate) fn in_room(mut self, room: Option<OwnedSemaphorePermit>) -> Self {
        self._room = room;
        self
    }

    /// The server did not take a secret.
    pub(crate) fn refused(&self, credentials: &Credentials) {
        if self.token {
            return;
        }
        for number in &self.numbers {
            credentials.vault.doubt(u32::try_from(*number).unwrap_or(u32::MAX));
        }
    }

    /// Nothing of the policy's is on the request.
    pub(crate) fn is_empty(&self) -> bool {
        !self.carries
    }
}

/// The placeholders that stand for one: each part of it has its own.
fn parts(one: &Held) -> impl Iterator<Item = &str> {
    let most = if one.credential.aws() { 3 } else { 1 };
    // What is public stands for nothing.
    one.placeholder
        .iter()
        .filter(|_| !one.credential.signs())
        .flat_map(move |whole| stands(whole).splitn(most, ':'))
}

/// What of a placeholder stands for the secret: the password of a URL, or all of it.
fn stands(whole: &str) -> &str {
    password(whole).map_or(whole, |(_, own, _)| own)
}

/// The same of a secret, as it goes on requests.
fn within(secret: &[u8]) -> Vec<u8> {
    let own = str::from_utf8(secret).ok().and_then(password);
    own.map_or_else(|| secret.to_vec(), |(_, own, _)| percent_decoded(own.as_bytes()))
}

/// The parts of keys of AWS: the id, the secret one and the token.
fn pieces(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    whole.splitn(3, |byte| *byte == b':').map(<[u8]>::to_vec)
}

/// Does its secret go to this host?
fn goes(one: &Held, target: &Target) -> bool {
    let peer = target.peer();
    !one.credential.signs() && one.credential.hosts.iter().any(|host| host.is(&peer, target.port))
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

/// Does a name that is asked for hold a placeholder, in whatever case and over whichever labels?
pub(crate) fn in_name(credentials: &Credentials, name: &str) -> Option<Denied> {
    let plain = name.replace('.', "").to_ascii_lowercase();
    let held = |placeholder: &str| {
        let small = placeholder.to_ascii_lowercase();
        name.to_ascii_lowercase().contains(&small) || plain.contains(&small.replace(['.', '_', '='], ""))
    };
    let mut all = credentials.placeholders().into_iter();
    all.find(|(_, placeholder)| held(placeholder)).map(|(credential, _)| Denied {
        credential,
        rule: "its placeholder is part of a name that is asked for".to_owned(),
    })
}
