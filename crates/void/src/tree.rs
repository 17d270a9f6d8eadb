//! The tree that is served. A node's number is its place in the list, and stays so: programs compare inode numbers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use ringfence_plan::{Content, Node};

/// The root's number (FUSE_ROOT_ID); others follow.
pub(crate) const ROOT: u64 = 1;
/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it is shown.
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    pub(crate) children: BTreeMap<Vec<u8>, u64>,
}

impl Tree {
    pub(crate) fn new(nodes: &[Node]) -> Self {
        let root = Entry {
            path: PathBuf::from("/"),
            content: Content::Directory { mode: 0o755 },
            children: BTreeMap::new(),
        };
        let mut tree = Self { nodes: vec![root] };
        for node in nodes {
            tree.add(&node.path, &node.content);
        }
        tree
    }

    /// Puts a node at `path`, with the directories above it; one that is there stays as it is.
    pub(crate) fn add(&mut self, path: &Path, content: &Content) {
        let mut at = ROOT;
        let mut names = path.strip_prefix("/").unwrap_or(path).components().peekable();
        while let Some(name) = names.next() {
            let name = name.as_os_str().as_bytes();
            let Some(parent) = self.get(at) else { return };
            if let Some(child) = parent.children.get(name) {
                at = *child;
                continue;
            }
            let path = parent.path.join(OsStr::from_bytes(name));
            let content = match names.peek() {
                None => content.clone(),
                Some(_) => Content::Directory { mode: 0o755 },
            };
            self.nodes.push(Entry { path, content, children: BTreeMap::new() });
            let number = self.nodes.len() as u64;
            if let Some(parent) = self.get_mut(at) {
                parent.children.insert(name.to_vec(), number);
            }
            at = number;
        }
    }

    /// The node at a path.
    pub(crate) fn find(&self, path: &Path) -> Option<u64> {
        let names = path.strip_prefix("/").unwrap_or(path).components();
        let below =
            |at, name: Component<'_>| self.get(at)?.children.get(name.as_os_str().as_bytes()).copied();
        names.into_iter().try_fold(ROOT, below)
    }

    /// What a path leads to by links of the tree's, as far as it has them.
    pub(crate) fn real(&self, path: &Path) -> PathBuf {
        let mut real = path.to_path_buf();
        for _ in 0..MOST_LINKS {
            let mut ways = real.ancestors();
            let link = ways.find_map(|at| match &self.get(self.find(at)?)?.content {
                Content::Link { target } => Some((at, at.parent()?.join(target))),
                _ => None,
            });
            let Some((at, target)) = link else { break };
            let mut followed = PathBuf::from("/");
            let rest = real.strip_prefix(at).unwrap_or(Path::new(""));
            for part in target.components() {
                match part {
                    Component::ParentDir => drop(followed.pop()),
                    part => followed.push(part),
                }
            }
            real = followed.join(rest);
        }
        real
    }

    /// All that lead to a path, are there, or lie below.
    pub(crate) fn around(&self, path: &Path) -> Vec<u64> {
        let near = |entry: &Entry| entry.path.starts_with(path) || path.starts_with(&entry.path);
        (ROOT..).zip(&self.nodes).filter(|(_, entry)| near(entry)).map(|(number, _)| number).collect()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        self.nodes.get(usize::try_from(number.checked_sub(ROOT)?).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.nodes.get_mut(usize::try_from(number.checked_sub(ROOT)?).ok()?)
    }

    pub(crate) fn len(&self) -> u64 {
        self.nodes.len() as u64
    }
}

impl Entry {
    /// File type and permissions, as in st_mode.
    pub(crate) fn mode(&self) -> u32 {
        match &self.content {
            Content::Directory { mode } => libc::S_IFDIR | mode,
            Content::File { mode, .. } => libc::S_IFREG | mode,
            Content::Refusals => libc::S_IFREG | 0o444,
            Content::Asked { directory: true } => libc::S_IFDIR | 0o555,
            Content::Asked { directory: false } => libc::S_IFREG | 0o444,
            // The kernel asks nobody where the mode refuses.
            Content::Hidden { directory: true } => libc::S_IFDIR | 0o500,
            Content::Hidden { directory: false } => libc::S_IFREG | 0o400,
            Content::Link { .. } => libc::S_IFLNK | 0o777,
        }
    }

    pub(crate) fn is_decoy(&self) -> bool {
        matches!(self.content, Content::File { decoy: true, .. })
    }

    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.content, Content::Asked { .. })
    }

    /// Whether whoever uses it waits for the owner: a directory where something else is shown leads there.
    pub(crate) fn waits(&self) -> bool {
        self.is_asked() && self.children.is_empty()
    }

    pub(crate) fn is_hidden(&self) -> bool {
        matches!(self.content, Content::Hidden { .. })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Directory { .. }
            | Content::Hidden { .. }
            | Content::Asked { .. }
            | Content::Refusals => &[],
            Content::File { bytes, .. } => bytes,
            Content::Link { target } => target.as_os_str().as_bytes(),
        }
    }
}
