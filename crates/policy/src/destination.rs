//! Destinations as a policy writes them: where to, what is spoken there, and what one pattern covers of another.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Invalid, Place, Problem};
use crate::document::{NetworkRule, NetworkTableRule};
use crate::host::{Endpoint, HostPattern, parse_port, split_port};
use crate::http::HttpRule;
use crate::lint::engine_socket;
use crate::path::{Scope, absolute};
use crate::ranges::{closed, holds};
use crate::reader::{At, quoted};
use crate::sizes::size;

/// The name under which a sandbox finds services of the host's own loopback, where those are granted.
pub const HOST: &str = "host.ringfence.internal";

/// The port at which the gateway answers questions for names, whatever server is asked.
pub(crate) const NAMES: u16 = 53;

/// What is wrong with a rule about that port.
fn not_at(host: &str) -> String {
    format!("`{host}` is not reached at port {NAMES}: the gateway itself answers there")
}

/// One of those that allow something: it would lead nowhere.
fn for_names(host: &str, place: Place) -> Problem {
    Problem::new(place, not_at(host))
        .help("remove it: names that a rule allows are answered without one".to_owned())
}

/// What must be spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Anything: nothing but the address is looked at.
    Tcp,
    /// TLS, to the very name that was asked for.
    Tls,
    /// HTTP without TLS, each request to the very name that was asked for.
    Http,
    /// One of these: the first message of the client must be its.
    Ssh,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// Redis and Valkey.
    Redis,
    /// SMTP.
    Smtp,
}

impl Protocol {
    /// What a port means where no rule says more.
    pub(crate) fn of_port(port: u16) -> Self {
        match port {
            443 => Self::Tls,
            80 => Self::Http,
            _ => Self::Tcp,
        }
    }

    /// Each, as a policy writes it.
    pub(crate) const WORDS: [(&str, Self); 8] = [
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("http", Self::Http),
        ("ssh", Self::Ssh),
        ("postgres", Self::Postgres),
        ("mysql", Self::Mysql),
        ("redis", Self::Redis),
        ("smtp", Self::Smtp),
    ];

    /// As a policy writes it.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, own)| *own == self).map_or("tcp", |(word, _)| word)
    }

    /// Whether requests can be seen in it.
    fn has_requests(self) -> bool {
        matches!(self, Self::Tls | Self::Http)
    }
}

/// One destination of `network.allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Where.
    pub endpoint: Endpoint,
    /// What must be spoken there.
    pub protocol: Protocol,
    /// What requests may be, if that is bounded.
    pub http: Option<HttpRule>,
    /// Bytes that may leave by it while a sandbox lives.
    pub bytes_out: Option<u64>,
    /// Its TLS is not looked into, though secrets could leave by it: the rule says so.
    pub closed: bool,
}

/// A package client whose own configuration says which hosts it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// cargo
    Cargo,
    /// pip
    Pip,
    /// npm
    Npm,
    /// apt
    Apt,
}

impl Registry {
    /// Each, as a policy names it.
    pub(crate) const WORDS: [(&str, Self); 4] =
        [("cargo", Self::Cargo), ("pip", Self::Pip), ("npm", Self::Npm), ("apt", Self::Apt)];

    /// As a policy names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Pip => "pip",
            Self::Npm => "npm",
            Self::Apt => "apt",
        }
    }

    /// Where its hosts are looked for.
    pub fn configured_in(self) -> &'static str {
        match self {
            Self::Cargo => {
                "`$CARGO_HOME/config.toml` (`[registries]`, `[source]`), or fetch something once outside"
            }
            Self::Pip => "`index-url` in `pip.conf`",
            Self::Npm => "`registry` in `~/.npmrc`",
            Self::Apt => "`/etc/apt/sources.list.d`",
        }
    }
}

/// One line of `network.deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Where.
    pub host: HostPattern,
    /// One port; `None`: all of them.
    pub port: Option<u16>,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => Endpoint { host: self.host.clone(), port }.fmt(formatter),
            None => self.host.fmt(formatter),
        }
    }
}

impl Destination {
    /// Where something is fetched, and nothing is sent; TLS, unless it is the port of HTTP.
    pub fn read_only(endpoint: Endpoint) -> Self {
        let protocol = if endpoint.port == 80 { Protocol::Http } else { Protocol::Tls };
        let methods = ["GET", "HEAD"].map(str::to_owned).to_vec();
        let http = Some(HttpRule { methods, ..HttpRule::default() });
        Self { endpoint, protocol, http, bytes_out: None, closed: false }
    }

    /// Looked into, where it is TLS.
    pub(crate) fn look_into(&mut self) {
        if self.protocol == Protocol::Tls {
            self.http.get_or_insert_default();
        }
    }

    /// Reads one entry of `network.allow`.
    pub(crate) fn read(rule: &At<NetworkRule>) -> Result<Self, Problem> {
        match &rule.value {
            NetworkRule::Text(text) => {
                let endpoint = Endpoint::parse(text).map_err(|invalid| invalid.at(rule.place))?;
                Self::of(endpoint, None, rule.place)
            }
            NetworkRule::Table(table) => Self::of_table(table, rule.place),
        }
    }

    fn of_table(table: &NetworkTableRule, place: Place) -> Result<Self, Problem> {
        let bytes_out = match &table.bytes_out {
            Some(bytes) => Some(size(&bytes.value).map_err(|invalid| invalid.at(bytes.place))?),
            None => None,
        };
        let own = match &table.host_loopback {
            Some(port) => Some(loopback(table, port, place)?),
            None => None,
        };
        let protocol = spoken(table, place)?;
        let mut http = requests(table)?;
        let destination = match own {
            // Many services speak no HTTP, whatever their port.
            Some(endpoint) => Self {
                endpoint,
                protocol: protocol.unwrap_or(Protocol::Tcp),
                http: None,
                bytes_out: None,
                closed: false,
            },
            None => Self::of(named(table, place)?, protocol, place)?,
        };
        if let Some(tls) =
            table.tls.as_ref().filter(|tls| !tls.value && destination.protocol == Protocol::Tls)
        {
            let title = format!("`tls = false`, and what is spoken at `{}` is TLS", destination.endpoint);
            let help = "write what is spoken there, `protocol = \"tcp\"`, or remove it";
            return Err(Problem::new(tls.place, title).help(help.to_owned()));
        }
        if http.is_some() && !destination.protocol.has_requests() {
            let title = format!("what requests to `{}` may be is known only of HTTP", destination.endpoint);
            let help = "write `protocol = \"http\"`, or remove what the rule says of requests";
            return Err(Problem::new(place, title).help(help.to_owned()));
        }
        let inspect = table.inspect.as_ref();
        if let Some(inspect) = inspect.filter(|_| destination.protocol != Protocol::Tls) {
            let title = format!("`inspect` is said of TLS, and `{}` is not TLS", destination.endpoint);
            return Err(Problem::new(inspect.place, title).help("add `tls = true`, or remove it".to_owned()));
        }
        match inspect {
            Some(inspect) if !inspect.value && http.is_some() => {
                let title = "a rule about requests over TLS needs inspection, and `inspect` is `false`";
                return Err(Problem::new(inspect.place, title).help("remove one of the two".to_owned()));
            }
            Some(inspect) if inspect.value => drop(http.get_or_insert_default()),
            _ => {}
        }
        Ok(Self { http, bytes_out, closed: inspect.is_some_and(|at| !at.value), ..destination })
    }

    fn of(mut endpoint: Endpoint, protocol: Option<Protocol>, place: Place) -> Result<Self, Problem> {
        if covers(&endpoint.host, &HostPattern::Name(HOST.to_owned())) {
            let problem = Problem::new(place, format!("`{HOST}` stands for the host's own loopback"));
            return Err(problem.help(format!("write `{{ host_loopback = {} }}`", endpoint.port)));
        }
        if endpoint.port == NAMES {
            return Err(for_names(&endpoint.host.to_string(), place));
        }
        if let HostPattern::Address(address) = &mut endpoint.host {
            *address = address.to_canonical();
        }
        if let Some((first, bits)) = block(&endpoint.host)
            && let Some(what) = closed(first, bits)
        {
            let problem = Problem::new(place, format!("`{endpoint}` is {what}, which no rule opens"));
            let help = match first {
                _ if what.contains("loopback") => {
                    format!("for a service of the host write `{{ host_loopback = {} }}`", endpoint.port)
                }
                _ => "remove it".to_owned(),
            };
            return Err(problem.help(help));
        }
        let protocol = protocol.unwrap_or(Protocol::of_port(endpoint.port));
        Ok(Self { endpoint, protocol, http: None, bytes_out: None, closed: false })
    }
}

/// The port of a service of the host; it has no other, and no host.
fn loopback(table: &NetworkTableRule, own: &At<i64>, place: Place) -> Result<Endpoint, Problem> {
    let port =
        parse_port("network.allow", &own.value.to_string()).map_err(|invalid| invalid.at(own.place))?;
    if let Some(other) = &table.port {
        let title = "`port` says nothing beside `host_loopback`, which is the port itself";
        return Err(Problem::new(other.place, title).help("remove `port`".to_owned()));
    }
    if port == NAMES {
        return Err(for_names("host_loopback", place));
    }
    Ok(Endpoint { host: HostPattern::Name(HOST.to_owned()), port })
}

/// The host and the port of a rule.
fn named(table: &NetworkTableRule, place: Place) -> Result<Endpoint, Problem> {
    let Some(host) = &table.host else {
        return Err(Problem::new(place, "a network rule needs a `host`"));
    };
    let endpoint = match &table.port {
        Some(port) => {
            let number = parse_port("network.allow", &port.value.to_string())
                .map_err(|invalid| invalid.at(port.place))?;
            HostPattern::parse(&host.value).map(|host| Endpoint { host, port: number })
        }
        None => Endpoint::parse(&host.value),
    };
    endpoint.map_err(|invalid| invalid.at(host.place))
}

/// What a rule says is spoken there; `None`: nothing.
fn spoken(table: &NetworkTableRule, place: Place) -> Result<Option<Protocol>, Problem> {
    let tls = table.tls.as_ref().filter(|tls| tls.value).map(|_| Protocol::Tls);
    let word = match &table.protocol {
        None => None,
        Some(word) => match Protocol::WORDS.iter().find(|(own, _)| *own == word.value) {
            Some((_, protocol)) => Some(*protocol),
            None => {
                let title = format!("the protocol `{}` is not known", word.value);
                let known = quoted(&Protocol::WORDS.map(|(word, _)| word));
                return Err(Problem::new(word.place, title).help(format!("write one of {known}")));
            }
        },
    };
    if let (Some(Protocol::Tls), Some(other)) = (tls, word)
        && other != Protocol::Tls
    {
        let title = format!("`tls = true` and `protocol = \"{}\"` contradict each other", other.word());
        return Err(Problem::new(place, title).help("remove one of the two".to_owned()));
    }
    Ok(tls.or(word))
}

/// What a rule says of requests; `None`: nothing.
fn requests(table: &NetworkTableRule) -> Result<Option<HttpRule>, Problem> {
    // `websocket = false` is seen to only where requests are.
    let said = table.methods.is_some() || table.paths.is_some() || table.request_size.is_some();
    if !said && table.websocket.is_none() {
        return Ok(None);
    }
    let websocket = table.websocket.as_ref().is_some_and(|at| at.value);
    let mut rule = HttpRule { websocket, ..HttpRule::default() };
    if let Some(most) = &table.request_size {
        rule.size(&most.value).map_err(|invalid| invalid.at(most.place))?;
    }
    for method in table.methods.iter().flat_map(|list| &list.value) {
        rule.method(&method.value).map_err(|invalid| invalid.at(method.place))?;
    }
    for path in table.paths.iter().flat_map(|list| &list.value) {
        rule.path(&path.value).map_err(|invalid| invalid.at(path.place))?;
    }
    for (key, list, empty) in
        [("methods", &table.methods, rule.methods.is_empty()), ("paths", &table.paths, rule.paths.is_empty())]
    {
        if let Some(list) = list.as_ref().filter(|_| empty) {
            let problem = Problem::new(list.place, format!("an empty `{key}` would allow nothing"));
            return Err(problem.help("remove the rule, or name what it allows".to_owned()));
        }
    }
    Ok(Some(rule))
}

impl Denied {
    /// Reads one entry of `network.deny`: without a port, all of them.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let endpoint = Endpoint::parse(text)?;
        let port = split_port(text)?.1.map(|_| endpoint.port);
        if port == Some(NAMES) {
            let help = "remove the port: a name that is denied is not answered either";
            return Err(Invalid::new(not_at(&endpoint.host.to_string())).help(help));
        }
        Ok(Self { host: endpoint.host, port })
    }

    /// Is all of the destination denied?
    pub(crate) fn whole(&self, destination: &Endpoint) -> bool {
        self.port.is_none_or(|port| port == destination.port) && covers(&self.host, &destination.host)
    }
}

/// Does the first stand for everything that the second stands for?
pub(crate) fn covers(most: &HostPattern, host: &HostPattern) -> bool {
    match (most, host) {
        (HostPattern::Name(most), HostPattern::Name(name)) => most == name,
        (HostPattern::Below(most), HostPattern::Name(name)) => below(name, most),
        (HostPattern::Below(most), HostPattern::Below(other)) => other == most || below(other, most),
        _ => match (block(most), block(host)) {
            (Some((most, wide)), Some((first, bits))) => wide <= bits && holds(most, wide, first),
            _ => false,
        },
    }
}

fn below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// The addresses of a pattern: the first, and how many leading bits they share. Those of IPv4 that are written as IPv6
/// (`::ffff:0:0/96`, RFC 4291) are those of IPv4.
pub(crate) fn block(host: &HostPattern) -> Option<(IpAddr, u8)> {
    const MAPPED: u8 = 96;
    let (first, bits) = match host {
        HostPattern::Address(address @ IpAddr::V4(_)) => (*address, 32),
        HostPattern::Address(address @ IpAddr::V6(_)) => (*address, 128),
        HostPattern::Network(first, bits) => (*first, *bits),
        HostPattern::Name(_) | HostPattern::Below(_) => return None,
    };
    match (first, first.to_canonical()) {
        (IpAddr::V6(_), four @ IpAddr::V4(_)) if bits >= MAPPED => Some((four, bits - MAPPED)),
        _ => Some((first, bits)),
    }
}

/// Reads the path of a socket of the host; it must not equal root there. Bytes alone are carried, and nothing is looked at or counted.
pub(crate) fn socket(
    table: &NetworkTableRule,
    unix: &At<String>,
    scope: &Scope<'_>,
) -> Result<PathBuf, Problem> {
    for (key, place) in [
        ("port", table.port.as_ref().map(|at| at.place)),
        ("protocol", table.protocol.as_ref().map(|at| at.place)),
        ("tls", table.tls.as_ref().map(|at| at.place)),
        ("methods", table.methods.as_ref().map(|at| at.place)),
        ("paths", table.paths.as_ref().map(|at| at.place)),
        ("request_size", table.request_size.as_ref().map(|at| at.place)),
        ("websocket", table.websocket.as_ref().map(|at| at.place)),
        ("inspect", table.inspect.as_ref().map(|at| at.place)),
        ("bytes_out", table.bytes_out.as_ref().map(|at| at.place)),
    ] {
        if let Some(place) = place {
            let title =
                format!("`{key}` cannot be held for a unix socket: its bytes are carried as they are");
            return Err(Problem::new(place, title).help(format!("remove `{key}`")));
        }
    }
    let path = absolute(&unix.value, scope).map_err(|invalid| invalid.at(unix.place))?;
    match engine_socket(&path, scope.context) {
        Some(invalid) => Err(invalid.at(unix.place)),
        None => Ok(path),
    }
}
