//! Credentials of a run: who holds them, and what the task sees instead. Secrets go to the gateway alone; here they are only passed on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_confine::gateway::{Gateway, Held};
use ringfence_confine::keeper::{Fetching, HEAD, Keeper};
use ringfence_plan::{Exposed, Invoker};
use ringfence_policy::{Credential, Form, Policy, Rule, SECRET, SecretSource};
use ringfence_sys::secret;
use zeroize::Zeroize;

use crate::custody::{self, Reach};
use crate::failure::{Context, Failure};
use crate::keeper::{plain, shaped};
use crate::run::not_confined;

/// Who git says it is, where nothing else is written; servers of tokens take any name.
const USER: &str = "x-access-token";

/// Takes the secrets from where they are, hands them to the gateway, and says what the task sees.
pub(crate) fn begin(
    policy: &Policy,
    invoker: &mut Invoker,
    reach: &Reach,
    gateway: Option<&Gateway>,
) -> Result<(Option<Keeper>, Exposed), Failure> {
    if policy.credentials.is_empty() {
        return Ok((None, Exposed::default()));
    }
    secret::wipe_what_is_freed();
    let gateway =
        gateway.ok_or_else(|| Failure::new("credentials need a gateway, and this policy has none"))?;
    let mut known = Vec::new();
    let outcome = take(policy, invoker, reach, &mut known).and_then(|(keeper, held)| {
        let exposed = exposed(&held);
        gateway.hold(held, &mut known, keeper.as_ref()).map_err(not_confined)?;
        Ok((keeper, exposed))
    });
    known.iter_mut().for_each(|(_, bytes)| bytes.zeroize());
    outcome
}

/// Those that are there; the others are fetched when they are first used.
fn take(
    policy: &Policy,
    invoker: &mut Invoker,
    reach: &Reach,
    known: &mut Vec<(u32, Vec<u8>)>,
) -> Result<(Option<Keeper>, Vec<Held>), Failure> {
    let (mut held, mut fetching, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (name, rule)) in (0..).zip(&policy.credentials) {
        let credential = &rule.value;
        let mut placeholder = None;
        if let SecretSource::Env(variable) = &credential.source {
            let value = invoker.variables.get(OsStr::new(variable)).cloned().unwrap_or_default();
            let mut value = value.into_vec();
            let made = plain(&value).map_err(|why| absent(name, rule, &why)).and_then(|value| {
                let like = credential.like.as_deref().map_or(value, str::as_bytes);
                known.push((number, [&[0; HEAD], value].concat()));
                shaped(like).context("random numbers")
            });
            value.zeroize();
            placeholder = Some(made?);
            names.push(variable);
        } else {
            let (mut source, like) = (credential.source.clone(), credential.like.clone());
            if let SecretSource::Command(words) = &mut source {
                *words = custody::command(words, reach, invoker).map_err(|why| absent(name, rule, &why))?;
            }
            fetching.push(Fetching { number, source, like });
        }
        held.push(Held { name: name.clone(), credential: credential.clone(), placeholder });
    }
    for name in names {
        if let Some(value) = invoker.variables.remove(OsStr::new(name)) {
            value.into_vec().zeroize();
        }
        secret::wipe_variable(name);
    }
    if fetching.is_empty() {
        return Ok((None, hide(held)));
    }
    let (keeper, placeholders) =
        Keeper::start(&fetching, &reach.variables(&invoker.variables)).map_err(not_confined)?;
    for (one, made) in fetching.iter().zip(placeholders) {
        let number = usize::try_from(one.number).unwrap_or(usize::MAX);
        let (Some(held), Some((name, rule))) = (held.get_mut(number), policy.credentials.iter().nth(number))
        else {
            continue;
        };
        held.placeholder = Some(made.map_err(|why| absent(name, rule, &why))?);
    }
    Ok((Some(keeper), hide(held)))
}

/// Where the task sees nothing, it has no placeholder either.
fn hide(mut held: Vec<Held>) -> Vec<Held> {
    for one in &mut held {
        one.placeholder = one.placeholder.take().filter(|_| one.credential.expose.is_some());
    }
    held
}

fn absent(name: &str, rule: &Rule<Credential>, why: &str) -> Failure {
    let source = &rule.value.source;
    let why = match source {
        SecretSource::Env(_) if why == "it is empty" => "is not set, or is empty",
        _ => why,
    };
    let text =
        format!("{}: the secret of the credential `{name}` is not there: {source}: {why}", rule.origin);
    let remedy = match source {
        SecretSource::Env(variable) => format!("set `{variable}` where you start ringfence"),
        _ => "mend the source, or remove the credential: nothing runs without what its policy promises"
            .to_owned(),
    };
    Failure::new(text).hint(remedy)
}

/// For a plan that is only shown.
pub(crate) fn example(policy: &Policy) -> Exposed {
    let held: Vec<Held> = policy
        .credentials
        .iter()
        .map(|(name, rule)| Held {
            name: name.clone(),
            credential: rule.value.clone(),
            placeholder: Some(format!("(placeholder of {name})")),
        })
        .collect();
    exposed(&held)
}

/// Variables and files with placeholders in them.
fn exposed(held: &[Held]) -> Exposed {
    let mut exposed = Exposed::default();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for one in held {
        let (Some(expose), Some(placeholder)) = (&one.credential.expose, &one.placeholder) else { continue };
        let text = |usual: &str| expose.text.as_deref().unwrap_or(usual).replace(SECRET, placeholder);
        if let Some(name) = &expose.env {
            exposed.variables.insert(name.clone(), text(SECRET));
        }
        if let Some(path) = &expose.file {
            exposed.files.insert(path.clone(), text("{secret}\n"));
        }
        if expose.git {
            let user = one.credential.inject.iter().find_map(|form| match form {
                Form::Basic(user) => user.as_deref(),
                _ => None,
            });
            let word = STANDARD.encode(format!("{}:{placeholder}", user.unwrap_or(USER)));
            for endpoint in &one.credential.hosts {
                let key =
                    format!("http.https://{}/.extraHeader", endpoint.to_string().trim_end_matches(":443"));
                headers.insert(key, format!("Authorization: Basic {word}"));
            }
        }
    }
    // git-config(1), GIT_CONFIG_COUNT.
    for (number, (key, value)) in headers.iter().enumerate() {
        exposed.variables.insert(format!("GIT_CONFIG_KEY_{number}"), key.clone());
        exposed.variables.insert(format!("GIT_CONFIG_VALUE_{number}"), value.clone());
        exposed.variables.insert("GIT_CONFIG_COUNT".to_owned(), headers.len().to_string());
    }
    exposed
}
