//! The merged policy as TOML, each line with where it came from; it is itself a policy again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::containers::Image;
use crate::credential::{Form, Oauth, SecretSource, Spiffe};
use crate::destination::{Denied, HOST};
use crate::diagnostic::escape;
use crate::guarded;
use crate::host::{Endpoint, HostPattern};
use crate::http::HttpRule;
use crate::limits;
use crate::model::{Children, EnvironmentValue, Grant, Identity, Mode, Origin, Policy, Rule};

/// `ringfence plan --policy-only`.
pub fn print_merged(policy: &Policy) -> String {
    let mut out = Printer { text: String::new(), policy };
    out.line("# the merged policy; hash ", &policy.hash);
    for source in &policy.sources {
        out.line("# merged from ", &escape(source));
    }
    out.line("version = 1", "");
    if let Some(identity) = &policy.identity {
        let value = match &identity.value {
            Identity::Name(name) => format!("{{ name = {} }}", quoted(name)),
            Identity::Spiffe(id) => format!("{{ spiffe = {} }}", quoted(id)),
        };
        out.key("identity", &value, Some(&identity.origin));
    }
    out.workspace();
    out.files();
    out.approvals();
    out.environment();
    out.commands();
    out.network();
    out.credentials();
    out.containers();
    if let Some((_, leaks)) = policy.leaks.all().next() {
        out.table("leaks");
        let words: Vec<String> = policy.leaks.all().map(|(word, _)| quoted(word)).collect();
        out.key("scan", &format!("[{}]", words.join(", ")), Some(&leaks.origin));
        out.key("action", &quoted(leaks.value.word()), Some(&leaks.origin));
    }
    out.limits();
    out.runtime();
    if !policy.expect.allow.is_empty() || !policy.expect.refuse.is_empty() {
        out.table("expect");
        out.list("allow", &policy.expect.allow, |claim| claim.clone());
        out.list("refuse", &policy.expect.refuse, |claim| claim.clone());
    }
    out.text
}

struct Printer<'a> {
    text: String,
    policy: &'a Policy,
}

impl Printer<'_> {
    fn line(&mut self, start: &str, rest: &str) {
        self.text.push_str(start);
        self.text.push_str(rest);
        self.text.push('\n');
    }

    fn network(&mut self) {
        let network = &self.policy.network;
        if network.unix.is_empty()
            && network.allow.is_empty()
            && network.deny.is_empty()
            && network.registries.is_empty()
            && network.publish.is_empty()
        {
            return;
        }
        self.table("network");
        self.list("registries", &network.registries, |registry| registry.word().to_owned());
        if !network.allow.is_empty() || !network.unix.is_empty() {
            self.line("allow", " = [");
            for rule in &network.allow {
                let Endpoint { host, port } = &rule.value.endpoint;
                let word = rule.value.protocol.word();
                let place = if *host == HostPattern::Name(HOST.to_owned()) {
                    format!("host_loopback = {port}")
                } else {
                    format!("host = {}, port = {port}", quoted(&host.to_string()))
                };
                let requests = rule.value.http.as_ref().map(requests).unwrap_or_default();
                let budget =
                    rule.value.bytes_out.map(|most| format!(", bytes_out = \"{most}B\"")).unwrap_or_default();
                let inspect = if rule.value.closed { ", inspect = false" } else { "" };
                let text = format!("{{ {place}, protocol = \"{word}\"{requests}{budget}{inspect} }}");
                self.line("  ", &format!("{text}, # from {}", rule.origin));
            }
            for rule in &network.unix {
                let path = quoted(&spelled(&rule.value));
                self.line("  ", &format!("{{ unix = {path} }}, # from {}", rule.origin));
            }
            self.line("]", "");
        }
        self.list("deny", &network.deny, Denied::to_string);
        if network.inspect {
            self.key("inspect", "\"all\"", self.policy.origins.get("network.inspect"));
        }
        if !network.publish.is_empty() {
            self.line("publish", " = [");
            for port in &network.publish {
                self.line("  ", &format!("{}, # from {}", port.value, port.origin));
            }
            self.line("]", "");
        }
    }

    fn oauth(&self, oauth: &Oauth) -> String {
        let (host, port, path) = &oauth.server;
        let mut parts = vec![format!("token_url = {}", quoted(&format!("https://{host}:{port}{path}")))];
        parts.extend(oauth.client_id.iter().map(|id| format!("client_id = {}", quoted(id))));
        for (name, source) in oauth.parts() {
            let source = match source {
                SecretSource::Env(name) => format!("env = {}", quoted(name)),
                SecretSource::File(path) => format!("file = {}", quoted(&spelled(path))),
                SecretSource::Command(words) => {
                    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                    format!("command = [{}]", words.join(", "))
                }
                SecretSource::SecretService(attributes) => keyring(attributes),
                SecretSource::SshAgent(_)
                | SecretSource::Gpg(_)
                | SecretSource::Oauth(_)
                | SecretSource::Spiffe(_) => continue,
            };
            parts.push(format!("{name} = {{ {source} }}"));
        }
        parts.extend(oauth.subject.iter().map(|(_, kind)| format!("subject_token_type = {}", quoted(kind))));
        parts.extend(oauth.parameters.iter().map(|(name, text)| format!("{name} = {}", quoted(text))));
        format!("{{ {} }}", parts.join(", "))
    }

    fn spiffe(&self, spiffe: &Spiffe) -> String {
        let audience: Vec<String> = spiffe.audience.iter().map(|text| quoted(text)).collect();
        let socket = spiffe.socket.iter().map(|path| format!("socket = {}", quoted(&spelled(path))));
        let id = spiffe.id.iter().map(|id| format!("id = {}", quoted(id)));
        let parts: Vec<String> =
            socket.chain(id).chain([format!("audience = [{}]", audience.join(", "))]).collect();
        format!("{{ {} }}", parts.join(", "))
    }

    fn containers(&mut self) {
        let Some(containers) = &self.policy.containers else { return };
        self.table("containers");
        self.key("engine", &quoted(&spelled(&containers.engine.value)), Some(&containers.engine.origin));
        self.list("allow", &containers.allow, |verb| verb.word().to_owned());
        self.list("images", &containers.images, Image::text);
        self.list("tags", &containers.tags, Image::text);
    }

    fn credentials(&mut self) {
        for (name, rule) in &self.policy.credentials {
            let (credential, origin) = (&rule.value, Some(&rule.origin));
            let listed = |texts: Vec<String>| {
                let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("[{}]", quoted.join(", "))
            };
            self.table(&format!("credentials.{}", quoted(name)));
            let source = match &credential.source {
                SecretSource::Env(name) => format!("env = {}", quoted(name)),
                SecretSource::File(path) => format!("file = {}", quoted(&spelled(path))),
                SecretSource::Command(words) => format!("command = {}", listed(words.clone())),
                SecretSource::SecretService(attributes) => keyring(attributes),
                SecretSource::Gpg(key) => format!("gpg = {}", quoted(key)),
                SecretSource::SshAgent(key) => format!("ssh_agent = {}", quoted(key)),
                SecretSource::Oauth(oauth) => format!("oauth = {}", self.oauth(oauth)),
                SecretSource::Spiffe(spiffe) => format!("spiffe = {}", self.spiffe(spiffe)),
            };
            self.key("source", &format!("{{ {source} }}"), origin);
            if !credential.hosts.is_empty() {
                self.key(
                    "hosts",
                    &listed(credential.hosts.iter().map(Endpoint::to_string).collect()),
                    origin,
                );
            }
            let paths = credential.http.paths.iter().map(|path| path.text().to_owned()).collect();
            for (key, texts) in [("methods", credential.http.methods.clone()), ("paths", paths)] {
                if !texts.is_empty() {
                    self.key(key, &listed(texts), origin);
                }
            }
            if !credential.signs() {
                self.key("inject", &listed(credential.inject.iter().map(Form::text).collect()), origin);
            }
            if !credential.sign.is_empty() {
                self.key("sign", &listed(credential.sign.clone()), origin);
            }
            if let Some(branches) = &credential.push {
                self.key("push", &listed(branches.clone()), origin);
            }
            if let Some(path) = &credential.known_hosts {
                self.key("known_hosts", &quoted(&spelled(path)), origin);
            }
            if let Some(expose) = &credential.expose {
                let file = expose.file.as_ref().map(|path| spelled(path));
                let texts = [("env", &expose.env), ("file", &file), ("text", &expose.text)];
                let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
                let mut parts: Vec<String> =
                    texts.map(|(key, text)| format!("{key} = {}", quoted(text))).collect();
                if expose.git {
                    parts.push("git = true".to_owned());
                }
                self.key("expose", &format!("{{ {} }}", parts.join(", ")), origin);
            }
            if let Some(like) = &credential.like {
                self.key("like", &quoted(like), origin);
            }
            if let Some(refresh) = credential.refresh {
                self.key("refresh", &quoted(&format!("{refresh}ms")), origin);
            }
        }
    }

    fn limits(&mut self) {
        let limits = &self.policy.limits;
        let set: Vec<_> =
            limits::KEYS.into_iter().filter_map(|key| Some((key, limits::of(limits, key)?))).collect();
        if !set.is_empty() || limits.exact {
            self.table("limits");
        }
        for (key, rule) in set {
            self.key(key, &limits::shown(key, rule.value), Some(&rule.origin));
        }
        if limits.exact {
            self.key("exact", "true", self.policy.origins.get("limits.exact"));
        }
    }

    fn runtime(&mut self) {
        let runtime = &self.policy.runtime;
        let switches = [
            ("user_namespaces", runtime.user_namespaces, "true"),
            ("debug", runtime.debug, "[\"ptrace\"]"),
            ("io_uring", runtime.io_uring, "true"),
            ("watch_writes", runtime.watch_writes, "true"),
            ("tmp_exec", runtime.tmp_exec, "true"),
            ("terminal", runtime.terminal_raw, "\"raw\""),
        ];
        let on = switches.iter().filter(|(_, on, _)| *on);
        for (number, (key, _, value)) in on.enumerate() {
            if number == 0 {
                self.table("runtime");
            }
            self.key(key, value, self.policy.origins.get(&format!("runtime.{key}")));
        }
    }

    fn table(&mut self, name: &str) {
        self.text.push('\n');
        self.line("[", &format!("{name}]"));
    }

    fn key(&mut self, key: &str, value: &str, origin: Option<&Origin>) {
        let from = origin.map(|origin| format!(" # from {origin}")).unwrap_or_default();
        self.line(key, &format!(" = {value}{from}"));
    }

    fn list<T>(&mut self, key: &str, rules: &[Rule<T>], text: impl Fn(&T) -> String) {
        if rules.is_empty() {
            return;
        }
        self.line(key, " = [");
        for rule in rules {
            self.line("  ", &format!("{}, # from {}", quoted(&text(&rule.value)), rule.origin));
        }
        self.line("]", "");
    }

    fn workspace(&mut self) {
        let workspace = &self.policy.workspace;
        self.table("workspace");
        if let Some(path) = &workspace.path {
            self.key("path", &quoted(&spelled(&path.value)), Some(&path.origin));
        }
        let mode = match workspace.mode {
            Mode::Review => "review",
            Mode::Discard => "discard",
            Mode::Direct => "direct",
            Mode::Read => "read",
            Mode::Temporary => "temporary",
        };
        self.key("mode", &quoted(mode), self.policy.origins.get("workspace.mode"));
        if let Some(quota) = &workspace.quota {
            self.key("quota", &limits::shown("quota", quota.value), Some(&quota.origin));
        }
        if workspace.snapshot {
            self.key("snapshot", "true", self.policy.origins.get("workspace.snapshot"));
        }
        if workspace.git {
            self.key("git", "true", self.policy.origins.get("workspace.git"));
        }
        self.list("protect", &workspace.protect, |pattern| pattern.text().to_owned());
        self.list("outputs", &workspace.outputs, |pattern| pattern.text().to_owned());
    }

    fn files(&mut self) {
        let files = &self.policy.files;
        self.table("files");
        self.list("read", &files.read, grant);
        self.list("exec", &files.exec, grant);
        self.list("write", &files.write, grant);
        self.list("deny", &files.deny, |pattern| pattern.text().to_owned());
        self.list("decoy", &files.decoy, |path| spelled(path));
    }

    fn approvals(&mut self) {
        let approvals = &self.policy.approvals;
        if approvals.ask {
            self.table("approvals");
            self.key("on_refusal", "\"ask\"", self.policy.origins.get("approvals.on_refusal"));
        }
        if !approvals.read.is_empty()
            || !approvals.commands.is_empty()
            || !approvals.hosts.is_empty()
            || !approvals.credentials.is_empty()
        {
            self.table("approvals.grantable");
        }
        if !approvals.commands.is_empty() {
            self.list("commands", &approvals.commands, |entry| command(entry));
        }
        if !approvals.credentials.is_empty() {
            self.list("credentials", &approvals.credentials, Clone::clone);
        }
        if !approvals.hosts.is_empty() {
            self.list("hosts", &approvals.hosts, |host| host.endpoint.to_string());
        }
        if !approvals.read.is_empty() {
            self.list("read", &approvals.read, |pattern| pattern.text().to_owned());
        }
    }

    fn environment(&mut self) {
        let environment = &self.policy.environment;
        if environment.pass.is_empty() && environment.set.is_empty() {
            return;
        }
        self.table("environment");
        self.list("pass", &environment.pass, |name| name.clone());
        if environment.set.is_empty() {
            return;
        }
        self.table("environment.set");
        for (name, rule) in &environment.set {
            let value = match &rule.value {
                EnvironmentValue::Text(text) => quoted(text),
                EnvironmentValue::Path(path) => {
                    let optional = if path.optional { ", optional = true" } else { "" };
                    format!("{{ path = {}{optional} }}", quoted(&spelled(&path.path)))
                }
            };
            self.key(name, &value, Some(&rule.origin));
        }
    }

    fn commands(&mut self) {
        self.table("commands");
        let from_workspace = self.policy.from_workspace.to_string();
        self.key("from_workspace", &from_workspace, self.policy.origins.get("commands.from_workspace"));
        match &self.policy.commands {
            // An empty list allows nothing, an absent one anything: the difference must be printed.
            Some(commands) if commands.allow.is_empty() => {
                self.key("allow", "[]", self.policy.origins.get("commands.allow"));
            }
            Some(commands) => self.list("allow", &commands.allow, |entry| command(entry)),
            None => {}
        }
        let guard = &self.policy.guard;
        if !guard.deny.is_empty() {
            self.list("deny", &guard.deny, |entry| command(entry));
        }
        if let Some(pipes) = &guard.pipes {
            self.key("pipes", &pipes.value.to_string(), Some(&pipes.origin));
        }
        if let Some(shell) = &guard.shell {
            self.key("shell", &shell.value.to_string(), Some(&shell.origin));
        }
        if let Some(pin) = &guard.pin {
            self.key("pin", &pin.value.to_string(), Some(&pin.origin));
        }
        match &guard.children {
            Children::Same => {}
            Children::Free => self.key("children", "\"free\"", self.policy.origins.get("commands.children")),
            Children::Programs(list) if list.is_empty() => {
                self.key("children", "[]", self.policy.origins.get("commands.children"));
            }
            Children::Programs(list) => self.list("children", list, |entry| command(entry)),
        }
    }
}

fn keyring(attributes: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        attributes.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
    format!("secret_service = {{ {} }}", pairs.join(", "))
}

fn requests(rule: &HttpRule) -> String {
    // Looked into, and bounded in nothing else.
    if *rule == HttpRule::default() {
        return ", websocket = false".to_owned();
    }
    let list = |key: &str, words: Vec<String>| {
        if words.is_empty() { String::new() } else { format!(", {key} = [{}]", words.join(", ")) }
    };
    let methods = rule.methods.iter().map(|method| quoted(method)).collect();
    let paths = rule.paths.iter().map(|path| quoted(path.text())).collect();
    let size = rule.request_size.map(|most| format!(", request_size = \"{most}B\"")).unwrap_or_default();
    let websocket = if rule.websocket { ", websocket = true" } else { "" };
    list("methods", methods) + &list("paths", paths) + &size + websocket
}

fn grant(grant: &Grant) -> String {
    let optional = if grant.optional { "?" } else { "" };
    format!("{}{optional}", spelled(&grant.path))
}

/// An entry of `[commands]`: only a path at its beginning is read for variables.
fn command(entry: &str) -> String {
    let rest = guarded::behind(entry);
    match entry.strip_suffix(rest) {
        Some(program) if program.starts_with(['/', '\'']) => format!("{}{rest}", program.replace('$', "$$")),
        _ => entry.to_owned(),
    }
}

/// A path so that reading it back gives the same path.
pub(crate) fn spelled(path: &Path) -> String {
    path.to_string_lossy().replace('$', "$$")
}

/// A basic string of TOML, safe for a terminal too.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            ' '..='~' => quoted.push(character),
            _ if character.is_alphanumeric() => quoted.push(character),
            _ => drop(write!(quoted, "\\U{:08X}", character as u32)),
        }
    }
    quoted.push('"');
    quoted
}
