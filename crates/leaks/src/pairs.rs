//! Names and values as files of settings write them: `NAME=value`, `name: "value"`, `<name>value</name>`.

/// Bytes of the longest name and characters of the longest value; pairs of one line. Files may be anybody's.
const LONGEST: (usize, usize) = (80, 8 << 10);
const MOST: usize = 1024;

/// Each pair of a line: more than one, where it is an object of JSON or a table of TOML.
#[must_use]
pub fn pairs(line: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for (at, separator) in line.match_indices(['=', ':', '>']).take(MOST) {
        let (before, behind) = (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
        let name = name(before);
        if name.is_empty() || separator == ">" && !before.ends_with(&format!("<{name}")) {
            continue;
        }
        let value = value(behind, separator == ">");
        if !value.is_empty() {
            found.push((name, value));
        }
    }
    found
}

/// The word that ends here, quoted or not.
fn name(before: &str) -> &str {
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    let part = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let begins = before
        .rfind(|letter| !part(letter))
        .map_or(0, |at| at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    before.get(begins..).filter(|name| name.len() <= LONGEST.0).unwrap_or_default()
}

fn value(behind: &str, element: bool) -> String {
    let end = behind.char_indices().nth(LONGEST.1).map_or(behind.len(), |(end, _)| end);
    let behind = behind.get(..end).unwrap_or_default();
    if element {
        return behind.split('<').next().unwrap_or_default().trim().to_owned();
    }
    let behind = behind.trim_start();
    if let Some(quote) = behind.chars().next().filter(|first| matches!(first, '"' | '\'' | '`')) {
        let (mut text, mut letters) = (String::new(), behind.chars().skip(1));
        while let Some(letter) = letters.next().filter(|letter| *letter != quote) {
            text.extend(if letter == '\\' && quote == '"' { letters.next() } else { Some(letter) });
        }
        return text;
    }
    let mut words = behind.split_whitespace().map(|word| word.trim_end_matches([',', ';', '"', '\'']));
    let first = words.next().unwrap_or_default();
    // How somebody is told apart, then by what.
    let scheme = ["basic", "bearer", "token"].iter().any(|scheme| first.eq_ignore_ascii_case(scheme));
    if scheme { words.next().unwrap_or_default() } else { first }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for (line, name, value) in [
            ("export A_B='x y'", "A_B", "x y"),
            ("a.b: z # c", "a.b", "z"),
            ("{\"u\":\"v\",\"w\": \"x\\\"y\"}", "w", "x\"y"),
            ("  <pass>word</pass>", "pass", "word"),
            ("Authorization: Bearer it", "Authorization", "it"),
            ("//host/:_authToken=it", "_authToken", "it"),
            ("\u{fc}key=it", "key", "it"),
            ("const token = \"it\";", "token", "it"),
        ] {
            assert!(pairs(line).contains(&(name, value.to_owned())), "{line}: {:?}", pairs(line));
        }
        assert_eq!(pairs("a > b, = : <>"), []);
        let begun = std::time::Instant::now();
        for hostile in ["a=", "a:\"", "<a>", "\u{fc}='", "a= "] {
            assert!(pairs(&hostile.repeat(64 << 10)).len() <= MOST);
        }
        assert!(begun.elapsed().as_secs() < 5);
    }
}
