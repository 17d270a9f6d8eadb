//! From presets and files to one policy: which documents there are, in which order, and nothing merged twice.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::context::{Context, Files};
use crate::diagnostic::{Diagnostics, Invalid, Place, Problem, Report};
use crate::document::{self, Document};
use crate::merge::Merged;
use crate::model::Policy;
use crate::path::{Scope, check_characters, normal};
use crate::presets::{preset, presets};
use crate::reader::{At, Named};
use crate::suggest::nearest;
use crate::{ceiling, expect, later, lint};

/// More than this is a mistake or an attack.
const MOST_DOCUMENTS: usize = 64;

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A shipped preset, by name.
    Preset(String),
    /// A policy file.
    File(PathBuf),
}

/// Reads, merges and checks policies in the order given, later ones on top, all below the ceiling.
pub fn load(sources: &[Source], context: &Context, files: &dyn Files) -> Result<Policy, Diagnostics> {
    let mut report = Report::default();
    let mut loader = Loader::new(context, files);
    for source in sources {
        loader.source(source, &mut report);
    }
    let mut merged = loader.merge(&mut report);
    if let Some(step) = context.step.as_ref().filter(|_| !loader.found_step) {
        let start = Place { source: 0, start: 0, end: 0 };
        let problem = Problem::new(start, format!("no policy here has the step `{step}`"));
        report.push(problem.help(format!("write `[step.{step}.network]`, or choose another `--step`")));
    }
    ceiling::apply(&mut merged, &mut loader, &mut report);
    lint::check(&merged, context, &mut report);
    report.stop()?;
    let (hash, names) = loader.seal();
    let policy = merged.finish(&context.home, hash, names, &report);
    expect::check(&policy, &merged, context, &mut report);
    report.stop()?;
    Ok(policy)
}

/// Collects documents, each after those it extends.
pub(crate) struct Loader<'a> {
    context: &'a Context,
    files: &'a dyn Files,
    /// What paths of a ceiling mean, while one is read.
    ceiling: Option<Context>,
    /// Those being read right now, outermost first: a document among them extends itself.
    open: Vec<String>,
    seen: HashSet<String>,
    loaded: Vec<Loaded>,
    hash: Sha256,
    names: Vec<String>,
    /// The step that was asked for is there.
    found_step: bool,
}

struct Loaded {
    document: Document,
    base: PathBuf,
    preset: bool,
    ceiling: bool,
}

impl<'a> Loader<'a> {
    fn new(context: &'a Context, files: &'a dyn Files) -> Self {
        let (open, seen, loaded, names) = Default::default();
        let hash = Sha256::new();
        Self { context, files, ceiling: None, open, seen, loaded, hash, names, found_step: false }
    }

    /// Reads the ceiling's documents after the policy's; `None` if there is no ceiling.
    pub(crate) fn ceiling(&mut self, report: &mut Report) -> Option<Merged> {
        let path = self.context.config_dir.join("ceiling.toml");
        let name = path.display().to_string();
        self.seen.clear();
        let text = match self.files.read_ceiling(&path) {
            // A dangling symlink is a ceiling that cannot be read, not the absence of one.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.files.exists(&path) => return None,
            read => read,
        };
        let home = self.context.listed_home.clone().unwrap_or_default();
        self.ceiling = Some(Context { home, ..self.context.clone() });
        self.seen.insert(name.clone());
        self.open.push(name.clone());
        let base = self.context.config_dir.clone();
        self.document(&name, text.map_err(|error| error.to_string()), base, false, None, report);
        Some(self.merge(report))
    }

    /// Merges what was collected since the last time.
    fn merge(&mut self, report: &mut Report) -> Merged {
        let mut merged = Merged::default();
        for loaded in std::mem::take(&mut self.loaded) {
            // What an administrator wrote; presets grant toolchains in whatever home there is.
            let own = self.ceiling.as_ref().filter(|_| loaded.ceiling && !loaded.preset);
            let scope = Scope {
                context: own.unwrap_or(self.context),
                base: &loaded.base,
                preset: loaded.preset,
                ceiling: loaded.ceiling,
            };
            later::check(&loaded.document, &scope, report);
            let steps = loaded.document.step.clone();
            if loaded.ceiling && !loaded.preset {
                ceiling::check_keys(&loaded.document, report);
            }
            merged.add(loaded.document, &scope, report);
            for (name, step) in steps.into_iter().flat_map(|Named(steps)| steps) {
                let chosen = self.context.step.as_ref() == Some(&name.value) && !loaded.ceiling;
                // The others must be right too.
                let mut others = Merged::default();
                let onto = if chosen { &mut merged } else { &mut others };
                onto.add(step.value.into(), &scope, report);
                self.found_step |= chosen;
            }
        }
        merged
    }

    /// The hash over all documents, and their names.
    fn seal(self) -> (String, Vec<String>) {
        let digest = self.hash.finalize();
        (digest.iter().map(|byte| format!("{byte:02x}")).collect(), self.names)
    }

    fn source(&mut self, source: &Source, report: &mut Report) {
        match source {
            Source::Preset(name) => self.preset(name, None, report),
            Source::File(path) => match self.place(path) {
                Ok(absolute) => self.file(&absolute, &path.display().to_string(), None, report),
                Err(invalid) => {
                    let source = report.source(path.display().to_string(), String::new());
                    report.push(invalid.at(Place { source, start: 0, end: 0 }));
                }
            },
        }
    }

    /// Makes a path from the command line absolute. `..` is taken back only from the current directory, which has
    /// no symlinks in it; anywhere else it may not mean what it seems to mean.
    fn place(&self, path: &Path) -> Result<PathBuf, Invalid> {
        let mut absolute = if path.is_absolute() { PathBuf::new() } else { self.context.cwd.clone() };
        let mut own = path.is_relative();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if own => drop(absolute.pop()),
                Component::ParentDir => {
                    return Err(Invalid::new(format!(
                        "the policy file `{}` is named with `..`",
                        path.display()
                    ))
                    .help("name it without"));
                }
                _ => {
                    own = false;
                    absolute.push(component);
                }
            }
        }
        Ok(absolute)
    }

    fn preset(&mut self, name: &str, from: Option<Place>, report: &mut Report) {
        let shown = format!("preset {name}");
        let Some(text) = preset(name) else {
            let names: Vec<&str> = presets().iter().map(|(name, _)| *name).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("the presets are {}; a file is written `./{name}`", crate::reader::quoted(&names))
                }
            };
            let place = from.unwrap_or_else(|| {
                let source = report.source("command line".to_owned(), String::new());
                Place { source, start: 0, end: 0 }
            });
            return report.push(Problem::new(place, format!("there is no preset `{name}`")).help(help));
        };
        if self.enter(&shown, from, report) {
            let base = self.context.cwd.clone();
            self.document(&shown, Ok(text.as_bytes().to_vec()), base, true, from, report);
        }
    }

    fn file(&mut self, path: &Path, shown: &str, from: Option<Place>, report: &mut Report) {
        if self.enter(&path.to_string_lossy(), from, report) {
            let read =
                if self.ceiling.is_some() { self.files.read_ceiling(path) } else { self.files.read(path) };
            let text = read.map_err(|error| error.to_string());
            let base = path.parent().unwrap_or(Path::new("/")).to_owned();
            self.document(shown, text, base, false, from, report);
        }
    }

    /// Each document counts once, where it is first named; one that extends itself is an error.
    fn enter(&mut self, key: &str, from: Option<Place>, report: &mut Report) -> bool {
        if self.open.iter().any(|open| open == key) {
            let place = from.unwrap_or_default();
            let way = self.open.iter().map(String::as_str).skip_while(|open| *open != key).chain([key]);
            let way = way.collect::<Vec<_>>().join(" -> ");
            let problem = Problem::new(place, format!("`extends` goes in a circle: {way}"));
            report.push(problem.label("comes back to itself").help("remove one of the links".to_owned()));
            return false;
        }
        if self.seen.contains(key) {
            return false;
        }
        if self.seen.len() >= MOST_DOCUMENTS {
            let problem = Problem::new(from.unwrap_or_default(), "a policy has too many documents");
            report.push(problem.help(format!("at most {MOST_DOCUMENTS} are merged")));
            return false;
        }
        self.open.push(key.to_owned());
        self.seen.insert(key.to_owned());
        true
    }

    /// Parses one document and collects it behind those it extends.
    fn document(
        &mut self,
        shown: &str,
        content: Result<Vec<u8>, String>,
        base: PathBuf,
        preset: bool,
        from: Option<Place>,
        report: &mut Report,
    ) {
        if let Some(source) = self.text(shown, content, from, report)
            && let Some(document) = document::parse(source, report)
        {
            for entry in document.extends.iter().flat_map(|list| &list.value) {
                self.extend(entry, &base, preset, report);
            }
            self.loaded.push(Loaded { document, base, preset, ceiling: self.ceiling.is_some() });
        }
        self.open.pop();
    }

    /// Adds the text to the report's sources, the hash and the names.
    fn text(
        &mut self,
        shown: &str,
        content: Result<Vec<u8>, String>,
        from: Option<Place>,
        report: &mut Report,
    ) -> Option<usize> {
        let fail = |why: String, report: &mut Report| {
            let source = report.source(shown.to_owned(), String::new());
            let place = from.unwrap_or(Place { source, start: 0, end: 0 });
            report.push(Problem::new(place, format!("cannot read the policy `{shown}`: {why}")));
            None
        };
        let content = match content {
            Ok(content) => content,
            Err(error) => return fail(error, report),
        };
        // Lengths first, so that no other split into documents has the same hash.
        self.hash.update((content.len() as u64).to_le_bytes());
        self.hash.update(&content);
        self.names.push(shown.to_owned());
        match String::from_utf8(content) {
            Ok(text) => Some(report.source(shown.to_owned(), text)),
            Err(error) => fail(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()), report),
        }
    }

    fn extend(&mut self, entry: &At<String>, base: &Path, preset: bool, report: &mut Report) {
        match beside(&entry.value) {
            Ok(None) => self.preset(&entry.value, Some(entry.place), report),
            Ok(Some(relative)) if !preset => match normal(&base.join(relative)) {
                Ok(path) => self.file(&path, &path.display().to_string(), Some(entry.place), report),
                Err(invalid) => report.push(invalid.at(entry.place)),
            },
            Ok(Some(_)) => report.push(Problem::new(entry.place, "a preset extends only presets")),
            Err(invalid) => report.push(invalid.at(entry.place)),
        }
    }
}

/// Reads an entry of `extends`: a file beside the document, or `None` for a preset's name.
fn beside(text: &str) -> Result<Option<&Path>, Invalid> {
    check_characters(text)?;
    if text.contains("://") {
        return Err(Invalid::new(format!("`{text}` is a URL; a policy never comes from the network"))
            .help("copy it beside this file and write `./NAME.toml`"));
    }
    if text.split('/').any(|name| name == "..") {
        return Err(Invalid::new(format!("`{text}` leaves the directory of this file"))
            .help("put the file beside this one and write `./NAME.toml`"));
    }
    if text.starts_with(['/', '~', '$']) {
        return Err(Invalid::new(format!("`{text}` is not beside this file"))
            .help("put the file beside this one and write `./NAME.toml`"));
    }
    match text.strip_prefix("./") {
        Some("") => Err(Invalid::new("`./` names no file").help("write `./NAME.toml`")),
        Some(relative) => Ok(Some(Path::new(relative))),
        None if text.contains('/') => Err(Invalid::new(format!("`{text}` is neither a preset nor a file"))
            .help(format!("write `./{text}`"))),
        None => Ok(None),
    }
}
