//! Which changes are held back and which are flagged: the patterns of `workspace.protect`, what git runs, and a list of
//! files that programs on the host run by themselves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ringfence_policy::trail;
use rustix::io::Errno;

use crate::beneath::{Tree, links};
use crate::change::{Change, FileType, Flag, HoldReason, Kind};
use crate::danger::Danger;
use crate::git;
use crate::layer::Layer;
use crate::link;
use crate::looks;
use crate::nearest::Nearest;
use crate::overlay::Upper;
use crate::secrets::{Scan, held as secret_held};

/// A kind of file that something on the host runs without being asked again.
struct Rule {
    patterns: &'static [&'static str],
    hold: bool,
    kind: Danger,
    why: &'static str,
}

/// Held: what an editor, a shell or an agent runs when its user merely opens or enters the directory. Flagged: what runs
/// when he next builds, tests, commits or pushes; holding that back would hold back the work itself.
const RULES: &[Rule] = &[
    Rule {
        patterns: &[
            "**/.vscode/{tasks,settings,launch,mcp}.json",
            "**/*.code-workspace",
            "**/.zed/{tasks,settings,debug}.json",
            "**/.nvim.lua",
            "**/{.nvimrc,.exrc,.vimrc,_vimrc}",
            "**/{.dir-locals,.dir-locals-2}.el",
            "**/.helix/{config,languages}.toml",
            "**/{.lvimrc,.local.vimrc,.vimrc.local,.lazy.lua}",
            "**/.vim/coc-settings.json",
        ],
        hold: true,
        kind: Danger::Editors,
        why: "the editor runs it when the directory is opened",
    },
    Rule {
        patterns: &["**/.hg/{hgrc,hgrc-not-shared,sharedpath,requires}"],
        hold: true,
        kind: Danger::Config,
        why: "Mercurial configuration: it names programs that hg runs",
    },
    Rule {
        patterns: &["**/.jj/repo/config.toml", "**/.jj/repo/store/git_target"],
        hold: true,
        kind: Danger::Config,
        why: "Jujutsu configuration: it names programs that jj runs",
    },
    Rule {
        patterns: &["**/.idea"],
        hold: true,
        kind: Danger::Editors,
        why: "the editor runs it when the directory is opened",
    },
    Rule {
        patterns: &["**/.envrc"],
        hold: true,
        kind: Danger::Shell,
        why: "direnv runs it when the directory is entered",
    },
    Rule {
        patterns: &[
            "**/{mise,.mise}*.toml",
            "**/{mise,.mise}/config*.toml",
            "**/.config/mise*.toml",
            "**/.config/mise/{config*.toml,conf.d}",
            "**/{.autoenv.zsh,.autoenv_leave.zsh,.in,.out,.tool-versions}",
        ],
        hold: true,
        kind: Danger::Shell,
        why: "mise runs what it names when the directory is entered",
    },
    Rule {
        patterns: &["**/{.Rprofile,.pryrc,.irbrc}"],
        hold: true,
        kind: Danger::Shell,
        why: "an interpreter that is started in the directory runs it",
    },
    Rule {
        patterns: &[
            "**/{.bashrc,.bash_profile,.bash_login,.bash_logout,.bash_aliases,.profile,.inputrc}",
            "**/{.zshrc,.zshenv,.zprofile,.zlogin,.zlogout,.kshrc,.cshrc,.tcshrc,.login}",
            "**/.config/fish/{config.fish,conf.d,functions}",
        ],
        hold: false,
        kind: Danger::Shell,
        why: "a shell runs it at its start, where this is or becomes somebody's home",
    },
    Rule {
        patterns: &["**/.gitconfig", "**/.config/git/config"],
        hold: false,
        kind: Danger::Config,
        why: "git configuration, where this is or becomes somebody's home: it names programs",
    },
    Rule {
        patterns: &["**/.devcontainer", "**/.devcontainer.json"],
        hold: true,
        kind: Danger::Shell,
        why: "it starts containers and runs commands on the host",
    },
    Rule {
        patterns: &[
            "**/.cursor/{mcp,hooks,environment}.json",
            "**/.mcp.json",
            "**/.gemini/{settings.json,extensions,commands}",
            "**/.qwen/{settings.json,extensions,commands}",
            "**/.aider.conf.{yml,yaml}",
            "**/.kilocode/mcp.json",
            "**/.continue/mcpServers",
            "**/.codex/{config.toml,hooks.json}",
            "**/{.roo,.amazonq}/mcp.json",
            "**/.kiro/settings/mcp.json",
            "**/{crush,.crush}.json",
            "**/opencode.{json,jsonc}",
            "**/.opencode/{plugin,plugins,tool,tools}",
            "**/.claude/settings*.json",
            "**/.claude/{hooks,commands,agents,skills}",
        ],
        hold: true,
        kind: Danger::Agents,
        why: "an agent on the host starts the programs it names",
    },
    Rule {
        patterns: &["ringfence.toml", "**/ringfence.toml"],
        hold: false,
        kind: Danger::Config,
        why: "a policy: it must be trusted again",
    },
    Rule {
        patterns: &[
            "**/{Cargo,poetry,uv,Pipfile,composer,Gemfile,mix,pubspec,flake,deno,bun,pdm,Podfile,gradle}.lock",
            "**/{yarn.lock,package-lock.json,npm-shrinkwrap.json,pnpm-lock.yaml,bun.lockb,go.sum,Package.resolved}",
        ],
        hold: true,
        kind: Danger::Lockfiles,
        why: "it decides which code the next build takes from elsewhere",
    },
    Rule {
        patterns: &[
            "**/.github/{workflows,actions}",
            "**/{.forgejo,.gitea}/workflows",
            "**/{.gitlab-ci.yml,.ci,.circleci,.buildkite,Jenkinsfile,.travis.yml}",
            "**/{azure-pipelines,bitbucket-pipelines,.drone}.{yml,yaml}",
            "**/{.woodpecker,.woodpecker.yml,.woodpecker.yaml}",
        ],
        hold: true,
        kind: Danger::Ci,
        why: "runs in CI when it is pushed",
    },
    Rule {
        patterns: &["**/binding.gyp"],
        hold: true,
        kind: Danger::Scripts,
        why: "npm builds what it says at the next install, commands in it included",
    },
    Rule {
        patterns: &["**/.gitmodules", "**/.gitattributes"],
        hold: false,
        kind: Danger::Config,
        why: "directs git",
    },
    Rule {
        patterns: &[
            "**/.pre-commit-config.yaml",
            "**/.husky",
            "**/{lefthook,.lefthook}*.{yml,yaml,toml,json}",
        ],
        hold: false,
        kind: Danger::Hooks,
        why: "runs on the host at the next commit",
    },
    Rule {
        patterns: &[
            "**/Makefile",
            "**/GNUmakefile",
            "**/build.rs",
            "**/conftest.py",
            "**/setup.py",
            "**/package.json",
            "**/.cargo/{config,config.toml}",
            "**/{rust-toolchain,rust-toolchain.toml,Cargo.toml}",
            "**/{pyproject.toml,tox.ini,noxfile.py,flake.nix,.bazelrc,gradlew,mvnw,meson.build}",
            "**/{.npmrc,.yarnrc.yml,.pnpmfile.cjs}",
            "**/.yarn/{releases,plugins}",
            "**/.mvn/{extensions.xml,jvm.config,maven.config}",
            "**/mise-tasks",
            "**/CMakeLists.txt",
            "**/justfile",
        ],
        hold: false,
        kind: Danger::Scripts,
        why: "runs on the host at the next build or test",
    },
];

/// The rules of one layer, compiled.
pub(crate) struct Rules<'a> {
    layer: &'a Layer,
    protect: GlobSet,
    /// Directories above what is protected; a symlink there would lead around it.
    above: GlobSet,
    /// Which pattern each of `above` belongs to.
    above_of: Vec<usize>,
    listed: GlobSet,
    /// Which rule each of `listed` belongs to.
    listed_of: Vec<usize>,
    /// Directories above what is listed and held; a symlink there would lead around it.
    around: GlobSet,
    /// Which rule each of `around` belongs to.
    around_of: Vec<usize>,
    /// Where links of the host lead that are named like what is listed, and their names.
    aliases: Vec<(PathBuf, PathBuf)>,
    nearest_protected: Nearest<usize>,
    nearest_held: Nearest<(Danger, &'static str)>,
    nearest_flagged: Nearest<(Danger, &'static str)>,
}

impl<'a> Rules<'a> {
    /// `Err` is the pattern that is none.
    pub(crate) fn new(layer: &'a Layer) -> Result<Self, String> {
        let mut above = GlobSetBuilder::new();
        let mut above_of = Vec::new();
        for (index, pattern) in layer.protect.iter().chain(&layer.obeyed).enumerate() {
            let pattern = pattern.trim_matches('/');
            let cuts = pattern.match_indices('/').filter_map(|(at, _)| pattern.get(..at));
            for cut in cuts.filter(|cut| !cut.is_empty() && !cut.ends_with("**")) {
                above.add(glob(cut)?);
                above_of.push(index);
            }
        }
        let mut listed = GlobSetBuilder::new();
        let mut listed_of = Vec::new();
        let (mut around, mut around_of) = (GlobSetBuilder::new(), Vec::new());
        for (index, rule) in RULES.iter().enumerate() {
            for pattern in rule.patterns {
                listed.add(glob(pattern)?);
                listed_of.push(index);
                // A symlink in the place of a directory above would lead around it.
                let cuts = pattern.match_indices('/').filter_map(|(at, _)| pattern.get(..at));
                for cut in cuts.filter(|cut| rule.hold && !cut.ends_with("**")) {
                    around.add(glob(cut)?);
                    around_of.push(index);
                }
            }
        }
        let mut protect = GlobSetBuilder::new();
        for pattern in layer.protect.iter().chain(&layer.obeyed) {
            protect.add(glob(pattern.trim_matches('/'))?);
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|error| error.to_string());
        Ok(Self {
            layer,
            protect: build(protect)?,
            above: build(above)?,
            above_of,
            listed: build(listed)?,
            listed_of,
            around: build(around)?,
            around_of,
            aliases: Vec::new(),
            nearest_protected: Nearest::default(),
            nearest_held: Nearest::default(),
            nearest_flagged: Nearest::default(),
        })
    }

    /// Looks for links in the workspace's root, where tools look for what they obey.
    ///
    /// # Errors
    /// The kernel's: then it is not known what is obeyed.
    pub(crate) fn follow(mut self, host: &Tree) -> Result<Self, Errno> {
        let root = &self.layer.host;
        let named = |name: &OsString| self.listed.is_match(name) || self.around.is_match(name);
        for name in links(host.root())?.into_iter().filter(named) {
            // Also of one that leads to nothing yet. Whoever replaces a link on the way leads elsewhere, too.
            let trail = trail(&root.join(&name)).unwrap_or_default();
            let inside = trail.iter().filter_map(|path| path.strip_prefix(root).ok());
            let others = inside.filter(|path| !path.as_os_str().is_empty() && *path != Path::new(&name));
            self.aliases.extend(others.map(|path| (path.to_owned(), PathBuf::from(&name))));
        }
        Ok(self)
    }

    /// Marks the changes of this layer, which are sorted by path.
    pub(crate) fn mark(&self, changes: &mut [Change], upper: &Upper, host: &Tree) {
        for change in changes.iter_mut() {
            change.held = self.held(change, upper, host);
            change.secret = self.layer.scan.and_then(|_| self.layer.secrets.within(change, upper));
            if change.held.is_none() && change.brings() {
                change.flag = self.flag(change);
            }
            self.note_secret(change);
        }
        spread(changes);
    }

    fn flag(&self, change: &Change) -> Option<Flag> {
        let other = || self.other_names(change).find_map(|path| self.listed(&path, false));
        let listed = self.listed(&change.path, false).or_else(other).map(|(_, why)| why);
        let open = |mode: Option<u32>| mode.unwrap_or(0) & 0o002 != 0;
        let opened = change.file_type != FileType::Symlink && open(change.new_mode) && !open(change.old_mode);
        let opened = opened.then_some("every user of this machine may write it");
        let mut flag = None;
        for why in listed.into_iter().chain(opened) {
            Flag::add(&mut flag, why, false);
        }
        flag
    }

    /// What holds a secret is held, or told of; what is held anyway says so as well.
    fn note_secret(&self, change: &mut Change) {
        let Some(secret) = &change.secret else { return };
        match (&mut change.held, self.layer.scan) {
            (Some(HoldReason::RunsOnHost { reason, .. }), _) => *reason = format!("{reason}; {secret}"),
            (None, Some(Scan::Hold)) => change.held = Some(secret_held(secret)),
            (None, _) => Flag::add(&mut change.flag, secret, false),
            (Some(_), _) => {}
        }
    }

    fn held(&self, change: &Change, upper: &Upper, host: &Tree) -> Option<HoldReason> {
        let protected =
            self.nearest_protected.find(&change.path, |path| self.protect.matches(path).first().copied());
        let around = (change.file_type == FileType::Symlink)
            .then(|| self.above.matches(&change.path).first().and_then(|at| self.above_of.get(*at).copied()))
            .flatten();
        let at = protected.or(around);
        if let Some(pattern) = at.and_then(|at| self.layer.protect.get(at)) {
            return Some(HoldReason::Protected { pattern: pattern.clone() });
        }
        if !change.brings() {
            return self.taken(change, at.is_some());
        }
        if at.is_some() {
            let reason = "git's configuration or a link makes git run or obey it".to_owned();
            return Some(HoldReason::RunsOnHost { kind: Danger::Hooks, reason });
        }
        if change.path.ends_with(".jj/repo") && change.file_type != FileType::Directory {
            let reason = "makes jj take another directory for the repository".to_owned();
            return Some(HoldReason::RunsOnHost { kind: Danger::Config, reason });
        }
        let git = git::danger(change, self.layer, upper, host).map(|why| {
            let hook = why.contains("hook") && !why.contains("configuration");
            (if hook { Danger::Hooks } else { Danger::Config }, why)
        });
        git.or_else(|| self.listed(&change.path, true))
            .or_else(|| self.by_another_name(change))
            .or_else(|| self.around(change, &change.path))
            .or_else(|| looks::danger(change, self.is_package(change), upper, host))
            .map(|(kind, why)| HoldReason::RunsOnHost { kind, reason: why.to_owned() })
            .or_else(|| link::out(change))
    }

    /// Does a package manager take it for what says which scripts to run?
    fn is_package(&self, change: &Change) -> bool {
        let named = |path: &Path| path.file_name().is_some_and(|name| name == looks::PACKAGE);
        named(&change.path) || self.other_names(change).any(|path| named(&path))
    }

    fn around(&self, change: &Change, path: &Path) -> Option<(Danger, &'static str)> {
        let link = change.file_type == FileType::Symlink;
        let at = link.then(|| self.around.matches(path).first().copied()).flatten()?;
        self.around_of.get(at).and_then(|rule| RULES.get(*rule)).map(|rule| (rule.kind, rule.why))
    }

    /// The names by which links of the host lead to a path, or led by way of a directory in whose place it is a link.
    fn other_names<'b>(&'b self, change: &'b Change) -> impl Iterator<Item = PathBuf> + 'b {
        self.aliases.iter().filter_map(|(target, name)| match change.path.strip_prefix(target) {
            Ok(rest) if rest.as_os_str().is_empty() => Some(name.clone()),
            Ok(rest) => Some(name.join(rest)),
            Err(_) if change.file_type == FileType::Symlink && target.starts_with(&change.path) => {
                Some(name.clone())
            }
            Err(_) => None,
        })
    }

    fn by_another_name(&self, change: &Change) -> Option<(Danger, &'static str)> {
        self.other_names(change)
            .find_map(|path| self.listed(&path, true).or_else(|| self.around(change, &path)))
    }

    /// A check that is gone checks nothing, and without a lock file the next build takes what it finds.
    fn taken(&self, change: &Change, obeyed: bool) -> Option<HoldReason> {
        if obeyed {
            let reason = "removed, and git's configuration or a link makes git run or obey it".to_owned();
            return Some(HoldReason::RunsOnHost { kind: Danger::Hooks, reason });
        }
        if let Some((kind, why)) = git::taken(change) {
            return Some(HoldReason::RunsOnHost { kind, reason: why.to_owned() });
        }
        let names = std::iter::once(change.path.clone());
        let (kind, why) = names.chain(self.other_names(change)).find_map(|name| {
            // Where tools look for the project's own: packages that come and go have such files as well.
            let first = Path::new(name.iter().next()?);
            let own = self.listed.is_match(first) || self.around.is_match(first);
            let taken = |(kind, _): &(Danger, &str)| matches!(kind, Danger::Ci | Danger::Lockfiles);
            self.listed(&name, true).filter(|rule| own && taken(rule))
        })?;
        Some(HoldReason::RunsOnHost { kind, reason: format!("removed, and {why}") })
    }

    fn listed(&self, path: &Path, hold: bool) -> Option<(Danger, &'static str)> {
        let rule = |at: usize| {
            let rule = self.listed_of.get(at).and_then(|rule| RULES.get(*rule))?;
            (rule.hold == hold).then_some((rule.kind, rule.why))
        };
        let nearest = if hold { &self.nearest_held } else { &self.nearest_flagged };
        nearest.find(path, |path| self.listed.matches(path).into_iter().find_map(rule))
    }
}

/// A directory that is held holds what is in it; a removal that would take something protected along is held as a whole.
pub(crate) fn spread(changes: &mut [Change]) {
    let mut top: Option<usize> = None;
    for at in 0..changes.len() {
        let Some(change) = changes.get(at) else { break };
        if !change.covered {
            top = Some(at);
            continue;
        }
        let taken = change.kind == Kind::Deleted;
        if let (true, Some(held), Some(above)) =
            (taken, change.held.clone(), top.and_then(|top| changes.get_mut(top)))
        {
            above.held.get_or_insert(held);
        }
    }
    let mut holder: Option<(PathBuf, HoldReason)> = None;
    for change in changes {
        match (&holder, &change.held) {
            (Some((path, reason)), _) if change.covered && change.path.starts_with(path) => {
                change.held.get_or_insert(reason.clone());
                change.flag = None;
            }
            (_, Some(reason)) => holder = Some((change.path.clone(), reason.clone())),
            (_, None) => holder = None,
        }
    }
}

fn glob(pattern: &str) -> Result<globset::Glob, String> {
    // A pattern in another case may name the same file on a file system that folds case.
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .case_insensitive(true)
        .build()
        .map_err(|error| error.to_string())
}

/// Whether something on the host runs, or obeys, a file of this name in a workspace: whether `apply` holds it back, and why. Git's own
/// directory is judged with its configuration elsewhere; here, its hooks and configuration count.
#[must_use]
pub fn runs_later(path: &str) -> Option<(bool, &'static str)> {
    if path.starts_with(".git/hooks") || path == ".git/config" {
        return Some((true, "git runs it, or obeys what it says"));
    }
    RULES.iter().find_map(|rule| {
        let fits = |pattern: &&str| {
            let matcher = glob(pattern).ok().map(|glob| glob.compile_matcher());
            matcher.is_some_and(|matcher| Path::new(path).ancestors().any(|path| matcher.is_match(path)))
        };
        rule.patterns.iter().any(fits).then_some((rule.hold, rule.why))
    })
}
