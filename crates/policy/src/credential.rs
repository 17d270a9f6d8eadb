//! `[credentials.NAME]`: secrets that the gateway holds for the task, and puts on requests to the hosts that are named.

mod check;
mod form;
mod oauth;
mod pairs;
mod source;
mod spiffe;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Place, Problem};
use crate::document::{CredentialTable, ExposeTable};
use crate::environment::{set_name, set_value};
use crate::host::{Endpoint, HostPattern};
use crate::http::HttpRule;
use crate::identity;
use crate::path::{Scope, absolute};
use crate::reader::{At, List, quoted};
use crate::sizes::duration;

use form::forms_of;
use source::source_of;

pub(crate) use check::check;
pub use form::{AwsScope, Form, aws_variables};
pub use oauth::Oauth;
pub use source::SecretSource;
pub use spiffe::{SPIFFE_SOCKET, Spiffe};

/// What stands for the secret in a form.
pub const SECRET: &str = "{secret}";
/// What stands for it in a file, behind its user, as basic authentication has it.
pub const BASIC: &str = "{basic}";

/// One credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Where the secret comes from.
    pub source: SecretSource,
    /// Where it may go.
    pub hosts: Vec<Endpoint>,
    /// With which requests.
    pub http: HttpRule,
    /// How it is written on them; the first is how it is put on a request that has none.
    pub inject: Vec<Form>,
    /// Where the task finds a placeholder; `None`: nowhere, and every request to the hosts gets the secret.
    pub expose: Option<Expose>,
    /// A secret like it, whose form the placeholder has.
    pub like: Option<String>,
    /// It is fetched again after so many milliseconds.
    pub refresh: Option<u64>,
    /// Namespaces of files that a key of ssh may sign.
    pub sign: Vec<String>,
    /// References that git may push to with it; `None`: any.
    pub push: Option<Vec<String>>,
    /// Where the keys of its hosts are.
    pub known_hosts: Option<PathBuf>,
}

impl Credential {
    /// It is a key of ssh, which signs and goes on no request.
    pub fn ssh(&self) -> bool {
        matches!(self.source, SecretSource::SshAgent(_))
    }

    /// It is a key of ssh that git alone uses, by way of the gateway, so that `push` and `paths` hold: the task signs in nowhere by it.
    pub fn git_only(&self) -> bool {
        self.ssh() && self.push.is_some()
    }

    /// It is a key of gpg, which signs commits and tags.
    pub fn gpg(&self) -> bool {
        matches!(self.source, SecretSource::Gpg(_))
    }

    /// It is a key that signs, and goes on no request.
    pub fn signs(&self) -> bool {
        self.ssh() || self.gpg()
    }

    /// Whose password it is, if the policy says so.
    pub fn user(&self) -> Option<&str> {
        self.inject.iter().find_map(|form| match form {
            Form::Basic(user) | Form::Registry(user) => user.as_deref(),
            _ => None,
        })
    }

    /// It is a certificate with its key, which goes on no request.
    pub fn certificate(&self) -> bool {
        self.inject.contains(&Form::Certificate)
    }

    /// Requests are signed with it, and it has several parts.
    pub fn aws(&self) -> bool {
        self.inject.iter().any(|form| matches!(form, Form::Sigv4(_)))
    }
}

/// Where the task finds a placeholder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expose {
    /// A variable.
    pub env: Option<String>,
    /// A file.
    pub file: Option<PathBuf>,
    /// What the variable or the file holds, with `{secret}` or `{basic}` in it.
    pub text: Option<String>,
    /// git uses it for these hosts.
    pub git: bool,
}

/// Reads one table.
pub(crate) fn read(
    name: &At<String>,
    written: &At<CredentialTable>,
    scope: &Scope<'_>,
) -> Result<Credential, Vec<Problem>> {
    let (table, place) = (&written.value, written.place);
    let mut found = Vec::new();
    if let Err(invalid) = identity::name(&name.value) {
        let title = format!("`{}` is not the name of a credential", name.value);
        found.push(Problem::new(name.place, title).help(invalid.help));
    }
    let missing = |key: &str| {
        let example = match key {
            "source" => "write `source = { env = \"NAME\" }`",
            _ => "write `hosts = [\"api.example.org\"]`",
        };
        Problem::new(place, format!("`credentials.{}.{key}` is missing", name.value)).help(example.to_owned())
    };
    let source = match &table.source {
        Some(source) => source_of(source, scope).map_err(|problem| found.push(problem)).ok(),
        None => {
            found.push(missing("source"));
            None
        }
    };
    let ssh = matches!(source, Some(SecretSource::SshAgent(_)));
    let hosts = hosts_of(table.hosts.as_ref(), ssh, &mut found);
    let gpg = matches!(source, Some(SecretSource::Gpg(_)));
    found.extend(if gpg { none_of_gpg(table) } else { only_requests(table, ssh) });
    if table.hosts.is_none() && !gpg {
        found.push(missing("hosts"));
    }
    let mut http = HttpRule::default();
    for method in entries(table.methods.as_ref()) {
        found.extend(http.method(&method.value).err().map(|invalid| invalid.at(method.place)));
    }
    for path in entries(table.paths.as_ref()) {
        found.extend(http.path(&path.value).err().map(|invalid| invalid.at(path.place)));
    }
    for (key, list) in [("methods", &table.methods), ("paths", &table.paths), ("hosts", &table.hosts)] {
        if let Some(list) = list.as_ref().filter(|list| list.value.is_empty()) {
            found.push(Problem::new(list.place, format!("an empty `{key}` would let the secret go nowhere")));
        }
    }
    let inject = if ssh || gpg { Vec::new() } else { forms_of(table.inject.as_ref(), &mut found) };
    let known_hosts = table
        .known_hosts
        .as_ref()
        .and_then(|at| absolute(&at.value, scope).map_err(|invalid| found.push(invalid.at(at.place))).ok());
    let sign: Vec<String> = entries(table.sign.as_ref()).map(|at| at.value.clone()).collect();
    let push = table.push.as_ref().map(|list| branches(list, &mut found));
    let expose =
        table.expose.as_ref().and_then(|at| expose_of(at, scope).map_err(|problem| found.push(problem)).ok());
    let like = table.like.as_ref();
    if let Some(like) =
        like.filter(|like| like.value.len() < 20 || !like.value.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let problem = Problem::new(like.place, "a placeholder has at least 20 visible characters of ASCII");
        found.push(problem.help("write one like the secret, of the same length".to_owned()));
    }
    let refresh = table.refresh.as_ref().and_then(|at| {
        let read = duration(&at.value).map_err(|invalid| found.push(invalid.at(at.place))).ok()?;
        u64::try_from(read.as_millis()).ok()
    });
    match source {
        Some(source) if found.is_empty() => {
            let like = like.map(|at| at.value.clone());
            Ok(Credential { source, hosts, http, inject, expose, like, refresh, sign, push, known_hosts })
        }
        _ => Err(found),
    }
}

/// References in full.
fn branches(list: &List<String>, found: &mut Vec<Problem>) -> Vec<String> {
    let mut all = Vec::new();
    for text in &list.value {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"~^:?[\\ ".contains(&byte);
        // git's own patterns take `!` for "but not", which nothing here does.
        let strange = text.value.contains("..") || text.value.starts_with('!');
        if text.value.is_empty() || !text.value.bytes().all(plain) || strange {
            let problem = Problem::new(text.place, format!("`{}` is no branch", text.value));
            found.push(problem.help("write `main`, `agent/*` or `refs/tags/v*`".to_owned()));
        }
        all.push(match text.value.starts_with("refs/") {
            true => text.value.clone(),
            false => format!("refs/heads/{}", text.value),
        });
    }
    all
}

fn entries<T>(list: Option<&List<T>>) -> impl Iterator<Item = &At<T>> {
    list.into_iter().flat_map(|list| &list.value)
}

/// What a key of gpg has not: it signs commits and tags of git, and goes nowhere.
fn none_of_gpg(table: &CredentialTable) -> Vec<Problem> {
    let list = |list: &Option<List<String>>| list.as_ref().map(|list| list.place);
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.place);
    let all = [
        ("hosts", list(&table.hosts)),
        ("methods", list(&table.methods)),
        ("paths", list(&table.paths)),
        ("inject", table.inject.as_ref().map(|at| at.place)),
        ("like", text(&table.like)),
        ("refresh", text(&table.refresh)),
        ("push", list(&table.push)),
        ("sign", list(&table.sign)),
        ("known_hosts", text(&table.known_hosts)),
    ];
    let wrong = |(key, place): (&str, Option<Place>)| {
        let title =
            format!("`{key}` says nothing of a key of gpg, which signs commits and tags of git alone");
        place.map(|place| Problem::new(place, title).help("remove it".to_owned()))
    };
    all.into_iter().filter_map(wrong).collect()
}

/// What one kind of credential has, and the other has not.
fn only_requests(table: &CredentialTable, ssh: bool) -> Vec<Problem> {
    let place = |list: &Option<List<String>>| list.as_ref().map(|list| list.place);
    let inject = table.inject.as_ref().map(|at| at.place);
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.place);
    let requests = [
        ("methods", place(&table.methods)),
        ("inject", inject),
        ("like", text(&table.like)),
        ("refresh", text(&table.refresh)),
    ];
    let keys = [("sign", place(&table.sign)), ("known_hosts", text(&table.known_hosts))];
    let wrong = |(key, place): (&str, Option<Place>)| {
        let title = match ssh {
            true => format!("`{key}` is about requests, and a key of ssh goes on none"),
            false => format!("`{key}` is about keys of ssh (`source = {{ ssh_agent = \"..\" }}`)"),
        };
        place.map(|place| Problem::new(place, title).help("remove it".to_owned()))
    };
    let list: &[(&str, Option<Place>)] = if ssh { &requests } else { &keys };
    let paths = place(&table.paths).filter(|_| ssh && table.push.is_none());
    let paths = paths.map(|place| {
        Problem::new(place, "`paths` of a key of ssh are repositories of git, and `push` is missing")
            .help("add `push = []` (git only fetches) or `push = [\"agent/*\"]`".to_owned())
    });
    list.iter().copied().filter_map(wrong).chain(paths).collect()
}

fn hosts_of(list: Option<&List<String>>, ssh: bool, found: &mut Vec<Problem>) -> Vec<Endpoint> {
    let mut hosts = Vec::new();
    for host in entries(list) {
        // Without a port it is the one of ssh.
        let other = ssh.then(|| Endpoint::parse(&format!("{}:22", host.value)).ok()).flatten();
        match other.map_or_else(|| Endpoint::parse(&host.value), Ok) {
            Ok(endpoint)
                if ssh && !matches!(endpoint.host, HostPattern::Name(_) | HostPattern::Address(_)) =>
            {
                let title = format!(
                    "`{endpoint}` is no one host: a key of ssh is for hosts whose own keys are known"
                );
                found.push(Problem::new(host.place, title).help("name the hosts".to_owned()));
            }
            Ok(endpoint) if matches!(endpoint.host, HostPattern::Network(..)) => {
                let title = format!("`{endpoint}` is a network: a secret goes to hosts that are known");
                found.push(Problem::new(host.place, title).help("name the hosts".to_owned()));
            }
            Ok(endpoint) => hosts.push(endpoint),
            Err(invalid) => found.push(invalid.at(host.place)),
        }
    }
    hosts
}

fn expose_of(written: &At<ExposeTable>, scope: &Scope<'_>) -> Result<Expose, Problem> {
    let table = &written.value;
    if let Some(env) = &table.env {
        set_name(&env.value).map_err(|invalid| invalid.at(env.place))?;
    }
    let file = match &table.file {
        Some(file) => Some(absolute(&file.value, scope).map_err(|invalid| invalid.at(file.place))?),
        None => None,
    };
    if let Some(text) = &table.text {
        set_value("text", &text.value).map_err(|invalid| invalid.at(text.place))?;
        if !text.value.contains(SECRET) && !text.value.contains(BASIC) {
            let problem = Problem::new(text.place, format!("`text` holds neither `{SECRET}` nor `{BASIC}`"));
            return Err(problem.help("write it where the secret stands".to_owned()));
        }
        if table.env.is_none() && file.is_none() {
            let problem = Problem::new(text.place, "`text` is what a variable or a file holds");
            return Err(problem.help("add `env` or `file`".to_owned()));
        }
    }
    let git = table.git.as_ref().is_some_and(|git| git.value);
    if table.env.is_none() && file.is_none() && !git {
        let problem = Problem::new(written.place, "`expose` names no place");
        return Err(problem.help(format!("write one of {}", quoted(&["env", "file", "git"]))));
    }
    let env = table.env.as_ref().map(|env| env.value.clone());
    Ok(Expose { env, file, text: table.text.as_ref().map(|text| text.value.clone()), git })
}
