//! The root of the sandbox, as a list of steps: void first, then what is granted, then what is taken away again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ringfence_policy::{Leaks, Mode, Policy, package_cache};

use crate::grants::{self, Access, Grants};
use crate::guard;
use crate::steps::{Flags, Step, Tree};
use crate::survey::{Kind, Place, Survey};
use crate::synthetic::synthetic;
use crate::temporary::{VAR_TMP, shows_var_tmp};
use crate::void::{Content, Node};
use crate::windows::windows;
use crate::{Host, Ids, Invoker, Layer, Refused, Request, git, opened, workspace};

/// Room for directories, links and synthetic files of the void.
const ROOT_SIZE: u64 = 16 << 20;
/// Default size of the private /tmp, of the home and of /dev/shm.
const TMP_SIZE: u64 = 1 << 30;

/// Name of the workspace's own layer.
pub(crate) const WORKSPACE: &str = "workspace";

const READ: Flags = Flags { read_only: true, no_exec: true };
const EXECUTE: Flags = Flags { read_only: true, no_exec: false };
const WRITE: Flags = Flags { read_only: false, no_exec: true };

pub(crate) struct Layout {
    pub(crate) trees: Vec<Tree>,
    pub(crate) steps: Vec<Step>,
    pub(crate) void: Option<Vec<Node>>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) notes: Vec<String>,
}

/// Size of a file system in memory: no larger than the memory that the task may have at all.
fn in_memory(policy: &Policy) -> u64 {
    let limits = &policy.limits;
    let tmp = limits.tmp.as_ref().map_or(TMP_SIZE, |rule| rule.value);
    limits.memory.as_ref().map_or(tmp, |memory| tmp.min(memory.value))
}

pub(crate) fn layout(
    policy: &Policy,
    survey: &Survey,
    invoker: &Invoker,
    request: &Request,
    ids: &Ids,
    grants: &Grants,
    host: &Host,
) -> Result<Layout, Refused> {
    workspace::check(policy, survey, invoker, ids)?;
    let mut builder = Builder { protect: workspace::protect(policy, survey), ..Builder::default() };
    builder.obeyed.clone_from(&survey.obeyed);
    builder.outputs = workspace::outputs(policy);
    builder.leaks = policy.leaks.workspace.as_ref().map(|rule| rule.value);
    builder.base.clone_from(&request.base);
    builder.nested = policy.runtime.user_namespaces;
    builder.void = host.no_fuse.is_none().then(Vec::new);
    let tmp = in_memory(policy);
    builder.system(policy, request, ids, tmp, !policy.runtime.user_namespaces);
    let mut wanted: BTreeMap<PathBuf, Wanted> = BTreeMap::new();
    wanted.insert(
        "/tmp".into(),
        Wanted::Private { size: tmp, no_exec: !policy.runtime.tmp_exec, mode: 0o1777, over: false },
    );
    if shows_var_tmp(survey, grants, invoker) {
        let size = tmp;
        let own = Wanted::Private { size, no_exec: !policy.runtime.tmp_exec, mode: 0o1777, over: false };
        wanted.insert(VAR_TMP.into(), own);
    } else {
        builder.link(Path::new(VAR_TMP), Path::new("/tmp"));
    }
    if covered_home(survey, grants, invoker, policy) {
        // A grant or the workspace is the home, or holds it.
    } else {
        // Much is looked for in a home; in /tmp nothing but what the task itself put there.
        let home = Wanted::Private { size: tmp, no_exec: true, mode: 0o700, over: builder.void.is_some() };
        wanted.insert(invoker.home.clone(), home);
        wanted.extend(windows(policy, &invoker.home).into_iter().map(|path| (path, Wanted::Window)));
    }
    for granted in &grants.mounts {
        let flags = match granted.access {
            Access::Read => READ,
            Access::Execute => EXECUTE,
            Access::Write => WRITE,
        };
        let (place, mapped) = (granted.place.clone(), granted.mapped);
        let asked = |path: &Path| package_cache(path, &invoker.home);
        let cache = granted.access == Access::Read
            && (asked(&place.real) || place.links.iter().any(|link| asked(&link.path)));
        let own = cache && place.kind == Kind::Directory && host.overlay;
        let what = match own {
            true => Wanted::Cache { place, mapped, size: tmp },
            false => Wanted::Host { place, flags, mapped },
        };
        wanted.insert(granted.place.real.clone(), what);
    }
    builder.commands(policy, survey, grants, &mut wanted);
    builder.workspace(policy, survey, ids, &mut wanted);
    let opened = opened::directories(policy, survey)?;
    builder.open(&opened, &mut wanted);
    for (path, what) in wanted {
        builder.place(&path, what, &request.layers, ids);
    }
    for (path, target) in &grants.links {
        builder.link(path, target);
    }
    builder.protect(policy, survey, grants)?;
    builder.hold_hidden(policy, survey, grants);
    builder.hold_scripts(policy, survey, grants);
    for marked in &survey.hidden {
        if builder.shows_host_file(&marked.path) {
            if let Some(void) = &mut builder.void {
                let content = Content::Hidden { directory: marked.kind == Kind::Directory };
                // What is granted by itself has its mount point there.
                let point = builder.made.contains(marked.path.as_os_str());
                match void.iter_mut().find(|node| point && node.path == marked.path) {
                    Some(node) => node.content = content,
                    None => void.push(Node { path: marked.path.clone(), content }),
                }
            }
            builder.steps.push(Step::Hide {
                path: marked.path.clone(),
                kind: marked.kind,
                because: marked.because.clone(),
            });
        }
    }
    builder.stores(request);
    builder.usual_directories();
    builder.decoys(policy, request, host)?;
    builder.exposed(policy, request)?;
    builder.refusals();
    builder.seal(opened);
    builder.steps.push(Step::Seal { path: "/dev".into(), flags: READ });
    builder.steps.push(Step::Seal { path: "/".into(), flags: READ });
    let Builder { trees, steps, void, layers, notes, .. } = builder;
    Ok(Layout { trees, steps, void, layers, notes })
}

fn covered_home(survey: &Survey, grants: &Grants, invoker: &Invoker, policy: &Policy) -> bool {
    grants.covering(&invoker.home).is_some()
        || (policy.workspace.mode != Mode::Temporary && invoker.home.starts_with(&survey.workspace.real))
}

/// What is to be mounted at a path.
enum Wanted {
    Private {
        size: u64,
        no_exec: bool,
        mode: u32,
        over: bool,
    },
    /// The root, which sees who looks.
    Window,
    Host {
        place: Place,
        flags: Flags,
        mapped: bool,
    },
    /// What is written to it lies in memory, and is thrown away.
    Cache {
        place: Place,
        mapped: bool,
        size: u64,
    },
    CopyOnWrite {
        place: Place,
        flags: Flags,
        mapped: bool,
        name: String,
    },
}

#[derive(Default)]
pub(crate) struct Builder {
    trees: Vec<Tree>,
    pub(crate) steps: Vec<Step>,
    /// What the root itself shows, if it is no tmpfs.
    void: Option<Vec<Node>>,
    /// The directory through which that is seen too.
    pub(crate) over: Option<PathBuf>,
    /// Directories of it that lie over what lies over it.
    windows: BTreeSet<PathBuf>,
    layers: Vec<Layer>,
    notes: Vec<String>,
    /// Patterns of what `apply` holds back.
    protect: Vec<String>,
    outputs: Option<Vec<String>>,
    leaks: Option<Leaks>,
    obeyed: Vec<String>,
    /// What copy-on-write directories begin with.
    base: Vec<String>,
    /// The task may have mounts of its own.
    nested: bool,
    /// Mounted paths, and whether what is mounted is our own (then mount points are made in it) or the host's.
    pub(crate) mounted: HashMap<OsString, bool>,
    made: HashSet<OsString>,
}

impl Builder {
    /// The void and what every process expects of a system.
    fn system(&mut self, policy: &Policy, request: &Request, ids: &Ids, shared: u64, masked: bool) {
        match self.void {
            Some(_) => drop(self.mounted.insert("/".into(), true)),
            None => self.tmpfs("/", ROOT_SIZE, 0o755, Flags::default()),
        }
        for (path, mode) in [("/proc", 0o555), ("/dev", 0o755), ("/etc", 0o755), ("/var", 0o755)] {
            self.directory(Path::new(path), mode);
        }
        self.steps.push(Step::Processes { path: "/proc".into(), masked });
        self.mounted.insert("/proc".into(), false);
        self.tmpfs("/dev", 1 << 20, 0o755, WRITE);
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            let path = Path::new("/dev").join(device);
            self.file(&path, "");
            self.steps.push(Step::Device { path });
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            self.link(&Path::new("/dev").join(name), Path::new(target));
        }
        self.directory(Path::new("/dev/pts"), 0o755);
        self.steps.push(Step::Terminals { path: "/dev/pts".into() });
        self.directory(Path::new("/dev/shm"), 0o755);
        self.tmpfs("/dev/shm", shared.min(TMP_SIZE), 0o1777, WRITE);
        for (name, contents) in synthetic(policy, request, ids) {
            self.file(&Path::new("/etc").join(name), &contents);
        }
        self.authorities(request);
    }

    /// A policy that names programs takes the execute right from the directories of PATH, and gives it back to
    /// those programs alone; Landlock says the same a second time. Without it, `ld.so /usr/bin/x` would start x.
    fn commands(
        &mut self,
        policy: &Policy,
        survey: &Survey,
        grants: &Grants,
        wanted: &mut BTreeMap<PathBuf, Wanted>,
    ) {
        if !guard::listed(policy) {
            return;
        }
        for (_, directory) in &survey.search_path {
            let Some(granted) = grants.covering(directory) else { continue };
            if granted.access != Access::Execute {
                continue;
            }
            let place = Place {
                real: directory.clone(),
                links: Vec::new(),
                kind: Kind::Directory,
                device: 0,
                inode: 0,
                ..granted.place.clone()
            };
            wanted.insert(directory.clone(), Wanted::Host { place, flags: READ, mapped: granted.mapped });
        }
        for place in guard::started(survey) {
            if let Some(granted) = grants.covering(&place.real) {
                let mapped = granted.mapped;
                wanted.insert(
                    place.real.clone(),
                    Wanted::Host { place: place.clone(), flags: EXECUTE, mapped },
                );
            }
        }
    }

    fn workspace(
        &mut self,
        policy: &Policy,
        survey: &Survey,
        ids: &Ids,
        wanted: &mut BTreeMap<PathBuf, Wanted>,
    ) {
        let mode = policy.workspace.mode;
        let no_exec = !policy.from_workspace;
        let mut want = |place: &Place, name: &str, read_only: bool| {
            let flags = Flags { read_only: read_only || mode == Mode::Read, no_exec };
            let mapped = ids.mapped && grants::can_be_mapped(place);
            let what = match mode {
                Mode::Review | Mode::Discard if !read_only => {
                    Wanted::CopyOnWrite { place: place.clone(), flags, mapped, name: name.into() }
                }
                _ => Wanted::Host { place: place.clone(), flags, mapped },
            };
            wanted.insert(place.real.clone(), what);
        };
        if mode == Mode::Temporary {
            let quota = policy.workspace.quota.as_ref().map_or(u64::MAX, |rule| rule.value);
            let size = in_memory(policy).min(quota);
            let empty = Wanted::Private { size, no_exec, mode: 0o755, over: false };
            wanted.insert(survey.workspace.real.clone(), empty);
            return;
        }
        want(&survey.workspace, WORKSPACE, false);
        for (index, git) in survey.git.iter().enumerate() {
            want(&git.place, &format!("git{index}"), git.read_only);
        }
    }

    /// Directories of secrets of which something is shown have a directory of the sandbox's own in their place.
    fn open(&mut self, opened: &[PathBuf], wanted: &mut BTreeMap<PathBuf, Wanted>) {
        for path in opened {
            let what = match &mut self.void {
                Some(void) => {
                    let content = Content::Directory { mode: 0o755 };
                    void.push(Node { path: path.clone(), content });
                    Wanted::Window
                }
                None => Wanted::Private { size: ROOT_SIZE, no_exec: true, mode: 0o755, over: false },
            };
            wanted.insert(path.clone(), what);
        }
    }

    /// Nothing is made in those either.
    fn seal(&mut self, opened: Vec<PathBuf>) {
        if self.void.is_none() {
            self.steps.extend(opened.into_iter().map(|path| Step::Seal { path, flags: READ }));
        }
    }

    fn place(&mut self, path: &Path, what: Wanted, layers: &Path, ids: &Ids) {
        let kind = match &what {
            Wanted::Host { place, .. } => place.kind,
            _ => Kind::Directory,
        };
        if path != Path::new("/") {
            self.mount_point(path, kind);
        }
        match what {
            Wanted::Window => {
                self.mounted.insert(path.as_os_str().to_owned(), true);
                self.windows.insert(path.to_owned());
                self.steps.push(Step::Watch { path: path.to_owned() });
            }
            Wanted::Private { size, no_exec, mode, over } => {
                // A home below /tmp lies over that, which sees nothing.
                let over = over && self.void_at(path).is_some();
                let path = path.to_path_buf();
                self.mounted.insert(path.clone().into_os_string(), true);
                let flags = Flags { read_only: false, no_exec };
                if over {
                    self.over = Some(path.clone());
                }
                self.steps.push(Step::Tmpfs { path, size, mode, flags, over });
            }
            Wanted::Host { place, flags, mapped } => {
                let tree = self.tree(&place, mapped, true);
                self.mounted.insert(path.as_os_str().to_owned(), false);
                self.steps.push(Step::Bind { tree, path: path.to_path_buf(), flags });
            }
            Wanted::Cache { place, mapped, size } => {
                let mode = place.mode;
                let tree = self.tree(&place, mapped, true);
                self.mounted.insert(path.as_os_str().to_owned(), false);
                let path = path.to_path_buf();
                self.steps.push(Step::Bind { tree, path: path.clone(), flags: READ });
                let flags = Flags { read_only: false, no_exec: true };
                self.steps.push(Step::Tmpfs { path, size, mode, flags, over: true });
            }
            Wanted::CopyOnWrite { place, flags, mapped, name } => {
                let lower = self.tree(&place, mapped, false);
                let directory = layers.join(&name);
                let layer = self.trees.len();
                self.trees.push(Tree {
                    host: directory.clone(),
                    kind: Kind::Directory,
                    device: 0,
                    inode: 0,
                    recursive: false,
                    mapped: ids.mapped,
                });
                let (protect, obeyed) = match &*name {
                    WORKSPACE => (self.protect.clone(), self.obeyed.clone()),
                    _ => (git::protect(), Vec::new()),
                };
                let outputs = match &*name {
                    WORKSPACE => self.outputs.clone(),
                    _ => self.outputs.as_ref().map(|_| Vec::new()),
                };
                self.layers.push(Layer {
                    name,
                    host: place.real.clone(),
                    directory,
                    device: place.device,
                    inode: place.inode,
                    protect,
                    obeyed,
                    outputs,
                    leaks: self.leaks,
                    masked: Vec::new(),
                });
                self.mounted.insert(path.as_os_str().to_owned(), false);
                let between = self.base.clone();
                let loose = self.nested && !between.is_empty();
                let path = path.to_path_buf();
                self.steps.push(Step::Overlay { path, lower, layer, between, loose, flags });
            }
        }
    }

    /// Existing protected paths are bound read-only; every directory from the workspace down to them is held.
    fn protect(&mut self, policy: &Policy, survey: &Survey, grants: &Grants) -> Result<(), Refused> {
        let mode = policy.workspace.mode;
        if matches!(mode, Mode::Read | Mode::Temporary) {
            return Ok(());
        }
        if mode == Mode::Direct && !survey.absent_protected.is_empty() {
            let origin = policy.workspace.protect.first().map(|rule| rule.origin.clone());
            return Err(Refused::rule(
                &origin.unwrap_or(ringfence_policy::Origin { source: "workspace.protect".into(), line: 0 }),
                format!(
                    "`{}` does not exist, and in mode `direct` nothing can yet keep the task from creating it",
                    survey.absent_protected.join("`, `")
                ),
                "choose `workspace.mode = \"review\"` or create it",
            ));
        }
        let roots: Vec<&Path> = std::iter::once(&survey.workspace)
            .chain(survey.git.iter().map(|git| &git.place))
            .map(|place| place.real.as_path())
            .collect();
        let mut held = BTreeSet::new();
        let mut pins: BTreeMap<PathBuf, Flags> = BTreeMap::new();
        let no_exec = !policy.from_workspace;
        for marked in &survey.protected {
            let Some(root) = roots
                .iter()
                .filter(|root| marked.path.starts_with(root))
                .max_by_key(|root| root.as_os_str().len())
            else {
                continue;
            };
            for ancestor in marked.path.ancestors().skip(1).take_while(|ancestor| ancestor != root) {
                held.insert(ancestor.to_path_buf());
            }
            // A grant mounted on the path itself is already read-only or meant to be written.
            if grants.mounts.iter().any(|granted| granted.place.real == marked.path) {
                continue;
            }
            pins.insert(marked.path.clone(), Flags { read_only: true, no_exec });
        }
        for path in held {
            pins.entry(path).or_default();
        }
        self.steps.extend(pins.into_iter().map(|(path, flags)| Step::Pin { path, flags }));
        Ok(())
    }

    /// Whether the host's files can be seen at `path`: what lies in the void or in a private directory needs no hiding.
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn shows_host_file(&self, path: &Path) -> bool {
        path.ancestors().find_map(|ancestor| self.mounted.get(ancestor.as_os_str())).is_some_and(|own| !own)
    }

    fn tree(&mut self, place: &Place, mapped: bool, recursive: bool) -> usize {
        self.trees.push(Tree {
            host: place.real.clone(),
            kind: place.kind,
            device: place.device,
            inode: place.inode,
            recursive: recursive && place.kind == Kind::Directory,
            mapped,
        });
        self.trees.len() - 1
    }

    fn tmpfs(&mut self, path: &str, size: u64, mode: u32, flags: Flags) {
        self.mounted.insert(path.into(), true);
        self.steps.push(Step::Tmpfs { path: path.into(), size, mode, flags, over: false });
    }

    /// Makes the mount point and the directories above it, where they lie on a file system of our own. On the host's
    /// nothing is ever created: there the path exists already.
    fn mount_point(&mut self, path: &Path, kind: Kind) {
        if !self.own(path) {
            return;
        }
        if kind == Kind::Directory { self.directory(path, 0o755) } else { self.file(path, "") }
    }

    fn own(&self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .find_map(|ancestor| self.mounted.get(ancestor.as_os_str()))
            .is_some_and(|own| *own)
    }

    pub(crate) fn directory(&mut self, path: &Path, mode: u32) {
        if path == Path::new("/")
            || self.mounted.contains_key(path.as_os_str())
            || self.made.contains(path.as_os_str())
            || !self.own(path)
        {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755);
        }
        self.made.insert(path.as_os_str().to_owned());
        match self.void_at(path) {
            Some(void) => void.push(Node { path: path.to_path_buf(), content: Content::Directory { mode } }),
            None => self.steps.push(Step::Directory { path: path.to_path_buf(), mode }),
        }
    }

    pub(crate) fn file(&mut self, path: &Path, contents: impl AsRef<[u8]>) {
        if self.made.contains(path.as_os_str()) || !self.own(path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755);
        }
        self.made.insert(path.as_os_str().to_owned());
        match self.void_at(path) {
            Some(void) => {
                let content = Content::File { mode: 0o644, bytes: contents.as_ref().to_vec(), decoy: false };
                void.push(Node { path: path.to_path_buf(), content });
            }
            None => {
                self.steps
                    .push(Step::File { path: path.to_path_buf(), contents: contents.as_ref().to_vec() });
            }
        }
    }

    /// A file of the sandbox's own; `false`: there is no room for one.
    pub(crate) fn place_file(&mut self, path: &Path, contents: &str) -> bool {
        let known = self.void.iter().flatten().any(|node| node.path == path);
        let room = !known && !self.made.contains(path.as_os_str()) && !self.shown(path) && self.own(path);
        if room {
            self.file(path, contents);
        }
        room
    }

    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        if self.made.contains(path.as_os_str())
            || self.mounted.contains_key(path.as_os_str())
            || !self.own(path)
        {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755);
        }
        self.made.insert(path.as_os_str().to_owned());
        let target = target.to_path_buf();
        match self.void_at(path) {
            Some(void) => void.push(Node { path: path.to_path_buf(), content: Content::Link { target } }),
            None => self.steps.push(Step::Symlink { path: path.to_path_buf(), target }),
        }
    }

    /// Whether something is mounted there.
    pub(crate) fn shown(&self, path: &Path) -> bool {
        self.mounted.contains_key(path.as_os_str())
    }

    /// Where the nodes of the root go, if it is no tmpfs and `path` lies in it, or in what lies over it.
    pub(crate) fn void_at(&mut self, path: &Path) -> Option<&mut Vec<Node>> {
        let void = self.void.as_mut()?;
        let on = path.ancestors().skip(1).find(|above| self.mounted.contains_key(above.as_os_str()))?;
        (on == Path::new("/") || self.over.as_deref() == Some(on) || self.windows.contains(on))
            .then_some(void)
    }
}
