//! `ringfence presets`: the shipped policies.

use clap::Args;

use crate::failure::Failure;
use crate::terminal;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Print this one
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let presets = ringfence_policy::presets();
    let Some(name) = &arguments.name else {
        for (name, text) in presets {
            let about = text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
            terminal::print(&format!("{name:14} {about}"));
        }
        return Ok(0);
    };
    let Some((_, text)) = presets.iter().find(|(known, _)| known == name) else {
        let known: Vec<_> = presets.iter().map(|(name, _)| *name).collect();
        return Err(Failure::new(format!("there is no preset `{name}`"))
            .hint(format!("presets: {}", known.join(", "))));
    };
    terminal::print(text);
    Ok(0)
}
