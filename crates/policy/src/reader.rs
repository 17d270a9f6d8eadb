//! From parsed TOML to typed tables, where every value keeps its place and every error of a document is found.
//!
//! serde stops at the first error and loses the place of a wrong key, so the tables are read by this small trait
//! instead. The macro [`table`] writes the struct, its reader, its list of keys and its schema from one definition.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Place, Problem, Report};
use crate::document::Document;
use crate::lists::Lists;
use crate::suggest::nearest;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct At<T> {
    /// What was written.
    pub(crate) value: T,
    /// Where.
    pub(crate) place: Place,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }

    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, place: self.place }
    }
}

/// A list whose entries keep their places.
pub(crate) type List<T> = At<Vec<At<T>>>;

/// A table with names that the document chooses, such as `[credentials.NAME]`.
#[derive(Clone, Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(At<String>, T)>);

/// What a value reads itself from.
pub(crate) struct Input<'a> {
    pub(crate) value: &'a Spanned<DeValue<'a>>,
    pub(crate) source: usize,
    /// The document, and the lists that the parser did not see.
    pub(crate) text: &'a str,
    pub(crate) lists: Option<&'a Lists>,
    /// The key for messages, `files.read`; built only when something is wrong.
    pub(crate) key: &'a Key<'a>,
}

impl Input<'_> {
    pub(crate) fn place(&self) -> Place {
        self.place_of(self.value)
    }

    /// Where in the document something of the rest is.
    pub(crate) fn place_of<T>(&self, value: &Spanned<T>) -> Place {
        let span = value.span();
        let at = |at| self.lists.map_or(at, |lists| lists.place(at));
        Place { source: self.source, start: at(span.start), end: at(span.end) }
    }

    /// Reports that the value has another type than it must.
    pub(crate) fn wrong<T>(&self, expected: &str, report: &mut Report) -> Option<T> {
        report.push(self.mistaken(expected));
        None
    }

    fn mistaken(&self, expected: &str) -> Problem {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let title = format!("`{}` must be {expected}", self.key);
        Problem::new(self.place(), title).label(format!("this is {found}"))
    }

    /// A table of these keys.
    pub(crate) fn table_of(&self, keys: &[&str], report: &mut Report) -> Option<&DeTable<'_>> {
        if let DeValue::Table(table) = self.value.get_ref() {
            return Some(table);
        }
        let first = keys.first().copied().unwrap_or_default();
        let help = format!("its keys are {}: `{{ {first} = .. }}`", quoted(keys));
        report.push(self.mistaken("a table").help(help));
        None
    }

    pub(crate) fn table(&self, report: &mut Report) -> Option<&DeTable<'_>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.wrong("a table", report),
        }
    }
}

/// The way to a key, kept on the stack.
pub(crate) struct Key<'a> {
    pub(crate) parent: Option<&'a Self>,
    pub(crate) name: &'a str,
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent.filter(|parent| !parent.name.is_empty()) {
            write!(formatter, "{parent}.")?;
        }
        formatter.write_str(self.name)
    }
}

/// A type that can be read from TOML; what is wrong goes to the report and answers `None`.
pub(crate) trait Read: Sized {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self>;
}

impl Read for String {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => input.wrong("a string", report),
        }
    }
}

impl Read for bool {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        match input.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => input.wrong("true or false", report),
        }
    }
}

impl Read for i64 {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        let DeValue::Integer(number) = input.value.get_ref() else {
            return input.wrong("an integer", report);
        };
        let read = Self::from_str_radix(number.as_str(), number.radix()).ok();
        if read.is_none() {
            report.push(Problem::new(input.place(), format!("`{}` does not fit into 64 bits", input.key)));
        }
        read
    }
}

impl Read for f64 {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        let text = match input.value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return input.wrong("a number", report),
        };
        let read = text.parse().ok();
        if read.is_none() {
            report.push(Problem::new(input.place(), format!("`{}` is not a number", input.key)));
        }
        read
    }
}

impl<T: Read> Read for At<T> {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        Some(Self::new(T::read(input, report)?, input.place()))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        let DeValue::Array(array) = input.value.get_ref() else {
            return input.wrong("a list", report);
        };
        let mut entries = Self::new();
        if let Some(strings) = input.lists.and_then(|lists| lists.opening_at(input.value.span().start)) {
            entries.reserve_exact(strings.len());
            entries.extend(strings.iter().filter_map(|span| {
                let span = usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?;
                let text = input.text.get(span.start + 1..span.end - 1)?;
                let value = &Spanned::new(span, DeValue::String(text.into()));
                // Its place is the document's already.
                T::read(&Input { value, lists: None, ..*input }, report)
            }));
        } else {
            let entry = |value| T::read(&Input { value, ..*input }, report);
            entries.extend(array.iter().filter_map(entry));
        }
        Some(entries)
    }
}

impl<T: Read> Read for Named<T> {
    fn read(input: &Input<'_>, report: &mut Report) -> Option<Self> {
        let table = input.table(report)?;
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let key = Key { parent: Some(input.key), name: name.get_ref() };
            if let Some(entry) = T::read(&Input { value, key: &key, ..*input }, report) {
                entries.push((At::new(name.get_ref().to_string(), input.place_of(name)), entry));
            }
        }
        Some(Self(entries))
    }
}

/// Reports a key that the table does not have.
pub(crate) fn unknown(
    input: &Input<'_>,
    name: &Spanned<impl AsRef<str>>,
    keys: &[&str],
    report: &mut Report,
) {
    let written = name.get_ref().as_ref();
    let key = Key { parent: Some(input.key), name: written };
    let help = match nearest(written, keys.iter().copied()) {
        _ if !input.key.name.is_empty() && Document::KEYS.contains(&written) => match written {
            "version" | "extends" => format!("`{written}` stands above the first table"),
            _ => format!("`{written}` is no part of a table: it stands above the first, or as `[{written}]`"),
        },
        Some(near) => format!("did you mean `{}`?", Key { parent: Some(input.key), name: near }),
        None => format!("the keys here are {}", quoted(keys)),
    };
    let problem = Problem::new(input.place_of(name), format!("unknown key `{key}`"));
    report.push(problem.label("no such key").help(help));
}

/// `a`, `b`, `c` in backticks.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Picks one of a few words.
pub(crate) fn choice<T: Copy>(
    key: &str,
    written: &At<String>,
    options: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    if let Some((_, value)) = options.iter().find(|(word, _)| *word == written.value) {
        return Some(*value);
    }
    let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
    let help = match nearest(&written.value, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", quoted(&words)),
    };
    let problem = Problem::new(written.place, format!("`{key}` cannot be `{}`", written.value));
    report.push(problem.label(format!("expected one of {}", quoted(&words))).help(help));
    None
}

/// Defines a table: each field is a key that may be absent.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: Option<$kind>,)* }

        impl $name {
            /// The keys that it may have.
            pub(crate) const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl crate::reader::Read for $name {
            fn read(input: &crate::reader::Input<'_>, report: &mut crate::diagnostic::Report) -> Option<Self> {
                let mut read = Self::default();
                for (name, value) in input.table_of(Self::KEYS, report)? {
                    let key = crate::reader::Key { parent: Some(input.key), name: name.get_ref() };
                    let field = crate::reader::Input { value, key: &key, ..*input };
                    match name.get_ref().as_ref() {
                        $(stringify!($field) => read.$field = crate::reader::Read::read(&field, report),)*
                        _ => crate::reader::unknown(input, name, Self::KEYS, report),
                    }
                }
                Some(read)
            }
        }
    };
}

pub(crate) use table;

/// JSON Schemas of the wrappers: they look like what they wrap.
#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, Schema, SchemaGenerator};

    use super::{At, Named};

    impl<T: JsonSchema> JsonSchema for At<T> {
        fn schema_name() -> Cow<'static, str> {
            T::schema_name()
        }
        fn inline_schema() -> bool {
            T::inline_schema()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            T::json_schema(generator)
        }
    }

    impl<T: JsonSchema> JsonSchema for Named<T> {
        fn schema_name() -> Cow<'static, str> {
            BTreeMap::<String, T>::schema_name()
        }
        fn inline_schema() -> bool {
            true
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            BTreeMap::<String, T>::json_schema(generator)
        }
    }
}
