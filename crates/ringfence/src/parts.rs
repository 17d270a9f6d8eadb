//! Parts of its own that a program starts, a compiler above all: what an entry for each would be is one line for all.

use std::path::{Path, PathBuf};

use ringfence_policy::{is_part, parts};
use ringfence_record::RunRecord;

use crate::cautions::is_any;
use crate::terminal::{line, word};

const CHILDREN: &str = "children = [\"";

/// The line that lets a program start its parts, where one of them was refused to it; `trees` are those in which programs may start.
pub(crate) fn remedy(starter: &str, wanted: &[String], trees: &[PathBuf]) -> Option<Vec<String>> {
    let refused = base(wanted.first()?);
    let own = parts(base(starter));
    // What the task built under such a name has none.
    let known = is_part(refused) && trees.iter().any(|tree| Path::new(starter).starts_with(tree));
    if own.is_empty() || !known {
        return None;
    }
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    if !all.contains(&refused) {
        all.push(refused);
    }
    Some(vec!["[commands]".to_owned(), format!("children = {all:?}")])
}

/// What is to be known of lines that are offered for what commands start.
pub(crate) fn note(remedy: &[String]) -> Option<String> {
    let entries = remedy.last()?.strip_prefix(CHILDREN)?.strip_suffix("\"]")?;
    if entries.split("\", \"").all(is_part) {
        return Some(format!(
            "{} of a compiler, with any arguments; the preset `ci-step` lists them, with all else that a build starts",
            if entries.contains('"') { "these are the parts" } else { "it is a part" }
        ));
    }
    let program = with_arguments(entries)?;
    Some(format!(
        "with any arguments: {CHILDREN}{}\"], which is unwise for what does much by its arguments (git, shells, interpreters)",
        line(program)
    ))
}

/// The program of an entry that holds arguments; as a policy spells it.
fn with_arguments(entry: &str) -> Option<&str> {
    let (program, arguments) = entry.split_once(' ')?;
    // What is quoted, or called with no arguments, has no shorter form worth a line; what starts or is anything has none.
    let plain = !program.contains(['\'', '"']) && arguments != "()" && !arguments.contains("\", \"");
    (plain && !is_any(program)).then_some(program)
}

/// Of a command that failed, and of which nothing was seen: what may have been refused to it by a list that nothing looks at.
pub(crate) fn unseen(record: &RunRecord) -> Option<String> {
    let own = parts(base(record.command.first()?));
    let command = ringfence_policy::command_line(record.command.iter());
    (!own.is_empty()).then(|| {
        format!(
            "starts of the parts of `{}` ({}), if a list of plain programs lacks them: `ringfence explain --command {}`, asked with the same policy, says so",
            base(record.command.first().map_or("", String::as_str)),
            own.join(", "),
            word(&command)
        )
    })
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_a_program_of_the_system() {
        let (trees, wanted) = ([PathBuf::from("/usr")], ["/usr/lib/gcc/cc1".to_owned(), "-quiet".to_owned()]);
        let line = remedy("/usr/bin/gcc-12", &wanted, &trees).unwrap();
        assert_eq!(line, ["[commands]", "children = [\"cc1\", \"as\", \"collect2\", \"ld\"]"]);
        assert!(note(&line).unwrap().contains("ci-step"));
        for (starter, wanted) in
            [("/w/gcc", "/usr/lib/gcc/cc1"), ("/usr/bin/gcc", "/bin/sh"), ("/usr/bin/make", "cc1")]
        {
            assert_eq!(remedy(starter, &[wanted.to_owned()], &trees), None);
        }
        for (entry, shorter) in [
            ("git log", Some("git")),
            ("busybox sh", None),
            ("/lib/ld-linux.so.2 x", None),
            ("git log\", \"ls x", None),
        ] {
            assert_eq!(with_arguments(entry), shorter);
        }
    }
}
