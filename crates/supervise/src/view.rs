//! Words of a task on the owner's terminal, so that what is around them stays in view.

use ringfence_confine::Size;

/// Blanks that are drawn as they are; more would pass for the end of a line.
const BLANKS: usize = 3;
/// However small a terminal is, so much is drawn.
const LEAST: usize = 40;

/// In letters that stand for themselves: what is granted must be what is read.
pub(crate) fn plain(text: &str) -> String {
    // Letters by their kind, and blank: the fillers of Hangul.
    let blank = |one: char| matches!(one, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    let shown = |one: char| one.is_ascii_graphic() || one == ' ' || one.is_alphanumeric() && !blank(one);
    text.chars().map(|one| if shown(one) { one } else { '?' }).collect()
}

/// Cells of a line at most: letters beyond ASCII may be wide.
pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(letter: char) -> usize {
    if letter.is_ascii() { 1 } else { 2 }
}

/// A text that stands among so many cells of ours, underlined. Of a screen it takes half of what they leave: what does not go in is cut
/// in its middle; that, and long runs of blanks, are told in letters of ours, which no name can draw.
pub(crate) fn within(text: &str, around: usize, size: Size) -> String {
    let (columns, rows) = (usize::from(size.columns), usize::from(size.rows));
    // Each of two lines may leave a row half empty, and one is above them.
    let room = (columns * rows.saturating_sub(3)).saturating_sub(around) / 2;
    let parts = parts(&plain(text));
    let room = room.max(LEAST);
    if parts.iter().map(Part::cells).sum::<usize>() <= room {
        return format!("\x1b[4m{}\x1b[24m", parts.iter().map(Part::drawn).collect::<String>());
    }
    let fit = |parts: &mut dyn Iterator<Item = &Part>, room: usize| {
        let mut used = 0;
        parts
            .take_while(|part| {
                used += part.cells();
                used <= room
            })
            .count()
    };
    let head = fit(&mut parts.iter(), room * 2 / 3);
    let tail = fit(&mut parts.iter().skip(head).rev(), room / 3);
    let (kept, rest) = parts.split_at(head);
    let (cut, end) = rest.split_at(rest.len() - tail);
    let letters: usize = cut.iter().map(Part::letters).sum();
    let [kept, end] = [kept, end].map(|parts| parts.iter().map(Part::drawn).collect::<String>());
    format!("\x1b[4m{kept}{}{end}\x1b[24m", ours(&format!("{letters} letters more")))
}

/// In reverse video, without the line below.
fn ours(text: &str) -> String {
    format!("\x1b[24;7m[{text}]\x1b[27;4m")
}

enum Part {
    Letter(char),
    /// Too many to be drawn.
    Blanks(usize),
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut run = 1;
        while letter == ' ' && letters.next_if_eq(&' ').is_some() {
            run += 1;
        }
        match run {
            1..=BLANKS => parts.extend((0..run).map(|_| Part::Letter(letter))),
            run => parts.push(Part::Blanks(run)),
        }
    }
    parts
}

impl Part {
    fn told(&self) -> String {
        match self {
            Self::Letter(letter) => letter.to_string(),
            Self::Blanks(run) => format!("{run} blanks"),
        }
    }

    fn drawn(&self) -> String {
        if matches!(self, Self::Blanks(_)) { ours(&self.told()) } else { self.told() }
    }

    fn cells(&self) -> usize {
        match self {
            Self::Letter(letter) => width(*letter),
            Self::Blanks(_) => self.told().len() + 2,
        }
    }

    fn letters(&self) -> usize {
        match self {
            Self::Letter(_) => 1,
            Self::Blanks(run) => *run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { rows: 24, columns: 80 };

    #[test]
    fn names_do_not_act_or_turn_around() {
        assert_eq!(plain("/a b/\u{202e}gpj.é\x1b]52;c;x\x07\u{3164}"), "/a b/?gpj.é?]52;c;x??");
    }

    #[test]
    fn what_is_long_or_blank_is_told_and_the_rest_stays_in_view() {
        assert_eq!(within("git  push", 300, SIZE), "\x1b[4mgit  push\x1b[24m");
        let blank = within(&format!("a{}b", " ".repeat(1700)), 300, SIZE);
        assert_eq!(blank, "\x1b[4ma\x1b[24;7m[1700 blanks]\x1b[27;4mb\x1b[24m");
        for (letter, size) in
            [("x", SIZE), ("漢", SIZE), ("x     ", SIZE), ("x", Size { rows: 2, columns: 10 })]
        {
            let long = format!("begin{}end", letter.repeat(5000));
            let drawn = within(&long, 300, size);
            assert!(drawn.starts_with("\x1b[4mbegin") && drawn.ends_with("end\x1b[24m"), "{drawn}");
            assert!(drawn.contains(" letters more]"), "{drawn}");
            let seen = drawn.replace("\x1b[24;7m", "").replace("\x1b[27;4m", "");
            assert!(cells(&seen) < 800, "{drawn}");
        }
    }
}
