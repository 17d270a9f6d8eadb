//! The lists: places that run code later, sockets that lead out, hosts that are wider than they look.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::finding::Level;

/// A place outside of a workspace that runs code later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// Where.
    pub path: PathBuf,
    /// How bad it is to write there.
    pub level: Level,
    /// Goes on from "what is written there".
    pub why: &'static str,
}

/// A socket that leads out of a boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where.
    pub path: PathBuf,
    /// How bad it is to reach it.
    pub level: Level,
    /// Who listens, and what whoever connects can do.
    pub why: &'static str,
}

/// A variable that leads to one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    #[serde(deserialize_with = "level")]
    /// How bad it is to reach what it names.
    pub level: Level,
    /// Who listens.
    pub why: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    paths: Vec<String>,
    #[serde(deserialize_with = "level")]
    level: Level,
    why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    place: Vec<Line>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sockets {
    socket: Vec<Line>,
    variable: Vec<Variable>,
}

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Anybody leaves and collects data there.
    Drop,
    /// Below it, anybody has a name.
    Shared,
    /// Anybody has an account there.
    Accounts,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) why: String,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hosts {
    pub(crate) group: Vec<Group>,
    pub(crate) port: Vec<Port>,
}

fn level<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// The tests read each of them: none is ever empty.
fn read<T: DeserializeOwned + Default>(text: &str) -> T {
    toml::from_str(text).unwrap_or_default()
}

fn place_list() -> &'static Places {
    static LIST: OnceLock<Places> = OnceLock::new();
    LIST.get_or_init(|| read(include_str!("../data/places.toml")))
}

fn socket_list() -> &'static Sockets {
    static LIST: OnceLock<Sockets> = OnceLock::new();
    LIST.get_or_init(|| read(include_str!("../data/sockets.toml")))
}

pub(crate) fn hosts() -> &'static Hosts {
    static LIST: OnceLock<Hosts> = OnceLock::new();
    LIST.get_or_init(|| read(include_str!("../data/hosts.toml")))
}

/// Where code runs later, for one home, which itself is none of them.
#[must_use]
pub fn places(home: &Path) -> Vec<Later> {
    let lines = place_list().place.iter();
    lines
        .flat_map(|line| line.paths.iter().map(move |path| (line, path)))
        .filter_map(|(line, path)| {
            Some(Later { path: whole(path, home, None)?, level: line.level, why: &line.why })
        })
        .filter(|place| !home.starts_with(&place.path))
        .collect()
}

/// The sockets, for one home and a session's directory, if there is one.
#[must_use]
pub fn sockets(home: &Path, runtime: Option<&Path>) -> Vec<Socket> {
    let lines = socket_list().socket.iter();
    lines
        .flat_map(|line| line.paths.iter().map(move |path| (line, path)))
        .filter_map(|(line, path)| {
            Some(Socket { path: whole(path, home, runtime)?, level: line.level, why: &line.why })
        })
        .collect()
}

/// Variables that lead to sockets.
#[must_use]
pub fn variables() -> &'static [Variable] {
    &socket_list().variable
}

fn whole(text: &str, home: &Path, runtime: Option<&Path>) -> Option<PathBuf> {
    if let Some(rest) = text.strip_prefix("~/") {
        return Some(home.join(rest));
    }
    match text.strip_prefix("%/") {
        Some(rest) => Some(runtime?.join(rest)),
        None => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_read_whole() {
        let lines = |text: &str, head: &str| text.lines().filter(|line| *line == head).count();
        let (places, sockets, hosts) = (
            include_str!("../data/places.toml"),
            include_str!("../data/sockets.toml"),
            include_str!("../data/hosts.toml"),
        );
        assert_eq!(place_list().place.len(), lines(places, "[[place]]"));
        assert_eq!(socket_list().socket.len(), lines(sockets, "[[socket]]"));
        assert_eq!(variables().len(), lines(sockets, "[[variable]]"));
        assert_eq!(super::hosts().group.len(), lines(hosts, "[[group]]"));
        assert_eq!(super::hosts().port.len(), lines(hosts, "[[port]]"));
        for line in place_list().place.iter().chain(&socket_list().socket) {
            assert!(!line.why.is_empty() && line.paths.iter().all(|path| path.starts_with(['/', '~', '%'])));
        }
        for group in &super::hosts().group {
            assert!(!group.why.is_empty());
            for name in &group.names {
                assert!(name.contains('.') && *name == name.to_lowercase(), "{name}");
            }
        }
    }
}
