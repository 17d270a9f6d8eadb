//! A grant that lasts: a line more in a policy file, whose other lines stay as they are.

use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::Source;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::failure::{Context, Failure};
use crate::source::{self, Recording};
use crate::trust;

/// Adds a path to `files.read` of a policy file, if that is a policy afterwards. One that was trusted as it was is trusted as it is.
/// `false`: it was there.
pub(crate) fn add(file: &Path, granted: &Path, invoker: &Invoker) -> Result<bool, Failure> {
    let granted = granted.to_str().ok_or_else(|| {
        Failure::new(format!("`{}` is not UTF-8, which a policy must be", granted.display()))
    })?;
    let before = Recording::default();
    source::read(&[Source::File(file.to_path_buf())], invoker, &before, None, None)?;
    let trusted = trust::check(file, &before.read.into_inner(), invoker).is_ok();
    let shown = file.display();
    let text = std::fs::read_to_string(file).context(format!("reading {shown}"))?;
    let Some(text) = with(&text, &written(granted)?).context(format!("reading {shown}"))? else {
        return Ok(false);
    };
    let new = beside(file)?;
    let written = write(file, &new, &text).and_then(|()| {
        let policy = source::read(&[Source::File(new.clone())], invoker, &Recording::default(), None, None)?;
        if !policy.files.read.iter().any(|rule| rule.value.path == Path::new(granted)) {
            return Err(Failure::new(format!("`{granted}` would be read as another path")));
        }
        std::fs::rename(&new, file).context(format!("writing {shown}"))
    });
    if let Err(failure) = written {
        let _ = std::fs::remove_file(&new);
        return Err(failure);
    }
    if trusted {
        let after = Recording::default();
        source::read(&[Source::File(file.to_path_buf())], invoker, &after, None, None)?;
        trust::accept(file, &after.read.into_inner(), invoker)?;
    }
    Ok(true)
}

/// As a policy writes it: what it would read into a name is no part of that name.
fn written(granted: &str) -> Result<String, Failure> {
    if granted.contains(['*', '?', '[']) {
        let text = format!("`{granted}` holds what a policy takes for a pattern");
        return Err(Failure::new(text).hint("grant the directory that it is in"));
    }
    Ok(granted.replace('$', "$$"))
}

/// In the same directory: what a policy extends lies beside it.
fn beside(file: &Path) -> Result<PathBuf, Failure> {
    let name = file.file_name().ok_or_else(|| Failure::new(format!("{} is no file", file.display())))?;
    let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    Ok(file.with_file_name(name))
}

/// With the owner and the mode of the one that it replaces.
fn write(file: &Path, new: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let as_before = || -> std::io::Result<()> {
        let old = std::fs::metadata(file)?;
        let mut made = std::fs::File::options().write(true).create_new(true).open(new)?;
        made.set_permissions(old.permissions())?;
        if rustix::process::geteuid().is_root() {
            fchown(&made, Some(old.uid()), Some(old.gid()))?;
        }
        made.write_all(text.as_bytes())?;
        made.sync_all()
    };
    as_before().context(format!("writing {}", new.display()))
}

/// The document with one grant more; `None`: it has it.
fn with(text: &str, granted: &str) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let mut document: DocumentMut = text.parse()?;
    let files = document.entry("files").or_insert_with(|| Item::Table(Table::new()));
    let files = files.as_table_like_mut().ok_or("`files` is no table")?;
    let read = files.entry("read").or_insert_with(|| value(Array::new()));
    let read = read.as_array_mut().ok_or("`files.read` is no list")?;
    if read.iter().any(|entry| entry.as_str() == Some(granted)) {
        return Ok(None);
    }
    read.push(granted);
    Ok(Some(document.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_more_and_nothing_else_changes() {
        for (before, after) in [
            ("version = 1 # one\n", "version = 1 # one\n\n[files]\nread = [\"/x\"]\n"),
            (
                "version = 1\n[files]\nread = [ \"/a\" ] # own\n",
                "version = 1\n[files]\nread = [ \"/a\" , \"/x\"] # own\n",
            ),
            ("files.exec = [\"/b\"]\n", "files.exec = [\"/b\"]\nfiles.read = [\"/x\"]\n"),
        ] {
            let made = with(before, "/x").unwrap().unwrap();
            let parsed = |text: &str| text.parse::<DocumentMut>().unwrap();
            assert_eq!(
                parsed(&made)["files"]["read"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| one.as_str() == Some("/x"))
                    .count(),
                1
            );
            assert!(made.lines().count() >= before.lines().count(), "{made}");
            assert_eq!(made.replace(" ,", ","), after.replace(" ,", ","), "{before}");
            assert!(with(&made, "/x").unwrap().is_none());
        }
        for odd in ["/x?", "/x*", "/[x]"] {
            assert!(written(odd).is_err(), "{odd}");
        }
        assert_eq!(written("/x/$HOME").unwrap(), "/x/$$HOME");
        assert!(with("files = 3", "/x").is_err() && with("[files]\nread = 3", "/x").is_err());
    }
}
