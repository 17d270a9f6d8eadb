//! What git runs or follows by itself, found inside whatever is, or could be taken for, a git directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::beneath::Tree;
use crate::change::{Change, FileType, Kind};
use crate::content::fill;
use crate::danger::Danger;
use crate::layer::Layer;
use crate::overlay::Upper;

/// A part of a git directory that runs or redirects something, and why it is held back.
struct Part {
    what: What,
    why: &'static str,
}

enum What {
    /// A file of this name, at any depth: submodules and worktrees have their own.
    Named(&'static str),
    /// Everything in a directory of this name, at any depth.
    In(&'static str),
    /// This path.
    At(&'static str),
}

const PARTS: &[Part] = &[
    Part { what: What::In("hooks"), why: "a git hook: git runs it on the host" },
    Part { what: What::Named("config"), why: "git configuration: it names programs that git runs" },
    Part { what: What::Named("config.worktree"), why: "git configuration: it names programs that git runs" },
    Part { what: What::Named("commondir"), why: "makes git take its configuration from another place" },
    Part { what: What::At("remotes"), why: "says where git fetches from and pushes to" },
    Part { what: What::At("branches"), why: "says where git fetches from and pushes to" },
    Part { what: What::At("objects/info/alternates"), why: "makes git read objects of another repository" },
    Part { what: What::At("objects/info/http-alternates"), why: "makes git fetch objects from elsewhere" },
    Part { what: What::At("rebase-merge"), why: "commands in it run at the next `git rebase --continue`" },
    Part { what: What::At("rebase-apply"), why: "commands in it run at the next `git rebase --continue`" },
    Part { what: What::At("sequencer"), why: "it decides what the next `git cherry-pick --continue` does" },
];

/// Below these, names are those of branches and objects and mean nothing else.
const DATA: &[&str] = &["refs", "logs", "objects"];
/// A log of a branch that is longer is held by its name.
const LONGEST_LOG: u64 = 4 << 20;

/// Why git makes this change dangerous on the host, or `None`.
pub(crate) fn danger(change: &Change, layer: &Layer, upper: &Upper, host: &Tree) -> Option<&'static str> {
    let names: Vec<&OsStr> = change.path.iter().collect();
    let own = names.iter().position(|name| *name == ".git");
    let inside = match own {
        Some(at) => names.get(at + 1..),
        None if layer.is_git() => Some(&names[..]),
        None => None,
    };
    match inside {
        Some([]) if change.file_type == FileType::Directory => None,
        Some([]) => git_file(change, layer, upper, host),
        Some(inside) if plain_worktree(change, inside, upper) => None,
        Some(inside) => {
            // A repository's own `HEAD`, or a worktree's, makes nothing of it that it was not; a submodule's may, and one among branches.
            let other = inside.iter().any(|name| *name == "modules" || DATA.iter().any(|data| name == data));
            within(inside, change)
                .or_else(|| among_data(inside, change, upper))
                .or_else(|| bare(&names, upper, host))
                .or_else(|| other.then(|| completes(change, upper, host)).flatten())
        }
        None => bare(&names, upper, host).or_else(|| completes(change, upper, host)),
    }
}

/// Why it matters that this goes from a repository of the host, with its kind.
pub(crate) fn taken(change: &Change) -> Option<(Danger, &'static str)> {
    let inside: Vec<&OsStr> = change.path.iter().skip_while(|name| *name != ".git").skip(1).collect();
    let first = inside.first()?;
    let (module, worktree) = (*first == "modules", *first == "worktrees");
    // A submodule or worktree that goes as a whole checks nothing, and asks for nothing; below branches names mean nothing.
    let data = module && inside.iter().skip(2).any(|name| DATA.iter().any(|data| name == data));
    if (module || worktree) && change.covered || data {
        return None;
    }
    let own = |length: usize| inside.len() == length || module;
    match inside.as_slice() {
        [.., name] if *name == "config" && own(1) => true,
        [.., name] if *name == "config.worktree" && (own(1) || worktree) => true,
        [.., name] if *name == "hooks" && module => return Some((Danger::Hooks, HOOK_TAKEN)),
        [.., hooks, hook] if *hooks == "hooks" && own(2) && !hook.as_bytes().ends_with(b".sample") => {
            return Some((Danger::Hooks, HOOK_TAKEN));
        }
        _ => false,
    }
    .then_some((Danger::Config, "git's configuration, removed: what it asked for is not done"))
}

const HOOK_TAKEN: &str = "a git hook, removed: it checks nothing any more";

/// Is this a name that a case-folding, normalising or otherwise lenient file system takes for `.git`, but not `.git`
/// itself (CVE-2014-9390)? Git refuses to check such names out.
pub(crate) fn disguised(name: &OsStr) -> bool {
    if name == ".git" {
        return false;
    }
    let folded: String = String::from_utf8_lossy(name.as_bytes())
        .chars()
        .filter(|character| !ignorable(*character))
        .flat_map(char::to_lowercase)
        .collect();
    // NTFS: trailing dots and spaces go, `:` starts a stream, `~1` is the short name.
    let folded = folded.split(':').next().unwrap_or("").trim_end_matches(['.', ' ']);
    matches!(folded, ".git" | "git~1")
}

/// HFS+ leaves these out when it compares names.
fn ignorable(character: char) -> bool {
    matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn within(inside: &[&OsStr], change: &Change) -> Option<&'static str> {
    let link = change.file_type == FileType::Symlink && inside != ["HEAD"];
    listed(inside).or(link.then_some("a symlink in a git directory: git follows it"))
}

fn listed(inside: &[&OsStr]) -> Option<&'static str> {
    let data = inside.iter().position(|name| DATA.iter().any(|data| name == data));
    let before_data = inside.get(..data.unwrap_or(inside.len())).unwrap_or(&[]);
    let path: PathBuf = inside.iter().collect();
    let part = PARTS.iter().find(|part| match part.what {
        What::Named(name) => data.is_none() && inside.last().is_some_and(|last| *last == name),
        What::In(name) => before_data.iter().any(|part| *part == name),
        What::At(at) => path.starts_with(at) || Path::new("modules").join(at) == path,
    })?;
    Some(part.why)
}

/// Below branches, logs and objects a name means nothing, unless another `.git` names that directory for its repository: then a file
/// of these names counts that is no branch and no log by what it holds.
fn among_data(inside: &[&OsStr], change: &Change, upper: &Upper) -> Option<&'static str> {
    let data = inside.iter().position(|name| DATA.iter().any(|data| name == data))?;
    let below = inside.get(data + 1..)?;
    let last = below.last()?;
    let obeyed = ["config", "config.worktree", "commondir", "gitdir", "alternates", "attributes"]
        .iter()
        .any(|name| last == name)
        || below.iter().any(|part| *part == "hooks");
    let held = obeyed && change.kind != Kind::Deleted && change.file_type != FileType::Directory;
    let branch = || {
        let plain =
            change.new_mode.unwrap_or(0) & 0o111 == 0 && !matches!(last.as_bytes(), b"commondir" | b"gitdir");
        plain && file(change, upper, LONGEST_LOG).is_some_and(|text| reference(&text) || log(&text))
    };
    (held && !branch()).then_some("git obeys a file of this name, wherever a repository is said to be")
}

/// What a branch holds, and nothing else: a name of an object, or another branch (gitrepository-layout(5)).
fn reference(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    match text.strip_prefix(b"ref: refs/") {
        Some(name) => {
            name.iter().all(|byte| byte.is_ascii_graphic()) && !name.windows(2).any(|two| two == b"..")
        }
        None => object(text),
    }
}

/// A log of a branch: each line two names of objects, who, when and why.
fn log(text: &[u8]) -> bool {
    let entry = |line: &[u8]| {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        words.next().is_some_and(object) && words.next().is_some_and(object) && words.next().is_some()
    };
    text.strip_suffix(b"\n").is_some_and(|text| text.split(|byte| *byte == b'\n').all(entry))
}

fn object(name: &[u8]) -> bool {
    matches!(name.len(), 40 | 64) && name.iter().all(u8::is_ascii_hexdigit)
}

/// A directory that is not called `.git` but looks like a git directory: a bare repository, or what a `.git` file names.
fn bare(names: &[&OsStr], upper: &Upper, host: &Tree) -> Option<&'static str> {
    let candidates = names.iter().enumerate().filter(|(_, name)| {
        let parts = PARTS.iter().map(|part| match part.what {
            What::Named(name) | What::In(name) => name,
            What::At(at) => at.split('/').next().unwrap_or(at),
        });
        parts.into_iter().any(|part| **name == part)
    });
    candidates.into_iter().find_map(|(at, _)| {
        let (above, inside) = names.split_at_checked(at)?;
        let why = listed(inside)?;
        let above: PathBuf = above.iter().collect();
        let there = |name: &str| {
            let path = above.join(name);
            matches!(upper.look(&path), Ok(Some(_))) || matches!(host.look(&path), Ok(Some(_)))
        };
        (there("HEAD") && (there("objects") || there("commondir"))).then_some(why)
    })
}

/// The last part by which git takes a directory for its own that has hooks or configuration already, perhaps by an earlier apply
/// (`is_git_directory` of git's setup.c: `HEAD`, and `objects` and `refs`, or `commondir`). What was one on the host before is none of it.
fn completes(change: &Change, upper: &Upper, host: &Tree) -> Option<&'static str> {
    const WHY: &str = "makes a directory with hooks or configuration one that git takes for its own";
    let name = change.path.file_name()?;
    let part = ["HEAD", "objects", "refs", "commondir"].iter().any(|part| name == *part);
    if !part || matches!(host.look(&change.path), Ok(Some(_))) {
        return None;
    }
    let above = change.path.parent().unwrap_or(Path::new(""));
    let there = |name: &str| {
        let path = above.join(name);
        matches!(upper.look(&path), Ok(Some(_))) || matches!(host.look(&path), Ok(Some(_)))
    };
    let obeyed = ["config", "config.worktree", "commondir", "hooks"].into_iter().any(there);
    // A new one is held itself.
    let head = || matches!(host.look(&above.join("HEAD")), Ok(Some(_)));
    (obeyed && (name == "HEAD" || head())).then_some(WHY)
}

/// `commondir` as `git worktree add` writes it.
fn plain_worktree(change: &Change, inside: &[&OsStr], upper: &Upper) -> bool {
    let [worktrees, _, _] = inside else { return false };
    *worktrees == "worktrees"
        && small_file(change, upper).is_some_and(|text| text == b"../..\n" || text == b"../..")
}

/// `.git` that is no directory: allowed is a file that names a directory inside this layer, in a `.git` directory: a worktree
/// or a submodule. What is in one is judged by its own path, whenever it came.
fn git_file(change: &Change, layer: &Layer, upper: &Upper, host: &Tree) -> Option<&'static str> {
    const WHY: &str = "makes git take another directory for the repository";
    let named = small_file(change, upper).and_then(|text| {
        let text = text.strip_prefix(b"gitdir: ")?;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        Some(PathBuf::from(OsStr::from_bytes(text)))
    });
    let inside = named.and_then(|named| match named.strip_prefix(&layer.host) {
        Ok(below) => below
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
            .then(|| below.to_path_buf()),
        Err(_) if crate::link::leads_out(&change.path, &named) => None,
        Err(_) => resolved(change.path.parent().unwrap_or(Path::new("")), &named),
    });
    let repository = inside.as_ref().and_then(|inside| {
        let at = inside.iter().position(|name| name == ".git")?;
        let below: Vec<&OsStr> = inside.iter().skip(at + 1).collect();
        kept(&below).then(|| inside.iter().take(at + 1).collect::<PathBuf>())
    });
    let there = repository.is_some_and(|path| {
        matches!(host.look(&path), Ok(Some(_))) || matches!(upper.look(&path), Ok(Some(_)))
    });
    (!there).then_some(WHY)
}

/// Does git keep worktrees or submodules here, below a git directory, and not branches or objects of one? A name of those may be a part of
/// a submodule's, which stands before them.
fn kept(below: &[&OsStr]) -> bool {
    match below {
        [] => true,
        [first, _] if *first == "worktrees" => true,
        [first, _, rest @ ..] if *first == "modules" => {
            !rest.iter().any(|name| DATA.iter().any(|data| name == data))
        }
        _ => false,
    }
}

/// A relative path taken from a directory, by its text alone; `None` above the layer.
fn resolved(from: &Path, named: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut at = from.to_path_buf();
    for part in named.components() {
        match part {
            Component::Normal(name) => at.push(name),
            Component::ParentDir if at.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(at)
}

fn small_file(change: &Change, upper: &Upper) -> Option<Vec<u8>> {
    file(change, upper, 4096)
}

fn file(change: &Change, upper: &Upper, most: u64) -> Option<Vec<u8>> {
    let size = change.new_size.filter(|size| *size <= most && change.file_type == FileType::File)?;
    let mut text = vec![0; usize::try_from(size).ok()?];
    let whole = fill(upper.file(&change.path).ok()?, 0, &mut text).ok()?;
    whole.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises() {
        for name in
            [".Git", ".GIT", "git~1", ".git.", ".git ", ".g\u{200c}it", ".git::$INDEX_ALLOCATION", "GIT~1"]
        {
            assert!(disguised(OsStr::new(name)), "{name:?}");
        }
        for name in [".git", ".gitignore", "git", ".github", "git~2", ".gitmodules"] {
            assert!(!disguised(OsStr::new(name)), "{name:?}");
        }
    }

    #[test]
    fn what_runs_is_listed_and_branch_names_are_not() {
        let list = |path: &str| listed(&Path::new(path).iter().collect::<Vec<_>>()).is_some();
        for path in [
            "hooks",
            "hooks/post-checkout",
            "config",
            "modules/x/config",
            "modules/x/y/hooks/pre-push",
            "worktrees/x/config.worktree",
            "worktrees/x/commondir",
            "objects/info/alternates",
            "rebase-merge/git-rebase-todo",
        ] {
            assert!(list(path), "{path}");
        }
        for path in [
            "HEAD",
            "index",
            "refs/heads/config",
            "logs/refs/heads/hooks",
            "refs/heads/hooks/x",
            "objects/ab/cd",
            "info/exclude",
        ] {
            assert!(!list(path), "{path}");
        }
    }
}
