//! Trust of policy files found in a workspace: such a file is somebody else's text until its owner has accepted it as it is.
//!
//! What was accepted is kept whole, so that a refusal can show what changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{Files, HostFiles};

use crate::environment;
use crate::failure::{Context, Failure};
use crate::terminal::escape;

/// What was accepted: each file that the policy is made of, and its text.
#[derive(Default, serde::Deserialize, serde::Serialize)]
struct Trusted {
    files: BTreeMap<PathBuf, String>,
}

/// Accepts the files as they are.
pub(crate) fn accept(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
    invoker: &Invoker,
) -> Result<(), Failure> {
    let trusted = Trusted { files: texts(files) };
    let at = place(path, invoker);
    let directory = invoker.state.join("trust");
    environment::open_state(invoker)?;
    std::fs::create_dir_all(&directory).context(format!("making {}", directory.display()))?;
    let text = serde_json::to_string_pretty(&trusted).context("writing what is trusted")?;
    let new = at.with_extension("new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, &at))
        .context(format!("writing {}", at.display()))
}

/// Refuses a file that differs from what was accepted, before any of it is interpreted.
pub(crate) fn check_before(path: &Path, invoker: &Invoker) -> Result<(), Failure> {
    let content = HostFiles.read(path).context(format!("reading {}", path.display()))?;
    let trusted = trusted(path, invoker);
    let only: BTreeMap<_, _> = BTreeMap::from([(path.to_path_buf(), content)]);
    compare(path, trusted.as_ref(), &only)
}

/// Refuses files that differ from what was accepted.
pub(crate) fn check(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
    invoker: &Invoker,
) -> Result<(), Failure> {
    compare(path, trusted(path, invoker).as_ref(), files)
}

fn compare(
    path: &Path,
    trusted: Option<&Trusted>,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), Failure> {
    let Some(trusted) = trusted else {
        return Err(Failure::new(format!("{} was found here, and nobody has accepted it", path.display()))
            .hint(format!("read it, then `ringfence trust {}`", path.display()))
            .hint("or choose another policy with `--policy FILE` or `--preset NAME`"));
    };
    let now = texts(files);
    let mut changes = String::new();
    for (file, text) in &now {
        let before = trusted.files.get(file).map_or("", String::as_str);
        if before != text || !trusted.files.contains_key(file) {
            let diff = similar::TextDiff::from_lines(before, text);
            changes.push_str(
                &diff
                    .unified_diff()
                    .header(&format!("{} (accepted)", file.display()), &file.display().to_string())
                    .to_string(),
            );
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} changed since it was accepted:\n{}",
        path.display(),
        escape(changes.trim_end())
    ))
    .hint(format!("if that is meant, `ringfence trust {}`", path.display())))
}

fn trusted(path: &Path, invoker: &Invoker) -> Option<Trusted> {
    serde_json::from_str(&std::fs::read_to_string(place(path, invoker)).ok()?).ok()
}

/// Where it is kept: a file named after the path.
fn place(path: &Path, invoker: &Invoker) -> PathBuf {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    let mut name = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(*byte));
        } else {
            let _ = write!(name, "_{byte:02x}");
        }
    }
    // File names end at 255 bytes; longer paths keep their end, which tells them apart best, and a digest.
    if name.len() > 200 {
        let digest = digest(path.as_os_str().as_bytes());
        name = format!("{}-{digest}", name.split_off(name.len() - 120));
    }
    invoker.state.join("trust").join(format!("{name}.json"))
}

fn texts(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, String> {
    files
        .iter()
        .map(|(path, content)| (path.clone(), String::from_utf8_lossy(content).into_owned()))
        .collect()
}

/// FNV-1a, 64 bits: tells long paths of one user apart; what counts is the text that is compared.
fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
