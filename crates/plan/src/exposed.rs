//! What the task sees of credentials: placeholders, in variables and in files that only the sandbox has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringfence_policy::{Credential, Policy, Rule};

use crate::mounts::Builder;
use crate::{Invoker, Refused, Request};

/// Placeholders, where the task finds them.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// Variables.
    pub variables: BTreeMap<String, String>,
    /// Files and what they hold.
    pub files: BTreeMap<PathBuf, String>,
    /// Names that lead to a program of the host's, which the policy lets it see.
    pub programs: Vec<(PathBuf, PathBuf)>,
}

/// The same in tier `landlock`, where only the run's own home can hold them: where each is, and where the policy names it. `home`: that
/// one, where it is the task's; `links` lead out of it.
pub(crate) fn at_home(
    policy: &Policy,
    request: &Request,
    invoker: &Invoker,
    home: Option<&PathBuf>,
    links: &[(PathBuf, PathBuf)],
) -> Result<Vec<(PathBuf, PathBuf)>, Refused> {
    let place = |path: &PathBuf| {
        let own = home?.join(path.strip_prefix(&invoker.home).ok()?);
        let crosses = |(link, _): &(PathBuf, PathBuf)| own.starts_with(link) || link.starts_with(&own);
        (Some(&own) != home && !links.iter().any(crosses)).then_some((own, path.clone()))
    };
    let one = |path| {
        place(path).ok_or_else(|| {
            let cause = format!("`{}` is no file of the run's own home (tier `landlock`)", path.display());
            let remedy = "name one below your home and outside of every grant, or expose it as a variable";
            match rule_of(policy, path) {
                Some(rule) => Refused::rule(&rule.origin, cause, remedy),
                None => Refused { part: "expose".into(), cause, remedy: remedy.into() },
            }
        })
    };
    request.exposed.files.keys().map(one).collect()
}

fn rule_of<'a>(policy: &'a Policy, path: &PathBuf) -> Option<&'a Rule<Credential>> {
    let file = |rule: &&Rule<Credential>| {
        rule.value.expose.as_ref().and_then(|expose| expose.file.as_ref()) == Some(path)
    };
    policy.credentials.values().find(file)
}

impl Builder {
    /// Shows the files. They stand only where the sandbox has nothing of the host: there they would lie over something.
    pub(crate) fn exposed(&mut self, policy: &Policy, request: &Request) -> Result<(), Refused> {
        for (path, text) in &request.exposed.files {
            if self.place_file(path, text) {
                continue;
            }
            let Some(rule) = rule_of(policy, path) else { continue };
            return Err(Refused::rule(
                &rule.origin,
                format!(
                    "`{}` lies in what the sandbox shows of the host, or is there already",
                    path.display()
                ),
                "name a place outside of the workspace and of every grant, /tmp, /dev and /proc",
            ));
        }
        for (name, program) in &request.exposed.programs {
            self.link(name, program);
        }
        Ok(())
    }
}
