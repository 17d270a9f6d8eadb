//! `ringfence logs`: what the first command of a named sandbox wrote.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use clap::Args;
use ringfence_supervise::Outlet;

use crate::failure::{Context, Failure};
use crate::{ended, environment, found, leaks, named, terminal};

/// The file in the run's directory.
pub(crate) const FILE: &str = "output.log";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence logs web
  ringfence logs web --follow
  ringfence logs 1m85          a run that has ended, by the beginning of its id

The first 64 MiB are kept.")]
pub(crate) struct Arguments {
    /// The sandbox, whether it lives or has ended, or the beginning of a run's id
    name: String,
    /// Go on as long as the sandbox lives
    #[arg(long, short)]
    follow: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let (run, record) = found::find(&state, &invoker, &arguments.name)?;
    let path = run.path().join(FILE);
    let mut file = File::open(&path).map_err(|_| {
        Failure::new(format!("run {} has kept no output", run.id()))
            .hint("only the command that `ringfence start NAME -- COMMAND` names is kept")
    })?;
    let mut out = std::io::stdout().lock();
    // A file or a pipe gets it as it was written.
    let people = out.is_terminal();
    let mut outlet = Outlet::new(people);
    if people {
        // What it does not get may have stood between the letters of a secret.
        let record = run.record().context("the run's record")?;
        if let Some((scanner, action)) = leaks::recorded(&record, run.path(), &invoker)? {
            outlet.sift(&scanner, action);
        }
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut buffer).context(format!("reading {}", path.display()))?;
        let shown = outlet.push(buffer.get(..length).unwrap_or_default().to_vec());
        if out.write_all(&shown).and_then(|()| out.flush()).is_err() {
            // A reader that went away ends quietly.
            return Ok(0);
        }
        if length == 0 {
            if !arguments.follow || named::find(&state, &arguments.name).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let _ = out.write_all(&outlet.end()).and_then(|()| out.flush());
    if let Some(status) = ended::first(&run, &record) {
        let text = format!("{} this command has ended with status {status}", terminal::label("note:"));
        terminal::error(&text);
    }
    Ok(0)
}
