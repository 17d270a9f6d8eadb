//! What speaks against the lines that would allow something that was refused, or why there are none.

use std::path::Path;

use ringfence_plan::syscalls;
use ringfence_policy::{LOADER, is_loader, is_multicall};

use crate::executions::HOMELY;
use crate::unwise;

/// Of what loads programs itself.
pub(crate) const STARTS_ANY: &str =
    "unwise: it starts whatever file it is given; the program itself is the entry to add";

/// Of a dynamic loader, whose entry alone lets nothing run.
pub(crate) const MAPS_LISTED: &str = "no line is offered: beside a list it runs only what is listed as well; the program itself is the entry to add";

/// Whether it is called by the name of one: libraries and programs are mapped by it, and not by the kernel.
pub(crate) fn is_dynamic_loader(command: &str) -> bool {
    let words = ringfence_policy::command_words(command);
    let name = words.first().and_then(|file| file.rsplit('/').next()).unwrap_or_default();
    is_loader(name) && name.starts_with("ld") && name.contains(".so")
}

/// Of arguments in the home that an entry permits.
pub(crate) const BY_THIS_PATH: &str = "in tier `landlock` by this path alone: what a task's own `~` leads to is another directory there, of which no entry permits anything";
/// Of a known secret.
pub(crate) const SECRET: &str = "unwise: whatever reads it can use it elsewhere";
/// Of a directory of known secrets.
pub(crate) const WHOLE: &str =
    "no line opens it as a whole: `explain --path` says of a file in it which line does";
/// How a rule ends where the way to what was asked for is refused, too; and what helps.
pub(crate) const UNSHOWN: &str = ", which is not shown";
const BY_ITS_NAME: &str =
    "no line for it alone helps there: `explain --path` says what allows it by its own name";
/// Of what is not there.
pub(crate) const NOTHING: &str = "the host has nothing of that name, so there is nothing to grant";
/// Of what a policy cannot grant beside what it grants already, or at all.
pub(crate) const NO_LINE: &str = "no line that a policy takes allows it: what may be executed may not be written, nor the other way round, and a grant is no pattern";

/// How WebSockets are refused that a rule would allow.
const WEBSOCKETS: [&str; 2] = ["no rule for this host allows a WebSocket", "a WebSocket needs a rule"];

/// Of a line for a name that was asked for.
pub(crate) const NO_PORT: &str =
    "only its name was asked for, which says no port: choose it (`https://` has 443, `http://` 80, ssh 22)";
/// Of what has bytes in its name that are no text.
pub(crate) const NO_TEXT: &str = "no line allows it: its name is not UTF-8, which a policy cannot hold";
/// Why tier `landlock` makes no socket of a network.
pub(crate) const NO_SOCKETS: &str =
    "no network: tier `landlock` has its sockets only where the policy grants one";

/// Why it makes none that tells of routes and addresses.
pub(crate) const NO_ROUTES: &str =
    "tier `landlock` has no netlink: it would tell of the host's own interfaces and routes";

/// Of what is another user's, or of another system, by its name.
pub(crate) fn secret_of_others(target: &str) -> Option<String> {
    let path = Path::new(target);
    let why = ringfence_policy::secret_of_others(path).or_else(|| ringfence_policy::secret_by_name(path))?;
    Some(format!("{SECRET}: by its name it holds {why}"))
}

/// Whether a program is any other one by its arguments: a loader, or many programs in one file.
pub(crate) fn is_any(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    is_loader(name) || is_multicall(name)
}

/// Whether these lines are those of a key that only tier `namespace` has.
pub(crate) fn grants_kernel(lines: &[String]) -> bool {
    lines.first().is_some_and(|table| table == "[runtime]")
        && lines.get(1).is_some_and(|line| line.ends_with(" = true"))
}

/// In one sentence. Lines that would not help, or are other ones, are changed in `remedy`.
pub(crate) fn caution(
    kind: &str,
    target: &str,
    purpose: &str,
    rule: &str,
    remedy: &mut Vec<String>,
    on_host: Option<bool>,
    forbidden: Option<String>,
) -> Option<String> {
    if kind == "command" {
        of_command(target, purpose, rule, remedy)
    } else if kind == "decoy" {
        Some(match ringfence_policy::opened_by_habit(Path::new(target)) {
            Some(tools) => {
                format!("an incident, unless this is one of those that open it by themselves: {tools}")
            }
            None => "an incident: nothing but a search for secrets opens it".to_owned(),
        })
    } else if let Some(why) = forbidden {
        remedy.clear();
        Some(why)
    } else if on_host == Some(false) {
        remedy.clear();
        Some(NOTHING.to_owned())
    } else if kind == "file" && remedy.is_empty() && rule.ends_with(UNSHOWN) {
        Some(BY_ITS_NAME.to_owned())
    } else if !matches!(kind, "host" | "credential" | "leak" | "containers")
        && rule.contains("is a known secret")
    {
        Some(if remedy.is_empty() { WHOLE } else { SECRET }.to_owned())
    } else if kind == "file"
        && !remedy.is_empty()
        && let Some(secret) = secret_of_others(target)
    {
        Some(secret)
    } else if kind == "socket" && target.starts_with('/') {
        *remedy = ringfence_policy::socket_remedy(target);
        Some(socket(remedy).to_owned())
    } else if kind == "socket" {
        Some("no policy grants a socket of the host that has no path".to_owned())
    } else if kind == "syscall" && syscalls::DEBUG.contains(&target) {
        *remedy = vec!["[runtime]".into(), "debug = [\"ptrace\"]".into()];
        None
    } else if kind == "syscall" && syscalls::IO_URING.contains(&target) {
        *remedy = vec!["[runtime]".into(), "io_uring = true".into()];
        Some("the price: operations that no filter sees, such as connections to sockets of the host in granted directories; tier `landlock` has no such key".to_owned())
    } else if kind == "syscall" && (syscalls::NAMESPACES.contains(&target) || rule.contains("new namespaces"))
    {
        *remedy = vec!["[runtime]".into(), "user_namespaces = true".into()];
        Some("for programs that make a sandbox of their own first; the price: Landlock's rights on files, the masks of /proc, and more of the kernel to attack (SECURITY.md); tier `landlock` has no such key".to_owned())
    } else if kind == "syscall" && rule == NO_SOCKETS {
        Some("`allow` in `[network]` names what may be reached, and makes them; which host was meant was not seen".to_owned())
    } else if kind == "syscall" && rule == NO_ROUTES {
        Some("no policy allows it there; in tier `namespace` it tells of the sandbox's own".to_owned())
    } else if kind == "syscall" {
        Some("no policy of this version allows it".to_owned())
    } else if kind == "network" {
        Some("run it again; if that repeats itself, report it".to_owned())
    } else if let Some(caution) = sent(kind, target, purpose, rule, remedy.is_empty()) {
        Some(caution)
    } else if kind == "limit" {
        Some("raise the limit only if the task needs more".to_owned())
    } else if remedy.is_empty() && purpose == "map" && rule.ends_with("a directory of PATH") {
        Some("libraries are loaded from other directories of executable trees; a program there starts by its own entry in `commands.allow`".to_owned())
    } else if remedy.is_empty()
        && (rule.starts_with("no rule of `files")
            || kind == "file" && rule.starts_with("the owner was asked"))
    {
        Some(no_line(target, rule))
    } else if remedy.is_empty() {
        Some("this rule stands above every grant: only its removal would allow it".to_owned())
    } else {
        None
    }
}

/// Of a program that was refused, changed, or started without variables.
fn of_command(target: &str, purpose: &str, rule: &str, remedy: &mut Vec<String>) -> Option<String> {
    if rule.ends_with(LOADER) && is_dynamic_loader(target) {
        remedy.clear();
        Some(MAPS_LISTED.to_owned())
    } else if rule.ends_with(LOADER) {
        Some(STARTS_ANY.to_owned())
    } else if purpose == "deny" && remedy.last().is_some_and(|line| is_of_all(line, target)) {
        Some(
            "no entry can hold its words as they are: this one lets it start with any, which is unwise for what does much by them (git, shells, interpreters)"
                .to_owned(),
        )
    } else if purpose == "deny" && !remedy.is_empty() && !rule.starts_with("the owner") {
        // Whatever else the sentence holds are words of the task.
        unwise::command(target)
    } else if purpose == "clean" {
        Some("to keep them, name them in `environment.pass` or `environment.set`".to_owned())
    } else if purpose == "tamper" {
        Some("an incident: it was changed while it was judged, and its process was ended".to_owned())
    } else if rule.contains("is in no executable tree") {
        remedy.clear();
        Some(
            "no list of commands allows more. What the task writes to its workspace starts with `[commands] from_workspace = true`, all of it; a script there also by its interpreter (`sh ./x`)"
                .to_owned(),
        )
    } else if rule.contains("(`runtime.user_namespaces`)") {
        remedy.clear();
        Some(
            "no list of commands allows it: there, too, a program starts where the sandbox itself has it"
                .to_owned(),
        )
    } else if target.contains(crate::masks::MASK) && rule.starts_with("`commands.allow`") {
        Some("a secret is among its words: no entry is written for those".to_owned())
    } else if rule.contains(HOMELY) {
        Some(
            "no entry means a file there, which the task may replace: call it by the path below that home"
                .to_owned(),
        )
    } else if remedy.is_empty() && rule.starts_with("`commands.allow`") && target.ends_with(" ...") {
        Some(
            "its words are too long for an entry to be written of them: one with `*` or `**` in their place would allow it"
                .to_owned(),
        )
    } else if remedy.is_empty() && rule.starts_with("`commands.allow`") {
        Some(
            "no entry can hold these words as they are: one with `*` or `**` in their place would allow it"
                .to_owned(),
        )
    } else if remedy.is_empty() && rule.starts_with("`commands.pin`") {
        Some("a new sandbox takes what the host has now".to_owned())
    } else if rule.starts_with("the owner was asked") && is_any(target.split(' ').next().unwrap_or_default())
    {
        Some(STARTS_ANY.to_owned())
    } else if rule.starts_with("the owner was asked") {
        Some(format!(
            "it is asked again {}; `ringfence grant` allows it before",
            asked_again(rule, "at the next start")
        ))
    } else if remedy.is_empty() && rule.contains("call it by `") {
        Some("no entry is missing".to_owned())
    } else if remedy.is_empty() && of_its_file(target, rule) {
        None
    } else if remedy.is_empty() {
        Some("this rule stands above `commands.allow`: only its removal would allow it".to_owned())
    } else {
        None
    }
}

/// Of a socket of the host, with its lines.
pub(crate) fn socket(remedy: &[String]) -> &'static str {
    match remedy {
        [] => "no line allows it: no policy can hold its name as it is",
        _ => "whoever reaches it can do what its server does for its clients",
    }
}

/// Why a file has no line that would allow it, and what allows it all the same.
pub(crate) fn no_line(target: &str, rule: &str) -> String {
    // Of files each answer lasts, that of the clock too.
    let left = rule.ends_with("nobody waits for it any more");
    let when = if left { "the next time" } else { "in the next sandbox alone" };
    let again = format!("; it is asked again {when}, and `ringfence grant` allows it before");
    let above = Path::new(target).parent().filter(|above| above.parent().is_some());
    let why = if target.contains(char::REPLACEMENT_CHARACTER) {
        NO_TEXT.to_owned()
    } else if let Some(letter) = target.chars().find(|letter| ringfence_policy::is_hostile(*letter)) {
        let code = letter as u32;
        let below = match above.filter(|above| !pattern(above)) {
            Some(above) => format!(": one of its directory, {}, allows it", above.display()),
            None => String::new(),
        };
        format!(
            "no line can name it: the character U+{code:04X} in its name is none that a policy takes{below}"
        )
    } else if target.contains(['*', '?', '[']) && above.is_some_and(|above| !pattern(above)) {
        let above = above.unwrap_or(Path::new("/")).display();
        format!("no line can name it, since a grant is no pattern: one of its directory, {above}, allows it")
    } else {
        NO_LINE.to_owned()
    };
    if rule.starts_with("the owner was asked") { why + &again } else { why }
}

/// Whether a line lets a part start with whatever words, which was refused with some.
fn is_of_all(line: &str, target: &str) -> bool {
    let entry = line.strip_prefix("children = [\"").and_then(|rest| rest.strip_suffix("\"]"));
    entry.is_some_and(|entry| !entry.contains([' ', ',', '\''])) && target.contains(' ')
}

/// When whoever refused it is asked about it again: `n` lasts as long as a sandbox, and `x` ends all its questions.
fn asked_again(rule: &str, next: &'static str) -> &'static str {
    if rule.ends_with("the owner refused all that could be asked about")
        || rule.ends_with("the owner refused it")
    {
        "in the next sandbox alone"
    } else {
        next
    }
}

fn pattern(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains(['*', '?', '[', char::REPLACEMENT_CHARACTER]) || text.contains(ringfence_policy::is_hostile)
}

/// What speaks against a line for this destination.
pub(crate) fn of_host(target: &str) -> Option<String> {
    special(target).map(|what| format!("unwise, unless the task needs exactly that: it is {what}"))
}

/// What is special about the address of a refused destination.
fn special(target: &str) -> Option<&'static str> {
    // A name that was asked for has no port.
    let host = target.parse().or_else(|_| {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        host.trim_matches(['[', ']']).parse()
    });
    ringfence_policy::unusual(host.ok()?)
}

/// The key of a host's rule that a request went beyond.
fn bound(rule: &str) -> Option<&'static str> {
    if rule.starts_with("no more than ") {
        return Some("bytes_out");
    }
    let bounds = [
        ("no rule for this host allows the method", "methods"),
        ("no rule for this host allows the path", "paths"),
        ("the body of the request is larger than", "request_size"),
    ];
    let said = own(rule);
    bounds.into_iter().find(|(words, _)| said.starts_with(words)).map(|(_, key)| key)
}

/// What a rule says of a request, behind its method and its path, which have no blanks: whatever else it quotes is the task's. A method
/// may be any word; no sentence of the judge's own has a path behind its first.
fn own(rule: &str) -> &str {
    match rule.split_once(": ") {
        Some((line, said)) if line.split_once(' ').is_some_and(|(_, path)| is_target(path)) => said,
        _ => rule,
    }
}

fn is_target(path: &str) -> bool {
    path == "*" || path.starts_with('/') && !path.contains(' ')
}

/// Of what was sent, asked for or printed; `none`: no line would allow it.
fn sent(kind: &str, target: &str, purpose: &str, rule: &str, none: bool) -> Option<String> {
    // The line may name the address that a name leads to.
    let leads = || {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        ringfence_policy::missing_host(host, rule).and_then(of_host)
    };
    if let Some(unwise) = (kind == "host" && !none).then(|| of_host(target).or_else(leads)).flatten() {
        Some(unwise)
    } else if kind == "host" && purpose == "ask" && !none {
        Some(NO_PORT.to_owned())
    } else if let Some(key) = (kind == "host" && none).then(|| bound(rule)).flatten() {
        Some(format!("`{key}` in the host's rule in `network.allow` bounds that: docs/network.md"))
    } else if kind == "host"
        && (rule.starts_with("what is said is no HTTP") || rule.starts_with("nothing is asked: "))
    {
        Some(
            "what it says there is read as requests: where it is something else, its rule says `protocol = \"tcp\"`, or of TLS `inspect = false`"
                .to_owned(),
        )
    } else if kind == "host" && rule.starts_with("TLS with the server failed") {
        Some(
            "the gateway verifies the server by the host's authorities (`SSL_CERT_FILE` names others); `inspect = false` in its rule leaves that to the client"
                .to_owned(),
        )
    } else if kind == "host" && WEBSOCKETS.iter().any(|words| own(rule).starts_with(words)) {
        Some(
            "`websocket = true` in the host's rule allows it, where `[leaks]` does not look at what leaves"
                .to_owned(),
        )
    } else if kind == "host"
        && none
        && !target.ends_with(":80")
        && ["the request", "the header", "the path"].iter().any(|own| rule.starts_with(own))
    {
        let alone = "of TLS that is looked into only since a secret could leave by it, `inspect = false` in its rule leaves the host alone";
        // By another port it may be plain HTTP.
        let tls = target.ends_with(":443");
        Some(if tls { alone.to_owned() } else { format!("of plain HTTP no line would change that; {alone}") })
    } else if kind == "host" && none {
        Some("no line of `network.allow` would change that".to_owned())
    } else if purpose == "print" {
        Some("what it prints it has read: find the grant, or the variable, from which it has it".to_owned())
    } else if purpose == "sign" {
        Some("keys sign for what their credential names, and nothing else".to_owned())
    } else if purpose == "use" {
        Some("nothing of it was done".to_owned())
    } else if kind == "leak" {
        Some(
            "an incident, unless it belongs there: find the grant, or the variable, from which the task has it; a decoy is read by nothing but a search for secrets"
                .to_owned(),
        )
    } else if kind == "credential" && rule.contains("too, in the same place") {
        Some("the policy's own fault: the task sent nothing wrong".to_owned())
    } else if kind == "credential" && rule.starts_with("it is not granted") {
        Some("until then it is of no use".to_owned())
    } else if kind == "credential" && (!rule.contains("placeholder") || rule.contains("something else than"))
    {
        Some("nothing of it was sent".to_owned())
    } else if kind == "credential" {
        Some("an incident, unless the task only mistook the place: a placeholder is of use at its own hosts alone".to_owned())
    } else if kind == "containers" {
        Some("what the rule names is a line of `[containers]`; docs/credentials.md has them all".to_owned())
    } else {
        None
    }
}

/// Whether a command did not start for what its file is, and not for a rule.
fn of_its_file(command: &str, rule: &str) -> bool {
    let words = ringfence_policy::command_words(command);
    words.first().and_then(|name| rule.strip_prefix(name.as_str())).is_some_and(|rest| rest.starts_with(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_went_beyond_and_where_it_went_is_said() {
        let said = |target: &str, rule: &str, lines: &[&str]| {
            let mut remedy = lines.iter().map(|line| (*line).to_owned()).collect();
            caution("host", target, "connect", rule, &mut remedy, None, None).unwrap_or_default()
        };
        let line = ["[network]", "allow = [..]"];
        assert!(said("169.254.169.254:80", "only a rule", &line).starts_with("unwise"));
        assert!(said("[fd00::1]:443", "only a rule", &line).starts_with("unwise"));
        assert!(said("169.254.169.254", "no rule", &line).starts_with("unwise"));
        assert!(said("10.0.0.1", "no rule", &line).starts_with("unwise"));
        let rule = "`a.example` leads to `169.254.169.254`, x; only a rule of `network.allow` that names it opens it";
        assert!(said("a.example:80", rule, &line).starts_with("unwise"));
        assert_eq!(said("b.example:80", rule, &line), "");
        assert_eq!(said("93.184.215.14:80", "no rule of `network.allow`", &line), "");
        assert!(said("a.example:443", "no rule for this host allows the path", &[]).starts_with("`paths`"));
        assert!(
            said("a.example:443", "no more than 9 bytes may leave, by x", &[]).starts_with("`bytes_out`")
        );
        assert!(!said("a.example:80", "the request names another host, `b`", &[]).contains("TLS"));
        let get = "GET /a: no rule for this host allows the path";
        assert!(said("a.example:443", get, &[]).starts_with("`paths`"));
        for method in ["what /: ", "no /: ", "OPTIONS *: ", "gEt /a:b: "] {
            let rule = format!("{method}no rule for this host allows the method");
            assert!(said("a.example:443", &rule, &[]).starts_with("`methods`"), "{method}");
        }
        let socket = "GET /a: no rule for this host allows a WebSocket";
        assert!(said("a.example:443", socket, &[]).starts_with("`websocket"));
        // Words of the task.
        let plain = said("a.example:80", "the request names another host, `b`", &[]);
        for words in [
            get,
            socket,
            "is a known secret",
            "what is said is no HTTP",
            "no more than 9 bytes may leave, by x",
        ] {
            assert_eq!(
                said("a.example:80", &format!("the request names another host, `{words}`"), &[]),
                plain
            );
        }
    }

    #[test]
    fn calls_that_a_key_grants_have_it_as_their_lines() {
        let told = |target: &str| {
            let mut remedy = Vec::new();
            let caution =
                caution("syscall", target, "call", "the list of system calls: x", &mut remedy, None, None);
            (remedy.join(" "), caution.unwrap_or_default())
        };
        assert_eq!(told("io_uring_setup").0, "[runtime] io_uring = true");
        for target in ["mount", "chroot", "pivot_root", "sethostname", "unshare"] {
            let (lines, caution) = told(target);
            assert!(lines == "[runtime] user_namespaces = true" && caution.contains("the price"), "{target}");
        }
        assert_eq!(told("bpf"), (String::new(), "no policy of this version allows it".to_owned()));
    }
}
