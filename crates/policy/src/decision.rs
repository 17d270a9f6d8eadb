//! What the merged policy says about one action, and by which rule. Pure: it looks at names, not at the host's files.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::caches::package_cache;
use crate::diagnostic::escape;
use crate::links::Linked;
use crate::model::{Grant, Mode, Origin, Policy, Rule};
use crate::path::normal;
use crate::pattern::{PathPattern, PatternSet};
use crate::secrets::{known_secrets, led_to, why_secret};

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look into it.
    Read,
    /// Change, create or remove it.
    Write,
    /// Start it as a program.
    Exec,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may happen.
    Allow {
        /// What allows it.
        by: Reason,
    },
    /// It may not.
    Refuse {
        /// What refuses it.
        by: Reason,
    },
}

impl Decision {
    /// May it happen?
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// What decided.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Allow { by } | Self::Refuse { by } => by,
        }
    }
}

/// What decided: a line of a policy, or how every sandbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule of the policy.
    Rule {
        /// The list or key it is in, `files.deny`.
        key: &'static str,
        /// The rule as text.
        text: String,
        /// Where it was written.
        origin: Origin,
    },
    /// Not a rule; the sentence says what.
    BuiltIn(String),
}

impl Reason {
    /// An entry of `files.deny`.
    pub(crate) fn denial(rule: &Rule<PathPattern>) -> Self {
        let (text, origin) = (rule.value.text().to_owned(), rule.origin.clone());
        Self::Rule { key: "files.deny", text, origin }
    }

    /// Whether it stands above every grant.
    pub(crate) fn stands(&self) -> bool {
        matches!(self, Self::Rule { key: "files.deny" | "files.decoy" | "workspace.protect", .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { key, text, origin } => write!(formatter, "`{}` in `{key}` ({origin})", escape(text)),
            Self::BuiltIn(sentence) => write!(formatter, "{}", escape(sentence)),
        }
    }
}

/// Decides about one file. For many questions make one [`Judge`].
pub fn decide_file(policy: &Policy, workspace: &Path, path: &Path, access: Access) -> Decision {
    Judge::new(policy, workspace).file(path, access)
}

/// Decides about one command line. For many questions make one [`Judge`].
pub fn decide_run(policy: &Policy, workspace: &Path, program: &str) -> Decision {
    Judge::new(policy, workspace).run(program)
}

/// A policy, indexed so that a question costs the depth of its path.
pub struct Judge<'a> {
    pub(crate) policy: &'a Policy,
    workspace: &'a Path,
    /// Made when a grant is looked for.
    indexes: [OnceCell<Index>; 3],
    deny: Patterns<'a>,
    protect: Patterns<'a>,
    secrets: Vec<PathPattern>,
    secret_set: PatternSet,
    /// What secrets lead to by links, each with its number; looked for when first asked.
    led: OnceCell<Vec<(PathBuf, usize)>>,
    /// The same of grants that lead through links, and of denials.
    pub(crate) linked: OnceCell<Vec<Linked>>,
    pub(crate) led_denials: OnceCell<Vec<(PathBuf, usize)>>,
}

/// The rules of one list of `files`, sorted by their paths.
struct Index(Vec<usize>);

impl Index {
    fn of(rules: &[Rule<Grant>]) -> Self {
        let mut order: Vec<usize> = (0..rules.len()).collect();
        order.sort_by_key(|number| rules.get(*number).map(|rule| rule.value.path.as_os_str()));
        Self(order)
    }

    /// The last rule with this path.
    fn get<'a>(&self, rules: &'a [Rule<Grant>], path: &Path) -> Option<&'a Rule<Grant>> {
        let of = |number: &usize| rules.get(*number);
        let after = self.0.partition_point(|number| {
            of(number).is_some_and(|rule| rule.value.path.as_os_str() <= path.as_os_str())
        });
        let found = self.0.get(after.checked_sub(1)?).and_then(of)?;
        (found.value.path.as_os_str() == path.as_os_str()).then_some(found)
    }
}

impl<'a> Judge<'a> {
    /// Indexes a policy for one workspace.
    pub fn new(policy: &'a Policy, workspace: &'a Path) -> Self {
        let secrets = known_secrets(&policy.home);
        let secret_set = PatternSet::when_asked(&secrets, workspace);
        Self {
            policy,
            workspace,
            indexes: Default::default(),
            deny: Patterns::new("files.deny", &policy.files.deny, workspace),
            protect: Patterns::new("workspace.protect", &policy.workspace.protect, workspace),
            secrets,
            secret_set,
            led: OnceCell::new(),
            linked: OnceCell::new(),
            led_denials: OnceCell::new(),
        }
    }

    /// The rule of `files.read`, `exec` or `write` with this path.
    pub(crate) fn rule(&self, kind: Access, path: &Path) -> Option<&'a Rule<Grant>> {
        let files = &self.policy.files;
        let [read, exec, write] = &self.indexes;
        let (index, rules) = match kind {
            Access::Read => (read, &files.read),
            Access::Exec => (exec, &files.exec),
            Access::Write => (write, &files.write),
        };
        index.get_or_init(|| Index::of(rules)).get(rules, path)
    }

    /// Those of all three lists.
    pub(crate) fn rules(&self, path: &Path) -> impl Iterator<Item = &'a Rule<Grant>> {
        [Access::Read, Access::Exec, Access::Write].into_iter().filter_map(move |kind| self.rule(kind, path))
    }

    /// Decides about one file by its absolute path.
    pub fn file(&self, path: &Path, access: Access) -> Decision {
        let path = match normal(path) {
            Ok(path) => path,
            Err(invalid) => return refuse(invalid.message),
        };
        if let Some(by) = self.denied_by_name(&path).or_else(|| self.denied_by_link(&path)) {
            return Decision::Refuse { by };
        }
        self.undenied(&path, access)
    }

    /// What denies it by the name that it has.
    pub(crate) fn denied_by_name(&self, path: &Path) -> Option<Reason> {
        let by_pattern = || self.denied_in_grant(path).or_else(|| self.denied_as_emptied(path));
        self.deny.matching(path).or_else(by_pattern)
    }

    /// The same, where nothing is there that `files.deny` could hide.
    pub fn undenied(&self, path: &Path, access: Access) -> Decision {
        let path = match normal(path) {
            Ok(path) => path,
            Err(invalid) => return refuse(invalid.message),
        };
        if let Some(rule) = self.policy.files.decoy.iter().find(|rule| rule.value == path) {
            let (text, origin) = (rule.value.display().to_string(), rule.origin.clone());
            return Decision::Refuse { by: Reason::Rule { key: "files.decoy", text, origin } };
        }
        if let Some(decision) = self.secret(&path).or_else(|| self.secret_by_link(&path)) {
            return decision;
        }
        let in_workspace = path.starts_with(self.workspace);
        if in_workspace {
            if access == Access::Write
                && let Some(by) = self.protect.matching(&path)
            {
                return Decision::Refuse { by };
            }
            if let Some(decision) = self.in_workspace(access) {
                return decision;
            }
        }
        let by_link = || self.granted_by_link(&path, access);
        if let Some((key, rule)) = self.grant(&path, access).or_else(by_link) {
            let text = rule.value.path.display().to_string();
            return Decision::Allow { by: Reason::Rule { key, text, origin: rule.origin.clone() } };
        }
        self.own(&path, access).unwrap_or_else(|| self.ungranted(&path, access, in_workspace))
    }

    /// The pattern that would hold a file beside a grant of its own: what is offered would not open it.
    pub fn denied_if_granted(&self, path: &Path) -> Option<Reason> {
        let path = normal(path).ok().filter(|path| !self.holds(path))?;
        self.wild(&path, &path)
    }

    /// Patterns with wildcards count from each tree that the policy's own author grants, too.
    fn denied_in_grant(&self, path: &Path) -> Option<Reason> {
        let files = &self.policy.files;
        files.deny.iter().find(|rule| rule.value.literal().is_none())?;
        for at in path.ancestors() {
            if !self.rules(at).any(|rule| !rule.origin.source.starts_with("preset ")) {
                continue;
            }
            if let Some(by) = self.wild(at, path) {
                return Some(by);
            }
        }
        None
    }

    /// The pattern that denies all of a directory, there or above, in a tree that is shown.
    fn denied_as_emptied(&self, path: &Path) -> Option<Reason> {
        let mut wild = self.policy.files.deny.iter().filter(|rule| rule.value.literal().is_none()).peekable();
        wild.peek()?;
        // `DIR/**` denies that directory wherever it is shown.
        let whole = |rule: &&Rule<PathPattern>| {
            let base = rule.value.base(self.workspace);
            path.starts_with(&base)
                && rule.value.is_absolute()
                && base != self.workspace
                && rule.value.matches_all_in(&base, &base)
                && base.is_dir()
        };
        if let Some(rule) = wild.find(whole) {
            return Some(Reason::denial(rule));
        }
        path.ancestors().skip(1).find_map(|at| {
            let workspace = at == self.workspace && self.policy.workspace.mode != Mode::Temporary;
            let own = workspace || self.rules(at).any(|rule| !rule.origin.source.starts_with("preset "));
            let shown = own || self.rules(at).next().is_some();
            let counts = |pattern: &PathPattern| own || pattern.is_absolute();
            shown.then(|| self.emptied((at, at), path, counts)).flatten()
        })
    }

    /// The pattern that denies all of a directory below `at`: `path`, or one above it. It counts from `root`.
    pub(crate) fn emptied(
        &self,
        (at, root): (&Path, &Path),
        path: &Path,
        counts: impl Fn(&PathPattern) -> bool,
    ) -> Option<Reason> {
        let mut wild = self.policy.files.deny.iter().filter(|rule| counts(&rule.value));
        let by = wild.find(|rule| {
            let mut inside = path.ancestors().take_while(|above| above.starts_with(at) && *above != at);
            inside.any(|inside| rule.value.matches_all_in(root, inside) && directory(inside))
        });
        by.map(Reason::denial)
    }

    /// The pattern that holds `path` from the tree `at`.
    pub(crate) fn wild(&self, at: &Path, path: &Path) -> Option<Reason> {
        // A file that is granted by its own name is one of those in its directory.
        let root = if at == path && !at.is_dir() { at.parent().unwrap_or(at) } else { at };
        let mut wild = self.policy.files.deny.iter().filter(|rule| rule.value.literal().is_none());
        wild.find(|rule| rule.value.matches(root, path)).map(Reason::denial)
    }

    /// Whether a path lies in the workspace.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        path.starts_with(self.workspace)
    }

    /// Whether what is written there goes into the sandbox's own home, or its own view of a package manager's cache, and nowhere else:
    /// it has a home where neither a grant nor the workspace is the home, or holds it.
    pub fn scratch(&self, path: &Path) -> bool {
        let home = &self.policy.home;
        let covered = |path: &Path| {
            self.grant(path, Access::Read).is_some() || self.granted_by_link(path, Access::Read).is_some()
        };
        let own = !covered(home) && (self.policy.workspace.mode == Mode::Temporary || !self.holds(home));
        let cache = || {
            path.ancestors().any(|path| package_cache(path, home))
                && self.grant(path, Access::Write).is_none()
        };
        own && path.starts_with(home) && !self.holds(path) && (!covered(path) || cache())
    }

    /// The workspace.
    pub(crate) fn root(&self) -> &Path {
        self.workspace
    }

    pub(crate) fn any_program(&self) -> Decision {
        match self.policy.files.exec.first() {
            Some(_) => allow("no `commands.allow`: any program in an executable tree may start"),
            None if self.policy.from_workspace => {
                allow("`commands.from_workspace` allows what the workspace holds")
            }
            None => refuse("no executable tree: `files.exec` is empty".to_owned()),
        }
    }

    /// A known secret stays hidden unless a grant, or the workspace, names it or something in it.
    fn secret(&self, path: &Path) -> Option<Decision> {
        let (secret, number) = path
            .ancestors()
            .find_map(|path| self.secret_set.matching_itself(path).map(|number| (path, number)))?;
        let pattern = self.secrets.get(number)?;
        let inside = || path.ancestors().take_while(|above| above.starts_with(secret));
        // A directory full of secrets is opened by no name of its own.
        let whole = || pattern.literal().is_some() && secret.is_dir();
        let opens = |above: &Path| self.rules(above).next().is_some() && (above != secret || !whole());
        let named = || inside().any(opens);
        let workspace = self.policy.workspace.path.as_ref().is_some_and(|rule| {
            rule.value.starts_with(secret) && path.starts_with(&rule.value) && rule.value == self.workspace
        });
        if workspace || named() {
            return None;
        }
        let opens = match whole() {
            true => "no grant opens it as a whole, only one that names a file in it opens that",
            false => "only a grant that names it opens it",
        };
        Some(refuse(format!("`{pattern}` is a known secret ({}); {opens}", why_secret(pattern))))
    }

    /// What leads to the path, or to a directory above it, of what is known to be secret: the place, and the secret's own name.
    pub(crate) fn led(&self, path: &Path) -> Option<(&Path, &PathPattern)> {
        let led = self.led.get_or_init(|| led_to(&self.secrets, false));
        let (place, number) = led.iter().find(|(place, _)| path.starts_with(place))?;
        Some((place, self.secrets.get(*number)?))
    }

    /// The name of the known secret that leads to just this file by a link: a grant has to name that.
    #[must_use]
    pub fn secret_name_of(&self, path: &Path) -> Option<PathBuf> {
        let (place, secret) = self.led(path).filter(|(place, _)| *place == path && !path.is_dir())?;
        secret.literal().filter(|name| *name != place).map(Path::to_path_buf)
    }

    /// The same of what a known secret leads to by a link; something in a directory of them is also named by the names there.
    fn secret_by_link(&self, path: &Path) -> Option<Decision> {
        // What leads to the workspace is asked of the host once, with all else that is hidden.
        if path == self.workspace {
            return None;
        }
        let (place, pattern) = self.led(path)?;
        let (name, whole) = (pattern.literal()?, place.is_dir());
        let alias = match path.strip_prefix(place).ok()? {
            rest if rest.as_os_str().is_empty() => name.to_path_buf(),
            rest => name.join(rest),
        };
        let below = |path: &Path, top: &Path| {
            let mut inside = path.ancestors().take_while(|above| above.starts_with(top) && *above != top);
            inside.any(|above| self.rules(above).next().is_some())
        };
        let named = below(&alias, name) || below(path, place) || !whole && self.rules(name).next().is_some();
        let workspace = self.workspace.starts_with(place) && path.starts_with(self.workspace);
        if named || workspace {
            return None;
        }
        let opens = match whole {
            true => "no grant opens it as a whole, only one that names a file in it opens that",
            false => "only a grant that names that opens it",
        };
        let why = why_secret(pattern);
        Some(refuse(format!("`{pattern}` is a known secret ({why}), and leads here by a link; {opens}")))
    }

    /// Whether it is a directory of secrets.
    pub(crate) fn of_secrets(&self, path: &Path) -> bool {
        self.led(path).is_some_and(|(place, _)| place == path && path.is_dir())
            || self
                .secret_set
                .matching_itself(path)
                .and_then(|number| self.secrets.get(number))
                .is_some_and(|pattern| pattern.literal().is_some() && path.is_dir())
    }

    fn in_workspace(&self, access: Access) -> Option<Decision> {
        let origin = |key: &str| self.policy.origins.get(key).cloned();
        match access {
            Access::Read => Some(allow("it is in the workspace")),
            Access::Write if self.policy.workspace.mode != Mode::Read => {
                Some(allow("it is in the workspace, which may be changed"))
            }
            Access::Exec if self.policy.from_workspace => Some(match origin("commands.from_workspace") {
                Some(origin) => Decision::Allow {
                    by: Reason::Rule { key: "commands.from_workspace", text: "true".to_owned(), origin },
                },
                None => allow("`commands.from_workspace` allows what the workspace holds"),
            }),
            _ => None,
        }
    }

    fn grant(&self, path: &Path, access: Access) -> Option<(&'static str, &'a Rule<Grant>)> {
        let (read, exec, write) =
            (("files.read", Access::Read), ("files.exec", Access::Exec), ("files.write", Access::Write));
        let lists: &[(&'static str, Access)] = match access {
            Access::Read => &[read, exec, write],
            Access::Write => &[write],
            Access::Exec => &[exec],
        };
        lists.iter().find_map(|(key, kind)| {
            path.ancestors().find_map(|path| self.rule(*kind, path).map(|rule| (*key, rule)))
        })
    }

    fn ungranted(&self, path: &Path, access: Access, in_workspace: bool) -> Decision {
        let shown = path.display();
        refuse(match access {
            Access::Read => format!("no rule of `files` covers `{shown}`"),
            Access::Write if in_workspace => "`workspace.mode` is `read`".to_owned(),
            Access::Write => format!("no rule of `files.write` covers `{shown}`"),
            Access::Exec if in_workspace => "`commands.from_workspace` is false".to_owned(),
            Access::Exec => format!("no rule of `files.exec` covers `{shown}`"),
        })
    }
}

/// Itself, and no link to one.
fn directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// A list of patterns and its compiled form.
struct Patterns<'a> {
    key: &'static str,
    rules: &'a [Rule<PathPattern>],
    set: PatternSet,
}

impl<'a> Patterns<'a> {
    fn new(key: &'static str, rules: &'a [Rule<PathPattern>], workspace: &'a Path) -> Self {
        Self { key, rules, set: PatternSet::when_asked(rules.iter().map(|rule| &rule.value), workspace) }
    }

    fn matching(&self, path: &Path) -> Option<Reason> {
        let rule = self.rules.get(self.set.matching(path)?)?;
        let text = rule.value.text().to_owned();
        Some(Reason::Rule { key: self.key, text, origin: rule.origin.clone() })
    }
}

pub(crate) fn allow(sentence: &str) -> Decision {
    Decision::Allow { by: Reason::BuiltIn(sentence.to_owned()) }
}

pub(crate) fn refuse(sentence: String) -> Decision {
    Decision::Refuse { by: Reason::BuiltIn(sentence) }
}
