//! The refusals of a run, as its events tell them: each once, with what would allow it and what speaks against that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use ringfence_confine::Program;
use ringfence_confine::gateway::UNSEEN;
use ringfence_plan::Invoker;
use ringfence_policy::{Access, Context as PolicyContext};
use ringfence_record::{RunDir, RunRecord};
use serde::Serialize;
use serde_json::Value;

use crate::detail::{arguments, call, command, is_http, lines, network, times, unseen};
use crate::ended::{self, Ended};
use crate::failure::{Context, Failure};
use crate::host::{Host, Task};
use crate::terminal::{escape, line};
use crate::{cautions, counted, environment, named, offered, parts, strongest};

/// How many reasons are told one by one of one thing; a task can find as many as it likes.
const WAYS: usize = 8;
/// The same of programs that open one decoy.
const OPENERS: usize = 64;

/// Target, purpose, and what tells apart what has both in common.
pub(crate) type Key = (String, String, String);

/// One thing that was refused, by whichever programs.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// `file`, `socket`, `host`, `command`, `syscall`, `credential`, `leak`, `containers`, `decoy`, `network` or `limit`.
    pub(crate) kind: &'static str,
    /// The path, the call's name, or the key in `[limits]`.
    pub(crate) target: String,
    /// Of a system call, in hexadecimal: those with which it was refused first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<String>,
    /// `look`, `read`, `write`, `remove`, `execute`, `connect`, `call`, `open`, `send`, `sign`, ..; for a limit, what happened.
    pub(crate) purpose: String,
    /// `refused`, `masked`, `let through`, or `opened` of a decoy.
    pub(crate) outcome: &'static str,
    /// Programs that asked.
    pub(crate) programs: Vec<String>,
    /// The scripts that these ran, of interpreters, or that started them.
    pub(crate) scripts: Vec<String>,
    /// Both, as they are told.
    #[serde(skip)]
    pub(crate) askers: Vec<String>,
    /// Whether it is listed without `--all`.
    pub(crate) listed: bool,
    /// How often at least.
    pub(crate) times: u64,
    /// Whether the host has it; `null`: it was not looked for.
    pub(crate) on_host: Option<bool>,
    /// The rule, or the lack of one.
    pub(crate) rule: String,
    /// Lines of policy that would allow it; none if no line does.
    pub(crate) remedy: Vec<String>,
    /// Whether `ringfence grant` can show it to the sandbox while that runs.
    pub(crate) grantable: bool,
    /// Why these lines would be unwise, or why there are none.
    pub(crate) caution: Option<String>,
    /// So many ways it stands for, which are told of by their number alone; 0: it is one that is told of.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) ways: u64,
}

/// All of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Explained {
    /// Its id.
    pub(crate) run: String,
    /// In the order they first happened.
    pub(crate) refusals: Vec<Explanation>,
    /// Refusals of the run that are told of only as a number.
    pub(crate) others: u64,
    /// What could not be seen on this host.
    pub(crate) unseen: Vec<String>,
    /// Granted connections that came to nothing.
    pub(crate) failed: BTreeSet<String>,
    /// How it ended; `null`: it still runs, or its record does not say.
    pub(crate) ended: Option<Ended>,
    /// Who waits for the owner now.
    pub(crate) waiting: Vec<String>,
    /// It was in tier `landlock`.
    #[serde(skip)]
    hosted: bool,
    /// It still runs.
    #[serde(skip)]
    runs: bool,
}

impl Explained {
    /// Reads a run's events, those written so far if it still runs.
    ///
    /// # Errors
    /// They cannot be read, or are no events.
    pub(crate) fn of(run: &RunDir, record: &RunRecord, invoker: &Invoker) -> Result<Self, Failure> {
        let path = run.events();
        let file = std::fs::File::open(&path).context(format!("reading {}", path.display()))?;
        let context = &environment::context(invoker);
        let (mut host, mut places) = (Host::of_task(Task::of(invoker, &record.workspace)), BTreeMap::new());
        let waiting = if record.running() { named::waiting(run) } else { Vec::new() };
        let mut explained = Self {
            run: run.id().to_owned(),
            ended: ended::of(run, record),
            waiting,
            runs: record.running(),
            ..Self::default()
        };
        for line in BufReader::new(file).lines() {
            let line = line.context(format!("reading {}", path.display()))?;
            let event: Value =
                serde_json::from_str(&line).context(format!("the events of run {}", run.id()))?;
            explained.add(&event, &mut places, &host, Some(context));
            if explained.hosted {
                host = Host::new();
            }
        }
        strongest::settle(&mut explained.refusals);
        let failed = explained.ended.as_ref().is_some_and(Ended::failed);
        if failed && !explained.refusals.iter().any(|one| one.kind == "command") {
            explained.unseen.extend(parts::unseen(record));
        }
        Ok(explained)
    }

    /// One event more. Without `context` it is not looked whether a grant could be.
    pub(crate) fn add(
        &mut self,
        event: &Value,
        places: &mut BTreeMap<Key, usize>,
        host: &Host,
        context: Option<&PolicyContext>,
    ) {
        let (kind, detail) =
            (event.get("kind").and_then(Value::as_str).unwrap_or_default(), event.get("detail"));
        let text =
            |name: &str| detail.and_then(|detail| detail.get(name)?.as_str()).unwrap_or_default().to_owned();
        if self.noted(kind, detail, text) {
            return;
        }
        let (shown, target, purpose) = match kind {
            "file.deny" => {
                let asked = text("asked");
                ("file", if asked.is_empty() { text("path") } else { asked }, text("purpose"))
            }
            "exec.clean" => {
                let names = detail.and_then(|detail| detail.get("variables")?.as_array());
                let names: Vec<_> = names.into_iter().flatten().filter_map(Value::as_str).collect();
                ("command", names.join(", "), "clean".to_owned())
            }
            "exec.deny" | "exec.tamper" => {
                ("command", command(detail), kind.trim_start_matches("exec.").to_owned())
            }
            "decoy.open" => ("decoy", text("path"), "open".to_owned()),
            "syscall.deny" => ("syscall", call(detail, &text("name")), "call".to_owned()),
            "net.deny" if !text("host").is_empty() => network(detail, &text("host"), &text("rule")),
            "credential.deny" => {
                let port = detail.and_then(|detail| detail.get("port")?.as_u64()).unwrap_or(0);
                let (name, host) = (text("credential"), text("host"));
                let request = text("request");
                match port {
                    0 => ("credential", format!("{name} ({host})"), "sign".to_owned()),
                    _ if !is_http(&request) => {
                        ("credential", format!("{name} for `{request}` at {host}:{port}"), "use".to_owned())
                    }
                    _ => ("credential", format!("{name} to {host}:{port}"), "send".to_owned()),
                }
            }
            "container.deny" => ("containers", text("request"), "ask".to_owned()),
            "leak" => {
                let port = detail.and_then(|detail| detail.get("port")?.as_u64()).unwrap_or(0);
                match text("host").as_str() {
                    "" => ("leak", text("secret"), "print".to_owned()),
                    host => ("leak", format!("{} to {host}:{port}", text("secret")), "send".to_owned()),
                }
            }
            "net.down" => ("network", text("what"), "down".to_owned()),
            "net.deny" => ("socket", text("unix"), "connect".to_owned()),
            "limit.hit" => ("limit", text("limit"), text("what")),
            _ => return,
        };
        let outcome = match text("action").as_str() {
            "mask" => "masked",
            "warn" => "let through",
            _ if kind == "decoy.open" => "opened",
            _ => "refused",
        };
        // The same words may need another line elsewhere, and what is sent be wrong in several ways.
        let many = matches!(shown, "host" | "credential" | "leak" | "containers" | "decoy");
        let key = match purpose.as_str() {
            // What opens it by habit is not to stand for what does not.
            _ if shown == "decoy" => opener(outcome, text),
            _ if many => format!("{outcome}\n{}", text("rule")),
            "deny" => lines(detail).join("\n"),
            _ => String::new(),
        };
        let own = (target.clone(), purpose.clone(), key);
        let most = if shown == "decoy" { OPENERS } else { WAYS };
        let beyond = many && !places.contains_key(&own) && told_apart(places, &own, outcome) >= most;
        let place = match beyond {
            true => (target.clone(), purpose.clone(), format!("more {outcome}")),
            false => own.clone(),
        };
        let place = *places.entry(place).or_insert_with(|| {
            let ended = if shown == "file" { text("path") } else { target.clone() };
            let lines = if beyond { Vec::new() } else { lines(detail) };
            let known = (ended.as_str(), host, self.hosted);
            let mut told = explain(shown, target, purpose, text("rule"), lines, known, context);
            told.outcome = outcome;
            told.arguments = arguments(detail);
            self.refusals.push(told);
            self.refusals.len() - 1
        });
        let Some(explanation) = self.refusals.get_mut(place) else { return };
        if beyond {
            places.insert(own, place);
            explanation.one_way_more();
        }
        explanation.times += times(detail);
        let elsewhere = matches!(kind, "exec.deny" | "net.deny");
        explanation.grantable |= explanation.ways == 0
            && (explanation.on_host == Some(true) || elsewhere)
            && detail.and_then(|detail| detail.get("grantable")?.as_bool()).unwrap_or(false);
        explanation.asked_by(text);
    }
}

impl Explained {
    /// What is said once, beside the refusals.
    fn noted(&mut self, kind: &str, detail: Option<&Value>, text: impl Fn(&str) -> String) -> bool {
        match kind {
            "file.deny" if text("path") == "(others)" => self.others += times(detail),
            "net.deny" if text("host") == UNSEEN => {
                self.unseen.push(format!("{}: {}", text("host"), text("rule")));
            }
            "net.fail" => {
                let (_, host, _) = network(detail, &(text("unix") + &text("host")), "");
                self.failed.insert(format!("{host}: {}", text("why")));
            }
            "sandbox.start" => {
                self.hosted = text("tier") == "landlock";
                self.unseen = unseen(detail);
            }
            _ => return false,
        }
        true
    }
}

impl Explanation {
    /// It stands for one way more. What opens a decoy was put there by the same rule, whoever it is.
    fn one_way_more(&mut self) {
        self.ways += 1;
        if self.kind != "decoy" {
            self.rule = format!(
                "{} more ways, too many to be told of one by one (the run's `events.jsonl` has them, below `$XDG_STATE_HOME/ringfence/runs/`)",
                self.ways
            );
            self.caution = None;
        }
    }

    /// One who asked more.
    fn asked_by(&mut self, text: impl Fn(&str) -> String) {
        let (script, starter) = (text("script").into(), text("started_by").into());
        let program = Program { file: text("program").into(), script, starter, given: [0, 0] };
        let lists = [
            (&mut self.programs, text("program")),
            (&mut self.scripts, text(if text("script").is_empty() { "started_by" } else { "script" })),
            (&mut self.askers, program.to_string()),
        ];
        for (list, one) in lists {
            if !one.is_empty() && !list.contains(&one) {
                list.push(one);
            }
        }
    }
}

fn explain(
    kind: &'static str,
    target: String,
    purpose: String,
    rule: String,
    mut remedy: Vec<String>,
    (ended, host, hosted): (&str, &Host, bool),
    context: Option<&PolicyContext>,
) -> Explanation {
    let nowhere = matches!(
        kind,
        "limit" | "syscall" | "command" | "host" | "network" | "credential" | "leak" | "containers"
    );
    let on_host =
        if nowhere { None } else { host.could_have_below(Path::new(ended), Path::new(&target), &purpose) };
    let path = Path::new(&target);
    let granted = path.parent().filter(|_| purpose == "remove").unwrap_or(path);
    let no_grant = |context| no_grant(granted, access(&purpose), host, context);
    let forbidden = context.filter(|_| !nowhere).and_then(no_grant);
    let listed = counted::is_listed(kind, &target, &purpose, on_host);
    let caution = cautions::caution(kind, &target, &purpose, &rule, &mut remedy, on_host, forbidden);
    let mut caution =
        caution.or_else(|| context.and_then(|context| offered::caution(&mut remedy, host, context)));
    // No policy loads with such a line; a program that was started is there.
    let write = access(&purpose) == Access::Write;
    if kind != "command"
        && remedy.first().is_some_and(|table| table == "[files]")
        && host.leads_nowhere(host.named(granted, write))
    {
        remedy.clear();
        caution = caution.or_else(|| Some(cautions::NOTHING.to_owned()));
    }
    if hosted && kind == "syscall" && cautions::grants_kernel(&remedy) {
        let key = remedy.pop().unwrap_or_default();
        caution = Some(format!("tier `landlock` refuses the key that would allow it: `runtime.{key}`"));
        remedy.clear();
    }
    Explanation {
        kind,
        target,
        arguments: Vec::new(),
        purpose,
        outcome: "refused",
        programs: Vec::new(),
        scripts: Vec::new(),
        askers: Vec::new(),
        listed,
        times: 0,
        on_host,
        rule,
        remedy,
        grantable: false,
        caution,
        ways: 0,
    }
}

/// Why no line grants a file, if none does: what it would open, or whose it is.
pub(crate) fn no_grant(path: &Path, access: Access, host: &Host, context: &PolicyContext) -> Option<String> {
    let write = access == Access::Write;
    let named = host.named(path, write);
    let real =
        Some(named).filter(|named| host.has(named) == Some(true)).and_then(|named| named.canonicalize().ok());
    let mut ends = std::iter::once(named).chain(real.as_deref());
    if let Some(invalid) = ends.find_map(|end| ringfence_policy::check_grant(end, write, context)) {
        return Some(invalid.message);
    }
    let barred = host.barred(named, access);
    barred.then(|| "no line allows it: its permissions on the host keep it from this user".to_owned())
}

/// In how many ways the same came to this already.
fn told_apart(places: &BTreeMap<Key, usize>, own: &Key, outcome: &str) -> usize {
    let same = |known: &&Key| known.0 == own.0 && known.1 == own.1 && known.2.starts_with(outcome);
    let from = (own.0.clone(), own.1.clone(), outcome.to_owned());
    places.range(from..).map(|(known, _)| known).take_while(same).take(OPENERS).count()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What tells apart who opened a decoy.
fn opener(outcome: &str, text: impl Fn(&str) -> String) -> String {
    ["program", "script", "started_by"].iter().fold(outcome.to_owned(), |key, one| key + "\n" + &text(one))
}

fn access(purpose: &str) -> Access {
    match purpose {
        "write" | "remove" => Access::Write,
        "execute" => Access::Exec,
        _ => Access::Read,
    }
}

/// For people. `all`: also what the host does not have either.
pub(crate) fn render(explained: &Explained, run: &str, all: bool) -> String {
    let mut out = String::new();
    let (shown, hidden): (Vec<_>, Vec<_>) = explained.refusals.iter().partition(|one| one.listed || all);
    let hidden = hidden.len();
    shown.iter().for_each(|one| out.push_str(&paragraph(one, (run, explained.runs))));
    if hidden > 0 {
        let plural = if hidden == 1 { "name" } else { "names" };
        out.push_str(&format!(
            "{hidden} more {plural} looked for that the host does not have either, or that libraries look for by habit (--all lists them)\n"
        ));
    }
    if explained.others > 0 {
        out.push_str(&format!("{} more refusals, too many to be told of one by one\n", explained.others));
    }
    let offered: Vec<_> = shown.into_iter().filter(|one| is_offered(one)).collect();
    if offered.len() > 1 {
        let granted = together(&offered);
        out.push_str(&format!(
            "\nTo allow all of these that are not unwise, add to the policy (a table or a list that it has already takes what is for it):\n\n{granted}"
        ));
    }
    for waits in &explained.waiting {
        out.push_str(&format!(
            "{}\n    `ringfence grant {run}` lets it (--read, --command or --host), `ringfence revoke {run}` refuses it and ends what was granted\n",
            line(waits)
        ));
    }
    if out.is_empty() {
        out = format!("run {run}: nothing that is seen was refused\n");
    }
    for failed in &explained.failed {
        out.push_str(&format!("granted, but it failed: {}\n", line(failed)));
    }
    for unseen in &explained.unseen {
        out.push_str(&format!("not seen in this run: {}\n", line(unseen)));
    }
    if let Some(ended) = &explained.ended {
        out.push_str(&format!("\n{}\n", escape(ended.sentence(run))));
    }
    out.push_str(PLAIN);
    out
}

/// What no part of the boundary sees, since the kernel answers by itself: mount flags and Landlock.
const PLAIN: &str = "\n(Not listed: writes to what may only be read or is hidden, unless the policy has `runtime.watch_writes`; starts of hidden files; devices that the sandbox lacks; programs that no list names, where who would start them asks first (make, `command -v`) or where nothing looks at starts; system calls of another ABI, which end who makes them (SIGSYS, exit status 159); memfd_create where lists of programs leave it out (ENOSYS), and connections made by what is sent (MSG_FASTOPEN). \
                     `ringfence explain --path PATH` and `--command NAME` name their rule)\n";

fn paragraph(one: &Explanation, (run, runs): (&str, bool)) -> String {
    let who = match one.askers.as_slice() {
        [] => "the task".to_owned(),
        [program] => line(program),
        [program, others @ ..] => format!("{} and {} more", line(program), others.len()),
    };
    let did = match one.purpose.as_str() {
        "look" => "looked for",
        "read" => "tried to read",
        "write" => "tried to write",
        "remove" => "tried to remove, rename or replace",
        "execute" => "tried to start",
        "map" => "tried to load as code",
        "connect" => "tried to connect to",
        "ask" if one.kind == "containers" => "asked the container engine for",
        "ask" => "asked for the name",
        "send" if one.outcome == "let through" => "sent",
        "send" => "tried to send",
        "sign" => "tried to sign with",
        "use" => "tried to use",
        "print" => "printed",
        "packet" => "sent",
        "datagram" => "sent a packet to",
        "call" => "made the system call",
        "open" => "opened the decoy",
        "deny" => "tried to start",
        "tamper" => "was going to start",
        "clean" => "started programs without",
        _ => "reached",
    };
    let times = if one.times > 1 { format!(" (at least {} times)", one.times) } else { String::new() };
    let mut out = match one.kind {
        "limit" => format!("limits.{}: {}\n", line(&one.target), line(&one.purpose)),
        "network" => format!("{}\n", line(&one.target)),
        "decoy" => {
            format!("{who} {did} {}{times}\n    put there by {}\n", line(&one.target), line(&one.rule))
        }
        _ => format!("{who} {did} {}{times}\n    {}: {}\n", line(&one.target), one.outcome, line(&one.rule)),
    };
    if !one.remedy.is_empty() {
        let lines: Vec<String> = one.remedy.iter().map(line).collect();
        out.push_str(&format!("    to allow it: {}\n", lines.join(" ")));
        if let Some(note) = parts::note(&one.remedy) {
            out.push_str(&format!("    {note}\n"));
        }
    }
    if one.grantable {
        // To be pasted: no name of a file may end the quotes.
        let target = line(&one.target);
        let entry = || entry_of(&one.remedy).unwrap_or_else(|| ringfence_policy::command_entry(&target));
        let target = if one.kind == "command" { entry() } else { target };
        let what = crate::terminal::word(&target);
        // What is shown in another way would be another name.
        let pasted = line(&one.target) == one.target;
        let option = match one.kind {
            "command" => "command",
            "host" => "host",
            _ => "read",
        };
        if pasted {
            let (when, run) = if runs { ("it runs", run) } else { ("the next one runs", "last") };
            out.push_str(&format!("    while {when}: ringfence grant {run} --{option} {what} --for 10m\n"));
        }
    }
    if let Some(caution) = &one.caution {
        out.push_str(&format!("    {}\n", line(caution)));
    }
    out
}

/// Whether nothing speaks against its lines. Of a command that nobody answered for, they are only not the sole way.
fn is_offered(one: &Explanation) -> bool {
    let unanswered = one.kind == "command"
        && one.rule.starts_with("the owner was asked")
        && !one.rule.contains("the owner refused")
        && !cautions::is_any(one.target.split(' ').next().unwrap_or_default());
    one.caution.is_none() || unanswered || one.caution.as_deref() == Some(cautions::NO_PORT)
}

/// The entry that a refused command lacks, if that means it alone: its paths are the policy's, wherever it was started.
fn entry_of(remedy: &[String]) -> Option<String> {
    let table: toml_edit::DocumentMut = remedy.last()?.parse().ok()?;
    let list = table.get("allow")?.as_array().filter(|list| list.len() == 1)?;
    list.get(0)?.as_str().filter(|entry| !entry.contains(['*', '?'])).map(str::to_owned)
}

/// The lines of all that is not cautioned against, by table and key.
fn together(offered: &[&Explanation]) -> String {
    let mut tables: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for one in offered {
        let [table, line] = one.remedy.as_slice() else { continue };
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let values = tables.entry(table).or_default().entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let mut out = String::new();
    for (table, keys) in tables {
        out.push_str(&format!("{table}\n"));
        for (key, values) in keys {
            let list = values.iter().filter_map(|value| value.strip_prefix('[')?.strip_suffix(']'));
            let list: Vec<_> = list.collect();
            match values.first() {
                Some(first) if list.is_empty() => out.push_str(&format!("{key} = {first}\n")),
                _ => out.push_str(&format!("{key} = [{}]\n", list.join(", "))),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
