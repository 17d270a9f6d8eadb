//! Egress that is wider than it looks, and sockets that lead to the host.

use std::net::IpAddr;

use ringfence_policy::{Destination, HOST, HostPattern, HttpRule, Origin, Policy, Protocol, Rule, Verb};

use crate::data::{self, Kind, hosts};
use crate::finding::{Found, Level};
use crate::rules;

/// Where clouds give out a machine's credentials: AWS, GCP, Azure and most others; AWS by IPv6; Azure's wire server; Alibaba; Oracle.
const METADATA: &[&str] =
    &["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"];
/// Names for the same.
const METADATA_NAMES: &[&str] =
    &["metadata.google.internal", "metadata.goog", "metadata.azure.com", "instance-data"];

pub(crate) fn look(policy: &Policy, found: &mut Found) {
    let network = &policy.network;
    for rule in &network.allow {
        destination(policy, rule, found);
    }
    for rule in &network.unix {
        let path = &rule.value;
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from);
        let known =
            data::sockets(&policy.home, runtime.as_deref()).into_iter().find(|known| known.path == *path);
        let (level, why) = match known {
            Some(known) => (known.level, known.why),
            None => (
                Level::Low,
                "what is said there is not inspected, and its server takes whoever connects for you, who started the sandbox",
            ),
        };
        found.add_as(
            &rules::SOCKET_GRANTED,
            level,
            Some(&rule.origin),
            format!("the socket `{}` can be reached", path.display()),
            why,
            "remove it, or let the server ask for a password, not for a uid",
        );
    }
    containers(policy, found);
    variables(policy, found);
    if let Some(rule) = network.allow.iter().find(|_| policy.leaks.egress.is_none()) {
        found.add(
            &rules::EGRESS_UNSCANNED,
            Some(&rule.origin),
            "what leaves is not searched for secrets",
            "a task that reads one may send it to any host that is allowed",
            "write `[leaks] scan = [\"egress\"]`",
        );
    }
}

fn containers(policy: &Policy, found: &mut Found) {
    let Some(containers) = &policy.containers else { return };
    for rule in &containers.allow {
        let (level, why) = match rule.value {
            Verb::Read => continue,
            Verb::Inspect => {
                (Level::Medium, "the variables and the output of every container are secrets of others")
            }
            Verb::Pull => (Level::Low, "the engine fetches them, past the gateway"),
            Verb::Network | Verb::Build => (
                Level::High,
                "containers and builds reach what the engine's network reaches, past the gateway",
            ),
            Verb::Run | Verb::Attach | Verb::Exec => (
                Level::Low,
                "what runs there is held by the engine's boundary and limits, not by this policy's",
            ),
        };
        found.add_as(
            &rules::SOCKET_GRANTED,
            level,
            Some(&rule.origin),
            format!("the container engine may be asked for `{}`", rule.value.word()),
            why,
            "take it out of `containers.allow`, if the task can do without",
        );
    }
}

fn variables(policy: &Policy, found: &mut Found) {
    for (name, rule) in &policy.environment.set {
        let Some(known) = data::variables().iter().find(|known| known.name == *name) else { continue };
        found.add_as(
            &rules::SOCKET_GRANTED,
            Level::Low,
            Some(&rule.origin),
            format!("the variable `{name}` tells the task of a socket"),
            &known.why,
            "remove it: what is not granted cannot be reached, and what is, should not be",
        );
    }
}

fn destination(policy: &Policy, rule: &Rule<Destination>, found: &mut Found) {
    let (at, destination) = (Some(&rule.origin), &rule.value);
    let (endpoint, host) = (&destination.endpoint, &destination.endpoint.host);
    match host {
        HostPattern::Name(name) => named(name, rule, found),
        HostPattern::Below(name) => below(name, rule, found),
        HostPattern::Address(address) => {
            addresses(*address, if address.is_ipv4() { 32 } else { 128 }, rule, found);
        }
        HostPattern::Network(first, bits) => addresses(*first, *bits, rule, found),
    }
    if let Some(port) = hosts().port.iter().find(|port| port.number == endpoint.port)
        && *host != HostPattern::Name(HOST.to_owned())
    {
        let remedy = "remove it, or put a gate before it that asks who calls, and name that";
        found.add(&rules::EGRESS_ENGINE, at, format!("`{endpoint}` can be reached"), &port.why, remedy);
    }
    // Where a credential is put on requests, they are looked into.
    let mut credentials = policy.credentials.values().filter(|rule| !rule.value.signs());
    let looked_into = credentials.any(|rule| rule.value.hosts.contains(endpoint));
    if destination.http.is_none() && destination.protocol != Protocol::Http && !looked_into {
        let why = match destination.protocol {
            Protocol::Tls => {
                "only the server's name in TLS is looked at; behind it, the server may lead elsewhere, and a secret, or what stands for one, passes unseen"
            }
            Protocol::Tcp => "only the address is looked at",
            _ => "only the first message of the client is looked at",
        };
        let remedy = match destination.protocol {
            Protocol::Tls if destination.closed => "remove `inspect = false`",
            Protocol::Tls => {
                "name what requests may be: `{ host = \"..\", methods = [\"GET\"], paths = [\"/..\"] }`, or `network.inspect = \"all\"`"
            }
            Protocol::Tcp => "name what is spoken there: `protocol = \"..\"`",
            _ => "bound what may leave: `bytes_out = \"..\"`",
        };
        found.add(&rules::EGRESS_NOT_INSPECTED, at, format!("`{endpoint}` is not inspected"), why, remedy);
    }
}

/// Is it this name, or below it?
fn within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn reads_only(destination: &Destination) -> bool {
    let reads = |method: &String| matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
    destination
        .http
        .as_ref()
        .is_some_and(|http| !http.websocket && !http.methods.is_empty() && http.methods.iter().all(reads))
}

fn named(name: &str, rule: &Rule<Destination>, found: &mut Found) {
    let at = Some(&rule.origin);
    if name == HOST {
        let bounded = |http: &HttpRule| !http.methods.is_empty() || !http.paths.is_empty();
        if rule.value.http.as_ref().is_some_and(bounded) {
            return;
        }
        found.add(
            &rules::EGRESS_LOOPBACK,
            at,
            format!("port {} of the host's loopback can be reached", rule.value.endpoint.port),
            "services on loopback often trust whoever reaches them, and may lead further",
            "let the service ask for a password, or name what requests may be: `protocol = \"http\"`, `methods`, `paths`",
        );
        return;
    }
    if METADATA_NAMES.iter().any(|known| within(name, known)) {
        return metadata(at, name, found);
    }
    if let Some(group) =
        hosts().group.iter().find(|group| group.kind == Kind::Drop && holds(&group.names, name))
    {
        return drop_host(name, &group.why, rule, found);
    }
    let accounts = hosts()
        .group
        .iter()
        .find(|group| group.kind == Kind::Accounts && group.names.iter().any(|own| own == name));
    if let Some(group) =
        accounts.filter(|_| rule.value.http.as_ref().is_none_or(|http| http.paths.is_empty()))
        && !reads_only(&rule.value)
    {
        found.add(
            &rules::EGRESS_ACCOUNTS,
            at,
            format!("`{name}` takes any request"),
            format!("{}: what the task sends may go to somebody else's", group.why),
            format!("bound it to your own: `{{ host = \"{name}\", methods = [\"GET\"], paths = [\"/OWNER/**\"] }}`"),
        );
    }
}

fn holds(names: &[String], name: &str) -> bool {
    names.iter().any(|domain| within(name, domain))
}

fn drop_host(name: &str, why: &str, rule: &Rule<Destination>, found: &mut Found) {
    // Who only reads there sends no more than an address holds.
    let level = if reads_only(&rule.value) { Level::Medium } else { Level::High };
    let what = format!("`{name}` can be reached");
    let remedy = "remove it; where a file must come from there, fetch it outside and grant the file";
    found.add_as(&rules::EGRESS_FILE_DROP, level, Some(&rule.origin), what, why, remedy);
}

fn below(domain: &str, rule: &Rule<Destination>, found: &mut Found) {
    let at = Some(&rule.origin);
    if METADATA_NAMES.iter().any(|known| within(known, domain)) {
        return metadata(at, domain, found);
    }
    let group = |kind: Kind, fits: &dyn Fn(&str) -> bool| {
        hosts().group.iter().find(|group| group.kind == kind && group.names.iter().any(|own| fits(own)))
    };
    if let Some(group) = group(Kind::Drop, &|own| within(domain, own) || within(own, domain)) {
        return drop_host(&format!("*.{domain}"), &group.why, rule, found);
    }
    if let Some(group) = group(Kind::Shared, &|own| domain == own || own.ends_with(&format!(".{domain}"))) {
        found.add(
            &rules::EGRESS_SHARED_DOMAIN,
            at,
            format!("`*.{domain}` allows names that anybody can have"),
            &group.why,
            "name the hosts that are yours, one by one",
        );
        return;
    }
    found.add(
        &rules::EGRESS_WILDCARD,
        at,
        format!("`*.{domain}` allows every name below that domain"),
        "one of them that is forgotten, rented out or taken over is a way out, and names themselves carry data",
        "name the hosts that are needed",
    );
}

fn metadata(at: Option<&Origin>, name: &str, found: &mut Found) {
    found.add(
        &rules::EGRESS_METADATA,
        at,
        format!("the cloud's metadata service can be reached by `{name}`"),
        "it gives the machine's own credentials to whoever asks",
        "remove it; give the task the credential that it needs by `[credentials]`",
    );
}

fn addresses(first: IpAddr, bits: u8, rule: &Rule<Destination>, found: &mut Found) {
    let at = Some(&rule.origin);
    let shown = rule.value.endpoint.host.to_string();
    let covers = |address: &str| {
        address.parse().is_ok_and(|address| {
            contains(first, bits, address) && ringfence_policy::opens((first, bits), address)
        })
    };
    if METADATA.iter().any(|address| covers(address)) {
        metadata(at, &shown, found);
    }
    let (wide, large) = if first.is_ipv4() { (16, 8) } else { (48, 32) };
    let private = match first {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    if private && bits < if first.is_ipv4() { 28 } else { 64 } {
        found.add(
            &rules::EGRESS_PRIVATE,
            at,
            format!("all of the private network `{shown}` can be reached"),
            "services inside of a network often trust whoever is in it",
            "name the hosts that are needed",
        );
    } else if !private && bits <= wide {
        let level = if bits <= large { Level::High } else { Level::Medium };
        found.add_as(
            &rules::EGRESS_ANY,
            level,
            at,
            format!("`{shown}` is a large part of all addresses"),
            "somebody else's machine is among them",
            "name the hosts that are needed",
        );
    }
}

fn contains(first: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            first.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            first.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}
