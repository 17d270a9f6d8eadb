//! What a guest said of one variant, held against what must be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::variants::{Must, Variant, Who};

/// One of the two, in one variant.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Exit status of the run, its report, and what it printed.
    pub(crate) run: Option<(i64, Value, String)>,
    /// Exit status with what is listed, and with what is not; what the first printed.
    pub(crate) guard: Option<(i64, i64, String)>,
    /// Exit status under a policy with `network.allow`, and what was printed.
    pub(crate) network: Option<(i64, String)>,
    pub(crate) doctor: Option<Value>,
    /// Rows of the attack table: held, and the others with what became of them.
    pub(crate) attacks: Option<(usize, Vec<String>)>,
}

/// One variant on one kernel.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) series: String,
    pub(crate) release: String,
    abi: u32,
    pub(crate) variant: &'static Variant,
    /// Why the kernel has no such variant.
    pub(crate) left_out: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) seen: BTreeMap<Who, Seen>,
    unasked: Vec<String>,
}

impl Outcome {
    /// Picks this variant's lines out of what was said.
    pub(crate) fn read(series: &str, abi: u32, variant: &'static Variant, said: &[String]) -> Self {
        let abi = if variant.boot.name == "no-landlock" { 0 } else { abi };
        let mut outcome = Self {
            series: series.to_owned(),
            release: String::new(),
            abi,
            variant,
            left_out: None,
            notes: Vec::new(),
            seen: BTreeMap::new(),
            unasked: Vec::new(),
        };
        for line in said {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["up", release, ..] => outcome.release = (*release).to_owned(),
                [kind, name, rest @ ..] if *name == variant.name => outcome.line(kind, rest),
                _ => {}
            }
        }
        outcome
    }

    fn line(&mut self, kind: &str, rest: &[&str]) {
        let number = |text: &str| text.parse().unwrap_or(-1);
        let who = match rest.first() {
            Some(&"user") => Some(Who::User),
            Some(&"root") => Some(Who::Root),
            _ => None,
        };
        match (kind, who, rest) {
            ("left-out", _, [why]) => self.left_out = Some(text(why).trim().to_owned()),
            ("note", _, [note]) => self.notes.push((*note).to_owned()),
            ("wrong", _, what) => self.unasked.push(what.join(": ")),
            ("run", Some(who), [_, status, report, printed]) => {
                let report = serde_json::from_str(&text(report)).unwrap_or_default();
                self.seen.entry(who).or_default().run = Some((number(status), report, text(printed)));
            }
            ("guard", Some(who), [_, good, bad, printed]) => {
                self.seen.entry(who).or_default().guard = Some((number(good), number(bad), text(printed)));
            }
            ("network", Some(who), [_, status, printed]) => {
                self.seen.entry(who).or_default().network = Some((number(status), text(printed)));
            }
            ("doctor", Some(who), [_, _, report]) => {
                self.seen.entry(who).or_default().doctor = serde_json::from_str(&text(report)).ok();
            }
            ("attack", Some(who), [_, rows, errors]) => {
                self.seen.entry(who).or_default().attacks = Some(attacks(who, &text(rows), &text(errors)));
            }
            _ => {}
        }
    }

    /// Everything that is not as it must be.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = self.unasked.clone();
        if self.left_out.is_none() {
            for who in Who::BOTH {
                let nothing = Seen::default();
                let seen = self.seen.get(&who).unwrap_or(&nothing);
                let say = |what: String| format!("{}: {what}", who.name());
                wrong.extend(self.run(who, seen).map(say));
                wrong.extend(self.doctor(who, seen).map(say));
                wrong.extend(self.guard(who, seen).map(say));
                wrong.extend(self.network(who, seen).map(say));
                let rows = seen.attacks.iter().flat_map(|(_, others)| others);
                wrong.extend(rows.map(|row| say(row.clone())));
            }
        }
        wrong.iter().map(|what| format!("{} {}: {what}", self.series, self.variant.name)).collect()
    }

    fn run(&self, who: Who, seen: &Seen) -> Option<String> {
        let Some((status, report, printed)) = &seen.run else { return Some("it was not run".into()) };
        match (self.variant.must)(self.abi, who) {
            Must::Work(tier, degraded) => {
                let names = names(report);
                let truncation = (1..3).contains(&self.abi) && tier == "namespace";
                let said: Vec<&str> =
                    degraded.iter().copied().chain(truncation.then_some("landlock")).collect();
                let missing = said.iter().find(|name| !names.iter().any(|found| found == *name));
                let more = names.iter().find(|name| !said.contains(&name.as_str()) && *name != "root-uid");
                if *status != 0 || report["tier"] != tier {
                    Some(format!(
                        "must work in tier {tier}: status {status}, tier {}, {}",
                        report["tier"],
                        flat(printed)
                    ))
                } else if let Some(name) = missing {
                    Some(format!("must say that `{name}` is degraded: {names:?}"))
                } else {
                    more.map(|name| format!("must not be degraded: `{name}` of {names:?}"))
                }
            }
            Must::Refuse(cause) => (*status != 125 || !printed.contains(cause))
                .then(|| format!("must refuse, naming `{cause}`: status {status}, {}", flat(printed))),
        }
    }

    /// What doctor says must be what run did.
    fn doctor(&self, who: Who, seen: &Seen) -> Option<String> {
        let Some(doctor) = &seen.doctor else { return Some("doctor said nothing".into()) };
        let must = match (self.variant.must)(self.abi, who) {
            // Root's own directories are root's: only `--allow-degraded root-uid` works on them there.
            Must::Work("landlock", _) if who == Who::Root => {
                let told = doctor["checks"].to_string().contains("root-uid");
                return (doctor["works"] != false || !told)
                    .then(|| format!("doctor must name `root-uid`: {}", doctor["works"]));
            }
            Must::Work(tier, _) => (true, Value::from(tier)),
            Must::Refuse(_) => (false, Value::Null),
        };
        let says = (doctor["works"] == true, doctor["tier"].clone());
        (says != must).then(|| format!("doctor says {says:?}, and it must be {must:?}: {}", bad(doctor)))
    }

    /// The gateway needs a boundary in either tier, and that init may look into a task.
    fn network(&self, who: Who, seen: &Seen) -> Option<String> {
        let Some((status, printed)) = &seen.network else { return Some("a network was not tried".into()) };
        let must = match (self.variant.must)(self.abi, who) {
            Must::Work(_, degraded) if !degraded.contains(&"ptrace") => 0,
            _ => 125,
        };
        (*status != must)
            .then(|| format!("with `network.allow`, status must be {must}: {status}, {}", flat(printed)))
    }

    fn guard(&self, who: Who, seen: &Seen) -> Option<String> {
        let Some((good, bad, printed)) = &seen.guard else {
            return Some("rules for arguments were not tried".into());
        };
        match (self.variant.guard)(self.abi, who) {
            Ok(()) if matches!((self.variant.must)(self.abi, who), Must::Work(..)) => (*good != 0
                || *bad == 0)
                .then(|| format!("rules for arguments must work: {good}, {bad}, {}", flat(printed))),
            Err(cause) if matches!((self.variant.must)(self.abi, who), Must::Work(..)) => (*good != 125
                || *bad != 125
                || !printed.contains(cause))
            .then(|| {
                format!("rules for arguments must be refused, naming `{cause}`: {good}, {}", flat(printed))
            }),
            _ => (*good != 125 || *bad != 125).then(|| format!("must refuse: {good}, {}", flat(printed))),
        }
    }
}

/// The parts that the report calls degraded.
pub(crate) fn names(report: &Value) -> Vec<String> {
    let list = report["degraded"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|one| Some(one["name"].as_str().or(one.as_str())?.to_owned())).collect()
}

fn bad(doctor: &Value) -> String {
    let checks = doctor["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let some = checks.iter().filter(|check| check["state"] != "good");
    some.map(|check| format!("{}: {}", check["name"], check["found"])).collect::<Vec<_>>().join("; ")
}

fn attacks(who: Who, rows: &str, errors: &str) -> (usize, Vec<String>) {
    let Ok(found) = serde_json::from_str::<Value>(rows) else {
        return (0, vec![format!("the attack table said: {}", flat(errors))]);
    };
    let mut held = 0;
    let mut others = Vec::new();
    for row in found["rows"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let result = &row["results"][who.name()];
        match result["state"].as_str() {
            Some("held") => held += 1,
            Some("later") => {}
            state => others.push(format!(
                "{} {}: {}",
                row["id"].as_str().unwrap_or("?"),
                state.unwrap_or("?"),
                flat(&result["why"].to_string())
            )),
        }
    }
    (held, others)
}

/// One line of what was printed, and not too much of it.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect()
}

/// base64 (RFC 4648, section 4), as text; what is none of it is passed over.
fn text(coded: &str) -> String {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for byte in coded.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        assert_eq!(text("YQ=="), "a");
        assert_eq!(text("YWI="), "ab");
        assert_eq!(text("YWJjZMOk"), "abcdä");
        assert_eq!(text(""), "");
    }
}
