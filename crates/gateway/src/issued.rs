//! Tokens that a server gives out in exchange for a credential: the gateway keeps these too, and the task gets placeholders of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::response::Parts;
use ring::rand::{SecureRandom, SystemRandom};
use ringfence_confine::gateway::Held;
use ringfence_confine::keeper::LONGEST;
use ringfence_leaks::placeholder;
use ringfence_policy::Form;
use serde_json::Value;

use crate::body::{self, Carried};
use crate::mask::Mask;
use crate::unpack::Unpacked;
use crate::vault::Vault;

/// Tokens that are known at one time; the oldest one makes room.
const MOST: usize = 16;
/// Bytes of the longest answer in which they are looked for.
const LONGEST_ANSWER: usize = 1 << 20;
/// What they are called in an answer (Docker Registry v2 authentication; RFC 6749, section 5.1).
static FIELDS: &[&str] = &["token", "access_token", "refresh_token", "id_token"];

/// One of them.
#[derive(Debug)]
pub(crate) struct Token {
    /// The number of the credential that it was given out for.
    pub(crate) of: usize,
    /// Where the vault has it.
    pub(crate) slot: u32,
    pub(crate) placeholder: String,
}

/// All of a sandbox.
#[derive(Debug)]
pub(crate) struct Issued {
    /// The first number in the vault that is for them.
    first: usize,
    tokens: RefCell<Vec<Rc<Token>>>,
    next: Cell<usize>,
}

impl Issued {
    /// None so far; their places in the vault are behind those of the credentials.
    pub(crate) fn new(held: &[Held]) -> Self {
        Self { first: held.len(), tokens: RefCell::default(), next: Cell::default() }
    }

    /// How many places there must be.
    pub(crate) fn places(held: &[Held]) -> usize {
        let gives = |form: &Form| matches!(form, Form::Registry(_));
        if held.iter().any(|one| one.credential.inject.iter().any(gives)) { MOST } else { 0 }
    }

    pub(crate) fn all(&self) -> Vec<Rc<Token>> {
        self.tokens.borrow().clone()
    }

    /// Those of a credential are of no use any more.
    pub(crate) fn forget(&self, vault: &Vault, of: usize) {
        self.tokens.borrow_mut().retain(|token| {
            let kept = token.of != of;
            if !kept {
                vault.erase(token.slot);
            }
            kept
        });
    }

    /// The body of an answer to a request with that credential, as the task gets it.
    ///
    /// # Errors
    /// Why it gets none.
    pub(crate) async fn answer(
        &self,
        vault: &Vault,
        of: usize,
        body: Incoming,
        (mut mask, packed): (Mask, Option<Unpacked>),
    ) -> Result<Carried, String> {
        let whole = Limited::new(body::masked(body, Mask::default(), packed), LONGEST_ANSWER).collect().await;
        let whole = whole.map_err(|_| format!(
            "its answer does not come to its end, or is longer than {LONGEST_ANSWER} bytes: tokens in it could not be kept from the task"
        ))?;
        let whole = whole.to_bytes();
        let replaced = self.replaced(vault, of, &whole)?;
        let first = mask.push(replaced.as_deref().unwrap_or(&whole));
        Ok(body::whole([first, mask.rest()].concat().into()))
    }

    /// The body of an answer with placeholders in place of the tokens in it; `None`: there is none in it.
    ///
    /// # Errors
    /// Why a token cannot be kept.
    pub(crate) fn replaced(&self, vault: &Vault, of: usize, body: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
        let mut any = false;
        for (_, value) in fields.iter_mut().filter(|(name, _)| FIELDS.contains(&name.as_str())) {
            if let Value::String(secret) = value
                && !secret.is_empty()
            {
                *value = Value::String(self.keep(vault, of, secret)?);
                any = true;
            }
        }
        Ok(any.then(|| Value::Object(fields).to_string().into_bytes()))
    }

    /// Keeps one; its placeholder.
    fn keep(&self, vault: &Vault, of: usize, secret: &str) -> Result<String, String> {
        if secret.len() > LONGEST || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "it gives out a token that is no word, or is longer than {LONGEST} bytes: such a one is not kept"
            ));
        }
        let same = |token: &&Rc<Token>| {
            token.of == of && vault.here(token.slot).iter().any(|known| known == secret.as_bytes())
        };
        if let Some(known) = self.tokens.borrow().iter().find(same) {
            return Ok(known.placeholder.clone());
        }
        let made = shaped(secret).ok_or("there are no random numbers")?;
        let place = self.next.get();
        self.next.set((place + 1) % MOST);
        let slot = u32::try_from(self.first + place).map_err(|error| error.to_string())?;
        let mut tokens = self.tokens.borrow_mut();
        tokens.retain(|token| token.slot != slot);
        vault.put(slot, secret.as_bytes(), None);
        tokens.push(Rc::new(Token { of, slot, placeholder: made.clone() }));
        Ok(made)
    }
}

/// Whether an answer may give out tokens: it says yes, in text.
pub(crate) fn looked_into(head: &Parts, body: &Incoming) -> bool {
    let kind =
        head.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
    let text = |kind: String| kind.starts_with("application/json") || kind.starts_with("text/");
    head.status.is_success() && !body.is_end_stream() && kind.is_none_or(text)
}

/// The server that a registry sends its clients to for a token (RFC 6750, section 3): its host and port, or all that it says, if that is no
/// address of TLS.
pub(crate) fn realm(value: &str) -> Option<Result<(&str, u16), &str>> {
    let (scheme, fields) = value.split_once(' ')?;
    let at = fields.to_ascii_lowercase().find("realm=").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    let text = fields.get(at + 6..)?;
    let text = match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => text.split([',', ' ']).next()?,
    };
    let read = || {
        let rest = text.strip_prefix("https://")?;
        let authority =
            rest.split(['/', '?', '#']).next().filter(|text| !text.is_empty() && !text.contains('@'))?;
        match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
            Some((host, port)) => Some((host, port.parse().ok()?)),
            None => Some((authority, 443)),
        }
    };
    Some(read().ok_or(text))
}

/// A placeholder of this form; `None`: there are no random numbers.
fn shaped(secret: &str) -> Option<String> {
    let source = SystemRandom::new();
    let mut failed = false;
    let mut random = || {
        let mut byte = [0];
        // One that always fails would be asked forever.
        failed |= source.fill(&mut byte).is_err();
        if failed { 1 } else { byte.first().copied().unwrap_or(1) }
    };
    let made = placeholder(secret, &mut random);
    (!failed).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_are_read() {
        for (value, expected) in [
            ("Bearer realm=\"https://auth.example/token\",service=\"r\"", Some(Ok(("auth.example", 443)))),
            ("bearer service=r, Realm=https://auth.example:8443", Some(Ok(("auth.example", 8443)))),
            ("Bearer realm=\"http://auth.example/token\"", Some(Err("http://auth.example/token"))),
            ("Bearer realm=\"https://u@auth.example/\"", Some(Err("https://u@auth.example/"))),
            ("Bearer realm=\"https://a:x/\"", Some(Err("https://a:x/"))),
            ("Basic realm=\"https://auth.example/\"", None),
            ("Bearer", None),
        ] {
            assert_eq!(realm(value), expected, "{value}");
        }
    }

    #[test]
    fn tokens_are_kept_and_the_oldest_makes_room() {
        let issued = Issued { first: 1, tokens: RefCell::default(), next: Cell::default() };
        let kinds: Vec<_> = (0..=MOST).map(|_| (false, None)).collect();
        let vault = Vault::new(&kinds, None).unwrap();
        let ask = |secret: &str| {
            let body = format!("{{\"token\":\"{secret}\",\"expires_in\":60,\"scope\":\"x\"}}");
            let made = issued.replaced(&vault, 0, body.as_bytes()).unwrap().unwrap();
            assert!(!String::from_utf8_lossy(&made).contains(secret));
            let made: Value = serde_json::from_slice(&made).unwrap();
            assert_eq!(made["expires_in"], 60);
            made["token"].as_str().unwrap().to_owned()
        };
        let first = ask("secret-token-0123456789-0");
        assert_eq!(first, ask("secret-token-0123456789-0"));
        assert_eq!(vault.here(1), [b"secret-token-0123456789-0"]);
        for number in 1..=MOST {
            ask(&format!("secret-token-0123456789-{number}"));
        }
        assert_eq!(issued.all().len(), MOST);
        assert!(issued.all().iter().all(|token| token.placeholder != first));
        issued.forget(&vault, 0);
        assert!(issued.all().is_empty() && (1..=16).all(|slot| vault.here(slot).is_empty()));
        for none in ["[]", "{}", "{\"token\":1}", "no", "{\"token\":\"\"}"] {
            assert_eq!(issued.replaced(&vault, 0, none.as_bytes()), Ok(None));
        }
        assert!(issued.replaced(&vault, 0, b"{\"token\":\"a b\"}").is_err());
    }
}
