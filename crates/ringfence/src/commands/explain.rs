//! `ringfence explain`: what was refused in a run, why, and what would allow it; or what a policy says beforehand.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_plan::{Invoker, KNOWN, Plan, REFUSALS};
use ringfence_policy::{
    Access, Children, Decision, Endpoint, HostPattern, HttpRequest, Judge, LOADER, Policy, Reason, Rule,
    network_remedy,
};
use serde::{Deserialize, Serialize};

use crate::cli::PolicyArguments;
use crate::explanation::{Explained, no_grant, render};
use crate::failure::{Context, Failure};
use crate::foretold::{inside, meant, start};
use crate::host::{Host, Task};
use crate::own_files::Asked;
use crate::remedies::{decide, hidden_link, lines};
use crate::{cautions, chain, environment, found, offered, run, source, terminal, unwise};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence explain                           the last run
  ringfence explain 1m85 --json
  ringfence explain --self                    from inside of a sandbox: what it was refused
  ringfence explain --path ~/.ssh/config      what the policy here says of a file
  ringfence explain --preset coding-agent --command git

The lines under `to allow it` can be put into the policy: below a table that is there already, and into a list that is.")]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id, or a sandbox's name; without it, the last one here, else the last of all
    #[arg(conflicts_with_all = ["path", "host", "command"])]
    run: Option<String>,
    /// From inside of a sandbox: what it was refused, a line each
    #[arg(long = "self", conflicts_with_all = ["run", "path", "host", "command", "all"])]
    own: bool,
    /// What the policy says of this file
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "command"])]
    path: Option<PathBuf>,
    /// What it says of connections to this host
    #[arg(long, value_name = "HOST", conflicts_with = "command")]
    host: Option<String>,
    /// What it says of a request to this URL
    #[arg(long, value_name = "URL", conflicts_with_all = ["path", "host", "command"])]
    url: Option<String>,
    /// The method of that request
    #[arg(long, value_name = "METHOD", default_value = "GET", requires = "url")]
    method: String,
    /// What it says of starting this command, with its arguments: `--command 'git push origin main'`
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// Also list names that the host does not have either
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    policy: PolicyArguments,
}

/// What a policy says of one action.
#[derive(Debug, Serialize)]
struct Answer {
    action: String,
    target: String,
    allowed: bool,
    rule: String,
    remedy: Vec<String>,
    /// What speaks against these lines, or why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    caution: Option<String>,
    /// Not asked for: the rest of the chain, which the command needs as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    further: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.own {
        return own(arguments.json);
    }
    if arguments.url.is_some()
        || arguments.path.is_some()
        || arguments.host.is_some()
        || arguments.command.is_some()
    {
        return beforehand(arguments);
    }
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let name = arguments.run.as_deref().unwrap_or("last");
    let (run, record) = found::find(&state, &invoker, name)?;
    let explained = Explained::of(&run, &record, &invoker)?;
    if arguments.json {
        super::print_json(&explained)?;
    } else {
        terminal::print(&render(&explained, run.id(), arguments.all));
    }
    Ok(0)
}

/// A line of what a sandbox tells its task.
#[derive(Deserialize)]
struct Line {
    refused: String,
    to: String,
    by: String,
    again: String,
}

/// Says no more than the task knows: which names it tried, and that they stay refused.
fn own(json: bool) -> Result<u8, Failure> {
    let text = std::fs::read_to_string(REFUSALS).map_err(|error| {
        Failure::new(format!("{REFUSALS}: {error}")).hint(
            "it is there inside of a sandbox, but for tier `landlock` and hosts without /dev/fuse; outside, `ringfence explain` tells of the last run",
        )
    })?;
    if json {
        terminal::print(text.trim_end());
        return Ok(0);
    }
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).context(REFUSALS)?;
        let Line { refused, to, by, again } = line;
        terminal::print(&terminal::line(format!("{to} {refused}: refused, {by}; to ask again is {again}")));
    }
    if text.is_empty() {
        terminal::print("nothing was refused so far");
    }
    Ok(0)
}

fn beforehand(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let policy = source::load(&arguments.policy, &invoker)?;
    let workspace = crate::chosen::workspace(&policy, &invoker, arguments.policy.workspace.as_deref());
    let workspace = real(&workspace);
    let judge = Judge::new(&policy, &workspace);
    let mut answers = Vec::new();
    if let Some(path) = &arguments.path {
        answers.extend(file(path, &policy, &judge, (&invoker, arguments)));
    }
    if let Some(host) = &arguments.host {
        let endpoint =
            Endpoint::parse(host).map_err(|invalid| Failure::new(format!("`--host {host}`: {invalid}")))?;
        let decision = ringfence_policy::decide_connect(&policy, &endpoint);
        let remedy = match (&decision, &endpoint.host) {
            (Decision::Refuse { by }, HostPattern::Name(_) | HostPattern::Address(_)) => network_remedy(
                endpoint.host.to_string().trim_matches(['[', ']']),
                endpoint.port,
                &by.to_string(),
            ),
            _ => Vec::new(),
        };
        let caution = (!remedy.is_empty()).then(|| cautions::of_host(&endpoint.to_string())).flatten();
        answers.push(Answer { caution, ..answer("connect", &endpoint.to_string(), &decision, remedy) });
        if let Ok((_, by)) = policy.grant_host(&endpoint) {
            let by = Decision::Allow { by: Reason::BuiltIn(by) };
            answers.push(answer("be granted while it runs", &endpoint.to_string(), &by, Vec::new()));
        }
    }
    if let Some(url) = &arguments.url {
        let (endpoint, target) = parts(url)?;
        let (method, websocket) = (arguments.method.as_str(), url.starts_with("ws"));
        let request = HttpRequest { method, target: target.as_bytes(), length: None, websocket };
        let decision = ringfence_policy::decide_request(&policy, &endpoint, &request);
        let action = format!("{} {target} of", arguments.method);
        answers.push(answer(&action, &endpoint.to_string(), &decision, Vec::new()));
    }
    if let Some(command) = &arguments.command {
        only_words(command)?;
        answers.extend(of_command(command, &policy, (&judge, &workspace), (&invoker, arguments)));
    }
    if arguments.json {
        super::print_json(&answers)?;
        return Ok(0);
    }
    show(&answers);
    Ok(0)
}

/// What a run would say of a command, and of what it needs beside.
fn of_command(
    written: &str,
    policy: &Policy,
    (judge, workspace): (&Judge<'_>, &Path),
    (invoker, arguments): (&Invoker, &Arguments),
) -> Vec<Answer> {
    let mut answers = Vec::new();
    let command = &at_home(written, &invoker.home.to_string_lossy());
    let plan = planned(policy, invoker, &arguments.policy, vec!["true".into()]);
    if let Err(refused) = &plan {
        none_starts(refused);
    }
    let inside = &inside(invoker, plan.as_ref().ok());
    let from = (invoker, inside, &arguments.policy);
    let (decision, remedy) = start(command, policy, (judge, workspace), from);
    let mut begun = answer("start", command, &decision, remedy);
    let homely = command != written && begun.allowed && begun.rule.contains("`commands.allow`");
    begun.caution = homely.then(|| cautions::BY_THIS_PATH.to_owned());
    if begun.rule.ends_with(LOADER) && cautions::is_dynamic_loader(command) {
        begun.remedy.clear();
        begun.caution = Some(cautions::MAPS_LISTED.to_owned());
    } else if !begun.allowed && !begun.remedy.is_empty() {
        begun.caution = unwise::command(command);
    }
    // Of a script that is refused, what it needs beside the entry that is offered.
    let offered = script_with(command, policy, &begun, inside);
    let with = offered.as_ref().map(|policy| (policy, Judge::new(policy, workspace)));
    let with = with.filter(|(policy, judge)| start(command, policy, (judge, workspace), from).0.is_allow());
    let meant = &meant(command, workspace, invoker);
    let started = begun.allowed || with.is_some();
    answers.push(begun);
    if policy.guard.children != Children::Same {
        answers.push(answer("be started by a command", command, &judge.child(meant), Vec::new()));
    }
    if let Some(entry) = judge.grantable_command(meant) {
        let by = Decision::Allow { by: entry };
        answers.push(answer("be granted while it runs", command, &by, Vec::new()));
    }
    let own = policy;
    let (policy, judge) = with.as_ref().map_or((policy, judge), |(policy, judge)| (*policy, judge));
    let further = chain::of(meant, started, policy, judge, inside).into_iter().map(|link| Answer {
        further: true,
        ..answer(link.action, &link.target, &of_offer(link.decision, own), Vec::new())
    });
    answers.extend(further);
    // A command that may start does nothing without its parts; a list of them that the policy has is not one to write anew.
    let missing: Vec<_> = answers
        .iter()
        .filter(|one| one.action == chain::PART && !one.allowed)
        .map(|one| &one.target)
        .collect();
    if started && own.commands.is_some() && own.guard.children == Children::Same && !missing.is_empty() {
        let line = format!("children = {missing:?}");
        if let Some(last) = answers.iter_mut().rfind(|one| one.action == chain::PART && !one.allowed) {
            last.remedy = vec!["[commands]".to_owned(), line];
        }
    }
    answers
}

/// What an entry allows that stands in the lines which are offered, and not in the policy.
fn of_offer(decision: Decision, policy: &Policy) -> Decision {
    match decision {
        Decision::Allow { by: Reason::Rule { key: "commands.allow", text, .. } }
            if !policy
                .commands
                .iter()
                .flat_map(|commands| &commands.allow)
                .any(|rule| rule.value == text) =>
        {
            let by = format!("`{text}` of the lines above, once the policy has them");
            Decision::Allow { by: Reason::BuiltIn(by) }
        }
        decision => decision,
    }
}

/// Says that a policy starts nothing on this host, whatever it allows.
fn none_starts(refused: &Failure) {
    let why = terminal::line(refused.text());
    terminal::error(&format!("{} no run starts with this policy here: {why}", terminal::label("note:")));
}

/// The policy with the entry by which a script is offered to be allowed.
fn script_with(command: &str, policy: &Policy, begun: &Answer, invoker: &Invoker) -> Option<Policy> {
    let words = ringfence_policy::command_words(command);
    chain::first_line(&chain::named(words.first()?, invoker)?)?;
    let line =
        begun.remedy.iter().filter(|_| !begun.allowed).find_map(|line| line.strip_prefix("allow = "))?;
    let entries: Vec<String> = serde_json::from_str(line).ok()?;
    let mut with = policy.clone();
    let commands = with.commands.as_mut()?;
    let origin = commands.allow.first()?.origin.clone();
    commands.allow.extend(entries.into_iter().map(|value| Rule { value, origin: origin.clone() }));
    Some(with)
}

/// For people.
fn show(answers: &[Answer]) {
    let mut led = false;
    for one in answers {
        if one.further && !led {
            terminal::print("what it needs further:");
            led = true;
        }
        let word = if one.allowed { "allowed" } else { "refused" };
        let indent = if one.further { "  " } else { "" };
        let [action, target, rule] = [&one.action, &one.target, &one.rule].map(terminal::line);
        let mut text = format!("{indent}{action} {target}: {word}: {rule}");
        if !one.remedy.is_empty() {
            let what = if one.allowed { "for the host's own" } else { "to allow it" };
            text.push_str(&format!("\n    {what}: {}", terminal::line(one.remedy.join(" "))));
            if one.rule.ends_with(LOADER) {
                text.push_str(&format!("\n    {}", cautions::STARTS_ANY));
            }
        }
        if let Some(caution) = &one.caution {
            text.push_str(&format!("\n    {}", terminal::line(caution)));
        }
        terminal::print(&text);
    }
}

/// What a run would let be done with a file.
fn file(
    path: &Path,
    policy: &Policy,
    judge: &Judge<'_>,
    (invoker, arguments): (&Invoker, &Arguments),
) -> Vec<Answer> {
    let named = whole(path, invoker);
    // What links in /proc lead to is another process's matter there.
    let path = Some(real(&named)).filter(|real| !real.starts_with("/proc")).unwrap_or_else(|| named.clone());
    let (target, context) = (path.display().to_string(), environment::context(invoker));
    let plan = planned(policy, invoker, &arguments.policy, vec!["true".into()]);
    let host = Host::of_task(plan.as_ref().ok().and_then(|plan| Task::planned(invoker, plan)));
    let hidden =
        plan.as_ref().ok().filter(|_| path != named).and_then(|plan| hidden_link(plan, judge, &named));
    if let Err(refused) = &plan {
        none_starts(refused);
    }
    let whole = |path: &Path| path.is_absolute() || path.starts_with("~");
    let by_path = arguments.path.as_deref().is_some_and(whole);
    let elsewhere =
        |plan: &Plan| by_path && plan.inside() != plan.workspace && path.starts_with(&plan.workspace);
    let one = |(action, access)| {
        let (write, foretold) = (access == Access::Write, decide(judge, &host, &path, access));
        let mut remedy = lines(judge, (&host, &policy.home), host.named(&named, write), access);
        let allow = foretold.is_allow();
        let decision = match &plan {
            Ok(plan) => Asked { plan, judge, host: &host, path: &path, access }.decide(foretold),
            Err(_) => foretold,
        };
        let own = write && judge.scratch(&path);
        let decision = match &hidden {
            Some(link) if decision.is_allow() && !own => {
                let by = format!(
                    "it is allowed by another name: no rule of `files` covers `{}`, a link",
                    link.display()
                );
                Decision::Refuse { by: Reason::BuiltIn(by) }
            }
            None if decision.is_allow() && access != Access::Exec && plan.as_ref().is_ok_and(elsewhere) => {
                let by = "it lies in the workspace, of which the task has a copy elsewhere in tier `landlock`: by its name from there it is allowed, by its whole path it is not";
                Decision::Refuse { by: Reason::BuiltIn(by.to_owned()) }
            }
            _ => decision,
        };
        if decision.is_allow() && !own {
            remedy.clear();
        } else if allow && !decision.is_allow() && access == Access::Read && hidden.is_none() {
            remedy = judge.lines(&path, Access::Read);
        }
        let mut answer = answer(action, &target, &decision, remedy);
        if path == Path::new(REFUSALS) {
            answer.remedy.clear();
        }
        answer.caution = caution(&mut answer, &path, access, (&host, &context));
        if is_socket(&host, &path) {
            let hosted = plan.as_ref().is_ok_and(|plan| plan.hosted.is_some());
            as_socket(&mut answer, &path, access, (policy, hosted));
        }
        answer
    };
    let mut answers: Vec<Answer> =
        [("read", Access::Read), ("write", Access::Write), ("execute", Access::Exec)].map(one).into();
    if let Ok(rule) = judge.grantable(&path) {
        let (text, origin) = (rule.value.text().to_owned(), rule.origin.clone());
        let by = Decision::Allow { by: Reason::Rule { key: "approvals.grantable.read", text, origin } };
        answers.push(answer("be granted while it runs, for reading", &target, &by, Vec::new()));
    }
    answers
}

fn is_socket(host: &Host, path: &Path) -> bool {
    host.has(path) == Some(true) && path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

/// A socket is reached by a line of `[network]`: a run refuses those of `[files]` for one.
fn as_socket(answer: &mut Answer, path: &Path, access: Access, (policy, hosted): (&Policy, bool)) {
    if answer.remedy.first().is_none_or(|table| table != "[files]") {
        return;
    }
    let granted = policy.network.unix.iter().any(|rule| rule.value == path);
    (answer.remedy, answer.caution) = match access {
        _ if granted => (Vec::new(), Some("`network.allow` lets it be connected to".to_owned())),
        Access::Exec => (Vec::new(), Some("it is a socket, and no program".to_owned())),
        _ if hosted => (Vec::new(), Some("tier `landlock` leads to no socket of the host".to_owned())),
        _ => {
            let remedy = ringfence_policy::socket_remedy(&answer.target);
            let caution = cautions::socket(&remedy).to_owned();
            (remedy, Some(caution))
        }
    };
}

/// What speaks against an answer's lines. Some are taken away: they are no policy's to grant.
fn caution(
    answer: &mut Answer,
    path: &Path,
    access: Access,
    (host, context): (&Host, &ringfence_policy::Context),
) -> Option<String> {
    if answer.remedy.first().is_none_or(|table| table != "[files]") {
        let granted = answer.rule.starts_with("no rule of `files")
            || access == Access::Read && answer.rule.contains("no rule of `files` covers it");
        let refused = !answer.allowed && answer.remedy.is_empty() && granted;
        let why = || no_grant(path, access, host, context);
        return refused.then(|| why().unwrap_or_else(|| cautions::no_line(&answer.target, &answer.rule)));
    }
    if let Some(why) = no_grant(path, access, host, context) {
        answer.remedy.clear();
        return (!answer.allowed).then_some(why);
    }
    if host.leads_nowhere(host.named(path, access == Access::Write)) {
        answer.remedy.clear();
        return (!answer.allowed).then(|| cautions::NOTHING.to_owned());
    }
    if answer.rule.contains("is a known secret") || answer.rule.contains(KNOWN) {
        return Some(cautions::SECRET.to_owned());
    }
    cautions::secret_of_others(&answer.target).or_else(|| offered::caution(&mut answer.remedy, host, context))
}

/// No shell reads the command: what would mean something to one is refused, not taken for a letter.
fn only_words(command: &str) -> Result<(), Failure> {
    if command.trim().is_empty() {
        return Err(Failure::new("`--command`: it is empty").hint("name a program, and its arguments"));
    }
    let mut quoted = false;
    let operator = command.chars().find(|letter| {
        quoted ^= *letter == '\'';
        !quoted && "\"\\`|&;<>$\n".contains(*letter)
    });
    let failure = match operator {
        Some('\n') => {
            Failure::new("`--command`: a line break ends a command for a shell, and none reads this")
        }
        Some(letter) => Failure::new(format!(
            "`--command`: `{letter}` means something to a shell alone, and none reads this"
        )),
        None if quoted => Failure::new("`--command`: a single quote is not closed"),
        None => return Ok(()),
    };
    Err(failure.hint(
        "give one command, its words with blanks between them; single quotes hold a word together and mean every letter as it is: `--command \"git commit -m 'a b'\"`",
    ))
}

/// The same, with the home where a word begins with `~/` or is `~`, as an entry has it.
fn at_home(command: &str, home: &str) -> String {
    let home = ringfence_policy::command_line(std::iter::once(home));
    let (mut line, mut quoted, mut begins) = (String::new(), false, true);
    let mut rest = command.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '~' if begins && rest.peek().is_none_or(|next| *next == '/' || next.is_whitespace()) => {
                line.push_str(&home);
            }
            letter => line.push(letter),
        }
        quoted ^= letter == '\'';
        begins = letter.is_whitespace() && !quoted;
    }
    line
}

/// What a run would be, also where it is refused for the sake of its user.
pub(crate) fn plan(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    words: Vec<OsString>,
) -> Option<Plan> {
    planned(policy, invoker, arguments, words).ok()
}

/// The same, or why none starts.
fn planned(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    words: Vec<OsString>,
) -> Result<Plan, Failure> {
    let state = invoker.state.join("runs/RUN");
    let make =
        |arguments: &PolicyArguments| run::make_plan(policy, invoker, arguments, words.clone(), &state);
    make(arguments).or_else(|_| {
        let mut arguments = arguments.clone();
        arguments.allow_degraded.push("root-uid".to_owned());
        make(&arguments)
    })
}

fn answer(action: &str, target: &str, decision: &Decision, remedy: Vec<String>) -> Answer {
    let (allowed, rule) = (decision.is_allow(), decision.reason().to_string());
    Answer {
        action: action.to_owned(),
        target: target.to_owned(),
        allowed,
        rule,
        remedy,
        caution: None,
        further: false,
    }
}

/// Host and port of a URL, and what is asked for there.
fn parts(url: &str) -> Result<(Endpoint, String), Failure> {
    let invalid = |why: String| Failure::new(format!("`--url {url}`: {why}"));
    let (port, rest) = match url.split_once("://") {
        Some(("https" | "wss", rest)) => (443, rest),
        Some(("http" | "ws", rest)) => (80, rest),
        _ => {
            return Err(invalid(
                "it begins neither with `https://` nor with `http://` (`wss://`, `ws://`)".to_owned(),
            ));
        }
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let mut endpoint = Endpoint::parse(host).map_err(|error| invalid(error.to_string()))?;
    if !host.ends_with(&format!(":{}", endpoint.port)) {
        endpoint.port = port;
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((endpoint, format!("{slash}{target}")))
}

/// `~` as the policy means it: a path may come from there, quoted.
fn whole(path: &Path, invoker: &Invoker) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => invoker.home.join(rest),
        Err(_) => invoker.cwd.join(path),
    }
}

/// What a path leads to, as far as it is there: that is what a boundary holds.
pub(crate) fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match found {
        Some((above, real)) => match path.strip_prefix(above) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path.to_path_buf(),
    }
}
