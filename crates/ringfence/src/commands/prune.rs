//! `ringfence prune`: removes what old runs left on the disk.

use std::time::Duration;

use clap::Args;

use crate::cleanup::{self, LARGER, OLDER};
use crate::failure::Failure;
use crate::{environment, terminal};

#[derive(Args, Debug)]
#[command(
    after_help = "The same is done once a day with the usual values by `ps`, `diff`, `apply` and `discard`. Runs that were started with
`--keep` are left alone, and so is an apply that was interrupted. Records and events always stay."
)]
pub(crate) struct Arguments {
    /// Changes that wait, and what applies replaced, go when they are older (30d, 12h; usually 30d)
    #[arg(long, value_name = "TIME")]
    older: Option<String>,
    /// What applies replaced goes, the oldest first, while all takes more than this (20GiB)
    #[arg(long, value_name = "SIZE")]
    larger: Option<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let older = arguments.older.as_deref().map_or(Ok(OLDER), age)?;
    let larger = arguments.larger.as_deref().map_or(Ok(LARGER), |text| number(text, &SIZES))?;
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    if !arguments.dry_run {
        crate::layers::remove_unrecorded(&state);
    }
    let freed = cleanup::prune(&state, older, larger, arguments.dry_run)?;
    let verb = if arguments.dry_run { "would be free" } else { "are free" };
    terminal::print(&format!("{} {verb}", cleanup::size(freed)));
    Ok(0)
}

const SIZES: [(&str, u64); 5] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];

fn age(text: &str) -> Result<Duration, Failure> {
    number(text, &[("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]).map(Duration::from_secs)
}

fn number(text: &str, units: &[(&str, u64)]) -> Result<u64, Failure> {
    let read = |(unit, factor): &(&str, u64)| {
        text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(*factor)
    };
    units.iter().find_map(read).ok_or_else(|| {
        let units: Vec<_> = units.iter().map(|(unit, _)| *unit).collect();
        Failure::new(format!("`{text}` is no number with one of {}", units.join(", ")))
    })
}
