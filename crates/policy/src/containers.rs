//! `[containers]`: what may be asked of a container engine of the host. The task never reaches its socket: the gateway reads each request,
//! and asks anew for what was judged.

mod create;
mod image;
mod request;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use create::create;
pub use image::Image;
pub use request::{Asked, Body, EngineRequest, Subject, judge};

use crate::diagnostic::{Problem, Report};
use crate::document::ContainersTable;
use crate::merge::{Merged, rule, rules};
use crate::model::Rule;
use crate::path::{Scope, absolute};
use crate::reader::{At, List, choice, quoted};

/// Where the task finds the engine; there is no file of that name.
pub const ENGINE: &str = "/run/ringfence-containers";

/// What may be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The lists of containers and images, the engine itself.
    Read,
    /// Everything of every container: its variables, output and processes; networks and volumes.
    Inspect,
    /// Images from registries.
    Pull,
    /// Images from what the task sends.
    Build,
    /// Containers of the task's own, without a way to the host.
    Run,
    /// Talking to one of those.
    Attach,
    /// Starting more programs in one of those.
    Exec,
    /// Containers and builds with the engine's own network.
    Network,
}

impl Verb {
    /// Each, as a policy writes it.
    pub(crate) const WORDS: [(&str, Self); 8] = [
        ("read", Self::Read),
        ("inspect", Self::Inspect),
        ("pull", Self::Pull),
        ("build", Self::Build),
        ("run", Self::Run),
        ("attach", Self::Attach),
        ("exec", Self::Exec),
        ("network", Self::Network),
    ];

    /// As a policy writes it.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, own)| *own == self).map_or("read", |(word, _)| word)
    }
}

/// What a policy says of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Containers {
    /// The engine's socket.
    pub engine: Rule<PathBuf>,
    /// What may be asked.
    pub allow: Vec<Rule<Verb>>,
    /// Images that may be pulled and run.
    pub images: Vec<Rule<Image>>,
    /// Names of what is built.
    pub tags: Vec<Rule<Image>>,
}

/// The same, as who judges has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineRules {
    /// The engine's socket.
    pub engine: PathBuf,
    allow: Vec<Verb>,
    images: Vec<Image>,
    tags: Vec<Image>,
}

impl EngineRules {
    pub(crate) fn of(containers: &Containers) -> Self {
        let images = |rules: &[Rule<Image>]| rules.iter().map(|rule| rule.value.clone()).collect();
        Self {
            engine: containers.engine.value.clone(),
            allow: containers.allow.iter().map(|rule| rule.value).collect(),
            images: images(&containers.images),
            tags: images(&containers.tags),
        }
    }

    fn may(&self, verb: Verb) -> Result<(), String> {
        match self.allow.contains(&verb) {
            true => Ok(()),
            false => Err(format!(
                "`containers.allow` does not name `{}`: if the task needs it, add that",
                verb.word()
            )),
        }
    }

    /// Of a reference to an image: how it is written in full, if it may be pulled, or, `here`, run.
    fn image(&self, reference: &str, here: bool) -> Result<String, String> {
        let image = Image::reference(reference)?;
        let own = self.tags.iter().filter(|_| here);
        if self.images.iter().chain(own).any(|pattern| pattern.covers(&image)) {
            return Ok(image.text());
        }
        Err(format!("`containers.images` does not name `{}`: if the task needs it, add that", image.text()))
    }

    /// The same of a name that a build gives.
    fn tag(&self, reference: &str) -> Result<String, String> {
        let image = Image::reference(reference)?;
        match self.tags.iter().any(|pattern| pattern.covers(&image)) {
            true => Ok(image.text()),
            false => Err(format!(
                "`containers.tags` does not let a build be called `{}`, which others may use: add a name of the task's own",
                image.text()
            )),
        }
    }

    /// For a reader, one line.
    pub(crate) fn describe(&self) -> String {
        let words: Vec<&str> = self.allow.iter().map(|verb| verb.word()).collect();
        format!("allow    {ENGINE}, the container engine at {}: {}", self.engine.display(), words.join(", "))
    }
}

/// What documents say of it, merged.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) engine: Option<At<PathBuf>>,
    pub(crate) allow: Vec<At<Verb>>,
    pub(crate) images: Vec<At<Image>>,
    pub(crate) tags: Vec<At<Image>>,
}

impl Keys {
    /// Merges one document on top.
    pub(crate) fn add(&mut self, written: &ContainersTable, scope: &Scope<'_>, report: &mut Report) {
        if let Some(engine) = &written.engine {
            let text = engine.value.strip_prefix("unix://").unwrap_or(&engine.value);
            match absolute(text, scope) {
                Ok(path) => self.engine = Some(engine.with(path)),
                Err(invalid) => report.push(invalid.at(engine.place)),
            }
        }
        for word in written.allow.iter().flat_map(|list| &list.value) {
            if let Some(read) = choice("containers.allow", word, &Verb::WORDS, report)
                && self.allow.iter().all(|known| known.value != read)
            {
                self.allow.push(word.with(read));
            }
        }
        images(written.images.as_ref(), &mut self.images, report);
        images(written.tags.as_ref(), &mut self.tags, report);
    }

    /// What contradicts itself.
    pub(crate) fn check(&self, report: &mut Report) {
        let Some(first) = self.allow.first() else {
            if let Some(engine) = &self.engine {
                let problem = Problem::new(engine.place, "nothing may be asked of this engine");
                report.push(problem.help("write `allow = [\"read\"]`".to_owned()));
            }
            return;
        };
        if self.engine.is_none() {
            let problem = Problem::new(first.place, "`containers.engine` is missing");
            report.push(problem.help("write `engine = \"/run/docker.sock\"`".to_owned()));
        }
        let place = |verb: Verb| self.allow.iter().find(|at| at.value == verb).map(|at| at.place);
        if let Some(place) = place(Verb::Pull).filter(|_| self.images.is_empty()) {
            let problem = Problem::new(place, "the engine fetches images from anywhere, past the gateway");
            report.push(problem.help("name them: `images = [\"docker.io/library/*\"]`".to_owned()));
        }
        if let (Some(build), None) = (place(Verb::Build), place(Verb::Network)) {
            let problem = Problem::new(build, "a build fetches what `FROM` and `ADD` name, past the gateway");
            report.push(problem.help("add `\"network\"` if that may be".to_owned()));
        }
        for verb in [Verb::Attach, Verb::Exec] {
            if let (Some(own), None) = (place(verb), place(Verb::Run)) {
                let title = format!("`{}` is about containers of the task's own", verb.word());
                report.push(Problem::new(own, title).help("add `\"run\"`".to_owned()));
            }
        }
        if let Some(run) = place(Verb::Run).filter(|_| self.images.is_empty() && self.tags.is_empty()) {
            let problem = Problem::new(run, "no image may be run");
            report.push(problem.help("name them: `images = [\"docker.io/library/*\"]`".to_owned()));
        }
    }

    /// What is above a ceiling.
    pub(crate) fn bound(&self, ceiling: &Self, report: &mut Report) {
        let mut above = |place, what: String| {
            let problem = Problem::new(place, format!("{what} in `[containers]` is above the ceiling"));
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        };
        if let Some(engine) = self.engine.as_ref()
            && ceiling.engine.as_ref().is_none_or(|most| most.value != engine.value)
        {
            above(engine.place, format!("the engine `{}`", engine.value.display()));
        }
        for verb in self.allow.iter().filter(|at| ceiling.allow.iter().all(|most| most.value != at.value)) {
            above(verb.place, quoted(&[verb.value.word()]));
        }
        let within = |list: &[At<Image>], at: &At<Image>| {
            list.iter().any(|most| most.value == at.value || most.value.any())
        };
        let images = self.images.iter().filter(|at| !within(&ceiling.images, at));
        for image in images.chain(self.tags.iter().filter(|at| !within(&ceiling.tags, at))) {
            above(image.place, format!("`{}`", image.value.text()));
        }
    }

    pub(crate) fn finish(&self, report: &Report) -> Option<Containers> {
        Some(Containers {
            engine: rule(self.engine.as_ref()?, report),
            allow: rules(&self.allow, report),
            images: rules(&self.images, report),
            tags: rules(&self.tags, report),
        })
    }
}

fn images(list: Option<&List<String>>, into: &mut Vec<At<Image>>, report: &mut Report) {
    for text in list.iter().flat_map(|list| &list.value) {
        match Image::pattern(&text.value) {
            Ok(read) => into.push(text.with(read)),
            Err(why) => report.push(
                Problem::new(text.place, why)
                    .help("write `docker.io/library/alpine:3.*`, or `**`".to_owned()),
            ),
        }
    }
}

/// What contradicts the rest of the policy.
pub(crate) fn check(merged: &Merged, report: &mut Report) {
    merged.containers.check(report);
    if let Some(set) = merged.set.get("DOCKER_HOST").filter(|_| merged.containers.engine.is_some()) {
        let problem = Problem::new(set.place, "the variable `DOCKER_HOST` has two values");
        report.push(problem.help("remove it: `[containers]` sets it".to_owned()));
    }
}
