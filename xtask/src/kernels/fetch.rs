//! Debian's kernels: found by asking apt, fetched and unpacked without being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{capture, run};

/// The package that apt would install as this series' kernel for amd64, or `None` where its sources have none.
pub(crate) fn kernel(series: &str) -> Result<Option<String>, String> {
    // The release's own kernel has a name without a number; newer ones, from security or backports, have one.
    for meta in ["linux-image-amd64".to_owned(), format!("linux-image-{series}-amd64")] {
        let shown =
            capture(Command::new("apt-cache").args(["depends", "--no-recommends", "--no-suggests", &meta]));
        let package = shown.ok().and_then(|text| {
            text.lines().find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
        });
        if let Some(package) = package.filter(|name| name.starts_with(&format!("linux-image-{series}."))) {
            return Ok(Some(package));
        }
    }
    Ok(None)
}

/// Fetches packages that are not here yet; their files, in that order.
pub(crate) fn packages(names: &[&str], cache: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    let mut found = Vec::new();
    for name in names {
        if here(name, cache).is_none() {
            run(Command::new("apt-get")
                .args(["download", "-qq", "-o", "APT::Sandbox::User=root", name])
                .current_dir(cache))?;
        }
        found.push(here(name, cache).ok_or_else(|| format!("apt-get download {name} left no file"))?);
    }
    Ok(found)
}

fn here(name: &str, cache: &Path) -> Option<PathBuf> {
    let prefix = format!("{name}_");
    let entries = fs::read_dir(cache).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find(|path| {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.starts_with(&prefix) && file.ends_with(".deb")
    })
}

/// Unpacks a package once.
pub(crate) fn unpacked(package: &Path) -> Result<PathBuf, String> {
    let tree = package.with_extension("tree");
    if !tree.is_dir() {
        let half = package.with_extension("half");
        let _ = fs::remove_dir_all(&half);
        run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&half))?;
        fs::rename(&half, &tree).map_err(|e| format!("{}: {e}", tree.display()))?;
    }
    Ok(tree)
}
