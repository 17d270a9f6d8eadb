//! An error with file, line, the offending text and the suggested mend.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Header, Renderer, Snippet};
use serde_json::{Value, json};

use crate::model::Origin;

/// More than this helps nobody, and a hostile document of 1 MiB can hold a hundred thousand.
const SHOWN: usize = 100;

/// What is shown of one source line; the rest is cut around the offending text.
const WIDTH: usize = 160;

/// One or more errors; `Display` renders them as rustc does, without colour.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.render(false))]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    more: usize,
}

impl Diagnostics {
    /// The errors in the order of the documents and their lines.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// For a terminal (with colour) or a file. Text from documents is escaped: no control, ESC or bidi character.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                text.push_str("\n\n");
            }
            text.push_str(&diagnostic.render(&renderer));
        }
        if self.more > 0 {
            text.push_str(&format!("\n\nerror: {} more errors are not shown", self.more));
        }
        text
    }

    /// A list of objects with file, line, column, message, label, suggestion and related places.
    pub fn to_json(&self) -> Value {
        Value::Array(self.list.iter().map(Diagnostic::to_json).collect())
    }
}

/// One error.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What is wrong, in one sentence.
    pub title: String,
    /// The document it is in.
    pub source: Arc<SourceText>,
    /// The offending bytes of that document.
    pub span: Range<usize>,
    /// What is said under the offending text.
    pub label: String,
    /// The suggested mend.
    pub help: Option<String>,
    /// Other places that matter, each with what is said there.
    pub related: Vec<(Arc<SourceText>, Range<usize>, String)>,
}

impl Diagnostic {
    /// 1-based line; 0 where the document could not be read.
    pub fn line(&self) -> u32 {
        self.source.line(self.span.start)
    }

    /// 1-based column in characters; 0 where the document could not be read.
    pub fn column(&self) -> usize {
        self.source.column(self.span.start)
    }

    fn to_json(&self) -> Value {
        let related: Vec<Value> = self
            .related
            .iter()
            .map(|(source, span, label)| {
                json!({
                    "file": escape(&source.name),
                    "line": source.line(span.start),
                    "column": source.column(span.start),
                    "message": escape(label),
                })
            })
            .collect();
        json!({
            "file": escape(&self.source.name),
            "line": self.line(),
            "column": self.column(),
            "message": escape(&self.title),
            "label": escape(&self.label),
            "suggestion": self.help.as_deref().map(escape),
            "related": related,
        })
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(escape(&self.title).into_owned()));
        group = shown(group, &self.source, &self.span, &self.label, AnnotationKind::Primary);
        for (source, span, label) in &self.related {
            group = shown(group, source, span, label, AnnotationKind::Context);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(escape(help).into_owned()));
        }
        renderer.render(&[group])
    }
}

/// Adds the header `--> file:line:column` and the line itself.
fn shown<'a>(
    group: Group<'a>,
    source: &SourceText,
    span: &Range<usize>,
    label: &str,
    kind: AnnotationKind,
) -> Group<'a> {
    let name = escape(&source.name).into_owned();
    if source.text.is_empty() {
        return group.element(Header::path(name));
    }
    let (line, column) = (source.line(span.start) as usize, source.column(span.start));
    let (text, marked) = source.excerpt(span);
    let shown_column = text.get(..marked.start).map_or(0, |before| before.chars().count() + 1);
    let annotation = kind.span(marked).label(escape(label).into_owned());
    let snippet = Snippet::source(text).line_start(line).annotation(annotation);
    if shown_column == column {
        return group.element(snippet.path(name));
    }
    // The line was cut or escaped, so the column in the file is not the one in the snippet.
    group.element(Header::path(name).line(line).char_column(column)).element(snippet)
}

/// The text of one document, kept to show its lines.
#[derive(Debug)]
pub struct SourceText {
    /// `preset default`, or the path as the caller wrote it.
    pub name: Arc<str>,
    /// Empty where it could not be read.
    pub text: String,
    starts: Vec<usize>,
}

impl SourceText {
    pub(crate) fn new(name: String, text: String) -> Self {
        let mut starts = vec![0];
        starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        Self { name: name.into(), text, starts }
    }

    fn line(&self, at: usize) -> u32 {
        if self.text.is_empty() {
            return 0;
        }
        u32::try_from(self.starts.partition_point(|start| *start <= at)).unwrap_or(u32::MAX)
    }

    fn column(&self, at: usize) -> usize {
        if self.text.is_empty() {
            return 0;
        }
        let at = self.boundary(at);
        self.text.get(self.line_start(at)..at).map_or(1, |before| before.chars().count() + 1)
    }

    fn line_start(&self, at: usize) -> usize {
        let line = self.starts.partition_point(|start| *start <= at);
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The nearest character boundary at or before `at`.
    fn boundary(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }

    /// The first line of the span, cut to a readable width and escaped, and where the span is in it.
    fn excerpt(&self, span: &Range<usize>) -> (String, Range<usize>) {
        let line_start = self.line_start(span.start);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line_end = line_start + rest.find('\n').unwrap_or(rest.len());
        let start = self.boundary(span.start.clamp(line_start, line_end));
        let end = self.boundary(span.end.clamp(start, line_end));
        let from = if line_end - line_start > WIDTH {
            self.boundary(start.saturating_sub(WIDTH / 4).max(line_start))
        } else {
            line_start
        };
        let to = self.boundary(line_end.min(from + WIDTH));
        let (start, end) = (start.min(to), end.min(to));
        let mut text = String::from(if from > line_start { "…" } else { "" });
        text.push_str(&escape(self.text.get(from..start).unwrap_or_default()));
        let marked_start = text.len();
        text.push_str(&escape(self.text.get(start..end).unwrap_or_default()));
        let marked_end = text.len();
        text.push_str(&escape(self.text.get(end..to).unwrap_or_default()));
        text.push_str(if to < line_end { "…" } else { "" });
        (text, marked_start..marked_end)
    }
}

/// Makes hostile text safe for a terminal: control, bidi, zero-width and other unprintable characters become `\u{..}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            ' '..='~' => escaped.push(character),
            '\t' => escaped.push_str("    "),
            // The standard library knows which characters are printable; it escapes the rest.
            _ => escaped.extend(character.escape_debug()),
        }
    }
    Cow::Owned(escaped)
}

/// Where a value was written: a source of the report and a byte range in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// An error that knows its place but not yet the text around it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    place: Place,
    title: String,
    label: String,
    help: Option<String>,
    related: Vec<(Place, String)>,
}

impl Problem {
    pub(crate) fn new(place: Place, title: impl Into<String>) -> Self {
        Self { place, title: title.into(), label: String::new(), help: None, related: Vec::new() }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }
}

/// Finds lines from where the last one was found.
pub(crate) struct Origins<'a> {
    report: &'a Report,
    /// Number of a source, and of the last line in it.
    last: Option<(usize, &'a SourceText, u32)>,
}

impl Origins<'_> {
    pub(crate) fn next(&mut self, place: Place) -> Origin {
        let near = self.last.filter(|(source, ..)| *source == place.source).and_then(|(_, text, line)| {
            let starts = text.starts.get(usize::try_from(line).ok()?.checked_sub(1)?..)?;
            let begins = |at: usize| starts.get(at).is_some_and(|start| *start <= place.start);
            // The same line or the next.
            let down = u32::from(begins(1));
            (begins(0) && !begins(2)).then(|| Origin { source: text.name.clone(), line: line + down })
        });
        let origin = near.unwrap_or_else(|| self.report.origin(place));
        let source = self.report.sources.get(place.source).filter(|source| !source.text.is_empty());
        self.last = source.map(|source| (place.source, &**source, origin.line));
        origin
    }
}

/// Collects the sources and what is wrong in them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sources: Vec<Arc<SourceText>>,
    problems: Vec<Problem>,
    more: usize,
}

impl Report {
    /// Adds a document; the number goes into the places of its values.
    pub(crate) fn source(&mut self, name: String, text: String) -> usize {
        self.sources.push(Arc::new(SourceText::new(name, text)));
        self.sources.len() - 1
    }

    pub(crate) fn text(&self, source: usize) -> Option<Arc<SourceText>> {
        self.sources.get(source).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.name.to_string()).collect()
    }

    pub(crate) fn origin(&self, place: Place) -> Origin {
        match self.sources.get(place.source) {
            Some(source) => Origin { source: source.name.clone(), line: source.line(place.start) },
            None => Origin { source: "built in".into(), line: 0 },
        }
    }

    /// The same for many places, mostly in the order of their documents.
    pub(crate) fn origins(&self) -> Origins<'_> {
        Origins { report: self, last: None }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.problems.len() < SHOWN {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// How much is wrong so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// `Err` with all that was found, if anything was.
    pub(crate) fn stop(&mut self) -> Result<(), Diagnostics> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| (problem.place.source, problem.place.start));
        let list = problems.into_iter().filter_map(|problem| self.resolve(problem)).collect();
        Err(Diagnostics { list, more: self.more })
    }

    fn resolve(&self, problem: Problem) -> Option<Diagnostic> {
        let related = problem.related.into_iter();
        Some(Diagnostic {
            title: problem.title,
            source: self.text(problem.place.source)?,
            span: problem.place.start..problem.place.end,
            label: problem.label,
            help: problem.help,
            related: related
                .filter_map(|(place, label)| Some((self.text(place.source)?, place.start..place.end, label)))
                .collect(),
        })
    }
}

/// Why one value is not valid, and the mend; what the parsers of single values answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// One sentence.
    pub message: String,
    /// The suggested mend.
    pub help: Option<String>,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(self, place: Place) -> Problem {
        Problem::new(place, self.message).help(self.help)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}", escape(&self.source)),
            line => write!(formatter, "{}:{line}", escape(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, span: Range<usize>) -> String {
        let mut report = Report::default();
        let source = report.source("p\u{1b}[2J.toml".to_owned(), text.to_owned());
        let place = Place { source, start: span.start, end: span.end };
        report.push(
            Problem::new(place, "bad `\u{1b}]0;x\u{7}`").label("here\u{202e}").help("mend\r".to_owned()),
        );
        report.stop().unwrap_err().render(false)
    }

    #[test]
    fn hostile_text_never_reaches_the_terminal() {
        let text = "a = 1\nx = \"\u{1b}[31m\u{202e}evil\u{200b}\u{9b}\u{7f}\" # tail\n";
        let shown = rendered(text, 10..20);
        assert!(
            shown.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}' && c != '\u{200b}')),
            "{shown:?}"
        );
        assert!(shown.contains("\\u{1b}[31m\\u{202e}evil"), "{shown}");
        assert!(shown.contains(":2:5"), "{shown}");
    }

    #[test]
    fn a_line_of_a_million_bytes_is_cut_around_the_span() {
        let mut text = "x".repeat(500_000);
        text.push_str("NEEDLE");
        text.push_str(&"y".repeat(500_000));
        let shown = rendered(&text, 500_000..500_006);
        assert!(shown.len() < 1500 && shown.contains("NEEDLE") && shown.contains(":1:500001"), "{shown}");
    }

    #[test]
    fn odd_spans_do_not_panic() {
        for span in [0..0, 3..900, 900..1000, 1..2, Range { start: 4, end: 3 }] {
            rendered("äö\nü", span.clone());
            rendered("", span);
        }
    }

    #[test]
    fn the_number_of_errors_is_bounded() {
        let mut report = Report::default();
        let source = report.source("p".to_owned(), "x".to_owned());
        for _ in 0..1000 {
            report.push(Problem::new(Place { source, start: 0, end: 1 }, "e"));
        }
        let found = report.stop().unwrap_err();
        assert_eq!(found.list().len(), SHOWN);
        assert!(found.render(false).ends_with("error: 900 more errors are not shown"));
    }
}
