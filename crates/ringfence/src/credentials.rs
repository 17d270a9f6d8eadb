//! Credentials of a run: who holds them, and what the task sees instead. Secrets go to the gateway alone; here they are only passed on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_confine::gateway::{Gateway, Held};
use ringfence_confine::keeper::{Fetching, HEAD, Keeper, Keeping, Kind};
use ringfence_leaks::password;
use ringfence_plan::{Exposed, Invoker};
use ringfence_policy::{
    AGENT, BASIC, Credential, ENGINE, GIT_SSH, GPG, Policy, Rule, SECRET, SecretSource, Verb, aws_variables,
};
use ringfence_sys::secret;
use zeroize::{Zeroize, Zeroizing};

use crate::custody::{self, Reach};
use crate::failure::{Context, Failure};
use crate::keeper::{self, plain, shaped};
use crate::run::not_confined;
use crate::{git_session, ssh};

/// Who git says it is, where nothing else is written; servers of tokens take any name.
const USER: &str = "x-access-token";
/// Where every client of ssh looks for the keys of hosts, whatever its home is.
const KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// Takes the secrets from where they are, hands them to the gateway, and says what the task sees.
pub(crate) fn begin(
    policy: &Policy,
    invoker: &mut Invoker,
    reach: &Reach,
    gateway: Option<&Gateway>,
    run: &Path,
) -> Result<(Option<Keeper>, Exposed), Failure> {
    if policy.credentials.is_empty() && runs(policy).is_none() {
        return Ok((None, exposed(&[], policy)));
    }
    secret::wipe_what_is_freed();
    let gateway =
        gateway.ok_or_else(|| Failure::new("credentials need a gateway, and this policy has none"))?;
    let mut known = Vec::new();
    let outcome = take(policy, invoker, reach, &mut known, run).and_then(|(keeper, held)| {
        git_session::prepare(policy, &held, run)?;
        let exposed = exposed(&held, policy);
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
    run: &Path,
) -> Result<(Option<Keeper>, Vec<Held>), Failure> {
    let (mut held, mut fetching, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (name, rule)) in (0..).zip(&policy.credentials) {
        let credential = &rule.value;
        let mut placeholder = None;
        if let SecretSource::Env(variable) = &credential.source {
            let (value, others) = value(invoker, variable, credential.aws());
            let made = value.and_then(|value| match credential.aws() {
                // Its parts are joined already.
                true => Ok(Zeroizing::new(plain(&value)?.to_vec())),
                false => Ok(keeper::read(&value, Kind::of(credential))?.0),
            });
            let made = made.map_err(|why| absent(name, rule, &why)).and_then(|value| {
                let like = credential.like.as_deref().map_or(value.as_slice(), str::as_bytes);
                known.push((number, [&[0; HEAD], value.as_slice()].concat()));
                let parts = like.splitn(if credential.aws() { 3 } else { 1 }, |byte| *byte == b':');
                parts.map(shaped).collect::<Result<Vec<_>, _>>().context("random numbers")
            });
            placeholder = Some(made?.join(":"));
            names.extend(others);
        } else {
            let (mut source, like) = (credential.source.clone(), credential.like.clone());
            let parts: Vec<&mut SecretSource> = match &mut source {
                SecretSource::Oauth(oauth) => oauth.parts_mut().collect(),
                own => vec![own],
            };
            for part in parts {
                if let SecretSource::Command(words) = part {
                    *words =
                        custody::command(words, reach, invoker).map_err(|why| absent(name, rule, &why))?;
                }
            }
            let git = git_session::of(credential, run);
            fetching.push(Fetching { number, source, like, kind: Kind::of(credential), git });
        }
        let host_keys = host_keys(credential, &invoker.home).map_err(|why| absent(name, rule, &why))?;
        let waits = policy.approvals.credentials.iter().any(|rule| rule.value == *name);
        held.push(Held { name: name.clone(), credential: credential.clone(), placeholder, host_keys, waits });
    }
    for name in names {
        if let Some(value) = invoker.variables.remove(OsStr::new(&name)) {
            value.into_vec().zeroize();
        }
        secret::wipe_variable(&name);
    }
    let engine = runs(policy);
    if fetching.is_empty() && engine.is_none() {
        return Ok((None, hide(held)));
    }
    let keeping = Keeping { fetching, engine };
    let (keeper, placeholders) =
        Keeper::start(&keeping, &reach.variables(&invoker.variables)).map_err(not_confined)?;
    for (one, made) in keeping.fetching.iter().zip(placeholders) {
        let number = usize::try_from(one.number).unwrap_or(usize::MAX);
        let (Some(held), Some((name, rule))) = (held.get_mut(number), policy.credentials.iter().nth(number))
        else {
            continue;
        };
        held.placeholder = Some(made.map_err(|why| absent(name, rule, &why))?);
    }
    Ok((Some(keeper), hide(held)))
}

/// The engine where the task makes containers, which end with it.
fn runs(policy: &Policy) -> Option<PathBuf> {
    let containers = policy.containers.as_ref()?;
    let runs = containers.allow.iter().any(|rule| rule.value == Verb::Run);
    runs.then(|| containers.engine.value.clone())
}

/// What a variable holds, or three of them for keys of AWS; and which those are.
fn value(invoker: &Invoker, variable: &str, aws: bool) -> (Result<Zeroizing<Vec<u8>>, String>, Vec<String>) {
    let get = |name: &str| {
        let value = invoker.variables.get(OsStr::new(name)).cloned().unwrap_or_default();
        Zeroizing::new(value.into_vec())
    };
    let Some((id, token)) = aws_variables(variable).filter(|_| aws) else {
        return (Ok(get(variable)), vec![variable.to_owned()]);
    };
    let (own, other, third) = (get(&id), get(variable), get(&token));
    let text = |bytes| str::from_utf8(bytes).ok();
    let line = crate::aws::joined(text(&own), text(&other), text(&third));
    (line, vec![id, variable.to_owned(), token])
}

/// Where the task sees nothing, it has no placeholder either.
fn hide(mut held: Vec<Held>) -> Vec<Held> {
    for one in &mut held {
        one.placeholder =
            one.placeholder.take().filter(|_| one.credential.expose.is_some() || one.credential.signs());
    }
    held
}

/// The keys of the hosts that a key of ssh is for.
fn host_keys(credential: &Credential, home: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    if !credential.ssh() {
        return Ok(Vec::new());
    }
    let text = ssh::known_hosts(credential.known_hosts.as_deref(), home)?;
    let mut all = Vec::new();
    for endpoint in &credential.hosts {
        let host = endpoint.host.to_string();
        let keys = ssh::host_keys(&text, &host, endpoint.port);
        if keys.is_empty() {
            let port = endpoint.port;
            return Err(format!(
                "no key of the host `{endpoint}` is known: connect to it once, or write `ssh-keyscan -p {port} {host}`, compared with what its owner says, into a file that `known_hosts` names"
            ));
        }
        all.extend(keys.into_iter().map(|key| (endpoint.to_string(), key)));
    }
    Ok(all)
}

/// What a client of ssh needs to find the agent, and to know the hosts.
fn expose_keys(held: &[Held], exposed: &mut Exposed) {
    let mut lines = Vec::new();
    for one in held.iter().filter(|one| one.credential.ssh()) {
        lines.extend(ssh::known_lines(&one.host_keys));
    }
    if held.iter().any(|one| one.credential.ssh()) {
        lines.sort_unstable();
        lines.dedup();
        exposed.variables.insert("SSH_AUTH_SOCK".to_owned(), AGENT.to_owned());
        exposed.files.insert(KNOWN_HOSTS.into(), lines.concat());
    }
}

fn absent(name: &str, rule: &Rule<Credential>, why: &str) -> Failure {
    let source = &rule.value.source;
    let why = match source {
        SecretSource::Env(_) if why == "it is empty" => " is not set, or is empty",
        _ => &format!(": {why}"),
    };
    let text = format!("{}: the secret of the credential `{name}` is not there: {source}{why}", rule.origin);
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
            host_keys: Vec::new(),
            waits: false,
        })
        .collect();
    exposed(&held, policy)
}

/// Variables and files with placeholders in them.
fn exposed(held: &[Held], policy: &Policy) -> Exposed {
    let mut exposed = Exposed::default();
    if policy.containers.is_some() {
        exposed.variables.insert("DOCKER_HOST".to_owned(), format!("unix://{ENGINE}"));
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    expose_keys(held, &mut exposed);
    if held.iter().any(|one| one.credential.gpg()) {
        headers.insert("gpg.program".to_owned(), GPG.to_owned());
        exposed.programs.extend(std::env::current_exe().ok().map(|own| (GPG.into(), own)));
    }
    if held.iter().any(|one| one.credential.git_only()) {
        headers.insert("core.sshCommand".to_owned(), GIT_SSH.to_owned());
        headers.insert("ssh.variant".to_owned(), "ssh".to_owned());
        // Clients that call git (npm, go) set a command of their own, unless there is one.
        for (name, value) in [("GIT_SSH_COMMAND", GIT_SSH), ("GIT_SSH_VARIANT", "ssh")] {
            if !policy.environment.set.contains_key(name) {
                exposed.variables.insert(name.to_owned(), value.to_owned());
            }
        }
        exposed.programs.extend(std::env::current_exe().ok().map(|own| (GIT_SSH.into(), own)));
    }
    for one in held {
        let (Some(expose), Some(placeholder)) = (&one.credential.expose, &one.placeholder) else { continue };
        let shown = match one.credential.ssh() {
            true => ssh::line(placeholder, &one.name),
            false => placeholder.clone(),
        };
        let own = password(placeholder).map_or(placeholder.as_str(), |(_, own, _)| own);
        let basic = STANDARD.encode(format!("{}:{own}", one.credential.user().unwrap_or(USER)));
        let text = |usual: &str| {
            expose.text.as_deref().unwrap_or(usual).replace(SECRET, &shown).replace(BASIC, &basic)
        };
        let aws = one.credential.aws();
        match &expose.env {
            Some(name) if aws => exposed.variables.extend(crate::aws::variables(name, placeholder)),
            Some(name) => drop(exposed.variables.insert(name.clone(), text(SECRET))),
            None => {}
        }
        if let Some(path) = &expose.file {
            let text = if aws { crate::aws::file(placeholder) } else { text("{secret}\n") };
            exposed.files.insert(path.clone(), text);
        }
        if expose.git {
            for endpoint in &one.credential.hosts {
                let key =
                    format!("http.https://{}/.extraHeader", endpoint.to_string().trim_end_matches(":443"));
                headers.insert(key, format!("Authorization: Basic {basic}"));
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
