//! What stands in the detail of an event, read back.

use std::path::Path;

use ringfence_confine::Program;
use ringfence_confine::gateway::PACKET;
use ringfence_plan::{VOID, asked};
use serde_json::Value;

/// A refused connection, question or packet.
pub(crate) fn network(detail: Option<&Value>, host: &str, rule: &str) -> (&'static str, String, String) {
    let port = detail.and_then(|detail| detail.get("port")?.as_u64()).unwrap_or(0);
    let purpose = match port {
        0 if host.starts_with("(a packet") => "packet",
        _ if rule.starts_with(PACKET) => "datagram",
        0 => "ask",
        _ => "connect",
    };
    let port = u16::try_from(port).unwrap_or(0);
    let target = if port == 0 { host.to_owned() } else { ringfence_policy::written_endpoint(host, port) };
    ("host", target, purpose.to_owned())
}

/// The port of a question for a name, which says none: that of who asks, if it has one of its own.
pub(crate) fn meant(port: u16, program: &Program) -> u16 {
    const SSH: u16 = 22;
    let ssh = || Path::new(&program.file).file_name().is_some_and(|name| name == "ssh");
    if port == 0 && ssh() { SSH } else { port }
}

/// Without a network nobody in the sandbox answers questions for names, so nobody hears them.
const NO_NAMES: &str = "names of hosts that programs asked for, and packets sent without a connection: the policy grants no network";

/// What a start event says of the root's server, without which no refusal of a file was seen, and of the network.
pub(crate) fn unseen(detail: Option<&Value>) -> Vec<String> {
    let degraded = detail.and_then(|detail| detail.get("degraded")?.as_array());
    let effect =
        |one: &Value| (one.get("name")? == VOID).then(|| Some(one.get("effect")?.as_str()?.to_owned()))?;
    let closed = detail.and_then(|detail| detail.get("network")?.as_bool()) == Some(false);
    let names = closed.then(|| NO_NAMES.to_owned());
    degraded.into_iter().flatten().filter_map(effect).chain(names).collect()
}

/// A system call, with what it asked for.
pub(crate) fn call(detail: Option<&Value>, name: &str) -> String {
    let number = |word: String| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let arguments: Option<Vec<u64>> = arguments(detail).into_iter().map(number).collect();
    asked::with(name, &arguments.unwrap_or_default())
}

/// Those of a system call.
pub(crate) fn arguments(detail: Option<&Value>) -> Vec<String> {
    words(detail, "arguments")
}

/// As one line.
pub(crate) fn command(detail: Option<&Value>) -> String {
    let words = detail.and_then(|detail| detail.get("command")?.as_array());
    ringfence_policy::command_line(words.into_iter().flatten().filter_map(Value::as_str))
}

/// Whether a request is one of HTTP, in which something could stand for a secret.
pub(crate) fn is_http(request: &str) -> bool {
    let method = request.split(' ').next().unwrap_or_default();
    request.is_empty() || !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase())
}

pub(crate) fn times(detail: Option<&Value>) -> u64 {
    detail.and_then(|detail| detail.get("times")?.as_u64()).unwrap_or(1)
}

pub(crate) fn lines(detail: Option<&Value>) -> Vec<String> {
    words(detail, "remedy")
}

pub(crate) fn words(detail: Option<&Value>, key: &str) -> Vec<String> {
    let words = detail.and_then(|detail| detail.get(key)?.as_array());
    words.into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}
