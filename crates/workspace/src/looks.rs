//! What is dangerous by its content, whatever its name: programs that are no text, and scripts that a package manager runs.

use serde_json::Value;

use crate::beneath::Tree;
use crate::change::{Change, FileType, Kind};
use crate::content::fill;
use crate::danger::Danger;
use crate::overlay::Upper;
use crate::text::whole;

/// A larger description of a package is held for its size.
const LONG: u64 = 1 << 20;
/// How programs begin: ELF, Windows, macOS (thin in both orders, and fat), WebAssembly.
const MAGIC: [&[u8]; 7] = [
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
];

/// What describes a package, and says which scripts run when it is installed (npm's package.json).
pub(crate) const PACKAGE: &str = "package.json";

/// Why, with its kind. `package`: a package manager takes it for its description.
pub(crate) fn danger(
    change: &Change,
    package: bool,
    upper: &Upper,
    host: &Tree,
) -> Option<(Danger, &'static str)> {
    if package && change.file_type == FileType::Symlink {
        return Some((
            Danger::Scripts,
            "a link: the `scripts` of what it leads to run at the next install or build",
        ));
    }
    if change.file_type != FileType::File || change.kind == Kind::AttributesChanged {
        return None;
    }
    if package {
        return scripts(change, upper, host);
    }
    let size = change.new_size.unwrap_or(0);
    let mode = change.new_mode.unwrap_or(0);
    // With a set-id bit or capabilities it is refused anyway.
    if mode & 0o111 == 0 || mode & 0o6000 != 0 || change.capabilities || size < 4 {
        return None;
    }
    let mut first = [0_u8; 4];
    fill(upper.file(&change.path).ok()?, 0, &mut first).ok()?;
    MAGIC
        .iter()
        .any(|magic| first.starts_with(magic))
        .then_some((Danger::Binaries, "a program that nobody can read"))
}

/// Do the scripts differ, or cannot that be told?
fn scripts(change: &Change, upper: &Upper, host: &Tree) -> Option<(Danger, &'static str)> {
    const WHY: &str = "its `scripts` run at the next install or build";
    let read = |size: Option<u64>, file: Result<std::os::fd::OwnedFd, rustix::io::Errno>| {
        let size = size.filter(|size| *size <= LONG)?;
        let value: Value = serde_json::from_slice(&whole(&file.ok()?, size)?).ok()?;
        Some(value.get("scripts").filter(|scripts| **scripts != serde_json::json!({})).cloned())
    };
    let old_file = change.old_type.unwrap_or(FileType::File) == FileType::File;
    let old = match change.kind {
        Kind::Created => Some(None),
        _ if old_file => read(change.old_size, host.file(&change.path)),
        _ => Some(None),
    };
    let new = read(change.new_size, upper.file(&change.path));
    let same = matches!((old, new), (Some(old), Some(new)) if old == new);
    (!same).then_some((Danger::Scripts, WHY))
}
