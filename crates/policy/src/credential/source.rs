//! `source`: where a secret comes from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Oauth, Spiffe, oauth, spiffe};
use crate::diagnostic::{Place, Problem};
use crate::document::CredentialSource;
use crate::environment::set_name;
use crate::path::{Scope, absolute};
use crate::reader::{At, List, quoted};

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A variable of the invoker.
    Env(String),
    /// A file of the host, without its last line break.
    File(PathBuf),
    /// What a command writes, which is run outside; likewise.
    Command(Vec<String>),
    /// A key in the invoker's ssh agent, by its fingerprint, comment or public key. It stays there, and signs.
    SshAgent(String),
    /// A token that a server gives out.
    Oauth(Box<Oauth>),
    /// A token that SPIFFE's Workload API gives out.
    Spiffe(Box<Spiffe>),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "the variable `{name}`"),
            Self::File(path) => write!(formatter, "the file `{}`", path.display()),
            // Its arguments may say more than others should read.
            Self::Command(words) => {
                write!(formatter, "the command `{}`", words.first().map_or("", String::as_str))
            }
            Self::Oauth(oauth) => oauth.fmt(formatter),
            Self::Spiffe(spiffe) => spiffe.fmt(formatter),
            Self::SshAgent(key) => write!(formatter, "the key `{key}` of the ssh agent"),
        }
    }
}

impl SecretSource {
    /// Everything on the host that it is had from: itself, or the parts of a token's.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Oauth(oauth) => oauth.parts().map(|(_, source)| source).collect(),
            own => vec![own],
        }
    }
}

pub(super) fn source_of(source: &At<CredentialSource>, scope: &Scope<'_>) -> Result<SecretSource, Problem> {
    let table = &source.value;
    let others = [
        table.env.as_ref().map(|at| at.place),
        table.file.as_ref().map(|at| at.place),
        table.command.as_ref().map(|at| at.place),
        table.ssh_agent.as_ref().map(|at| at.place),
        table.oauth.as_ref().map(|at| at.place),
    ];
    match &table.spiffe {
        Some(spiffe) if others.iter().flatten().next().is_none() => return spiffe::read(spiffe, scope),
        Some(spiffe) => return Err(one_source(spiffe.place)),
        None => {}
    }
    if let (Some(key), None, None, None) = (&table.ssh_agent, &table.env, &table.file, &table.command) {
        let plain = key.value.trim();
        return match plain.is_empty() || plain.chars().any(char::is_control) {
            true => Err(Problem::new(key.place, "this names no key of an ssh agent")
                .help("write its fingerprint, as `ssh-add -l` shows it".to_owned())),
            false => Ok(SecretSource::SshAgent(plain.to_owned())),
        };
    }
    if let (Some(oauth), None, None, None, None) =
        (&table.oauth, &table.ssh_agent, &table.env, &table.file, &table.command)
    {
        return oauth::read(oauth, scope);
    }
    if let Some(place) =
        table.oauth.as_ref().map(|at| at.place).or(table.ssh_agent.as_ref().map(|at| at.place))
    {
        return Err(one_source(place));
    }
    plain_source(source.place, (table.env.as_ref(), table.file.as_ref(), table.command.as_ref()), scope)
}

fn one_source(place: Place) -> Problem {
    let problem = Problem::new(place, "a secret comes from exactly one source");
    problem
        .help(format!("write one of {}", quoted(&["env", "file", "command", "oauth", "spiffe", "ssh_agent"])))
}

/// A variable, a file or a command.
type Plain<'a> = (Option<&'a At<String>>, Option<&'a At<String>>, Option<&'a List<String>>);

pub(super) fn plain_source(
    place: Place,
    plain: Plain<'_>,
    scope: &Scope<'_>,
) -> Result<SecretSource, Problem> {
    match plain {
        (Some(env), None, None) => {
            set_name(&env.value).map_err(|invalid| invalid.at(env.place))?;
            Ok(SecretSource::Env(env.value.clone()))
        }
        (None, Some(file), None) => {
            let path = absolute(&file.value, scope).map_err(|invalid| invalid.at(file.place))?;
            Ok(SecretSource::File(path))
        }
        (None, None, Some(command)) => {
            let words: Vec<String> = command.value.iter().map(|word| word.value.clone()).collect();
            let fine = words.first().is_some_and(|word| !word.is_empty());
            if !fine || words.iter().any(|word| word.contains('\0')) {
                let problem = Problem::new(command.place, "a command needs a program");
                return Err(problem.help("write `command = [\"pass\", \"show\", \"token\"]`".to_owned()));
            }
            Ok(SecretSource::Command(words))
        }
        _ => Err(one_source(place)),
    }
}
