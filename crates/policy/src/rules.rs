//! What may be executed, compiled: which file, under which name, with which arguments. Pure: who asks has looked the file up.

mod digest;
mod granted;
mod inner;
mod interpreters;
mod listed;
mod named;
mod program;
mod scripts;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use program::{Meaning, is_git, many, meanings};
use scripts::Script;
use table::{Table, permitted};

use crate::argv::{As, CommandPattern, Place};
use crate::command::list_at;
use crate::model::{Children, EnvironmentValue, Origin, Policy, Rule};
use crate::shells::Shells;
use crate::variables;

pub use digest::{Digest, digest};
pub use granted::GrantedCommand;
pub use interpreters::runs_alone;
pub use named::{Ground, Interpreted, Lists, Named};
pub use program::{MULTICALL, is_multicall};

/// With these words ends the reason for which a program is refused that loads others itself.
pub const LOADER: &str = "a loader, which starts any program";

/// An execution that is asked for, or one that has taken place.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'a> {
    /// The file, without links.
    pub file: &'a [u8],
    /// All arguments, from the name on.
    pub arguments: &'a [&'a [u8]],
    /// The directory of the process.
    pub directory: &'a [u8],
    /// The command that was given to the sandbox itself, not what that starts.
    pub first: bool,
    /// The file may run other programs of its own without a start that is seen ([`CommandRules::runs_own`]).
    pub within: bool,
}

/// The rules of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRules {
    workspace: Vec<u8>,
    /// Where the task finds that, if it is elsewhere.
    copy: Option<Vec<u8>>,
    /// The home that the policy means, and the task's own, if that is another.
    home: Option<(Vec<u8>, Vec<u8>)>,
    /// `commands.allow`, for messages.
    listed_at: String,
    /// `None`: no `commands.allow`.
    allow: Option<Table>,
    /// What is added to it for all but the first.
    children: Option<Table>,
    free: bool,
    /// What the owner may grant, and what is granted.
    grantable: Table,
    granted: Vec<(u32, Table)>,
    deny: Table,
    /// Interpreters of scripts that are allowed as themselves, each with what stands before the script, and the script's names.
    scripts: BTreeMap<Vec<u8>, Vec<Script>>,
    /// Listed files that are no scripts of their own, because they have other names.
    shared: BTreeSet<Vec<u8>>,
    shells: Option<Shells>,
    /// Where `commands.pipes = false` was written.
    no_pipes: Option<String>,
    /// Dynamic loaders: a program that starts any other.
    loaders: Vec<Vec<u8>>,
    /// Where what the task wrote may be executed.
    own: Vec<Vec<u8>>,
    /// What files must hold, by their path.
    pins: BTreeMap<Vec<u8>, Digest>,
    /// Programs of `commands.deny`, which have other names by hard links, in their order.
    denied: Vec<((u64, u64), Vec<u8>)>,
    /// Files of many programs, in their order, each with the path by which it is known what it is.
    many: Vec<((u64, u64), Vec<u8>)>,
    /// Those of them that start what they run of their own as they start everything else.
    starting: BTreeSet<Vec<u8>>,
    /// Variables that the policy takes from the invoker, whatever they hold.
    variables: Vec<Vec<u8>>,
    /// Those that it sets, or the sandbox does, with what they hold.
    assigned: Vec<Vec<u8>>,
    /// The task may have sandboxes of its own.
    nested: bool,
}

impl CommandRules {
    /// The rules of a policy that needs somebody to look at arguments; `None`: Landlock alone holds them. `allow` and `children` are
    /// the programs of those lists, `deny` those of `commands.deny` that are there.
    #[must_use]
    pub fn of(policy: &Policy, ground: Ground<'_>, lists: Lists<'_>, loaders: &[&Path]) -> Option<Self> {
        let keys = &policy.guard;
        let Lists { allow, deny, .. } = lists;
        // Landlock knows files: all that one is could start.
        let part = |named: &Named<'_>| {
            let whole = bytes(lists.whole(named.identity, named.file));
            many(whole)
                && !CommandPattern::parse(&named.entry.value, "/")
                    .is_ok_and(|own| many(own.program.as_bytes()) && own.any_arguments())
        };
        let judged = |named: &Named<'_>| part(named) || named.is_part_of_git();
        let looked = allow.iter().any(|named| !named.interpreted.is_empty() || judged(named));
        if !needed(policy) && !looked {
            return None;
        }
        let workspace = ground.workspace;
        let home = policy.home.to_string_lossy();
        let table = |entries: &[Rule<String>], key: &str, found: &[Named<'_>], by_name: bool| {
            let mut files: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
            for named in found {
                let file = lists.whole(named.identity, named.file);
                files.entry(&named.entry.value).or_default().push(file);
            }
            let mut table = Table::default();
            for entry in entries {
                let files = files.get(entry.value.as_str()).map(Vec::as_slice).unwrap_or_default();
                table.add(entry, key, &home, files, by_name);
            }
            table
        };
        let listed = match &keys.children {
            Children::Programs(programs) => Some(table(programs, "commands.children", allow, false)),
            Children::Same | Children::Free => None,
        };
        let mut interpreted: BTreeMap<Vec<u8>, Vec<Script>> = BTreeMap::new();
        for named in allow.iter().filter(|named| !named.shared) {
            for Interpreted { file, identity, name, before } in &named.interpreted {
                let script = bytes(named.file).to_vec();
                let script = Script { name: name.to_vec(), before: before.to_vec(), file: script };
                let file = bytes(lists.whole(*identity, file)).to_vec();
                interpreted.entry(file).or_default().push(script);
            }
        }
        let environment = &policy.environment;
        let passed = environment.pass.iter().map(|rule| rule.value.as_bytes().to_vec());
        // What the policy sets holds that, and nothing else.
        let set = environment.set.iter().map(|(name, rule)| {
            let value = match &rule.value {
                EnvironmentValue::Text(text) => text.as_bytes(),
                EnvironmentValue::Path(grant) => bytes(&grant.path),
            };
            [name.as_bytes(), b"=", value].concat()
        });
        let mut own = Vec::new();
        if policy.from_workspace {
            own.push(bytes(ground.copy.unwrap_or(workspace)).to_vec());
        }
        if policy.runtime.tmp_exec {
            own.extend(ground.temporary.iter().map(|path| bytes(path).to_vec()));
        }
        Some(Self {
            listed_at: list_at(policy),
            workspace: bytes(workspace).to_vec(),
            copy: ground.copy.map(|path| bytes(path).to_vec()),
            home: ground.home.map(|own| (bytes(&policy.home).to_vec(), bytes(own).to_vec())),
            allow: policy.commands.as_ref().map(|list| table(&list.allow, "commands.allow", allow, false)),
            children: listed,
            free: keys.children == Children::Free,
            grantable: table(&policy.approvals.commands, "approvals.grantable.commands", allow, false),
            granted: Vec::new(),
            deny: table(&keys.deny, "commands.deny", deny, true),
            scripts: interpreted,
            shared: allow
                .iter()
                .filter(|named| named.shared)
                .map(|named| bytes(named.file).to_vec())
                .collect(),
            shells: (!keys.shell()).then(|| Shells::new(keys.shell.as_ref().map(|rule| &rule.origin))),
            no_pipes: keys.pipes.as_ref().filter(|rule| !rule.value).map(|rule| rule.origin.to_string()),
            loaders: loaders.iter().map(|loader| bytes(loader).to_vec()).collect(),
            own,
            pins: allow
                .iter()
                .flat_map(|named| &named.pinned)
                .map(|(path, digest)| (bytes(path).to_vec(), *digest))
                .collect(),
            denied: {
                let name = |named: &Named<'_>| bytes(lists.whole(named.identity, named.file)).to_vec();
                let files: BTreeSet<_> = deny.iter().map(|named| (named.identity, name(named))).collect();
                files.into_iter().collect()
            },
            many: lists.many.iter().map(|(identity, file)| (*identity, bytes(file).to_vec())).collect(),
            starting: lists.starting.iter().map(|file| bytes(file).to_vec()).collect(),
            variables: passed.collect(),
            assigned: lists.assigned.iter().cloned().chain(set).collect(),
            nested: policy.runtime.user_namespaces,
        })
    }

    fn place<'a>(&'a self, directory: &'a [u8]) -> Place<'a> {
        let home = self.home.as_ref().map(|(home, own)| (home.as_slice(), own.as_slice()));
        Place {
            workspace: &self.workspace,
            copy: self.copy.as_deref(),
            home,
            directory,
            program: [b""; 3],
            read: None,
        }
    }

    /// What is looked for, in words: one line a list.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let count = |table: &Table| table.entries.len();
        let mut lines = Vec::new();
        match &self.allow {
            Some(allow) => lines.push(format!("{} entries of `commands.allow`", count(allow))),
            None => lines.push("any program in an executable tree".to_owned()),
        }
        if let Some(children) = &self.children {
            lines.push(format!("{} more of `commands.children`", count(children)));
        }
        if self.free {
            lines.push("what a command starts is free".to_owned());
        }
        if count(&self.deny) > 0 {
            lines.push(format!("{} entries of `commands.deny`", count(&self.deny)));
        }
        if self.shells.is_some() {
            lines.push("no shells, no code on command lines".to_owned());
        }
        if self.no_pipes.is_some() {
            lines.push("no pipes between commands".to_owned());
        }
        for (interpreter, scripts) in &self.scripts {
            let interpreter = String::from_utf8_lossy(interpreter);
            lines.push(format!("{interpreter} for {} listed scripts alone", scripts.len()));
        }
        lines
    }

    /// Judges an execution. What starts a script is judged by [`Self::script`] first. `leads` says to which file the path of a script leads,
    /// without links, if nothing that the task does puts another one there.
    ///
    /// # Errors
    /// By which rule, or for lack of which, it is refused; in one sentence.
    pub fn judge(
        &self,
        execution: &Execution<'_>,
        leads: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        self.denied(execution)?;
        if self.runs_script(execution, leads).is_ok() {
            return Ok(());
        }
        self.stands(execution)?;
        self.listed(execution)
    }

    /// Judges a script as itself: where nothing that the task writes could stand in its place. Only a list can say that it is one.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn script(&self, execution: &Execution<'_>) -> Result<(), String> {
        self.denied(execution)?;
        self.named(execution).map_err(|named| self.unlisted(execution, named))
    }

    /// Why no program may begin with a pipe to read from that its command was not given, if that is so.
    #[must_use]
    pub fn piped(&self) -> Option<String> {
        let origin = self.no_pipes.as_ref()?;
        Some(format!(
            "`commands.pipes = false` ({origin}): what it is to read comes through a pipe, from another program or a here-document of a shell"
        ))
    }

    /// Whether a verdict may depend on the directory of who asks.
    #[must_use]
    pub fn asks_for_directories(&self) -> bool {
        let lists = [&self.grantable, &self.deny].into_iter().chain(&self.allow).chain(&self.children);
        lists.chain(self.granted.iter().map(|(_, table)| table)).any(|table| table.paths)
    }

    /// Whether the task may have user and mount namespaces of its own.
    #[must_use]
    pub fn nested(&self) -> bool {
        self.nested
    }

    /// Whether the task may be able to write to this file by another name.
    #[must_use]
    pub fn shared(&self, file: &[u8]) -> bool {
        self.shared.contains(file)
    }

    /// The file of many programs that this is a hard link of.
    #[must_use]
    pub fn whole(&self, identity: (u64, u64)) -> Option<&[u8]> {
        let at = self.many.binary_search_by_key(&identity, |(own, _)| *own).ok()?;
        self.many.get(at).map(|(_, file)| file.as_slice())
    }

    /// The names by which `commands.deny` knows this file, other than this one.
    pub fn other_names<'a>(&'a self, identity: (u64, u64), file: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let first = self.denied.partition_point(|(own, _)| *own < identity);
        let names = self.denied.iter().skip(first).take_while(move |(own, _)| *own == identity);
        // A file of git's is the command that it is called.
        names
            .map(|(_, name)| name.as_slice())
            .filter(move |name| *name != file && !(is_git(name) && is_git(file)))
    }

    /// Whether what is started has to be in the directory where it was judged: a rule names paths, or a script may have a relative name.
    #[must_use]
    pub fn holds_directories(&self) -> bool {
        self.asks_for_directories() || !self.scripts.is_empty()
    }

    /// Whether any file has to hold what it held at the start.
    #[must_use]
    pub fn pins(&self) -> bool {
        !self.pins.is_empty()
    }

    /// What a file must hold, if that is known.
    #[must_use]
    pub fn pinned(&self, file: &[u8]) -> Option<&Digest> {
        self.pins.get(file)
    }

    /// Whether anything has to be taken out of environments.
    #[must_use]
    pub fn cleans(&self, first: bool) -> bool {
        self.allow.is_some() && (first || !self.free) || self.shells.is_some()
    }

    /// What has to be taken out of an environment, as the kernel lays one out: where each of the variables begins, and their
    /// names. Nothing where no list limits what may start.
    #[must_use]
    pub fn cleaned(&self, environment: &[u8], first: bool) -> Vec<(usize, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        for variable in environment.split(|byte| *byte == 0).filter(|_| self.cleans(first)) {
            let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
            let own = self.variables.iter().any(|own| own == name)
                || self.assigned.iter().any(|own| own == variable);
            if variables::is_taken(variable) && !own {
                found.push((at, name.to_vec()));
            }
            at += variable.len() + 1;
        }
        found
    }

    /// An entry of `commands.deny` stands above all. What only may be denied, by an alias, is for the owner to name in another list.
    ///
    /// # Errors
    /// Which.
    pub fn denied(&self, execution: &Execution<'_>) -> Result<(), String> {
        let place = self.place(execution.directory);
        let named = |one: &Meaning<'_>, word: &[u8]| {
            let lists = self.in_force(execution);
            let mut found =
                lists.iter().filter_map(|list| list.find_as(execution, one, place, As::Allow).ok());
            found.any(|entry| entry.pattern.first_word() == Some(word))
        };
        let denial = self.deny.denial(execution, place).or_else(|| self.deny.guess(execution, named));
        denial.map_or(Ok(()), Err)
    }

    /// The lists that permit now, together.
    fn in_force(&self, execution: &Execution<'_>) -> Vec<&Table> {
        let children = self.children.as_ref().filter(|_| !execution.first);
        let granted = self.granted.iter().map(|(_, table)| table);
        self.allow.iter().chain(children).chain(granted).collect()
    }

    /// Whether the lists name it; if not, whether one names its program at least.
    fn named(&self, execution: &Execution<'_>) -> Result<(), bool> {
        let (lists, meant) = (self.in_force(execution), meanings(execution));
        permitted(&lists, execution, &meant, self.place(execution.directory))
    }
}

/// Whether a policy needs somebody to look at each execution: Landlock knows files, not arguments.
#[must_use]
pub fn needed(policy: &Policy) -> bool {
    let keys = &policy.guard;
    let lists = policy.commands.iter().flat_map(|commands| &commands.allow).chain(keys.children.programs());
    let arguments = |rule: &Rule<String>| {
        CommandPattern::parse(&rule.value, "/").is_ok_and(|pattern| !pattern.any_arguments())
    };
    // Lists that name everything alike need no guard for what they start.
    let children = keys.children != Children::Same && policy.commands.is_some();
    // Landlock's execute right forbids mounts, and no mount forbids to start what lies on one of the task's own.
    let nested = policy.runtime.user_namespaces && (policy.commands.is_some() || !policy.from_workspace);
    children
        || nested
        || !keys.deny.is_empty()
        || !keys.shell()
        || !keys.pipes()
        || keys.pin()
        || !policy.approvals.commands.is_empty()
        || lists.into_iter().any(arguments)
}

fn told(text: &str, key: &str, origin: &Origin) -> String {
    format!("`{text}` in `{key}` ({origin})")
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule<String> {
        Rule { value: text.to_owned(), origin: Origin { source: "p.toml".into(), line: 3 } }
    }

    struct World {
        policy: Policy,
        /// Program and file.
        there: Vec<(&'static str, &'static str)>,
    }

    impl World {
        fn found<'a>(&'a self, entries: impl IntoIterator<Item = &'a Rule<String>>) -> Vec<Named<'a>> {
            let named = |entry: &'a Rule<String>| {
                let program = CommandPattern::parse(&entry.value, "/").unwrap().program;
                let (_, file) = self.there.iter().find(|(name, _)| *name == program)?;
                let (file, interpreted, pinned) = (Path::new(*file), Vec::new(), Vec::new());
                Some(Named { entry, file, identity: (0, 0), shared: false, interpreted, pinned })
            };
            entries.into_iter().filter_map(named).collect()
        }

        fn rules(&self) -> CommandRules {
            let allow = self.policy.commands.iter().flat_map(|commands| &commands.allow);
            let allow = self.found(allow.chain(self.policy.guard.children.programs()));
            let deny = self.found(&self.policy.guard.deny);
            let ground = Ground { workspace: Path::new("/w"), copy: None, home: None, temporary: Vec::new() };
            let (many, starting) = (BTreeMap::new(), vec![Path::new("/bin/busybox")]);
            let lists = Lists { allow: &allow, deny: &deny, many, starting, assigned: Vec::new() };
            CommandRules::of(&self.policy, ground, lists, &[Path::new("/lib/ld.so")]).unwrap()
        }
    }

    fn world(allow: &[&str], deny: &[&str], children: Children) -> World {
        let mut policy = Policy {
            commands: Some(crate::model::Commands { allow: allow.iter().map(|text| rule(text)).collect() }),
            ..Policy::default()
        };
        policy.guard.deny = deny.iter().map(|text| rule(text)).collect();
        policy.guard.children = children;
        let there = vec![
            ("git", "/usr/bin/git"),
            ("cc", "/usr/bin/gcc-12"),
            ("ls", "/bin/busybox"),
            ("as", "/usr/bin/as"),
        ];
        World { policy, there }
    }

    fn own(path: &[u8]) -> Option<Vec<u8>> {
        Some(path.to_vec())
    }

    fn ask(rules: &CommandRules, file: &str, line: &str, first: bool) -> Result<(), String> {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (file, arguments) = (file.as_bytes(), arguments.as_slice());
        let within = rules.runs_own(file);
        rules.judge(&Execution { file, arguments, directory: b"/w", first, within }, own)
    }

    #[test]
    fn the_file_decides_and_its_arguments() {
        let rules =
            world(&["git status **", "git diff", "cc"], &["git status --bad"], Children::Same).rules();
        assert_eq!(ask(&rules, "/usr/bin/git", "x status -s", true), Ok(()));
        assert_eq!(ask(&rules, "/usr/bin/gcc-12", "anything -o x", false), Ok(()));
        let refused = ask(&rules, "/usr/bin/git", "git push", true).unwrap_err();
        assert!(refused.contains("but not with these arguments"), "{refused}");
        assert!(ask(&rules, "/w/git", "git status", true).unwrap_err().contains("does not name"));
        assert!(ask(&rules, "/usr/bin/git", "git status --bad", true).unwrap_err().contains("(p.toml:3)"));
        assert!(ask(&rules, "/lib/ld.so", "ld.so /usr/bin/git", true).unwrap_err().contains("loader"));
    }

    #[test]
    fn denials_hold_under_every_name() {
        let rules = world(&["git", "cc"], &["git push", "cc"], Children::Free).rules();
        assert!(ask(&rules, "/usr/bin/git", "git -C . push", false).is_err());
        assert!(ask(&rules, "/w/git", "x push", false).is_err());
        assert!(ask(&rules, "/usr/bin/gcc-12", "gcc-12 -v", false).is_err());
        assert!(ask(&rules, "/usr/bin/anything", "x", false).is_ok());
        assert!(ask(&rules, "/usr/bin/anything", "x", true).is_err());
    }

    #[test]
    fn one_file_of_many_programs_is_not_all_of_them() {
        let rules = world(&["ls", "git status"], &[], Children::Same).rules();
        assert_eq!(ask(&rules, "/bin/busybox", "ls -l", true), Ok(()));
        assert_eq!(ask(&rules, "/bin/busybox", "busybox ls -l", true), Ok(()));
        assert!(ask(&rules, "/bin/busybox", "sh -c ls", true).is_err());
        assert!(ask(&rules, "/bin/busybox", "busybox sh ls", true).is_err());
    }

    #[test]
    fn what_one_program_of_many_starts_by_itself_is_one_too() {
        let rules = world(&["ls", "git"], &["head", "curl"], Children::Free).rules();
        let (many, machine) = ("/usr/bin/busybox-static", "/usr/bin/busybox-x86_64");
        for line in ["busybox find x -exec head {}", "ash -c x", "xargs -n1 x", "env env head x"] {
            assert!(ask(&rules, many, line, false).is_err(), "{line}");
            assert!(ask(&rules, machine, line, false).is_err(), "{line}");
        }
        let words = vec!["x"; 100].join(" ");
        assert!(ask(&rules, many, &format!("busybox env {words}"), false).is_err());
        assert_eq!(ask(&rules, many, "busybox find x", false), Ok(()));
        assert!(ask(&rules, "/w/toybox", "toybox linux32 head x", false).is_err());
        let some = world(&["ls **", "git"], &[], Children::Same).rules();
        assert_eq!(ask(&some, "/bin/busybox", "busybox ls x.txt", true), Ok(()));
        assert_eq!(ask(&rules, "/bin/busybox", "busybox env x", false), Ok(()));
        let none = world(&["ls"], &["curl"], Children::Free).rules();
        assert_eq!(ask(&none, many, "busybox sh -c x", false), Ok(()));
    }

    #[test]
    fn a_word_that_comes_again_is_not_judged_again() {
        let rules = world(&["git", "ls"], &["git -m pip"], Children::Free).rules();
        let again = vec!["-m"; 200_000].join(" ");
        assert_eq!(ask(&rules, "/usr/bin/git", &format!("git {again}"), false), Ok(()));
        assert!(ask(&rules, "/usr/bin/git", &format!("git {again} pip"), false).is_err());
        let npm =
            world(&["git", "ls"], &["npm publish", "npm p?ck", "npm (-a *) pub*"], Children::Free).rules();
        let again = vec!["-a p"; 20_000].join(" ");
        assert!(ask(&npm, "/usr/bin/npm", &format!("npm {again}"), false).is_err());
        let again = (0..20_000).map(|number| format!("-a i{number} ")).collect::<String>();
        assert_eq!(ask(&npm, "/usr/bin/npm", &format!("npm {again} i"), false), Ok(()));
        let further = vec!["a"; 200_000].join(" ");
        assert_eq!(ask(&rules, "/w/toybox", &format!("toybox env cat {further}"), false), Ok(()));
    }

    #[test]
    fn children_may_be_listed() {
        let rules = world(&["cc"], &[], Children::Programs(vec![rule("as")])).rules();
        assert!(ask(&rules, "/usr/bin/as", "as", true).is_err());
        assert_eq!(ask(&rules, "/usr/bin/as", "as", false), Ok(()));
    }

    #[test]
    fn many_rules_are_found_at_once() {
        let list: Vec<String> = (0..10_000).map(|number| format!("git word{number} *")).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let rules = world(&list, &[], Children::Same).rules();
        assert_eq!(ask(&rules, "/usr/bin/git", "git word9999 x", true), Ok(()));
        assert!(ask(&rules, "/usr/bin/git", "git word9999", true).is_err());
        let index = rules.allow.unwrap().files.remove(&b"/usr/bin/git"[..]).unwrap();
        assert!(index.others.is_empty() && index.words.len() == 10_000);
    }
}
