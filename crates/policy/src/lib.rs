//! What may happen: a policy is read, merged and checked here, and every later crate works on the result.
//!
//! The way through this crate: [`load()`] collects the documents (`load`), each is read as it was written (`document`,
//! `reader`), they become one (`merge`), keys that nothing enforces yet are refused (`later`), the administrator's
//! bound is held against it (`ceiling`), what contradicts itself or opens too much is refused (`lint`), and what the
//! policy claims about itself is judged (`expect`, `decision`). Every error shows file, line, text and mend
//! (`diagnostic`). Nothing here touches the host but through [`Files`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]

mod argv;
mod caches;
mod ceiling;
mod chains;
mod collected;
mod command;
mod containers;
mod context;
mod credential;
mod decision;
mod destination;
mod diagnostic;
mod document;
mod environment;
mod expect;
mod git_command;
mod grantable;
mod guarded;
mod habits;
mod host;
mod http;
mod http_path;
mod identity;
mod idna;
mod later;
mod leading;
mod leaks;
mod limits;
mod links;
mod lint;
mod lists;
mod load;
mod merge;
pub mod model;
mod names;
mod near;
mod network;
mod own;
mod path;
pub mod pattern;
mod presets;
mod print;
mod ranges;
mod reader;
mod remedy;
mod rules;
mod secrets;
mod shells;
mod sizes;
mod suggest;
mod tokens;
mod trail;
mod variables;
mod verbs;

pub use crate::argv::CommandPattern;
pub use crate::caches::{package_cache, written_cache};
pub use crate::chains::{Need, POSTGRESQL, is_part, needs, parts};
pub use crate::command::{command_entry, command_line, denied_entry, words as command_words, written_words};
pub use crate::containers::{
    Asked, Body, Containers, ENGINE, EngineRequest, EngineRules, Image, Subject, Verb,
    create as judge_container, judge as judge_engine,
};
pub use crate::context::{Context, Files, HostFiles};
pub use crate::credential::{
    AwsScope, BASIC, Credential, Expose, Form, Oauth, SECRET, SPIFFE_SOCKET, SecretSource, Spiffe,
    aws_variables,
};
pub use crate::decision::{Access, Decision, Judge, Reason, decide_file, decide_run};
pub use crate::destination::{Denied, Destination, HOST, Protocol, Registry};
pub use crate::diagnostic::{Diagnostic, Diagnostics, Invalid, SourceText, escape};
pub use crate::environment::secret_name;
pub use crate::expect::Action;
pub use crate::git_command::{GitCommand, plain_user};
pub use crate::grantable::grantable_bases;
pub use crate::habits::opened_by_habit;
pub use crate::host::{Endpoint, HostPattern};
pub use crate::http::{HttpPattern, HttpRefusal, HttpRequest, HttpRule, decide_http, wild};
pub use crate::http_path::{Ambiguous, HttpPath, LONGEST_TARGET};
pub use crate::links::system_link;
pub use crate::lint::{check_grant, check_workspace};
pub use crate::load::{Source, load};
pub use crate::model::*;
pub use crate::names::Names;
pub use crate::network::{
    AGENT, Budget, GIT_SSH, GPG, GrantedHost, NetworkJudge, NetworkRules, Pass, Peer, SIGN_OPENPGP,
    SPEAK_GIT, Way, decide_connect, decide_request, grantable_host, missing_host, network_remedy,
    socket_remedy, written_endpoint,
};
pub use crate::own::PROC_HIDDEN;
pub use crate::path::is_hostile;
pub use crate::pattern::{PathPattern, PatternSet};
pub use crate::presets::presets;
pub use crate::print::print_merged;
pub use crate::ranges::{opens, unusual};
pub use crate::remedy::spelled_grant;
pub use crate::rules::{
    CommandRules, Digest, Execution, GrantedCommand, Ground, Interpreted, LOADER, Lists, MULTICALL, Named,
    digest, is_multicall, needed as guard_needed, runs_alone,
};
pub use crate::secrets::{
    known_secrets, known_secrets_in, known_secrets_of_host, opened_secrets, secret_above, secret_by_name,
    secret_of_others, secret_on_the_way, why_secret,
};
pub use crate::shells::{dead_entry, holds_code, is_loader, runs_code};
pub use crate::trail::trail;

/// The JSON Schema of policy files, from the same definition that reads them.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(document::Document);
    // The tables say what may be there; only the version must be.
    schema.insert("required".to_owned(), serde_json::json!(["version"]));
    schema.insert("title".to_owned(), serde_json::json!("ringfence policy"));
    schema.to_value()
}
