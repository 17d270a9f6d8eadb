//! `network.registries`: which hosts the machine's own package clients are configured for. Read from where those clients read it,
//! never from the workspace or a tree that the policy lets the task write, whatever variable or link leads there: what a task can
//! write must not widen what the next one reaches.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{Destination, Endpoint, HostPattern, Policy, Registry, Rule};

use crate::failure::Failure;

/// A client's file is read up to here; more is no configuration.
const MOST: u64 = 4 << 20;

/// Adds what the clients are configured for to what may be reached.
pub(crate) fn resolve(policy: &mut Policy, invoker: &Invoker, workspace: &Path) -> Result<(), Failure> {
    let granted = policy.files.write.iter().map(|rule| rule.value.path.as_path());
    let written = granted.chain([workspace]).filter_map(|path| path.canonicalize().ok()).collect();
    let machine = Machine { invoker, written };
    for rule in policy.network.registries.clone() {
        let mut hosts = Hosts::default();
        match rule.value {
            Registry::Cargo => machine.cargo(&mut hosts),
            Registry::Pip => machine.pip(&mut hosts),
            Registry::Npm => machine.npm(&mut hosts),
            Registry::Apt => machine.apt(&mut hosts),
        }
        let name = rule.value.word();
        if hosts.0.is_empty() {
            let origin = &rule.origin;
            return Err(Failure::new(format!(
                "{}:{}: no registry is configured for `{name}` on this machine",
                origin.source, origin.line
            ))
            .hint(format!(
                "configure {}, where the task cannot write, or remove `{name}` from `network.registries`",
                rule.value.configured_in()
            )));
        }
        for endpoint in hosts.0 {
            let value = Destination::read_only(endpoint);
            policy.network.allow.push(Rule { value, origin: rule.origin.clone() });
        }
    }
    Ok(())
}

/// The hosts of one client.
#[derive(Debug, Default)]
struct Hosts(BTreeSet<Endpoint>);

impl Hosts {
    /// Adds the host of a URL, if it is one of http or https.
    fn add(&mut self, url: &str) {
        self.0.extend(host_of(url));
    }
}

/// `sparse+https://user:password@host:port/path`
fn host_of(url: &str) -> Option<Endpoint> {
    let url = url.trim().trim_matches(['"', '\'']);
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme.rsplit('+').next()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let endpoint = Endpoint::parse(host).ok()?;
    let written = host.rsplit(':').next().is_some_and(|port| port.parse() == Ok(endpoint.port));
    let port = if written { endpoint.port } else { usual };
    matches!(endpoint.host, HostPattern::Name(_) | HostPattern::Address(_))
        .then_some(Endpoint { host: endpoint.host, port })
}

struct Machine<'a> {
    invoker: &'a Invoker,
    /// Where a task may have written.
    written: Vec<PathBuf>,
}

impl Machine<'_> {
    /// A client's file, unless a task may have written it.
    fn read(&self, path: &Path) -> Option<String> {
        let real = path.canonicalize().ok()?;
        let metadata = real.metadata().ok()?;
        let fine = metadata.is_file() && metadata.len() <= MOST && !self.may_be_the_tasks(&real);
        fine.then(|| std::fs::read_to_string(real).ok())?
    }

    /// What a directory holds, in the order of names; nothing of one that a task may have filled.
    fn entries(&self, directory: &Path) -> Vec<PathBuf> {
        let Some(real) = directory.canonicalize().ok().filter(|real| !self.may_be_the_tasks(real)) else {
            return Vec::new();
        };
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(real).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    fn may_be_the_tasks(&self, real: &Path) -> bool {
        self.written.iter().any(|tree| real.starts_with(tree))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.invoker.variables.get(OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    fn home(&self, path: &str) -> PathBuf {
        self.invoker.home.join(path)
    }

    /// Configuration, then the index that it was used with: its directory is named after the host, and it says where
    /// packages are.
    fn cargo(&self, hosts: &mut Hosts) {
        let own = self.variable("CARGO_HOME").map_or_else(|| self.home(".cargo"), PathBuf::from);
        let mut replaced = false;
        for name in ["config.toml", "config"] {
            let Some(text) = self.read(&own.join(name)) else { continue };
            let Ok(table) = text.parse::<toml_edit::DocumentMut>() else { continue };
            for (_, source) in
                table.get("source").and_then(|item| item.as_table_like()).iter().flat_map(|t| t.iter())
            {
                let text = |key: &str| source.get(key).and_then(|value| value.as_str());
                replaced |= text("replace-with").is_some();
                text("registry").into_iter().for_each(|url| hosts.add(url));
            }
            let registries = table.get("registries").and_then(|item| item.as_table_like());
            for (_, registry) in registries.iter().flat_map(|table| table.iter()) {
                registry
                    .get("index")
                    .and_then(|value| value.as_str())
                    .into_iter()
                    .for_each(|url| hosts.add(url));
            }
            break;
        }
        for (name, value) in &self.invoker.variables {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_REGISTRIES_") && name.ends_with("_INDEX") {
                value.to_str().into_iter().for_each(|url| hosts.add(url));
            }
        }
        for index in self.entries(&own.join("registry/index")) {
            let Some((host, _)) =
                index.file_name().and_then(OsStr::to_str).and_then(|name| name.rsplit_once('-'))
            else {
                continue;
            };
            let known = HostPattern::parse(host).ok();
            let used = hosts.0.iter().any(|endpoint| Some(&endpoint.host) == known.as_ref());
            // A source that is replaced is not asked any more.
            if replaced && !used {
                continue;
            }
            hosts.add(&format!("https://{host}/"));
            let said = self.read(&index.join("config.json"));
            let said = said.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            for key in ["dl", "api"] {
                said.as_ref()
                    .and_then(|said| said.get(key)?.as_str())
                    .into_iter()
                    .for_each(|url| hosts.add(url));
            }
        }
    }

    fn pip(&self, hosts: &mut Hosts) {
        let mut index = self.variable("PIP_INDEX_URL").map(str::to_owned);
        let more = self.variable("PIP_EXTRA_INDEX_URL").into_iter().flat_map(str::split_whitespace);
        more.for_each(|url| hosts.add(url));
        let configuration = self
            .variable("XDG_CONFIG_HOME")
            .map_or_else(|| self.home(".config/pip/pip.conf"), |path| Path::new(path).join("pip/pip.conf"));
        let mut files = vec![
            self.home(".pip/pip.conf"),
            configuration,
            "/etc/xdg/pip/pip.conf".into(),
            "/etc/pip.conf".into(),
        ];
        if let Some(own) = self.variable("VIRTUAL_ENV") {
            files.insert(0, Path::new(own).join("pip.conf"));
        }
        // Later files yield to earlier ones.
        for text in files.iter().filter_map(|file| self.read(file)) {
            for (key, value) in settings(&text) {
                match key {
                    "index-url" | "index_url" => drop(index.get_or_insert_with(|| value.to_owned())),
                    "extra-index-url" | "extra_index_url" => {
                        value.split_whitespace().for_each(|url| hosts.add(url));
                    }
                    _ => {}
                }
            }
        }
        match index {
            Some(index) => hosts.add(&index),
            None => self.pip_itself(hosts),
        }
    }

    /// What pip asks if nothing is configured stands in its own source.
    fn pip_itself(&self, hosts: &mut Hosts) {
        const FILE: &str = "pip/_internal/models/index.py";
        let mut prefixes: Vec<PathBuf> =
            self.path().filter_map(|directory| Some(directory.parent()?.to_owned())).collect();
        let own = self.variable("PYENV_ROOT").map_or_else(|| self.home(".pyenv"), PathBuf::from);
        prefixes.extend(self.entries(&own.join("versions")));
        let libraries = prefixes.iter().flat_map(|prefix| self.entries(&prefix.join("lib")));
        let packages =
            libraries.flat_map(|library| [library.join("site-packages"), library.join("dist-packages")]);
        let Some(text) = packages.map(|packages| packages.join(FILE)).find_map(|file| self.read(&file))
        else {
            return;
        };
        let Some(line) = text.lines().find(|line| line.starts_with("PyPI = ")) else { return };
        let mut quoted = line.split('"').skip(1).step_by(2);
        quoted.next().into_iter().for_each(|url| hosts.add(url));
        quoted.next().into_iter().for_each(|host| hosts.add(&format!("https://{host}/")));
    }

    fn npm(&self, hosts: &mut Hosts) {
        let mut registry = ["npm_config_registry", "NPM_CONFIG_REGISTRY"]
            .iter()
            .find_map(|name| self.variable(name))
            .map(str::to_owned);
        let user = self.variable("NPM_CONFIG_USERCONFIG").map_or_else(|| self.home(".npmrc"), PathBuf::from);
        for text in [user, "/usr/etc/npmrc".into(), "/usr/local/etc/npmrc".into(), "/etc/npmrc".into()]
            .iter()
            .filter_map(|file| self.read(file))
        {
            for (key, value) in settings(&text) {
                match key {
                    "registry" => drop(registry.get_or_insert_with(|| value.to_owned())),
                    _ if key.starts_with('@') && key.ends_with(":registry") => hosts.add(value),
                    _ => {}
                }
            }
        }
        match registry {
            Some(registry) => hosts.add(&registry),
            None => self.npm_itself(hosts),
        }
    }

    /// What npm asks if nothing is configured stands in its own definitions.
    fn npm_itself(&self, hosts: &mut Hosts) {
        const FILE: &str = "node_modules/@npmcli/config/lib/definitions/definitions.js";
        let program = self.path().find_map(|directory| directory.join("npm").canonicalize().ok());
        let Some(package) = program.as_deref().and_then(|program| program.parent()?.parent()) else { return };
        let Some(text) = self.read(&package.join(FILE)) else { return };
        let Some((_, own)) = text.split_once("registry: new Definition('registry'") else { return };
        let value = own.split_once("default: '").and_then(|(_, rest)| rest.split('\'').next());
        value.into_iter().for_each(|url| hosts.add(url));
    }

    /// Sources in both forms (sources.list(5)).
    fn apt(&self, hosts: &mut Hosts) {
        let directory = Path::new("/etc/apt/sources.list.d");
        let named = |end: &str| -> Vec<PathBuf> {
            let mut found = self.entries(directory);
            found.retain(|path| path.extension() == Some(OsStr::new(end)));
            found
        };
        let lists = named("list");
        for text in
            [PathBuf::from("/etc/apt/sources.list")].iter().chain(&lists).filter_map(|file| self.read(file))
        {
            for line in text
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with("deb ") || line.starts_with("deb-src "))
            {
                line.split_whitespace()
                    .filter(|word| word.contains("://"))
                    .take(1)
                    .for_each(|url| hosts.add(url));
            }
        }
        for text in named("sources").iter().filter_map(|file| self.read(file)) {
            let lines = text.lines().filter_map(|line| line.strip_prefix("URIs:"));
            lines.flat_map(str::split_whitespace).for_each(|url| hosts.add(url));
        }
    }

    fn path(&self) -> impl Iterator<Item = PathBuf> {
        let path = self.invoker.variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        std::env::split_paths(&path).filter(|path| path.is_absolute()).collect::<Vec<_>>().into_iter()
    }
}

/// `key = value` lines; comments begin a line.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';', '[']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls() {
        for (url, expected) in [
            ("sparse+https://index.example/", Some("index.example:443")),
            ("https://user:pass@a.example:8443/x", Some("a.example:8443")),
            ("http://deb.example/debian", Some("deb.example:80")),
            ("\"https://b.example\"", Some("b.example:443")),
            ("https://a.example:443/x", Some("a.example:443")),
            ("http://a.example:443/x", Some("a.example:443")),
            ("git://c.example/x", None),
            ("file:///x", None),
            ("https://*.example.org/", None),
            ("", None),
        ] {
            let found = host_of(url).map(|endpoint| endpoint.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
