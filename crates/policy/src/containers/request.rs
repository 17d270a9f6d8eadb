//! Which requests of Docker's API there are, and what each may say: what is not in these lists is refused.

use super::{EngineRules, Verb};

/// A request to an engine.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `GET`.
    pub method: &'a str,
    /// Path and query, as they came.
    pub target: &'a str,
}

/// What is about a container, or a start of a program in one, of the task's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing of that kind.
    None,
    /// The container of this name or id.
    Container(String),
    /// The start of this id.
    Exec(String),
}

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// The description of a container, to be judged by [`super::create()`].
    Create,
    /// That of a start of a program.
    Exec,
    /// How that is begun.
    Start,
    /// An archive.
    Archive,
}

/// A request that may be made: the path is put together from these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRequest {
    /// `/v1.43`, or nothing.
    pub version: String,
    /// In front of the subject, and behind it.
    pub path: (String, String),
    /// Whose id stands between them.
    pub subject: Subject,
    /// Names and values.
    pub query: Vec<(String, String)>,
    /// What it may carry.
    pub body: Body,
    /// It becomes a stream of both sides, if it asks for that.
    pub stream: bool,
}

/// One request of the API.
struct Route {
    method: &'static str,
    /// `ID` is a container of the task's own, `ANY` any container, `RUN` a start of a program, `IMAGE` a name with slashes.
    path: &'static str,
    verb: Option<Verb>,
    query: &'static [&'static str],
}

const fn route(
    method: &'static str,
    path: &'static str,
    verb: Option<Verb>,
    query: &'static [&'static str],
) -> Route {
    Route { method, path, verb, query }
}

const LOGS: &[&str] = &["follow", "stdout", "stderr", "since", "until", "timestamps", "tail"];
const STREAMS: &[&str] = &["detachKeys", "logs", "stream", "stdin", "stdout", "stderr"];
const R: Option<Verb> = Some(Verb::Run);
const I: Option<Verb> = Some(Verb::Inspect);

/// Docker Engine API 1.24 to 1.47; a client asks for the first three before anything else.
const ROUTES: &[Route] = &[
    route("GET", "_ping", None, &[]),
    route("HEAD", "_ping", None, &[]),
    route("GET", "version", None, &[]),
    route("GET", "info", Some(Verb::Read), &[]),
    route("GET", "containers/json", Some(Verb::Read), &["all", "limit", "size", "filters", "trunc_cmd"]),
    route(
        "GET",
        "images/json",
        Some(Verb::Read),
        &["all", "filters", "shared-size", "digests", "manifests", "only_ids"],
    ),
    route("GET", "images/IMAGE/json", Some(Verb::Read), &["manifests"]),
    route("GET", "images/IMAGE/history", Some(Verb::Read), &[]),
    route("POST", "images/create", Some(Verb::Pull), &["fromImage", "tag", "platform"]),
    route(
        "POST",
        "build",
        Some(Verb::Build),
        // Neither `remote` nor what Podman adds, of which some names paths of the host (`volume`, `outputs`, `secrets`, ..).
        &[
            "t",
            "dockerfile",
            "buildargs",
            "labels",
            "nocache",
            "pull",
            "rm",
            "forcerm",
            "q",
            "target",
            "platform",
            "memory",
            "memswap",
            "cpushares",
            "cpusetcpus",
            "cpusetmems",
            "cpuperiod",
            "cpuquota",
            "shmsize",
            "squash",
            "networkmode",
            "version",
            "cachefrom",
            "ulimits",
            "extrahosts",
            "cgroupparent",
        ],
    ),
    route("POST", "containers/create", R, &["name", "platform"]),
    route("POST", "containers/ID/start", R, &["detachKeys"]),
    route("POST", "containers/ID/stop", R, &["t", "signal"]),
    route("POST", "containers/ID/restart", R, &["t", "signal"]),
    route("POST", "containers/ID/kill", R, &["signal"]),
    route("POST", "containers/ID/pause", R, &[]),
    route("POST", "containers/ID/unpause", R, &[]),
    route("POST", "containers/ID/wait", R, &["condition"]),
    route("POST", "containers/ID/resize", R, &["h", "w"]),
    route("DELETE", "containers/ID", R, &["v", "force", "link"]),
    route("GET", "containers/ID/json", R, &["size"]),
    route("GET", "containers/ID/logs", R, LOGS),
    route("GET", "containers/ID/top", R, &["ps_args"]),
    route("GET", "containers/ID/stats", R, &["stream", "one-shot"]),
    route("GET", "containers/ID/changes", R, &[]),
    route("POST", "containers/ID/attach", Some(Verb::Attach), STREAMS),
    route("POST", "containers/ID/exec", Some(Verb::Exec), &[]),
    route("POST", "exec/RUN/start", Some(Verb::Exec), &[]),
    route("POST", "exec/RUN/resize", Some(Verb::Exec), &["h", "w"]),
    route("GET", "exec/RUN/json", Some(Verb::Exec), &[]),
    route("GET", "containers/ANY/json", I, &["size"]),
    route("GET", "containers/ANY/logs", I, LOGS),
    route("GET", "containers/ANY/top", I, &["ps_args"]),
    route("GET", "containers/ANY/stats", I, &["stream", "one-shot"]),
    route("GET", "containers/ANY/changes", I, &[]),
    route("GET", "networks", I, &["filters"]),
    route("GET", "networks/ANY", I, &["verbose", "scope"]),
    route("GET", "volumes", I, &["filters"]),
    route("GET", "volumes/ANY", I, &[]),
    route("GET", "system/df", I, &["type", "verbose"]),
];

/// The oldest version of the API: before it, a start could say what the container is.
const OLDEST: u32 = 24;
/// Bytes of a target.
const LONGEST: usize = 16 << 10;

/// Holds a request against the rules. `owns`: is a container of this name or id the task's?
///
/// # Errors
/// Why it is not made, and what would change that.
pub fn judge(
    rules: &EngineRules,
    asked: &Asked<'_>,
    owns: impl Fn(&str) -> bool,
) -> Result<EngineRequest, String> {
    if asked.target.len() > LONGEST {
        return Err("the request is too long".to_owned());
    }
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let mut segments: Vec<&str> =
        path.strip_prefix('/').ok_or("the path does not begin with `/`")?.split('/').collect();
    // What a server might decode, or take for another path, is never sent.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    if segments.iter().any(|part| part.is_empty() || [".", ".."].contains(part) || !part.bytes().all(plain)) {
        return Err("the path is not written plainly: no escapes, dots or double slashes".to_owned());
    }
    let mut version = String::new();
    if let Some(number) = segments.first().and_then(|first| first.strip_prefix('v'))
        && segments.len() > 1
    {
        let minor = number.strip_prefix("1.").and_then(|minor| minor.parse::<u32>().ok());
        let minor = minor.filter(|minor| *minor >= OLDEST).ok_or_else(|| {
            format!("the version `v{number}` of the API is not carried: ask for v1.{OLDEST} or a later one")
        })?;
        version = format!("/v1.{minor}");
        segments.remove(0);
    }
    let mut refused = None;
    for route in ROUTES.iter().filter(|route| route.method == asked.method) {
        let Some(subject) = fits(route.path, &segments) else { continue };
        if matches!((&subject, route.path.contains("ID")), (Subject::Container(name), true) if !owns(name)) {
            refused
                .get_or_insert_with(|| "it is about a container that this sandbox did not make".to_owned());
            continue;
        }
        if let Some(Err(why)) = route.verb.map(|verb| rules.may(verb)) {
            refused = Some(why);
            continue;
        }
        return made(rules, route, (&segments, subject), query, version);
    }
    Err(refused.unwrap_or_else(|| {
        "no rule lets the task ask this of an engine: `[containers]` names what it can be asked".to_owned()
    }))
}

/// The request in one form: each parameter once, written anew.
fn made(
    rules: &EngineRules,
    route: &Route,
    (segments, subject): (&[&str], Subject),
    query: &str,
    version: String,
) -> Result<EngineRequest, String> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (text(name)?, text(value)?);
        if !route.query.contains(&name.as_str()) {
            return Err(format!("the parameter `{}` is not let through", name.escape_debug()));
        }
        if pairs.iter().any(|(known, _)| *known == name) && name != "t" {
            return Err(format!("the parameter `{name}` stands there twice"));
        }
        pairs.push((name, value));
    }
    let body = match route.path {
        "containers/create" => Body::Create,
        "containers/ID/exec" => Body::Exec,
        "exec/RUN/start" => Body::Start,
        "build" => Body::Archive,
        _ => Body::None,
    };
    match route.path {
        "images/create" => pairs = pull(rules, &pairs)?,
        "build" => build(rules, &mut pairs)?,
        _ => {}
    }
    let stream = matches!(route.path, "containers/ID/attach" | "exec/RUN/start");
    let path = match &subject {
        Subject::None => (format!("/{}", segments.join("/")), String::new()),
        Subject::Container(_) | Subject::Exec(_) => {
            let behind = segments.get(2..).unwrap_or_default().iter().map(|part| format!("/{part}"));
            (format!("/{}/", segments.first().copied().unwrap_or_default()), behind.collect())
        }
    };
    // What belongs to anybody is asked for as it was written.
    let any = route.path.contains("ANY");
    let (path, subject) = match subject {
        Subject::Container(name) if any => {
            ((format!("{}{name}{}", path.0, path.1), String::new()), Subject::None)
        }
        subject => (path, subject),
    };
    Ok(EngineRequest { version, path, subject, query: pairs, body, stream })
}

fn fits(route: &str, segments: &[&str]) -> Option<Subject> {
    let parts: Vec<&str> = route.split('/').collect();
    if parts.get(1) == Some(&"IMAGE") {
        let (last, name) = segments.split_last()?;
        let fine = parts.first() == name.first() && parts.last() == Some(last) && name.len() > 1;
        return fine.then_some(Subject::None);
    }
    if parts.len() != segments.len() {
        return None;
    }
    let mut subject = Subject::None;
    for (own, part) in parts.iter().zip(segments) {
        match *own {
            "ID" | "ANY" => subject = Subject::Container((*part).to_owned()),
            "RUN" => subject = Subject::Exec((*part).to_owned()),
            word if word == *part => {}
            _ => return None,
        }
    }
    // These words are requests of their own.
    let other =
        matches!(&subject, Subject::Container(name) if ["json", "create", "prune"].contains(&name.as_str()));
    (!other).then_some(subject)
}

/// A name or a value of a query, decoded.
fn text(part: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or("an escape in the query is broken")?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| "the query is not UTF-8".to_owned())
}

fn pull(rules: &EngineRules, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
    let get = |name: &str| pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let name = get("fromImage").filter(|name| !name.is_empty()).ok_or("it names no image")?;
    let tag = get("tag").filter(|tag| !tag.is_empty());
    let whole = match tag {
        Some(digest) if digest.starts_with("sha256:") => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    };
    let mut out = vec![("fromImage".to_owned(), rules.image(&whole, false)?)];
    out.extend(pairs.iter().filter(|(name, _)| name == "platform").cloned());
    Ok(out)
}

fn build(rules: &EngineRules, pairs: &mut [(String, String)]) -> Result<(), String> {
    for (name, value) in pairs {
        let fine = match name.as_str() {
            "t" => {
                *value = rules.tag(value)?;
                true
            }
            "version" => {
                if value != "1" {
                    return Err("BuildKit talks past the request: build with `DOCKER_BUILDKIT=0`".to_owned());
                }
                true
            }
            "networkmode" => ["", "default", "bridge", "none"].contains(&value.as_str()),
            "dockerfile" => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                let name = |part: &str| !part.is_empty() && part != ".." && part.bytes().all(plain);
                value.is_empty() || value.split('/').all(name)
            }
            "extrahosts" | "cgroupparent" => value.is_empty(),
            "cachefrom" | "ulimits" => ["", "null", "[]"].contains(&value.as_str()),
            _ => true,
        };
        if !fine {
            return Err(format!("a build with `{name}={}` is not let through", value.escape_debug()));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
