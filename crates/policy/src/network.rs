//! The judge of one name or one connection, by the rules of `[network]`.

mod decide;
mod granted;
mod names;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::containers::{ENGINE, EngineRules};
use crate::decision::Reason;
use crate::destination::{Denied, Destination, Protocol, block};
use crate::host::{Endpoint, HostPattern};
use crate::http::{HttpPattern, HttpRequest, HttpRule, decide_http};
use crate::http_path::HttpPath;
use crate::model::{Policy, Rule};
use crate::ranges::{holds, inner, special, why};

/// Where the task finds an ssh agent of ringfence's own, which has commits signed by gpg as well; there is no file of that name.
pub const AGENT: &str = "/run/ringfence-ssh-agent";
/// The program that git has commits signed by: ringfence's own, by this name.
pub const GPG: &str = "/run/ringfence-gpg";
/// What it asks the agent for: an extension (draft-ietf-sshm-ssh-agent, section 3.8), with the text.
pub const SIGN_OPENPGP: &[u8] = b"sign-openpgp@ringfence";
/// The program that git speaks ssh by, where a policy says what it may push: ringfence's own, by this name.
pub const GIT_SSH: &str = "/run/ringfence-ssh";
/// What it asks the agent for: host, port, user, command and `GIT_PROTOCOL`; from then on the connection is a session of git.
pub const SPEAK_GIT: &[u8] = b"speak-git@ringfence";

pub use decide::{
    decide_connect, decide_request, grantable_host, missing_host, network_remedy, socket_remedy,
    written_endpoint,
};
pub use granted::GrantedHost;

/// Who is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer<'a> {
    /// A name in lower case, without a dot at its end.
    Name(&'a str),
    /// An address itself.
    Address(IpAddr),
}

/// A rule and its words.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    host: HostPattern,
    port: Option<u16>,
    protocol: Protocol,
    /// What requests may be; `None`: anything.
    http: Option<HttpRule>,
    /// Bytes that may leave by it.
    bytes_out: Option<u64>,
    by: String,
}

impl Line {
    fn of(destination: &Destination, by: String) -> Self {
        Self {
            host: destination.endpoint.host.clone(),
            port: Some(destination.endpoint.port),
            protocol: destination.protocol,
            http: destination.http.clone(),
            bytes_out: destination.bytes_out,
            by,
        }
    }

    /// Whether each request is to be judged: by what it says, or since its bytes are counted.
    fn judged(&self) -> bool {
        self.http.is_some() || self.protocol == Protocol::Http && self.bytes_out.is_some()
    }

    fn budget(&self, number: usize) -> Option<Budget> {
        Some(Budget { number, most: self.bytes_out?, by: self.by.clone() })
    }
}

/// Bytes that may leave by one rule while a sandbox lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Of the rule.
    pub number: usize,
    /// Bytes.
    pub most: u64,
    by: String,
}

impl Budget {
    /// Why nothing more may leave.
    pub fn exceeded(&self) -> String {
        format!("no more than {} bytes may leave, by {}", self.most, self.by)
    }
}

/// How a request may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The path to send on.
    pub path: HttpPath,
    /// Bytes that its body may have.
    pub size: Option<u64>,
    /// What its bytes are counted against.
    pub budget: Option<Budget>,
}

/// How a connection may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What must be spoken.
    pub protocol: Protocol,
    /// Each request is to be judged.
    pub judged: bool,
    /// The grant that it stands and falls with, where no rule allows it.
    pub granted: Option<u32>,
    /// What the client's bytes are counted against, where requests are not judged.
    pub budget: Option<Budget>,
}

/// All rules about the network, as who judges gets them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkRules {
    allow: Vec<Line>,
    deny: Vec<Line>,
    /// What may be granted while the sandbox runs.
    grantable: Vec<Line>,
    /// The owner is asked about that.
    asks: bool,
    /// Sockets of the host by their paths.
    unix: Vec<PathBuf>,
    /// Ports of the task that the host's loopback leads to.
    published: Vec<u16>,
    /// Where credentials go: each request there is looked into.
    secret: Vec<Endpoint>,
    /// The container engine that may be asked.
    engine: Option<Box<EngineRules>>,
}

/// The same, indexed: a question costs the labels of its name, not the number of rules.
#[derive(Debug)]
pub struct NetworkJudge {
    allow: Index,
    deny: Index,
    granted: granted::Granted,
    grantable: Index,
    asks: bool,
    secret: Vec<Endpoint>,
}

#[derive(Debug, Default)]
struct Index {
    lines: Vec<Line>,
    names: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
    blocks: Vec<(IpAddr, u8, usize)>,
}

impl Index {
    fn new(lines: Vec<Line>) -> Self {
        let mut index = Self { lines, ..Self::default() };
        for (number, line) in index.lines.iter().enumerate() {
            match &line.host {
                HostPattern::Name(name) => index.names.entry(name.clone()).or_default().push(number),
                HostPattern::Below(name) => index.below.entry(name.clone()).or_default().push(number),
                host => index.blocks.extend(block(host).map(|(first, bits)| (first, bits, number))),
            }
        }
        index
    }

    /// Numbers of the lines about a name.
    fn about(&self, name: &str) -> impl Iterator<Item = usize> {
        let exact = self.names.get(name).into_iter().flatten();
        let parents = name
            .match_indices('.')
            .filter(|(dot, _)| *dot > 0)
            .filter_map(|(dot, _)| self.below.get(name.get(dot + 1..)?));
        exact.chain(parents.flatten()).copied()
    }

    fn line(&self, number: usize) -> Option<&Line> {
        self.lines.get(number)
    }

    /// Numbers of all lines about a peer and a port. For addresses that are special, only one that opens them.
    fn all(&self, peer: &Peer<'_>, port: u16, opening: bool) -> Vec<usize> {
        let fits =
            |number: &usize| self.line(*number).is_some_and(|line| line.port.is_none_or(|own| own == port));
        match peer {
            Peer::Name(name) => self.about(name).filter(fits).collect(),
            Peer::Address(address) => {
                // A rule means an address as it is written, and where packets to it end up.
                let ends = inner(*address);
                let found = self
                    .blocks
                    .iter()
                    .filter(|(first, bits, _)| holds(*first, *bits, ends) || holds(*first, *bits, *address));
                let opens = |(first, bits, _): &&(IpAddr, u8, usize)| {
                    !opening || special(ends, Some((*first, *bits))).is_none()
                };
                found.filter(opens).map(|(_, _, number)| *number).filter(fits).collect()
            }
        }
    }

    fn find(&self, peer: &Peer<'_>, port: u16, opening: bool) -> Option<usize> {
        self.all(peer, port, opening).first().copied()
    }
}

impl NetworkRules {
    /// The rules of a policy; `None`: it grants no network, and nothing of this is needed.
    pub fn of(policy: &Policy) -> Option<Self> {
        let network = &policy.network;
        if network.allow.is_empty()
            && network.unix.is_empty()
            && network.publish.is_empty()
            && policy.approvals.hosts.is_empty()
            && policy.containers.is_none()
            && !policy.credentials.values().any(|rule| rule.value.gpg())
        {
            return None;
        }
        let allow = network.allow.iter().map(|rule| Line::of(&rule.value, allowed_by(rule).to_string()));
        let grantable = policy.approvals.hosts.iter().map(|rule| Line::of(&rule.value, String::new()));
        let deny = network.deny.iter().map(|rule| Line {
            host: rule.value.host.clone(),
            port: rule.value.port,
            protocol: Protocol::Tcp,
            http: None,
            bytes_out: None,
            by: denied_by(rule).to_string(),
        });
        let agent = policy.credentials.values().any(|rule| rule.value.signs()).then(|| PathBuf::from(AGENT));
        let engine = policy.containers.as_ref().map(EngineRules::of);
        let broker = engine.iter().map(|_| PathBuf::from(ENGINE));
        let unix = network.unix.iter().map(|rule| rule.value.clone()).chain(agent).chain(broker);
        let secret = policy.credentials.values().filter(|rule| !rule.value.signs());
        let secret = secret.flat_map(|rule| rule.value.hosts.iter().cloned());
        Some(Self {
            allow: allow.collect(),
            deny: deny.collect(),
            grantable: grantable.collect(),
            asks: policy.approvals.ask,
            unix: unix.collect(),
            published: network.publish.iter().map(|rule| rule.value).collect(),
            secret: secret.collect(),
            engine: engine.map(Box::new),
        })
    }

    /// For a reader, a line each.
    pub fn describe(&self) -> Vec<String> {
        let later = if self.asks { "ask" } else { "grantable" };
        let line = |word: &str, line: &Line| {
            let port = line.port.map(|port| format!(":{port}")).unwrap_or_default();
            let must = match line.protocol {
                Protocol::Tcp => "",
                Protocol::Tls if line.http.is_some() => ", TLS to that name, looked into",
                Protocol::Tls => ", TLS to that name",
                Protocol::Http => ", HTTP to that name",
                other => &format!(", {}", other.word()),
            };
            let budget = line.bytes_out.map(|most| format!(", {most} bytes out")).unwrap_or_default();
            let requests = line.http.as_ref().map(describe_requests).unwrap_or_default();
            format!("{word:8} {}{port}{must}{requests}{budget}", line.host)
        };
        let allowed = self.allow.iter().map(|rule| line("allow", rule));
        let sockets = self.unix.iter().map(|path| match (path.to_str(), &self.engine) {
            (Some(AGENT), _) => format!("allow    {AGENT}, an agent with the keys of `[credentials]`"),
            (Some(ENGINE), Some(engine)) => engine.describe(),
            _ => format!("allow    {}, by its bytes alone", path.display()),
        });
        let grantable = self.grantable.iter().map(|rule| line(later, rule));
        let publish = |port: &u16| format!("publish  port {port}, on the host's loopback");
        let sockets = sockets.chain(self.published.iter().map(publish));
        allowed
            .chain(sockets)
            .chain(grantable)
            .chain(self.deny.iter().map(|rule| line("deny", rule)))
            .collect()
    }

    /// Hosts whose TLS must be looked into, since rules say what requests to them may be.
    pub fn inspected(&self) -> impl Iterator<Item = &HostPattern> {
        let looks = |line: &&Line| line.protocol == Protocol::Tls && line.http.is_some();
        let rules = self.allow.iter().chain(&self.grantable).filter(looks).map(|line| &line.host);
        rules.chain(self.secret.iter().map(|endpoint| &endpoint.host))
    }

    /// Are there sockets of the host among those?
    pub fn host_sockets(&self) -> bool {
        self.unix.iter().any(|path| path.as_os_str() != AGENT)
    }

    /// Sockets that lead to the gateway, by their paths: those of the host that are carried, [`AGENT`] and [`ENGINE`].
    pub fn unix(&self) -> &[PathBuf] {
        &self.unix
    }

    /// What may be asked of a container engine, at [`ENGINE`].
    pub fn engine(&self) -> Option<&EngineRules> {
        self.engine.as_deref()
    }

    /// Ports of the task that the host's loopback leads to.
    pub fn published(&self) -> &[u16] {
        &self.published
    }

    /// Names that are written out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().filter_map(|line| match &line.host {
            HostPattern::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Each port that something can be reached at.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> =
            self.allow.iter().chain(&self.grantable).filter_map(|line| line.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl NetworkJudge {
    /// Indexes the rules.
    pub fn new(rules: NetworkRules) -> Self {
        Self {
            allow: Index::new(rules.allow),
            deny: Index::new(rules.deny),
            granted: granted::Granted::default(),
            grantable: Index::new(rules.grantable),
            asks: rules.asks,
            secret: rules.secret,
        }
    }

    /// Does a credential go there?
    fn secret(&self, peer: &Peer<'_>, port: u16) -> bool {
        self.secret.iter().any(|endpoint| endpoint.is(peer, port))
    }

    /// May a connection go there, and what must be spoken on it?
    ///
    /// # Errors
    /// Why not, in words.
    pub fn connect(&self, peer: &Peer<'_>, port: u16) -> Result<Way, String> {
        if let Some(line) = self.deny.find(peer, port, false).and_then(|number| self.deny.line(number)) {
            return Err(line.by.clone());
        }
        // One that bounds nothing allows all.
        if let Some((number, line)) = self.lines(peer, port).next() {
            let secret = line.protocol == Protocol::Tls && self.secret(peer, port);
            let judged = secret || line.judged();
            let budget = line.budget(number).filter(|_| !judged);
            return Ok(Way { protocol: line.protocol, judged, granted: None, budget });
        }
        if let Some(way) = self.by_grant(peer, port) {
            return Ok(way);
        }
        let Peer::Address(address) = peer else {
            let Peer::Name(name) = peer else { return Err(String::new()) };
            return Err(format!("no rule of `network.allow` covers `{name}:{port}`"));
        };
        Err(match why(*address) {
            Some(what) => format!("`{address}` is {what}"),
            None => format!("no rule of `network.allow` covers the address `{address}`, port {port}"),
        })
    }

    /// The rules about a peer and a port, with their numbers: those that bound least first.
    fn lines(&self, peer: &Peer<'_>, port: u16) -> impl Iterator<Item = (usize, &Line)> {
        let numbers = self.allow.all(peer, port, true).into_iter();
        let mut lines: Vec<_> =
            numbers.filter_map(|number| Some((number, self.allow.line(number)?))).collect();
        lines.sort_by_key(|(_, line)| (line.http.is_some(), line.bytes_out.is_some()));
        lines.into_iter()
    }

    /// May this request be made there?
    ///
    /// # Errors
    /// Why not, in words.
    pub fn request(&self, peer: &Peer<'_>, port: u16, request: &HttpRequest<'_>) -> Result<Pass, String> {
        let mut lines: Vec<_> = self.lines(peer, port).collect();
        if lines.is_empty() {
            // Budgets are of rules alone.
            lines.extend(self.granted_line(peer, port).map(|line| (usize::MAX, line)));
        }
        // One that bounds nothing, where a credential has requests looked into.
        let secret = self.secret(peer, port);
        let free = || HttpRule { websocket: secret, ..HttpRule::default() };
        let rules: Vec<HttpRule> =
            lines.iter().map(|(_, line)| line.http.clone().unwrap_or_else(free)).collect();
        let (index, path) = decide_http(&rules, request).map_err(|refusal| {
            let target = String::from_utf8_lossy(request.target);
            format!("{} {}: {refusal}", request.method, target.split('?').next().unwrap_or_default())
        })?;
        let size = rules.get(index).and_then(|rule| rule.request_size);
        let budget = lines.get(index).and_then(|(number, line)| line.budget(*number));
        Ok(Pass { path, size, budget })
    }
}

fn describe_requests(rule: &HttpRule) -> String {
    let paths: Vec<&str> = rule.paths.iter().map(HttpPattern::text).collect();
    let part = |word: &str, list: String| if list.is_empty() { list } else { format!(", {word} {list}") };
    let size = rule.request_size.map(|most| format!(", bodies of {most} bytes")).unwrap_or_default();
    let websocket = if rule.websocket { ", WebSocket" } else { "" };
    part("only", rule.methods.join(" ")) + &part("paths", paths.join(" ")) + &size + websocket
}

fn allowed_by(rule: &Rule<Destination>) -> Reason {
    let text = rule.value.endpoint.to_string();
    Reason::Rule { key: "network.allow", text, origin: rule.origin.clone() }
}

fn denied_by(rule: &Rule<Denied>) -> Reason {
    Reason::Rule { key: "network.deny", text: rule.value.to_string(), origin: rule.origin.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::covers;

    fn judge(allow: &[&str], deny: &[&str]) -> NetworkJudge {
        let allow = allow.iter().map(|text| {
            let endpoint = Endpoint::parse(text).unwrap();
            let protocol = Protocol::of_port(endpoint.port);
            let by = (*text).to_owned();
            Line { host: endpoint.host, port: Some(endpoint.port), protocol, http: None, bytes_out: None, by }
        });
        let deny = deny.iter().map(|text| {
            let denied = Denied::parse(text).unwrap();
            Line {
                host: denied.host,
                port: denied.port,
                protocol: Protocol::Tcp,
                http: None,
                bytes_out: None,
                by: format!("deny {text}"),
            }
        });
        NetworkJudge::new(NetworkRules {
            allow: allow.collect(),
            deny: deny.collect(),
            ..NetworkRules::default()
        })
    }

    #[test]
    fn names_and_ports_are_judged() {
        let judge = judge(
            &[
                "a.example",
                "*.b.example:80",
                "c.example:22",
                "10.1.0.0/16:5432",
                "[2001:db8::1]:443",
                "0.0.0.0/0:25",
            ],
            &["x.b.example", "y.b.example:81", "10.1.9.9"],
        );
        let ask = |name: &str, port| judge.connect(&Peer::Name(name), port).map(|way| way.protocol);
        assert_eq!(ask("a.example", 443), Ok(Protocol::Tls));
        assert_eq!(ask("q.b.example", 80), Ok(Protocol::Http));
        assert_eq!(ask("p.q.b.example", 80), Ok(Protocol::Http));
        assert_eq!(ask("c.example", 22), Ok(Protocol::Tcp));
        assert_eq!(ask("y.b.example", 80), Ok(Protocol::Http));
        for (name, port) in [
            ("a.example", 80),
            ("b.example", 80),
            ("evilb.example", 80),
            ("q.b.example", 443),
            ("z.a.example", 443),
            ("x.b.example", 80),
            (".b.example", 80),
            ("example", 443),
            ("", 443),
        ] {
            assert!(ask(name, port).is_err(), "{name}:{port}");
        }
        assert_eq!(judge.knows("x.b.example"), Err("deny x.b.example".to_owned()));
        assert_eq!(judge.knows("y.b.example"), Ok(()));
        let to = |address: &str, port| {
            judge.connect(&Peer::Address(address.parse().unwrap()), port).map(|way| way.protocol)
        };
        assert_eq!(to("10.1.2.3", 5432), Ok(Protocol::Tcp));
        assert_eq!(to("::ffff:10.1.2.3", 5432), Ok(Protocol::Tcp));
        assert_eq!(to("2001:db8::1", 443), Ok(Protocol::Tls));
        assert_eq!(to("203.0.113.1", 25), Ok(Protocol::Tcp));
        for (address, port) in [
            ("10.1.9.9", 5432),
            ("10.1.2.3", 443),
            ("10.2.0.1", 25),
            ("127.0.0.1", 25),
            ("169.254.169.254", 25),
        ] {
            assert!(to(address, port).is_err(), "{address}:{port}");
        }
    }

    #[test]
    fn addresses_are_denied_in_every_form() {
        let judge = judge(
            &["0.0.0.0/0:80", "[::/0]:80"],
            &[
                "[::ffff:203.0.113.20]",
                "[::ffff:198.51.100.0/120]",
                "[64:ff9b::cb00:711e]",
                "[2002:cb00:7128::/48]",
            ],
        );
        let to = |address: &str| judge.connect(&Peer::Address(address.parse().unwrap()), 80);
        for address in [
            "203.0.113.20",
            "::ffff:203.0.113.20",
            "64:ff9b::cb00:7114",
            "198.51.100.77",
            "64:ff9b::cb00:711e",
            "2002:cb00:7128::9",
        ] {
            assert!(to(address).is_err_and(|why| why.starts_with("deny ")), "{address}");
            assert!(judge.vet("a.example", address.parse().unwrap(), 80).is_err(), "{address}");
        }
        for address in ["203.0.113.21", "198.51.101.1", "203.0.113.30", "64:ff9b::cb00:711f", "2001:db8::1"] {
            assert!(to(address).is_ok(), "{address}");
        }
        for address in ["64:ff9b::a00:1", "2002:a9fe:a9fe::1", "::ffff:10.0.0.1", "::1"] {
            assert!(to(address).is_err(), "{address}: `::/0` opens nothing special");
        }
    }

    #[test]
    fn a_name_leads_nowhere_special_by_itself() {
        let judge = judge(&["a.example:5432", "10.1.0.0/16:5432"], &["203.0.113.9"]);
        let vet = |address: &str, port| judge.vet("a.example", address.parse().unwrap(), port);
        assert_eq!(vet("203.0.113.10", 5432), Ok(()));
        assert_eq!(vet("10.1.0.5", 5432), Ok(()));
        for address in ["10.2.0.5", "127.0.0.1", "::1", "::ffff:192.168.0.1", "203.0.113.9", "64:ff9b::a00:1"]
        {
            assert!(vet(address, 5432).is_err(), "{address}");
        }
        assert!(vet("10.1.0.5", 443).is_err(), "another port");
    }

    #[test]
    fn one_pattern_covers_another() {
        let covers = |most: &str, host: &str| {
            covers(&HostPattern::parse(most).unwrap(), &HostPattern::parse(host).unwrap())
        };
        assert!(covers("*.a.example", "b.a.example") && covers("*.a.example", "*.a.example"));
        assert!(covers("*.a.example", "*.b.a.example") && covers("10.0.0.0/8", "10.1.0.0/16"));
        assert!(!covers("*.a.example", "a.example") && !covers("a.example", "*.a.example"));
        assert!(!covers("*.a.example", "*.xa.example") && !covers("10.1.0.0/16", "10.0.0.0/8"));
        assert!(!covers("0.0.0.0/0", "a.example") && !covers("10.0.0.0/8", "::1"));
    }
}
