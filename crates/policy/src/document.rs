//! The TOML as written: every table and key of the format, with places, and nothing interpreted.
//!
//! All strings are still strings here; what they mean is decided in `merge` and `later`.

mod containers;
mod credentials;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Place, Problem, Report};
use crate::lists::{self, Lists};
use crate::reader::{At, Input, Key, List, Named, Read, table};

pub(crate) use containers::ContainersTable;
pub(crate) use credentials::{
    CredentialSource, CredentialTable, ExposeTable, OauthTable, PlainSource, SpiffeTable,
};

table! {
    /// A ringfence policy.
    Document {
        /// The version of the format; must be 1.
        version: At<i64>,
        /// Presets by name, or files beside this one (`./base.toml`), merged left to right before this document.
        extends: List<String>,
        /// Who is running.
        identity: At<IdentityTable>,
        /// How lists merge.
        lists: ListsTable,
        /// The directory the task works on.
        workspace: WorkspaceTable,
        /// Files outside the workspace.
        files: FilesTable,
        /// The variables of the task; built from nothing.
        environment: EnvironmentTable,
        /// Which programs may start.
        commands: CommandsTable,
        /// Which hosts may be reached.
        network: NetworkTable,
        /// Secrets that the gateway holds for the task.
        credentials: Named<At<CredentialTable>>,
        /// A container engine of the host, by way of the gateway.
        containers: ContainersTable,
        /// What is done about secrets that leave.
        leaks: LeaksTable,
        /// Bounds on resources.
        limits: LimitsTable,
        /// Switches for special needs.
        runtime: RuntimeTable,
        /// Additions for one named step only.
        step: Named<At<StepTable>>,
        /// What happens on a refusal.
        approvals: ApprovalsTable,
        /// Claims that are checked when the policy loads.
        expect: ExpectTable,
    }
}

table! {
    /// Who is running: either a name or a SPIFFE ID.
    IdentityTable {
        /// 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit.
        name: At<String>,
        /// `spiffe://TRUST-DOMAIN/PATH`.
        spiffe: At<String>,
    }
}

table! {
    /// How lists merge.
    ListsTable {
        /// Allow-type lists that start anew in this document, such as `files.read`.
        replace: List<String>,
    }
}

table! {
    /// The directory the task works on.
    WorkspaceTable {
        /// The directory; relative to this file.
        path: At<String>,
        /// `review`, `discard`, `direct`, `read` or `temporary`.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = words(&crate::model::Mode::WORDS))))]
        mode: At<String>,
        /// The most that the task may write there.
        quota: At<String>,
        /// Paths that are readable, never writable, also while they do not exist yet.
        protect: List<String>,
        /// With `discard`: all that may come out.
        outputs: List<String>,
        /// With `direct`: keep what undo needs.
        snapshot: At<bool>,
        /// Follow git's worktree, submodule and alternates links out of the workspace.
        git: At<bool>,
    }
}

table! {
    /// Files outside the workspace. A trailing `?` means: no error if it does not exist.
    FilesTable {
        /// Readable trees or files; not executable.
        read: List<String>,
        /// Readable and executable trees or files.
        exec: List<String>,
        /// Readable and writable trees or files.
        write: List<String>,
        /// Patterns that are hidden even inside a grant; relative ones are relative to the workspace.
        deny: List<String>,
        /// Paths where a bait is shown; touching it is an incident.
        decoy: List<String>,
    }
}

table! {
    /// The variables of the task; built from nothing.
    EnvironmentTable {
        /// Names taken over from the invoker.
        pass: List<String>,
        /// Names and values that are set.
        set: Named<At<SetValue>>,
    }
}

table! {
    /// A variable that holds a path. It does not grant the path.
    PathValue {
        /// The path; `~` and `$VARS` are the invoker's.
        path: At<String>,
        /// Leave the variable out where the path does not exist.
        optional: At<bool>,
    }
}

table! {
    /// Which programs may start. Without `allow`: any program in an executable tree.
    CommandsTable {
        /// Programs by name or absolute path, with argument patterns.
        allow: List<String>,
        /// Commands that never start.
        deny: List<String>,
        /// May shells and interpreters take code on the command line?
        shell: At<bool>,
        /// May a command read what another one writes, and run beside others?
        pipes: At<bool>,
        /// May the task run what it built in the workspace?
        from_workspace: At<bool>,
        /// What a granted program may start: `same` rules, `free`, or a list.
        children: At<Children>,
        /// Refuse a program whose content changed since the start.
        pin: At<bool>,
    }
}

table! {
    /// Which hosts may be reached.
    NetworkTable {
        /// Package registries of the clients that are configured on this machine.
        registries: List<String>,
        /// Hosts, `HOST:PORT` or a table.
        allow: List<NetworkRule>,
        /// Hosts that are never reached.
        deny: List<String>,
        /// Ports of the task that are reachable on the host's loopback.
        publish: List<i64>,
        /// `auto`, `all` or `none`.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = words(&INSPECT))))]
        inspect: At<String>,
    }
}

table! {
    /// One network rule: exactly one of `host`, `unix` and `host_loopback`.
    NetworkTableRule {
        /// The host, exact or `*.example.org`.
        host: At<String>,
        /// The port; 443 if absent.
        port: At<i64>,
        /// The protocol that is spoken there.
        protocol: At<String>,
        /// Must the connection be TLS?
        tls: At<bool>,
        /// HTTP methods.
        methods: List<String>,
        /// HTTP path patterns.
        paths: List<String>,
        /// The largest body of one request, `1MiB`.
        request_size: At<String>,
        /// May a connection become a WebSocket?
        websocket: At<bool>,
        /// May TLS there be looked into, where `network.inspect` is not written? `false`: never.
        inspect: At<bool>,
        /// The most bytes that may leave by this rule while a sandbox lives, `10MiB`.
        bytes_out: At<String>,
        /// A unix socket of the host.
        unix: At<String>,
        /// A port on the host's loopback.
        host_loopback: At<i64>,
    }
}

table! {
    /// What is done about secrets that leave.
    LeaksTable {
        /// `egress`, `workspace`, `output`.
        scan: List<String>,
        /// `block`, `mask` or `warn`.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = words(&ACTION))))]
        action: At<String>,
    }
}

table! {
    /// Bounds on resources. Sizes are written `64MiB`, durations `30m`.
    LimitsTable {
        /// Memory of all processes together.
        memory: At<String>,
        /// Processors, such as 1.5.
        cpu: At<f64>,
        /// Processes and threads.
        processes: At<i64>,
        /// Open files of one process.
        open_files: At<i64>,
        /// Size of one file.
        file_size: At<String>,
        /// Size of the private /tmp.
        tmp: At<String>,
        /// Bytes on stdout and stderr, of each command of a named sandbox.
        output: At<String>,
        /// Wall-clock time.
        time: At<String>,
        /// Refuse a host that can only poll.
        exact: At<bool>,
    }
}

table! {
    /// Switches for special needs.
    RuntimeTable {
        /// Nested sandboxes.
        user_namespaces: At<bool>,
        /// Debugging interfaces, such as `ptrace`.
        debug: List<String>,
        /// The io_uring interface.
        io_uring: At<bool>,
        /// Tell of writes to what may only be read.
        watch_writes: At<bool>,
        /// May programs in /tmp be executed?
        tmp_exec: At<bool>,
        /// `filtered` or `raw`.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = words(&TERMINAL))))]
        terminal: At<String>,
    }
}

table! {
    /// Additions for one named step.
    StepTable {
        /// Files of this step.
        files: FilesTable,
        /// Variables of this step.
        environment: EnvironmentTable,
        /// Programs of this step.
        commands: CommandsTable,
        /// Hosts of this step.
        network: NetworkTable,
        /// Bounds of this step.
        limits: LimitsTable,
    }
}

table! {
    /// What happens on a refusal.
    ApprovalsTable {
        /// `fail` or `ask`.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = words(&ON_REFUSAL))))]
        on_refusal: At<String>,
        /// The most that may be granted while running.
        grantable: GrantableTable,
    }
}

table! {
    /// The most that may be granted while running.
    GrantableTable {
        /// Path patterns.
        read: List<String>,
        /// Path patterns.
        exec: List<String>,
        /// Path patterns.
        write: List<String>,
        /// Host patterns.
        hosts: List<String>,
        /// Commands.
        commands: List<String>,
        /// Names of `[credentials]`, which are of no use until they are granted.
        credentials: List<String>,
    }
}

table! {
    /// Claims that are checked when the policy loads: `run PROG`, `read PATH`, `write PATH`, `exec PATH`,
    /// `connect HOST:PORT`, `https METHOD HOST/PATH`.
    ExpectTable {
        /// Actions that must be allowed.
        allow: List<String>,
        /// Actions that must be refused.
        refuse: List<String>,
    }
}

impl From<StepTable> for Document {
    /// A step is a document of a few tables.
    fn from(step: StepTable) -> Self {
        let StepTable { files, environment, commands, network, limits } = step;
        Self { files, environment, commands, network, limits, ..Self::default() }
    }
}

/// The value of a variable.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
pub(crate) enum SetValue {
    /// Literal text.
    Text(String),
    /// A path.
    Path(PathValue),
}

/// A network rule.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
pub(crate) enum NetworkRule {
    /// `HOST` or `HOST:PORT`.
    Text(String),
    /// The long form.
    Table(Box<NetworkTableRule>),
}

/// What a granted program may start.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
pub(crate) enum Children {
    /// `same` or `free`.
    Text(String),
    /// Programs.
    List(Vec<At<String>>),
}

/// How a secret is written on requests.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
pub(crate) enum Forms {
    /// One form.
    Text(String),
    /// Several: the task may use each of them.
    List(Vec<At<String>>),
}

impl Read for Forms {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::String(_) => Some(Self::Text(String::read(input, report)?)),
            DeValue::Array(_) => Some(Self::List(Read::read(input, report)?)),
            _ => input.wrong("a string or a list of strings", report),
        }
    }
}

impl Read for SetValue {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::String(_) => Some(Self::Text(String::read(input, report)?)),
            DeValue::Table(_) => Some(Self::Path(PathValue::read(input, report)?)),
            _ => input.wrong("a string or `{ path = \"..\" }`", report),
        }
    }
}

impl Read for NetworkRule {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::String(_) => Some(Self::Text(String::read(input, report)?)),
            DeValue::Table(_) => Some(Self::Table(Box::new(NetworkTableRule::read(input, report)?))),
            _ => input.wrong("a list of `\"HOST:PORT\"` or tables", report),
        }
    }
}

impl Read for Children {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::String(_) => Some(Self::Text(String::read(input, report)?)),
            DeValue::Array(_) => Some(Self::List(Read::read(input, report)?)),
            _ => input.wrong("`\"same\"`, `\"free\"` or a list", report),
        }
    }
}

/// The parser's words for a key or table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// Reads one document; everything wrong with its form goes to the report. `None`: it is not TOML.
pub(crate) fn parse(source: usize, report: &mut Report) -> Option<Document> {
    let text = report.text(source)?;
    let taken = lists::take(&text.text);
    parse_rest(source, &text.text, taken.as_ref(), report)
}

/// The same once long lists are taken out.
fn parse_rest(
    source: usize,
    text: &str,
    taken: Option<&(String, Lists)>,
    report: &mut Report,
) -> Option<Document> {
    let (rest, lists) = taken.map_or((text, None), |(rest, lists)| (rest, Some(lists)));
    let (root, errors) = DeTable::parse_recoverable(rest);
    if !errors.is_empty() {
        // Behind the first error of form the parser guesses; duplicates are certain, so all of them are shown.
        let first = errors.iter().position(|error| error.message() != DUPLICATE);
        for (index, error) in errors.iter().enumerate() {
            if error.message() == DUPLICATE || first == Some(index) {
                let span = error.span().unwrap_or(0..0);
                let at = |at| lists.map_or(at, |lists: &Lists| lists.place(at));
                let place = Place { source, start: at(span.start), end: at(span.end) };
                let title = format!("not valid TOML: {}", error.message());
                report.push(Problem::new(place, title).label(syntax_label(error.message())));
            }
        }
        return None;
    }
    let unversioned = !root.get_ref().contains_key("version");
    let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
    let key = Key { parent: None, name: "" };
    let document = Document::read(&Input { value: &root, source, text, lists, key: &key }, report)?;
    match &document.version {
        Some(version) => check_version(version, report),
        None if unversioned => {
            let problem = Problem::new(Place { source, start: 0, end: 0 }, "`version` is missing");
            report.push(problem.help("write `version = 1` as the first line".to_owned()));
        }
        None => {}
    }
    Some(document)
}

fn syntax_label(message: &str) -> &'static str {
    match message {
        DUPLICATE => "written a second time here",
        _ if message.contains("recurs") => "nested too deeply",
        _ => "here",
    }
}

fn check_version(version: &At<i64>, report: &mut Report) {
    if version.value != 1 {
        let title = format!("version {} of the policy format is not known", version.value);
        let problem = Problem::new(version.place, title).label("this build reads version 1");
        report.push(problem.help("write `version = 1`".to_owned()));
    }
}

/// `runtime.terminal`: is it raw?
pub(crate) const TERMINAL: [(&str, bool); 2] = [("filtered", false), ("raw", true)];
/// `approvals.on_refusal`: is somebody asked?
pub(crate) const ON_REFUSAL: [(&str, bool); 2] = [("fail", false), ("ask", true)];
/// `network.inspect`, each with whether it holds already.
pub(crate) const INSPECT: [(&str, bool); 3] = [("auto", true), ("all", true), ("none", true)];
/// `leaks.action`, likewise.
pub(crate) const ACTION: [(&str, bool); 3] = [("block", true), ("mask", true), ("warn", true)];

#[cfg(feature = "schema")]
fn words<T>(options: &[(&'static str, T)]) -> Vec<&'static str> {
    options.iter().map(|(word, _)| *word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents of random pieces, among them many that are no TOML.
    fn documents() -> impl Iterator<Item = String> {
        const PIECES: &[&str] = &[
            "[files]\n",
            "read = [\n",
            "\"/x\"",
            "\"/y\"",
            ",",
            ",\n",
            "]\n",
            "]",
            "\n",
            "# [\"c\"]\n",
            "version = 1\n",
            "'''",
            "\"\"\"",
            "deny = [\n",
            "exec = ",
            "[",
            "{",
            "}",
            "\"\\n\"",
            "read = [\n\"/a\",\n\"/b\"\n]\n",
            "replace = [\n\"z\"]\n",
            "[lists]\n",
            "'",
            "\"",
            " ",
        ];
        let mut state = 1u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        (0..100_000)
            .map(move |_| (0..=next(9)).filter_map(|_| PIECES.get(next(PIECES.len()))).copied().collect())
    }

    #[test]
    fn lists_that_are_taken_out_change_nothing() {
        let mut read = 0;
        for text in documents() {
            let Some(taken) = lists::take_any(&text) else { continue };
            let outcome = |taken: Option<&(String, Lists)>| {
                let mut report = Report::default();
                let source = report.source("p".to_owned(), text.clone());
                let document = parse_rest(source, &text, taken, &mut report);
                (
                    format!("{document:?}"),
                    document.is_some(),
                    report.stop().map_err(|wrong| wrong.to_string()),
                )
            };
            let (slow, fast) = (outcome(None), outcome(Some(&taken)));
            assert_eq!((&slow.0, slow.1), (&fast.0, fast.1), "{text}");
            if slow.1 {
                read += 1;
                assert_eq!(slow.2, fast.2, "{text}");
            }
        }
        assert!(read > 300, "{read}");
    }
}
