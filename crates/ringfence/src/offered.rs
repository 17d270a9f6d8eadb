//! What `check` would say of a policy that has a line which is offered: a task picks the names that it is refused, and with them the lines.

use std::io;
use std::path::{Path, PathBuf};

use ringfence_audit::{Level, Subject};
use ringfence_policy::{Context, Files, HostFiles, Policy, Source, load};

use crate::host::Host;

/// Trees that the system itself obeys, whatever is written there.
const OBEYED: &[&str] = &[
    "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/sbin", "/snap", "/usr",
];

/// What speaks against the lines of a grant of files, if anything does. Lines that no policy takes are taken away.
pub(crate) fn caution(lines: &mut Vec<String>, host: &Host, context: &Context) -> Option<String> {
    if lines.first().is_none_or(|table| table != "[files]") {
        return None;
    }
    let mut policy = match read(lines, context) {
        Ok(policy) => policy,
        Err(why) => {
            lines.clear();
            return Some(why);
        }
    };
    let files = &mut policy.files;
    // Links lead to what `check` knows by another name.
    for list in [&mut files.read, &mut files.write, &mut files.exec] {
        let real = list.iter().filter_map(|rule| {
            let path = Some(&rule.value.path).filter(|path| host.has(path) == Some(true))?;
            let path = path.canonicalize().ok().filter(|real| real != path)?;
            let mut rule = rule.clone();
            rule.value.path = path;
            Some(rule)
        });
        let real: Vec<_> = real.collect();
        list.extend(real);
    }
    let written = files.write.iter().map(|rule| (rule.value.path.as_path(), true));
    let others = files.read.iter().chain(&files.exec).map(|rule| (rule.value.path.as_path(), false));
    if let Some(why) = written.chain(others).find_map(|(path, write)| whole(path, write, (host, context))) {
        return Some(format!("unwise: {why}; name what the task needs below it"));
    }
    let search = context.variables.get("PATH").map(|path| std::env::split_paths(path).collect());
    let search: Vec<PathBuf> = search.unwrap_or_default();
    // No workspace is meant: that grants what is in it by another table.
    let subject = Subject { policy: &policy, workspace: &context.state_dir, search: &search, look: false };
    let found = ringfence_audit::audit(&subject).into_iter().find(|one| one.level > Level::Note)?;
    let unwise = if found.level == Level::High { "unwise: " } else { "" };
    Some(format!(
        "{unwise}`check` says {} of it ({}): {}; {}",
        found.level.word(),
        found.rule.id,
        found.what,
        found.why
    ))
}

/// Of a directory that holds more than one task's matter.
fn whole(path: &Path, write: bool, (host, context): (&Host, &Context)) -> Option<String> {
    let (shown, above) = (path.display(), path.parent()?);
    if host.has(path) == Some(true) && !path.is_dir() {
        return None;
    }
    if path == Path::new("/root") || above == Path::new("/home") || path == context.home || is_home(path) {
        return Some(format!("`{shown}` is a whole home"));
    }
    if above == Path::new("/") || above == Path::new("/var") {
        return Some(format!("`{shown}` is a whole tree of this system"));
    }
    let obeyed = write && OBEYED.iter().any(|tree| path.starts_with(tree));
    obeyed.then(|| format!("the system obeys what is written to `{shown}`"))
}

/// Whether the user database says so of somebody (passwd(5)); those of services are no person's.
fn is_home(path: &Path) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        let person = fields.next().and_then(|uid| uid.parse::<u32>().ok()).is_some_and(|uid| uid >= 1000);
        person && fields.nth(2).is_some_and(|home| path == Path::new(home))
    })
}

/// A policy of these lines alone, which is what a policy with them grants more.
fn read(lines: &[String], context: &Context) -> Result<Policy, String> {
    let text = format!("version = 1\n{}\n", lines.join("\n"));
    let name = context.cwd.join("offered.toml");
    let context = Context { step: None, ..context.clone() };
    load(&[Source::File(name.clone())], &context, &Lines { name, text }).map_err(|refused| {
        let first = refused.list().first().map(|one| one.title.clone()).unwrap_or_default();
        format!("no line allows it: {first}")
    })
}

/// Instead of a file of the host; the ceiling is the host's.
struct Lines {
    name: PathBuf,
    text: String,
}

impl Files for Lines {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path == self.name {
            true => Ok(self.text.clone().into_bytes()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        HostFiles.read_ceiling(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path == self.name
    }
}
