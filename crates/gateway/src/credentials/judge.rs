//! Where secrets go on a request, or why it is refused.

use hyper::Request;
use hyper::header::{self, HeaderValue};
use ringfence_confine::gateway::Held;
use ringfence_leaks::percent_decoded;
use ringfence_policy::{Form, HttpRequest, decide_http};

use super::{Credentials, Denied, goes, line, parts};
use crate::connection::Target;
use crate::place::{Place, fits, found};
use crate::sigv4;

/// Headers that say who asks. Where a credential says that, another one would send what the task has to somebody else's account.
static IDENTITIES: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token", "x-auth-token"];
/// Parameters that say the same, in lower case: of requests that are signed in their query, and of RFC 6750.
static PARAMETERS: &[&str] = &[
    "x-amz-signature",
    "x-amz-credential",
    "awsaccesskeyid",
    "x-goog-signature",
    "x-goog-credential",
    "googleaccessid",
    "access_token",
];
/// Where keys of AWS stand in the head of a request.
static SIGNED: &[&str] = &["authorization", "x-amz-security-token"];
/// A secret that is about to be put somewhere.
pub(super) struct Put<'a> {
    pub(super) number: usize,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    /// The credential itself, so.
    Form(&'a Form),
    /// A token that was given out for it, from its place in the vault.
    Token(u32, String),
}

impl What<'_> {
    /// The header that it is put into.
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::Form(form) => form.header(),
            Self::Token(..) => Some("authorization"),
        }
    }

    /// Whether one would take the other's place.
    fn beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Form(one), Self::Form(other)) => one.same_place(other),
            _ => self.header().is_some() && self.header() == other.header(),
        }
    }
}

impl Credentials {
    /// Where secrets go, or why something is refused.
    pub(super) fn judge<B>(
        &self,
        request: &Request<B>,
        target: &Target,
        secure: bool,
    ) -> Result<Vec<Put<'_>>, Denied> {
        let mut puts = Vec::new();
        let own: Vec<bool> = self.held.iter().map(|one| secure && goes(one, target)).collect();
        for (number, one) in self.held.iter().enumerate() {
            let denied = |rule: String| Denied { credential: one.name.clone(), rule };
            let here = own.get(number).copied().unwrap_or_default();
            if one.placeholder.is_none() {
                // A connection is for all requests on it, so that the certificate's are all that there are.
                if here && one.credential.certificate() && !covers(one, request) {
                    return Err(denied(uncovered(request)));
                }
                if here
                    && covers(one, request)
                    && let Some(form) = one.credential.inject.first()
                {
                    if let Some(why) = self.waits(one) {
                        return Err(denied(why));
                    }
                    puts.push(Put { number, what: What::Form(form) });
                }
                continue;
            }
            let aws = one.credential.aws();
            for place in parts(one).flat_map(|part| found(request, part)) {
                if !here {
                    return Err(denied(self.elsewhere(one, target, secure)));
                }
                if !covers(one, request) {
                    return Err(denied(uncovered(request)));
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
                    puts.push(Put { number, what: What::Form(form) });
                }
            }
        }
        for token in self.issued.all() {
            let Some(one) = self.held.get(token.of) else { continue };
            let denied = |rule: String| Denied { credential: one.name.clone(), rule };
            for place in found(request, &token.placeholder) {
                if !own.get(token.of).copied().unwrap_or_default() {
                    return Err(denied(self.elsewhere(one, target, secure)));
                }
                if !covers(one, request) {
                    return Err(denied(uncovered(request)));
                }
                if let Some(why) = self.waits(one) {
                    return Err(denied(why));
                }
                if place != Place::Header("authorization".to_owned()) || !bears(request, &token.placeholder) {
                    let rule = format!(
                        "a token that was given out for it stands in {place}, and goes on requests as `Authorization: Bearer` alone"
                    );
                    return Err(denied(rule));
                }
                puts.push(Put { number: token.of, what: What::Token(token.slot, token.placeholder.clone()) });
            }
        }
        for (at, put) in puts.iter().enumerate() {
            let beside = |other: &&Put<'_>| other.number != put.number && put.what.beside(&other.what);
            let Some(other) = puts.iter().take(at).find(beside) else { continue };
            if let (Some(one), Some(other)) = (self.held.get(put.number), self.held.get(other.number)) {
                let rule = format!(
                    "`{}` goes on this request too, in the same place: narrow one of them by `hosts`, `methods` or `paths`",
                    other.name
                );
                return Err(Denied { credential: one.name.clone(), rule });
            }
        }
        // Who asks is what the policy says, and nobody else.
        let here: Vec<&Held> =
            self.held.iter().zip(&own).filter(|(_, here)| **here).map(|(one, _)| one).collect();
        if let (Some(one), Some(name)) = (here.first(), other_identity(request, &here, &puts)) {
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

/// A header or a parameter that says who asks, and in which nothing is put.
fn other_identity<B>(request: &Request<B>, here: &[&Held], puts: &[Put<'_>]) -> Option<String> {
    let forms = || here.iter().flat_map(|one| &one.credential.inject);
    let headers = IDENTITIES.iter().copied().chain(forms().filter_map(Form::header));
    let ours = |name: &str| puts.iter().any(|put| put.what.header() == Some(name));
    if let Some(name) = headers.into_iter().find(|name| request.headers().contains_key(*name) && !ours(name))
    {
        return Some(name.to_owned());
    }
    // A query that is signed anew is signed in no header.
    let signed = puts.iter().any(|put| matches!(put.what, What::Form(Form::Sigv4(_))))
        && !request.headers().contains_key(header::AUTHORIZATION);
    let put = |raw: &str| {
        let of = |put: &Put<'_>| matches!(put.what, What::Form(Form::Query(own)) if own == raw);
        puts.iter().any(of) || signed && ["X-Amz-Signature", "X-Amz-Credential"].contains(&raw)
    };
    let says = |name: &str| {
        let own = |form: &Form| matches!(form, Form::Query(own) if own.eq_ignore_ascii_case(name));
        PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) || forms().any(own)
    };
    let mut names = request.uri().query().unwrap_or_default().split(['&', ';']);
    names.find_map(|part| {
        let raw = part.split('=').next().unwrap_or_default();
        let name = String::from_utf8_lossy(&percent_decoded(raw.as_bytes())).into_owned();
        (says(&name) && !put(raw)).then_some(name)
    })
}

/// Is a token sent as it is meant to be (RFC 6750, section 2.1)?
fn bears<B>(request: &Request<B>, token: &str) -> bool {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let bearer = |value: &HeaderValue| {
        let (scheme, word) = value.to_str().ok()?.split_once(' ')?;
        Some(scheme.eq_ignore_ascii_case("bearer") && word.trim() == token)
    };
    values.next().and_then(bearer).unwrap_or_default() && values.next().is_none()
}

fn uncovered<B>(request: &Request<B>) -> String {
    format!("`methods` and `paths` of the credential do not cover `{}`", line(request))
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

pub(super) fn covers<B>(one: &Held, request: &Request<B>) -> bool {
    let target = request.uri().to_string();
    let asked = HttpRequest {
        method: request.method().as_str(),
        target: target.as_bytes(),
        length: None,
        websocket: false,
    };
    decide_http(std::slice::from_ref(&one.credential.http), &asked).is_ok()
}
