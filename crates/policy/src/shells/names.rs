//! Names of shells and interpreters, without what builds add to them.

use super::fits;

/// How it was linked, what it is an implementation of (Fedora's `ruby-mri`), and what is left in it.
const SUFFIXES: [&str; 4] = ["-static", ".static", "-mri", "-dbg"];

/// A program's name, as the lists may have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    name: &'a str,
    plain: &'a str,
}

impl<'a> Called<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        Self { name, plain: plain(name) }
    }

    pub(crate) fn is_among(self, names: &[String]) -> bool {
        names.iter().any(|own| fits(own, self.name) || fits(own, self.plain))
    }
}

/// A name without its version and such suffixes. A number without a dot may be any name's own (`ex1`).
pub(crate) fn plain(name: &str) -> &str {
    let mut name = name;
    loop {
        let shorter =
            SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).or_else(|| unversioned(name));
        match shorter.filter(|shorter| !shorter.is_empty()) {
            Some(shorter) => name = shorter,
            None => return name,
        }
    }
}

/// Without a version at its end: `5.2`, with letters of Python's builds (PEP 3149) or a machine behind it.
fn unversioned(name: &str) -> Option<&str> {
    let (head, version) = name.split_at_checked(name.find(|letter: char| letter.is_ascii_digit())?)?;
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, tail) = version.split_at_checked(end.unwrap_or(version.len()))?;
    let built = tail.len() <= 2 && tail.chars().all(|letter| "dmtu".contains(letter));
    let machine = tail.starts_with('-') && tail.contains("-linux-");
    (number.contains('.') && (built || machine)).then(|| head.strip_suffix('-').unwrap_or(head))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_builds_add_is_no_part_of_a_name() {
        for (name, own) in [
            ("bash-static", "bash"),
            ("bash-5.2.21-static", "bash"),
            ("zsh-5.9", "zsh"),
            ("ruby-mri", "ruby"),
            ("python3.11-dbg", "python"),
            ("python3.13t", "python"),
            ("perl5.36-x86_64-linux-gnu", "perl"),
            ("busybox.static", "busybox"),
            ("ex1", "ex1"),
            ("es6-lint", "es6-lint"),
            ("ed25519", "ed25519"),
            ("-static", "-static"),
            ("7.5", "7.5"),
            ("sh-2.0-tool", "sh-2.0-tool"),
        ] {
            assert_eq!(plain(name), own, "{name}");
        }
    }
}
