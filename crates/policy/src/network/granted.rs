//! Destinations that are granted while a sandbox runs, and those that its owner may be asked about.

use serde::{Deserialize, Serialize};

use super::{Index, Line, NetworkJudge, Peer, Way};
use crate::Protocol;
use crate::destination::{Destination, covers};
use crate::host::Endpoint;
use crate::model::{Policy, Rule};

/// One that is granted, as who judges gets it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantedHost(Line);

/// What is granted at the moment.
#[derive(Debug, Default)]
pub(super) struct Granted {
    numbers: Vec<u32>,
    index: Index,
}

impl Policy {
    /// What a grant of this destination means, and the rule of `approvals.grantable.hosts` that lets it be.
    ///
    /// # Errors
    /// Why it may not be granted, in words.
    pub fn grant_host(&self, endpoint: &Endpoint) -> Result<(GrantedHost, String), String> {
        if let Some(rule) = self.network.deny.iter().find(|rule| rule.value.whole(endpoint)) {
            return Err(format!("refused: {}", super::denied_by(rule)));
        }
        let rule = self
            .grantable_host(endpoint)
            .ok_or_else(|| format!("no rule of `approvals.grantable.hosts` covers `{endpoint}`"))?;
        if super::decide::decide_connect(self, endpoint).is_allow() {
            return Err(format!("`{endpoint}` is allowed already"));
        }
        let value = Destination { endpoint: endpoint.clone(), ..rule.value.clone() };
        let text = rule.value.endpoint.to_string();
        let by = format!("`{text}` in `approvals.grantable.hosts` ({})", rule.origin);
        Ok((GrantedHost(Line::of(&value, format!("granted while it runs, by {by}"))), by))
    }

    fn grantable_host(&self, endpoint: &Endpoint) -> Option<&Rule<Destination>> {
        let fits = |rule: &&Rule<Destination>| {
            let most = &rule.value.endpoint;
            most.port == endpoint.port && covers(&most.host, &endpoint.host)
        };
        self.approvals.hosts.iter().find(fits)
    }
}

impl NetworkJudge {
    /// From here on it is allowed, under this number.
    pub fn grant(&mut self, number: u32, granted: GrantedHost) {
        let mut lines = std::mem::take(&mut self.granted.index.lines);
        lines.push(granted.0);
        self.granted.numbers.push(number);
        self.granted.index = Index::new(lines);
    }

    /// It is not any more.
    pub fn withdraw(&mut self, number: u32) {
        let Some(at) = self.granted.numbers.iter().position(|own| *own == number) else { return };
        let mut lines = std::mem::take(&mut self.granted.index.lines);
        self.granted.numbers.remove(at);
        if at < lines.len() {
            lines.remove(at);
        }
        self.granted.index = Index::new(lines);
    }

    /// By what is granted alone; no rule denies it.
    pub(super) fn by_grant(&self, peer: &Peer<'_>, port: u16) -> Option<Way> {
        let at = self.granted.index.find(peer, port, true)?;
        let line = self.granted.index.line(at)?;
        let granted = self.granted.numbers.get(at).copied();
        // Where a credential goes, each request is looked into, whatever opened the way.
        let secret = line.protocol == Protocol::Tls && self.secret(peer, port);
        Some(Way { protocol: line.protocol, judged: secret || line.http.is_some(), granted, budget: None })
    }

    /// The line of a grant.
    pub(super) fn granted_line(&self, peer: &Peer<'_>, port: u16) -> Option<&Line> {
        self.granted.index.line(self.granted.index.find(peer, port, true)?)
    }

    /// May the owner be asked about a connection that is refused?
    pub fn asks(&self, peer: &Peer<'_>, port: u16) -> bool {
        self.asks
            && self.deny.find(peer, port, false).is_none()
            && self.grantable.find(peer, port, true).is_some()
    }

    /// Lines by which a name may be asked for.
    pub(super) fn naming(&self) -> impl Iterator<Item = &Index> {
        let asked = self.asks.then_some(&self.grantable);
        [&self.allow, &self.granted.index].into_iter().chain(asked)
    }
}

#[cfg(test)]
mod tests {
    use crate::destination::{Denied, Protocol};
    use crate::model::Origin;
    use crate::network::NetworkRules;

    use super::*;

    fn rule<T>(value: T) -> Rule<T> {
        Rule { value, origin: Origin { source: "test".into(), line: 1 } }
    }

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap()
    }

    fn policy(ask: bool) -> Policy {
        let mut policy = Policy::default();
        let hosts = ["*.b.example", "10.0.0.0/8:5432", "c.example:80"];
        let of = |text| {
            let endpoint = endpoint(text);
            rule(Destination {
                protocol: Protocol::of_port(endpoint.port),
                endpoint,
                http: None,
                bytes_out: None,
                closed: false,
            })
        };
        policy.approvals.hosts = hosts.map(of).to_vec();
        policy.approvals.ask = ask;
        policy.network.deny.push(rule(Denied::parse("x.b.example").unwrap()));
        policy
    }

    #[test]
    fn only_what_may_be_granted_is_and_for_its_time() {
        let policy = policy(false);
        let mut judge = NetworkJudge::new(NetworkRules::of(&policy).unwrap());
        let name = Peer::Name("a.b.example");
        assert!(judge.connect(&name, 443).is_err() && judge.knows("a.b.example").is_err());
        for wrong in ["a.b.example:80", "b.example", "x.b.example", "11.0.0.1:5432", "10.0.0.0/7:5432"] {
            assert!(policy.grant_host(&endpoint(wrong)).is_err(), "{wrong}");
        }
        let (granted, _) = policy.grant_host(&endpoint("a.b.example")).unwrap();
        judge.grant(7, granted);
        judge.grant(8, policy.grant_host(&endpoint("10.1.0.0/16:5432")).unwrap().0);
        let way = judge.connect(&name, 443).unwrap();
        assert_eq!((way.protocol, way.granted), (Protocol::Tls, Some(7)));
        assert!(judge.knows("a.b.example").is_ok() && judge.knows("c.b.example").is_err());
        assert!(judge.vet("a.b.example", "10.1.2.3".parse().unwrap(), 443).is_err());
        assert!(judge.vet("a.b.example", "10.1.2.3".parse().unwrap(), 5432).is_ok());
        judge.withdraw(7);
        assert!(judge.connect(&name, 443).is_err());
        assert!(judge.connect(&Peer::Address("10.1.2.3".parse().unwrap()), 5432).is_ok());
    }

    #[test]
    fn the_owner_is_asked_about_what_is_grantable_and_not_denied() {
        let judge = |ask| NetworkJudge::new(NetworkRules::of(&policy(ask)).unwrap());
        let (asks, silent) = (judge(true), judge(false));
        assert!(asks.asks(&Peer::Name("a.b.example"), 443) && !silent.asks(&Peer::Name("a.b.example"), 443));
        assert!(asks.knows("a.b.example").is_ok() && silent.knows("a.b.example").is_err());
        for (name, port) in [("x.b.example", 443), ("a.b.example", 80), ("d.example", 443)] {
            assert!(!asks.asks(&Peer::Name(name), port), "{name}");
        }
        assert!(asks.knows("x.b.example").is_err());
        assert!(asks.asks(&Peer::Address("10.9.8.7".parse().unwrap()), 5432));
    }
}
