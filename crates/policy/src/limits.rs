//! `[limits]`: from the words of a document to numbers in the units of [`model::Limits`].

use crate::diagnostic::{Invalid, Problem, Report};
use crate::document::LimitsTable;
use crate::model::{self, Rule};
use crate::reader::At;
use crate::sizes::{duration, size};

/// PID_MAX_LIMIT (proc(5)).
const MOST_PROCESSES: i64 = 4_194_304;
/// The largest `fs.nr_open` (proc(5)).
const MOST_OPEN_FILES: i64 = 1_073_741_816;

/// Every bound that is written, by its key; what is none is reported.
pub(crate) fn read(written: &LimitsTable, report: &mut Report) -> Vec<(&'static str, At<u64>)> {
    let milliseconds =
        |text: &str| duration(text).and_then(|time| u64::try_from(time.as_millis()).map_err(|_| much(text)));
    let mut found = Vec::new();
    let mut keep = |key, value: Result<u64, Invalid>, place| match value {
        Ok(value) => found.push((key, At { value, place })),
        Err(invalid) => report.push(invalid.at(place)),
    };
    for (key, text) in [
        ("memory", &written.memory),
        ("file_size", &written.file_size),
        ("tmp", &written.tmp),
        ("output", &written.output),
    ] {
        if let Some(text) = text {
            keep(key, size(&text.value), text.place);
        }
    }
    if let Some(time) = &written.time {
        keep("time", milliseconds(&time.value), time.place);
    }
    if let Some(cpu) = &written.cpu {
        keep("cpu", thousandths(cpu.value), cpu.place);
    }
    for (key, number, most) in [
        ("processes", &written.processes, MOST_PROCESSES),
        ("open_files", &written.open_files, MOST_OPEN_FILES),
    ] {
        if let Some(number) = number {
            keep(key, count(key, number.value, most), number.place);
        }
    }
    found
}

fn thousandths(cores: f64) -> Result<u64, Invalid> {
    if !(0.01..=65_536.0).contains(&cores) {
        return Err(Invalid::new(format!("`limits.cpu` cannot be {cores}")).help("write 0.01 to 65536"));
    }
    // In range, so that nothing is cut off but fractions of a thousandth.
    Ok((cores * 1000.0).round() as u64)
}

fn count(key: &str, number: i64, most: i64) -> Result<u64, Invalid> {
    u64::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(|| {
        Invalid::new(format!("`limits.{key}` cannot be {number}")).help(format!("write 1 to {most}"))
    })
}

fn much(text: &str) -> Invalid {
    Invalid::new(format!("`{text}` is more than fits")).help("leave the key out to set no bound")
}

/// The bound of that key.
pub(crate) fn of<'a>(limits: &'a model::Limits, key: &str) -> Option<&'a Rule<u64>> {
    match key {
        "memory" => limits.memory.as_ref(),
        "cpu" => limits.cpu.as_ref(),
        "processes" => limits.processes.as_ref(),
        "open_files" => limits.open_files.as_ref(),
        "file_size" => limits.file_size.as_ref(),
        "tmp" => limits.tmp.as_ref(),
        "output" => limits.output.as_ref(),
        _ => limits.time.as_ref(),
    }
}

/// As it is written in a policy.
pub(crate) fn shown(key: &str, value: u64) -> String {
    match key {
        "cpu" => format!("{}.{:03}", value / 1000, value % 1000)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        "processes" | "open_files" => value.to_string(),
        "time" => format!(
            "\"{}\"",
            unit(value, &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)])
        ),
        _ => format!(
            "\"{}\"",
            unit(value, &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)])
        ),
    }
}

fn unit(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) =
        units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).copied().unwrap_or(("", 1));
    format!("{}{name}", value / factor)
}

/// The keys, in the order of the format.
pub(crate) const KEYS: [&str; 8] =
    ["memory", "cpu", "processes", "open_files", "file_size", "tmp", "output", "time"];

/// What a policy asks above the ceiling.
pub(crate) fn above(key: &str, wanted: &At<u64>, most: &At<u64>) -> Problem {
    let table = if key == "quota" { "workspace" } else { "limits" };
    let title = format!("`{table}.{key}` of {} is above the ceiling", shown(key, wanted.value));
    let label = format!("the ceiling allows {}", shown(key, most.value));
    Problem::new(wanted.place, title)
        .label("set here")
        .related(most.place, label)
        .help("write the ceiling's limit or a smaller one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_written() {
        for (key, value, text) in [
            ("cpu", 1500, "1.5"),
            ("cpu", 2000, "2"),
            ("cpu", 10, "0.01"),
            ("memory", 4 << 30, "\"4GiB\""),
            ("memory", (1 << 20) + 1, "\"1048577B\""),
            ("time", 1_800_000, "\"30m\""),
            ("processes", 256, "256"),
        ] {
            assert_eq!(shown(key, value), text);
        }
    }

    #[test]
    fn nonsense_is_none() {
        for cores in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(thousandths(cores).is_err(), "{cores}");
        }
        assert!(count("processes", 0, 10).is_err() && count("processes", 11, 10).is_err());
        assert_eq!(thousandths(1.5), Ok(1500));
    }
}
