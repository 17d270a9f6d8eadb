//! The `[expect]` table: claims about the merged policy that are checked each time it loads.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::decision::{Access, Decision, Judge};
use crate::diagnostic::{Invalid, Problem, Report};
use crate::host::{Endpoint, HostPattern};
use crate::http::HttpRequest;
use crate::merge::Merged;
use crate::model::Policy;
use crate::network::{decide_connect, decide_request};
use crate::path::{check_characters, expand, normal};
use crate::reader::{At, quoted};
use crate::suggest::nearest;
use crate::trail::trail;

/// One action as a policy writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `run PROG [ARGS]`
    Run(String),
    /// `read PATH`, `write PATH`, `exec PATH`
    File(Access, PathBuf),
    /// `connect HOST:PORT`
    Connect(Endpoint),
    /// `https METHOD HOST/PATH`, `http METHOD HOST/PATH`
    Request(Endpoint, String, String),
}

const VERBS: &[&str] = &["run", "read", "write", "exec", "connect", "https", "http"];

/// Judges each claim; one that does not hold is an error at its line.
pub(crate) fn check(policy: &Policy, merged: &Merged, context: &Context, report: &mut Report) {
    if merged.expect_allow.is_empty() && merged.expect_refuse.is_empty() {
        return;
    }
    let workspace = merged.workspace().unwrap_or(&context.cwd);
    let workspace = &led(workspace).unwrap_or_else(|| workspace.to_path_buf());
    let judge = Judge::new(policy, workspace);
    let claims = merged.expect_allow.iter().map(|claim| (claim, true));
    for (claim, allowed) in claims.chain(merged.expect_refuse.iter().map(|claim| (claim, false))) {
        match Action::parse(&claim.value, workspace, context) {
            Err(invalid) => report.push(invalid.at(claim.place)),
            Ok(action) => {
                let mut decisions = action.judge(&judge).into_iter();
                if let Some(decision) = decisions.find(|decision| decision.is_allow() != allowed) {
                    report.push(broken(claim, allowed, &decision));
                }
            }
        }
    }
}

fn broken(claim: &At<String>, allowed: bool, decision: &Decision) -> Problem {
    let (wanted, found) = if allowed { ("allow", "refuses") } else { ("refuse", "allows") };
    Problem::new(claim.place, format!("the policy must {wanted} `{}`, but {found} it", claim.value))
        .label(format!("{found} it: {}", decision.reason()))
        .help(format!("change the rule that decides, or remove this line from `expect.{wanted}`"))
}

impl Action {
    /// Reads an action; relative paths are relative to the workspace.
    pub fn parse(text: &str, workspace: &Path, context: &Context) -> Result<Self, Invalid> {
        check_characters(text)?;
        let (verb, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let rest = rest.trim();
        if !VERBS.contains(&verb) {
            let help = match nearest(verb, VERBS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the verbs are {}", quoted(VERBS)),
            };
            return Err(Invalid::new(format!("`{verb}` is not an action")).help(help));
        }
        if rest.is_empty() {
            return Err(Invalid::new(format!("`{text}` does not say what to {verb}")));
        }
        let file = |access| Ok(Self::File(access, normal(&workspace.join(expand(rest, context)?))?));
        match verb {
            "run" => Ok(Self::Run(program(rest, context)?)),
            "read" => file(Access::Read),
            "write" => file(Access::Write),
            "exec" => file(Access::Exec),
            "connect" => Ok(Self::Connect(Endpoint::parse(rest)?)),
            _ => request(text, rest, verb == "http"),
        }
    }

    /// Of a file both by its name and where that leads: which of them a run goes by is its tier's matter.
    fn judge(&self, judge: &Judge<'_>) -> Vec<Decision> {
        match self {
            Self::Run(program) => vec![judge.run(program)],
            Self::File(access, path) => {
                let names = std::iter::once(path.clone()).chain(led(path));
                names.map(|path| judge.file(&path, *access)).collect()
            }
            Self::Connect(endpoint) => vec![decide_connect(judge.policy, endpoint)],
            Self::Request(endpoint, method, target) => {
                let request =
                    HttpRequest { method, target: target.as_bytes(), length: None, websocket: false };
                vec![decide_request(judge.policy, endpoint, &request)]
            }
        }
    }
}

/// Where a path leads by links of the host's, if it does.
fn led(path: &Path) -> Option<PathBuf> {
    trail(path)?.pop().filter(|real| real != path)
}

/// A command line; what stands for a path in its program is spelled out.
fn program(command: &str, context: &Context) -> Result<String, Invalid> {
    let program = command.split_whitespace().next().unwrap_or_default();
    if !program.starts_with(['~', '$']) {
        return Ok(command.to_owned());
    }
    let path = expand(program, context)?;
    let rest = command.strip_prefix(program).unwrap_or_default();
    match path.into_os_string().into_string() {
        Ok(path) => Ok(format!("{path}{rest}")),
        Err(_) => Err(Invalid::new(format!("`{program}` is not UTF-8"))),
    }
}

/// `METHOD HOST/PATH`
fn request(text: &str, rest: &str, plain: bool) -> Result<Action, Invalid> {
    let example = "write it as `https GET api.example.org/path`";
    let invalid = |why: &str| Invalid::new(format!("`{text}` {why}")).help(example);
    let (method, target) = rest.split_once(' ').ok_or_else(|| invalid("has no host"))?;
    if !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Err(invalid("has no method in upper case"));
    }
    let (host, path) = target.trim().split_once('/').ok_or_else(|| invalid("has no path"))?;
    let mut endpoint = Endpoint::parse(host)?;
    if plain && !host.ends_with(":443") && endpoint.port == 443 {
        endpoint.port = 80;
    }
    if matches!(endpoint.host, HostPattern::Below(_) | HostPattern::Network(..)) {
        return Err(invalid("names no single host"));
    }
    Ok(Action::Request(endpoint, method.to_owned(), format!("/{path}")))
}
