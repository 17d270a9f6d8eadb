//! Variables of a program that has just been started, and has not run yet: those that would make another of it go.

use ringfence_policy::CommandRules;
use ringfence_sys::memory;
use rustix::io::Errno;

use crate::proc;

/// Takes them out of the image, by spoiling the first letter of each name; with their names.
pub(super) fn clean(rules: &CommandRules, process: i32, first: bool) -> Result<Vec<Vec<u8>>, Errno> {
    if !rules.cleans(first) {
        return Ok(Vec::new());
    }
    let read = |what: &str| proc::read(&format!("/proc/{process}/{what}")).map_err(|_| Errno::ACCESS);
    let found = rules.cleaned(&read("environ")?, first);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let start = start(&read("stat")?).ok_or(Errno::ACCESS)?;
    for (at, name) in &found {
        let spoilt = if name.starts_with(b"_") { b"X" } else { b"_" };
        memory::write(process, start + *at as u64, spoilt)?;
    }
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Where the environment begins: the fiftieth field (proc_pid_stat(5)), counted from behind the name, which may hold anything.
fn start(stat: &[u8]) -> Option<u64> {
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
    // The first field behind the name is the third.
    text.split_ascii_whitespace().nth(47)?.parse().ok()
}
