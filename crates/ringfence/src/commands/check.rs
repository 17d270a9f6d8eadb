//! `ringfence check`: reads a policy, its presets, the ceiling and its expectations, and says what is wrong.

use std::path::PathBuf;

use clap::Args;
use ringfence_policy::{HostFiles, Protocol, Source};

use crate::failure::Failure;
use crate::{environment, source, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The policy file; without it, the one that `run` would take
    file: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let file = arguments.file.clone().or_else(|| source::find(&invoker));
    let (source, shown) = match file {
        Some(path) => (Source::File(path.clone()), terminal::escape(&path)),
        None => {
            let shown = "preset default (there is no ringfence.toml here or above)";
            (Source::Preset("default".into()), shown.to_owned())
        }
    };
    let outcome = ringfence_policy::load(&[source], &environment::context(&invoker), &HostFiles);
    match outcome {
        Ok(policy) if arguments.json => {
            super::print_json(
                &serde_json::json!({ "valid": true, "hash": policy.hash, "sources": policy.sources }),
            )?;
            Ok(0)
        }
        Err(diagnostics) if arguments.json => {
            super::print_json(&serde_json::json!({ "valid": false, "diagnostics": diagnostics.to_json() }))?;
            Ok(Failure::OURS)
        }
        Ok(policy) => {
            terminal::print(&format!("{shown}: valid"));
            for (grant, secret) in ringfence_policy::opened_secrets(&policy) {
                let origin = &grant.origin;
                let text = format!(
                    "note: {}:{} opens the known secret location {}",
                    origin.source,
                    origin.line,
                    secret.text()
                );
                terminal::print(&terminal::escape(&text));
            }
            for rule in &policy.network.unix {
                let (origin, path) = (&rule.origin, rule.value.display());
                let text = format!(
                    "note: {}:{} {path} is not inspected, and its server takes whoever connects for you, who started the sandbox",
                    origin.source, origin.line
                );
                terminal::print(&terminal::escape(&text));
            }
            for rule in policy.network.allow.iter().filter(|rule| rule.value.http.is_none()) {
                let what = match rule.value.protocol {
                    Protocol::Http => continue,
                    Protocol::Tls => {
                        "only the server's name in TLS is looked at; behind it, the server may lead elsewhere"
                    }
                    Protocol::Tcp => "only the address is looked at",
                    _ => "only the first message of the client is looked at",
                };
                let (origin, endpoint) = (&rule.origin, &rule.value.endpoint);
                let text =
                    format!("note: {}:{} {endpoint} is not inspected: {what}", origin.source, origin.line);
                terminal::print(&terminal::escape(&text));
            }
            Ok(0)
        }
        Err(diagnostics) => Err(Failure::report(diagnostics.render(terminal::colour()))),
    }
}
