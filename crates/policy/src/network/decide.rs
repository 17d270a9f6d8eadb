//! What a policy says of one connection or request, before any is made.

use std::net::IpAddr;
use std::path::Path;

use super::{Index, NetworkJudge, NetworkRules, Peer, allowed_by, denied_by};
use crate::decision::{Decision, Reason};
use crate::destination::{Destination, HOST, NAMES, covers};
use crate::host::{Endpoint, HostPattern};
use crate::http::HttpRequest;
use crate::model::{Policy, Rule};
use crate::print::quoted;
use crate::ranges::{OPENED, closed, inner};
use crate::remedy::written;

/// How the judge says that no rule is about something.
const UNCOVERED: &str = "no rule of `network.allow` covers ";
const NO_NETWORK: &str = "no network: ";

/// The port that a line names where only a name was asked for.
pub(super) const USUAL: u16 = 443;

/// Decides about one request: the connection it needs, then what rules say of it.
pub fn decide_request(policy: &Policy, endpoint: &Endpoint, request: &HttpRequest<'_>) -> Decision {
    let connection = decide_connect(policy, endpoint);
    let (true, Some(rules)) = (connection.is_allow(), NetworkRules::of(policy)) else { return connection };
    let judge = NetworkJudge::new(rules);
    let peer = match &endpoint.host {
        HostPattern::Name(name) => Peer::Name(name),
        HostPattern::Address(address) => Peer::Address(*address),
        HostPattern::Below(_) | HostPattern::Network(..) => return connection,
    };
    if !judge.connect(&peer, endpoint.port).is_ok_and(|way| way.judged) {
        return connection;
    }
    match judge.request(&peer, endpoint.port, request) {
        Ok(_) => connection,
        Err(why) => Decision::Refuse { by: Reason::BuiltIn(why) },
    }
}

/// A host and port as a policy writes them.
pub fn written_endpoint(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The lines of policy that would allow what was refused for this reason; none if another rule refuses it. A port of 0
/// stands for the usual one.
pub fn network_remedy(host: &str, port: u16, rule: &str) -> Vec<String> {
    // In tier `landlock` the task has no loopback of its own, which the rule says then. A question for the name says no service.
    let own = rule.starts_with("tier `landlock`: the loopback");
    let missing = missing_host(host, rule);
    if own || missing == Some(HOST) {
        let line = format!("allow = [{{ host_loopback = {port} }}]");
        return if [0, NAMES].contains(&port) { Vec::new() } else { vec!["[network]".to_owned(), line] };
    }
    let Some(host) = missing else { return Vec::new() };
    let port = if port == 0 { USUAL } else { port };
    let written = written_endpoint(host, port);
    if port == NAMES || Endpoint::parse(&written).is_err() {
        return Vec::new();
    }
    // What no rule opens, whatever it says.
    if host.parse().is_ok_and(|address: IpAddr| closed(inner(address), u8::MAX).is_some()) {
        return Vec::new();
    }
    vec!["[network]".to_owned(), format!("allow = [\"{written}\"]")]
}

/// What a line would have to name, where none does: the host, or the address that its name leads to. Only a whole sentence of the
/// judge's own says so: others quote what the task sent.
#[must_use]
pub fn missing_host<'a>(host: &'a str, rule: &'a str) -> Option<&'a str> {
    if [UNCOVERED, NO_NETWORK].iter().any(|own| rule.starts_with(own)) {
        return Some(host);
    }
    let said = rule.strip_suffix(OPENED)?.strip_prefix('`')?.strip_prefix(host)?.strip_prefix('`')?;
    let Some(leads) = said.strip_prefix(" leads to `") else {
        return said.starts_with(" is ").then_some(host);
    };
    let (address, _) = leads.split_once("`, ")?;
    address.parse::<IpAddr>().is_ok().then_some(address)
}

/// Whether a destination that was refused for this reason may be granted while the sandbox runs. A port of 0 stands for the usual one.
pub fn grantable_host(policy: &Policy, host: &str, port: u16, rule: &str) -> bool {
    // What is refused for something else stays so beside a grant.
    let missing = !rule.starts_with(NO_NETWORK) && missing_host(host, rule) == Some(host);
    let written = written_endpoint(host, if port == 0 { USUAL } else { port });
    missing && Endpoint::parse(&written).is_ok_and(|endpoint| policy.grant_host(&endpoint).is_ok())
}

/// The lines of policy that grant a socket of the host at this path; none if no policy can name it.
pub fn socket_remedy(path: &str) -> Vec<String> {
    let line = |path: String| format!("allow = [{{ unix = {} }}]", quoted(&path));
    written(Path::new(path), None).map_or_else(Vec::new, |path| vec!["[network]".to_owned(), line(path)])
}

/// Decides about one connection, so far as that can be known before a name is looked up.
pub fn decide_connect(policy: &Policy, endpoint: &Endpoint) -> Decision {
    let Some(rules) = NetworkRules::of(policy) else {
        let by = Reason::BuiltIn(format!("no network: nothing can reach `{endpoint}`"));
        return Decision::Refuse { by };
    };
    let judge = NetworkJudge::new(rules);
    let peer = match &endpoint.host {
        HostPattern::Name(name) => Peer::Name(name),
        HostPattern::Address(address) => Peer::Address(*address),
        // A pattern is allowed only by one that covers it.
        host => {
            let covered = |rule: &&Rule<Destination>| {
                rule.value.endpoint.port == endpoint.port && covers(&rule.value.endpoint.host, host)
            };
            if let Some(rule) = policy.network.deny.iter().find(|rule| rule.value.whole(endpoint)) {
                return Decision::Refuse { by: denied_by(rule) };
            }
            return match policy.network.allow.iter().find(covered) {
                Some(rule) => Decision::Allow { by: allowed_by(rule) },
                None => Decision::Refuse {
                    by: Reason::BuiltIn(format!("no rule of `network.allow` covers `{endpoint}`")),
                },
            };
        }
    };
    let rule = |list: &Index, opening| list.find(&peer, endpoint.port, opening);
    if let Some(rule) = rule(&judge.deny, false).and_then(|number| policy.network.deny.get(number)) {
        return Decision::Refuse { by: denied_by(rule) };
    }
    match rule(&judge.allow, true).and_then(|number| policy.network.allow.get(number)) {
        Some(rule) => Decision::Allow { by: allowed_by(rule) },
        None => {
            let why = judge.connect(&peer, endpoint.port).err().unwrap_or_default();
            Decision::Refuse { by: Reason::BuiltIn(why) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_the_host_is_opened_by_its_own_line() {
        let line = |host| network_remedy(host, 80, "no rule of `network.allow` covers it").join(" ");
        assert_eq!(line(HOST), "[network] allow = [{ host_loopback = 80 }]");
        assert_eq!(line("a.example"), "[network] allow = [\"a.example:80\"]");
        // The task picks the names that it asks for.
        let rule = "no rule of `network.allow` covers `host_loopback`";
        assert_eq!(network_remedy("host_loopback", 0, rule).concat().matches("{").count(), 0);
        assert!(network_remedy(HOST, 0, rule).is_empty());
        // What its rule says of requests is no rule that is missing.
        assert!(network_remedy(HOST, 80, "DELETE /a: no rule allows the method").is_empty());
    }

    #[test]
    fn what_the_task_sent_writes_no_line() {
        let other = |sent: &str| format!("the request names another host, `{sent}`");
        for rule in [
            other("no rule of x leads to `169.254.169.254`"),
            other(
                "a` leads to `10.0.0.1`, is a private address; only a rule of `network.allow` that names it opens it",
            ),
            other("no rule of `network.allow` covers it"),
            other("no network: x"),
            "what is said is no HTTP: no rule of `network.allow` covers x".to_owned(),
        ] {
            assert!(network_remedy("a.example", 80, &rule).is_empty(), "{rule}");
        }
        let private = "a private network (RFC 1918); only a rule of `network.allow` that names it opens it";
        let line = |host, rule: String| network_remedy(host, 80, &rule).concat();
        let own = "[network]allow = [\"10.0.0.1:80\"]";
        assert_eq!(line("a.example", format!("`a.example` leads to `10.0.0.1`, {private}")), own);
        assert_eq!(line("10.0.0.1", format!("`10.0.0.1` is {private}")), own);
        assert_eq!(line("b.example", format!("`a.example` leads to `10.0.0.1`, {private}")), "");
    }

    #[test]
    fn no_line_is_offered_for_the_port_of_names() {
        let rule = "no rule of `network.allow` covers it";
        assert!(
            network_remedy("a.example", 53, rule).is_empty() && network_remedy(HOST, 53, rule).is_empty()
        );
    }

    #[test]
    fn no_line_is_offered_for_addresses_that_no_rule_opens() {
        let line = |host| network_remedy(host, 22, "no network: nothing can reach it").join(" ");
        for host in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "198.18.0.1"] {
            assert_eq!(line(host), "", "{host}");
        }
        assert_eq!(line("10.0.0.1"), "[network] allow = [\"10.0.0.1:22\"]");
        assert_eq!(line("fd00::1"), "[network] allow = [\"[fd00::1]:22\"]");
    }
}
