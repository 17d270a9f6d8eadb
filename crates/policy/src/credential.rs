//! `[credentials.NAME]`: secrets that the gateway holds for the task, and puts on requests to the hosts that are named.

mod check;
mod oauth;
mod spiffe;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Invalid, Place, Problem};
use crate::document::{CredentialSource, CredentialTable, ExposeTable, Forms};
use crate::environment::{set_name, set_value};
use crate::host::{Endpoint, HostPattern};
use crate::http::HttpRule;
use crate::identity;
use crate::path::{Scope, absolute};
use crate::reader::{At, List, quoted};
use crate::sizes::duration;

pub(crate) use check::check;
pub use oauth::Oauth;
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
    /// Where the keys of its hosts are.
    pub known_hosts: Option<PathBuf>,
}

impl SecretSource {
    /// Everything on the host that it is had from: itself, or the parts of a token's.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Oauth(oauth) => oauth.parts().map(|(_, source)| source).collect(),
            own => vec![own],
        }
    }
}

impl Credential {
    /// It is a key of ssh, which signs and goes on no request.
    pub fn ssh(&self) -> bool {
        matches!(self.source, SecretSource::SshAgent(_))
    }

    /// Whose password it is, if the policy says so.
    pub fn user(&self) -> Option<&str> {
        self.inject.iter().find_map(|form| match form {
            Form::Basic(user) | Form::Registry(user) => user.as_deref(),
            _ => None,
        })
    }

    /// Requests are signed with it, and it has several parts.
    pub fn aws(&self) -> bool {
        self.inject.iter().any(|form| matches!(form, Form::Sigv4(_)))
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A variable of the invoker.
    Env(String),
    /// A file of the host, without its last line break.
    File(PathBuf),
    /// What a command writes, which is run outside; likewise.
    Command(Vec<String>),
    /// A key in the invoker's ssh agent, by its fingerprint, comment or public key. It stays there, and signs.
    SshAgent(String),
    /// A token that a server gives out.
    Oauth(Box<Oauth>),
    /// A token that SPIFFE's Workload API gives out.
    Spiffe(Box<Spiffe>),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "the variable `{name}`"),
            Self::File(path) => write!(formatter, "the file `{}`", path.display()),
            // Its arguments may say more than others should read.
            Self::Command(words) => {
                write!(formatter, "the command `{}`", words.first().map_or("", String::as_str))
            }
            Self::Oauth(oauth) => oauth.fmt(formatter),
            Self::Spiffe(spiffe) => spiffe.fmt(formatter),
            Self::SshAgent(key) => write!(formatter, "the key `{key}` of the ssh agent"),
        }
    }
}

/// How a secret is written on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A header of this name, in lower case, and what stands before and behind the secret in it.
    Header(String, String, String),
    /// `Authorization: Basic`, as the password of this user, or of whoever the task names (RFC 7617).
    Basic(Option<String>),
    /// Likewise, and the tokens that a server gives out for it in its answers are kept too and go on requests as bearers (Docker Registry v2
    /// authentication).
    Registry(Option<String>),
    /// A parameter of the query.
    Query(String),
    /// The whole request is signed with it (Signature Version 4 of AWS), for this region and service, or whichever the task names.
    Sigv4(Option<AwsScope>),
}

/// What a signature of AWS is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsScope {
    /// `eu-central-1`.
    pub region: String,
    /// `s3`.
    pub service: String,
}

impl fmt::Display for AwsScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.region, self.service)
    }
}

impl AwsScope {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let parts = text.split_once('/').filter(|(region, service)| plain(region) && plain(service));
        let invalid = || Invalid::new(format!("`{text}` is no region and service of AWS"));
        let (region, service) = parts.ok_or_else(|| invalid().help("write `sigv4:eu-central-1/s3`"))?;
        Ok(Self { region: region.to_owned(), service: service.to_owned() })
    }
}

/// Variables of AWS's tools, of which one names the others.
const KEY: &str = "SECRET_ACCESS_KEY";

/// With the name of the variable that holds the secret key (`AWS_SECRET_ACCESS_KEY`), those of the id of the keys and of a session's token.
pub fn aws_variables(name: &str) -> Option<(String, String)> {
    let before = name.strip_suffix(KEY)?;
    Some((format!("{before}ACCESS_KEY_ID"), format!("{before}SESSION_TOKEN")))
}

impl Form {
    /// Reads `bearer`, `basic`, `basic:USER`, `registry`, `registry:USER`, `sigv4`, `sigv4:REGION/SERVICE`, `?NAME={secret}` or `Name: text {secret}`.
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(parameter) = text.strip_prefix('?') {
            let name = parameter.strip_suffix("={secret}").filter(|name| !name.is_empty());
            let plain =
                |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let example = "write it as `?key={secret}`";
            let invalid = || Invalid::new(format!("`{text}` is no parameter of a query")).help(example);
            return name.filter(plain).map(|name| Self::Query(name.to_owned())).ok_or_else(invalid);
        }
        match text.split_once(':') {
            None if text == "bearer" => {
                Ok(Self::Header("authorization".to_owned(), "Bearer ".to_owned(), String::new()))
            }
            None if text == "basic" => Ok(Self::Basic(None)),
            None if text == "registry" => Ok(Self::Registry(None)),
            None if text == "sigv4" => Ok(Self::Sigv4(None)),
            Some(("sigv4", scope)) => Ok(Self::Sigv4(Some(AwsScope::parse(scope)?))),
            Some((kind @ ("basic" | "registry"), user)) if !user.contains(SECRET) => {
                let fine = !user.is_empty()
                    && user.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b':');
                let invalid = || {
                    Invalid::new(format!("`{user}` is no user of basic authentication"))
                        .help(format!("write `{kind}:USER`"))
                };
                let own = Some(user.to_owned()).filter(|_| fine).ok_or_else(invalid)?;
                Ok(if kind == "basic" { Self::Basic(Some(own)) } else { Self::Registry(Some(own)) })
            }
            _ => header(text),
        }
    }

    /// As a policy writes it.
    pub fn text(&self) -> String {
        match self {
            Self::Header(name, before, behind) => format!("{name}: {before}{SECRET}{behind}"),
            Self::Basic(None) => "basic".to_owned(),
            Self::Basic(Some(user)) => format!("basic:{user}"),
            Self::Registry(None) => "registry".to_owned(),
            Self::Registry(Some(user)) => format!("registry:{user}"),
            Self::Query(name) => format!("?{name}={SECRET}"),
            Self::Sigv4(None) => "sigv4".to_owned(),
            Self::Sigv4(Some(scope)) => format!("sigv4:{scope}"),
        }
    }

    /// The header that it is in, if it is in one.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name, ..) => Some(name),
            Self::Basic(_) | Self::Registry(_) | Self::Sigv4(_) => Some("authorization"),
            Self::Query(_) => None,
        }
    }
}

/// Headers that say where a request goes or how long it is.
static NEVER: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "content-encoding",
];

/// The form of a header with a secret in it: `Name: value {secret}`.
fn header(text: &str) -> Result<Form, Invalid> {
    let example = "write it as `Authorization: Bearer {secret}`, `bearer`, `basic` or `?key={secret}`";
    if let Some(character) = text.chars().find(|character| !matches!(character, ' '..='~')) {
        // A line break here would add headers, or whole requests, of the policy's choice (CWE-113).
        let message = format!("a header cannot hold the character U+{:04X}", character as u32);
        return Err(Invalid::new(message).help(example));
    }
    let (name, value) = text.split_once(": ").unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Invalid::new(format!("`{text}` does not start with the name of a header")).help(example));
    }
    if text.matches(SECRET).count() != 1 || name.contains(SECRET) {
        return Err(Invalid::new(format!("`{text}` must hold `{SECRET}` once, in its value")).help(example));
    }
    let name = name.to_ascii_lowercase();
    if NEVER.contains(&name.as_str()) {
        return Err(Invalid::new(format!(
            "the header `{name}` says how a request is sent, and holds no secret"
        ))
        .help(example));
    }
    let (before, behind) = value.split_once(SECRET).unwrap_or_default();
    Ok(Form::Header(name, before.to_owned(), behind.to_owned()))
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
    found.extend(only_requests(table, ssh));
    if table.hosts.is_none() {
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
    let inject = if ssh { Vec::new() } else { forms_of(table.inject.as_ref(), &mut found) };
    let known_hosts = table
        .known_hosts
        .as_ref()
        .and_then(|at| absolute(&at.value, scope).map_err(|invalid| found.push(invalid.at(at.place))).ok());
    let sign: Vec<String> = entries(table.sign.as_ref()).map(|at| at.value.clone()).collect();
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
            Ok(Credential { source, hosts, http, inject, expose, like, refresh, sign, known_hosts })
        }
        _ => Err(found),
    }
}

fn entries<T>(list: Option<&List<T>>) -> impl Iterator<Item = &At<T>> {
    list.into_iter().flat_map(|list| &list.value)
}

fn source_of(source: &At<CredentialSource>, scope: &Scope<'_>) -> Result<SecretSource, Problem> {
    let table = &source.value;
    let others = [
        table.env.as_ref().map(|at| at.place),
        table.file.as_ref().map(|at| at.place),
        table.command.as_ref().map(|at| at.place),
        table.ssh_agent.as_ref().map(|at| at.place),
        table.oauth.as_ref().map(|at| at.place),
    ];
    match &table.spiffe {
        Some(spiffe) if others.iter().flatten().next().is_none() => return spiffe::read(spiffe, scope),
        Some(spiffe) => return Err(one_source(spiffe.place)),
        None => {}
    }
    if let (Some(key), None, None, None) = (&table.ssh_agent, &table.env, &table.file, &table.command) {
        let plain = key.value.trim();
        return match plain.is_empty() || plain.chars().any(char::is_control) {
            true => Err(Problem::new(key.place, "this names no key of an ssh agent")
                .help("write its fingerprint, as `ssh-add -l` shows it".to_owned())),
            false => Ok(SecretSource::SshAgent(plain.to_owned())),
        };
    }
    if let (Some(oauth), None, None, None, None) =
        (&table.oauth, &table.ssh_agent, &table.env, &table.file, &table.command)
    {
        return oauth::read(oauth, scope);
    }
    if let Some(place) =
        table.oauth.as_ref().map(|at| at.place).or(table.ssh_agent.as_ref().map(|at| at.place))
    {
        return Err(one_source(place));
    }
    plain_source(source.place, (table.env.as_ref(), table.file.as_ref(), table.command.as_ref()), scope)
}

fn one_source(place: Place) -> Problem {
    let problem = Problem::new(place, "a secret comes from exactly one source");
    problem
        .help(format!("write one of {}", quoted(&["env", "file", "command", "oauth", "spiffe", "ssh_agent"])))
}

/// A variable, a file or a command.
type Plain<'a> = (Option<&'a At<String>>, Option<&'a At<String>>, Option<&'a List<String>>);

fn plain_source(place: Place, plain: Plain<'_>, scope: &Scope<'_>) -> Result<SecretSource, Problem> {
    match plain {
        (Some(env), None, None) => {
            set_name(&env.value).map_err(|invalid| invalid.at(env.place))?;
            Ok(SecretSource::Env(env.value.clone()))
        }
        (None, Some(file), None) => {
            let path = absolute(&file.value, scope).map_err(|invalid| invalid.at(file.place))?;
            Ok(SecretSource::File(path))
        }
        (None, None, Some(command)) => {
            let words: Vec<String> = command.value.iter().map(|word| word.value.clone()).collect();
            let fine = words.first().is_some_and(|word| !word.is_empty());
            if !fine || words.iter().any(|word| word.contains('\0')) {
                let problem = Problem::new(command.place, "a command needs a program");
                return Err(problem.help("write `command = [\"pass\", \"show\", \"token\"]`".to_owned()));
            }
            Ok(SecretSource::Command(words))
        }
        _ => Err(one_source(place)),
    }
}

/// What one kind of credential has, and the other has not.
fn only_requests(table: &CredentialTable, ssh: bool) -> Vec<Problem> {
    let place = |list: &Option<List<String>>| list.as_ref().map(|list| list.place);
    let inject = table.inject.as_ref().map(|at| at.place);
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.place);
    let requests = [
        ("methods", place(&table.methods)),
        ("paths", place(&table.paths)),
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
    list.iter().copied().filter_map(wrong).collect()
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

fn forms_of(written: Option<&At<Forms>>, found: &mut Vec<Problem>) -> Vec<Form> {
    let one;
    let texts: &[At<String>] = match written {
        None => {
            one = [At::new("bearer".to_owned(), Place::default())];
            &one
        }
        Some(At { value: Forms::Text(text), place }) => {
            one = [At::new(text.clone(), *place)];
            &one
        }
        Some(At { value: Forms::List(list), place }) => {
            if list.is_empty() {
                found.push(Problem::new(*place, "an empty `inject` would put the secret nowhere"));
            }
            list
        }
    };
    let read = |text: &At<String>| Form::parse(&text.value).map_err(|invalid| invalid.at(text.place));
    let (forms, wrong): (Vec<_>, Vec<_>) = texts.iter().map(read).partition(Result::is_ok);
    found.extend(wrong.into_iter().filter_map(Result::err));
    forms.into_iter().filter_map(Result::ok).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_back() {
        for text in [
            "basic",
            "basic:x-access-token",
            "registry",
            "registry:pusher",
            "?key={secret}",
            "sigv4",
            "sigv4:eu-central-1/s3",
            "x-api-key: {secret}",
            "authorization: Bearer {secret}",
        ] {
            assert_eq!(Form::parse(text).unwrap().text(), text);
        }
        assert_eq!(Form::parse("bearer").unwrap().text(), "authorization: Bearer {secret}");
        for text in [
            "",
            "Bearer",
            "basic:",
            "registry:",
            "registry:a:b",
            "sigv4:",
            "sigv4:s3",
            "sigv4:a/b/c",
            "sigv4:*/s3",
            "basic:a b",
            "basic:a:b",
            "?={secret}",
            "?k",
            "?k={secret}&x=1",
            "X-A: b",
            "X-A: {secret}{secret}",
            "{secret}: x",
            "Host: {secret}",
            "Content-Length: {secret}",
            "X-A: {secret}\r\nX-B: c",
        ] {
            assert!(Form::parse(text).is_err(), "{text:?}");
        }
    }
}
