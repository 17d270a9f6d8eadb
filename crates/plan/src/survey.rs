//! What the host's files look like where the policy mentions them: gathered once, before the plan, by `confine`.

use std::path::{Path, PathBuf};

use ringfence_policy::{Digest, Grant, Origin, Rule};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A unix socket.
    Socket,
    /// A FIFO or a device.
    Special,
}

/// A symbolic link met on the way to a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Link {
    /// Where the link is; the path before it is resolved.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
    /// It and its directory belong to root: part of the system's layout, not of somebody's choosing.
    pub system: bool,
}

/// A path as it was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// Resolved path, free of links.
    pub real: PathBuf,
    /// Links on the way, in order.
    pub links: Vec<Link>,
    /// What it is.
    pub kind: Kind,
    /// Device number, checked again when the mount is made.
    pub device: u64,
    /// Inode number, checked likewise.
    pub inode: u64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// File system type, by its magic number (statfs(2)).
    pub filesystem: i64,
    /// How many names it has.
    pub names: u64,
}

/// A granted path and what was found there.
#[derive(Clone, Debug)]
pub struct Found {
    /// The grant.
    pub grant: Rule<Grant>,
    /// `None`: missing, and optional.
    pub place: Option<Place>,
}

/// A program that an entry of `[commands]` names.
#[derive(Clone, Debug)]
pub struct Program {
    /// The entry, with its arguments.
    pub name: String,
    /// Who named it.
    pub origin: Origin,
    /// The file.
    pub place: Place,
    /// A script that has another name, by which the task's user might write to it.
    pub shared: bool,
    /// What the kernel opens to run it: the dynamic loader, or the interpreter of a script.
    pub loader: Option<Loader>,
    /// What runs a script: the interpreter of its `#!` line, then what that starts (env(1)).
    pub interpreters: Vec<Interpreter>,
    /// What the file and those of the interpreters hold, where the policy pins them.
    pub pinned: Vec<(PathBuf, Digest)>,
    /// It may start only while its owner grants that.
    pub grantable: bool,
}

/// A program that runs a script.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// The file.
    pub place: Place,
    /// What it is called by: in the `#!` line, or behind env(1) there.
    pub name: Vec<u8>,
    /// Its own loader.
    pub loader: Option<Place>,
    /// The arguments that it gets before the script.
    pub before: Vec<Vec<u8>>,
}

/// What a program needs to start.
#[derive(Clone, Debug)]
pub enum Loader {
    /// The ELF interpreter.
    Dynamic(Place),
    /// `#!`: the interpreter as the script names it.
    Script(PathBuf),
}

/// A path to hide or to hold read-only, found inside a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Real path.
    pub path: PathBuf,
    /// What is there.
    pub kind: Kind,
    /// The rule that asks for it, in words.
    pub because: String,
}

/// Where secrets are known to lie on this host, in what is shown or not, and what literal rules of `files.deny` lead to: found when a run
/// begins, for what is granted later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Home directories whose known secrets these are.
    pub homes: Vec<PathBuf>,
    /// Those that are there.
    pub found: Vec<Secret>,
    /// Where ringfence keeps what it knows of runs.
    pub state: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where it lies.
    pub marked: Marked,
    /// The name that leads there, where that is a link.
    pub by: Option<PathBuf>,
}

impl Secret {
    /// Why it may not be granted while a sandbox runs, though a rule covers it; `named`: a rule names just that.
    #[must_use]
    pub fn refuses(&self, path: &Path, named: bool) -> Option<String> {
        let Marked { path: own, kind, because } = &self.marked;
        if !path.starts_with(own) {
            return None;
        }
        // As of a grant of the policy: the very name opens a file, and something in a directory of them.
        let opens = path != own || self.by.is_none() && *kind != Kind::Directory;
        if named && opens && !because.starts_with(DENIED) {
            return None;
        }
        let shown = path.display();
        Some(match &self.by {
            Some(by) => format!(
                "`{shown}` is a known secret by another name: `{}` leads to `{}` ({because})",
                by.display(),
                own.display()
            ),
            None => format!("`{shown}` is hidden: `{}` ({because})", own.display()),
        })
    }
}

impl Secrets {
    /// The same of all of them.
    #[must_use]
    pub fn refuse(&self, path: &Path, named: bool) -> Option<String> {
        self.found.iter().find_map(|secret| secret.refuses(path, named))
    }
}

/// What the reason begins with where it is a known secret.
pub const KNOWN: &str = "known secret location ";
/// What the reason begins with where the policy denies it.
pub const DENIED: &str = "files.deny ";
/// The reason where settings that tools need hold a secret.
pub const SETTINGS: &str = "a password or token is written in it";

impl Marked {
    /// Whether secrets are thought to lie there, for another reason than that they are known to.
    #[must_use]
    pub fn denied(&self) -> bool {
        self.because.starts_with(DENIED) || self.because == SETTINGS
    }
}

/// A git directory outside the workspace which belongs to it, proven by its pointer back.
#[derive(Clone, Debug)]
pub struct GitDirectory {
    /// The directory.
    pub place: Place,
    /// Object stores are only read; the directory of a worktree or submodule is worked on.
    pub read_only: bool,
}

/// The repository of a workspace that is a worktree or a submodule of it.
#[derive(Clone, Debug)]
pub struct GitApart {
    /// Its git directory.
    pub directory: PathBuf,
    /// A submodule.
    pub submodule: bool,
}

/// A file of many programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Many {
    /// Device and inode: it has other names by hard links.
    pub identity: (u64, u64),
    /// Its path, without links.
    pub file: PathBuf,
    /// A loader of the system starts it.
    pub dynamic: bool,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The workspace.
    pub workspace: Place,
    /// `files.read`, in order.
    pub read: Vec<Found>,
    /// `files.exec`.
    pub exec: Vec<Found>,
    /// `files.write`.
    pub write: Vec<Found>,
    /// `commands.allow` and the list of `commands.children`; empty where the policy has none.
    pub programs: Vec<Program>,
    /// What is there of `commands.deny`.
    pub denied: Vec<Program>,
    /// Files of many programs (busybox) where programs are.
    pub many: Vec<Many>,
    /// Where git has its own programs, where the task cannot write: it hands that on in `GIT_EXEC_PATH`.
    pub git_core: Vec<PathBuf>,
    /// Directories of the invoker's PATH and the usual ones that exist, each with its resolved form.
    pub search_path: Vec<(PathBuf, PathBuf)>,
    /// `files.deny`, known secrets, sockets of the host, the state directory: what exists of them inside grants.
    pub hidden: Vec<Marked>,
    /// Where secrets are known to lie; none where nothing may be granted later and nobody wants to be told.
    pub secrets: Secrets,
    /// What is denied or a known secret and leads to the workspace, in words.
    pub barred: Option<String>,
    /// `workspace.protect`: what exists of it.
    pub protected: Vec<Marked>,
    /// `workspace.protect` literals that do not exist.
    pub absent_protected: Vec<String>,
    /// Where protected paths lead in the workspace, through links or by git's configuration: patterns relative to it.
    pub led_to: Vec<String>,
    /// What else git executes or obeys there, and the policy does not protect.
    pub obeyed: Vec<String>,
    /// Where git's links lead.
    pub git: Vec<GitDirectory>,
    /// What git needs besides the workspace, shown or not.
    pub git_apart: Option<GitApart>,
    /// Home directories (the invoker's, the workspace owner's): their files are somebody's own.
    pub homes: Vec<PathBuf>,
    /// Home directories whose known secrets are hidden: the invoker's, by $HOME and by the user database, the workspace's
    /// owner's, and for root everybody's.
    pub known_homes: Vec<PathBuf>,
    /// Where the host has mounts below what is written, if the task may have mounts of its own.
    pub mounts: Vec<PathBuf>,
    /// What a reader of the plan should know.
    pub notes: Vec<String>,
}

impl Survey {
    /// What the policy denies.
    pub(crate) fn denied_paths(&self) -> Vec<PathBuf> {
        self.hidden.iter().filter(|marked| marked.denied()).map(|marked| marked.path.clone()).collect()
    }

    /// Directories of known secrets that are hidden in a wider grant.
    pub(crate) fn shut(&self) -> impl Iterator<Item = &Marked> {
        self.hidden
            .iter()
            .filter(|marked| marked.kind == Kind::Directory && marked.because.starts_with(KNOWN))
    }

    /// The resolved form of a directory of PATH.
    #[must_use]
    pub fn resolve(&self, directory: &Path) -> Option<&Path> {
        self.search_path.iter().find(|(asked, _)| asked == directory).map(|(_, real)| real.as_path())
    }
}
