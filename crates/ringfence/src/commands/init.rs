//! `ringfence init`: a policy to begin with, from a preset and what is here.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::commands::trust;
use crate::failure::{Context, Failure};
use crate::{environment, terminal};

/// The file that `run` takes.
const NAME: &str = "ringfence.toml";

/// A client and the files of a project that it works for.
const CLIENTS: &[(&str, &[&str])] = &[
    ("cargo", &["Cargo.toml"]),
    ("npm", &["package.json"]),
    ("pip", &["pyproject.toml", "requirements.txt", "setup.py"]),
];

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence init                          a ringfence.toml here, from `coding-agent`, and accepted
  ringfence init --preset ci-step
  ringfence check && ringfence plan -- make")]
pub(crate) struct Arguments {
    /// The shipped policy to begin with (`ringfence presets` lists them)
    #[arg(long, value_name = "NAME", default_value = "coding-agent")]
    preset: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    if !ringfence_policy::presets().iter().any(|(name, _)| *name == arguments.preset) {
        return Err(Failure::new(format!("there is no preset `{}`", arguments.preset))
            .hint("`ringfence presets` lists them"));
    }
    let path = invoker.cwd.join(NAME);
    let text = policy(&arguments.preset, &invoker.cwd);
    // Never over what somebody wrote, nor through a link.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
        let failure = Failure::new(format!("{}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                failure.hint("it is there already: edit it, or remove it first")
            }
            _ => failure,
        }
    })?;
    file.write_all(text.as_bytes()).context(format!("writing {}", path.display()))?;
    drop(file);
    trust::accept(Some(PathBuf::from(NAME)))?;
    terminal::print("next: `ringfence check`, `ringfence run -- COMMAND`; after an edit, `ringfence trust`");
    Ok(0)
}

fn policy(preset: &str, here: &Path) -> String {
    let name: String = here
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default()
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || "._-".contains(one) { one } else { '-' })
        .take(64)
        .collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    let name = if name.is_empty() { "agent" } else { name };
    let clients = CLIENTS.iter().filter(|(_, files)| files.iter().any(|file| here.join(file).exists()));
    let clients: Vec<String> = clients.map(|(client, _)| format!("\"{client}\"")).collect();
    let clients = if clients.is_empty() { "\"cargo\"".to_owned() } else { clients.join(", ") };
    format!(
        r#"# What a task in this directory may do. `ringfence presets {preset}` prints what it begins with, `ringfence plan --policy-only`
# what comes out; a line with # is one to consider.
version = 1
extends = ["{preset}"]
identity = {{ name = "{name}" }}

# [files]
# read = ["~/other-project"]              # readable, beside what the preset grants
# deny = ["**/secrets/**"]                # hidden, whatever is granted

# [network]
# registries = [{clients}]{pad}# the hosts that these clients are configured for, read-only
# allow = ["api.example.org:443"]

# [limits]
# memory = "4GiB"
# processes = 512
# time = "30m"
"#,
        pad = " ".repeat(24_usize.saturating_sub(clients.len()).max(1)),
    )
}
