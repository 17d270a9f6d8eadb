//! `source`: where a secret comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Oauth, Spiffe, oauth, spiffe};
use crate::diagnostic::{Place, Problem};
use crate::document::CredentialSource;
use crate::environment::set_name;
use crate::path::{Scope, absolute};
use crate::reader::{At, List, Named, quoted};

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
    /// An item of the desktop's Secret Service, by its attributes.
    SecretService(BTreeMap<String, String>),
    /// A key in the invoker's ssh agent, by its fingerprint, comment or public key. It stays there, and signs.
    SshAgent(String),
    /// An OpenPGP key in the invoker's keyring, as gpg(1) knows it. It stays there, and signs.
    Gpg(String),
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
            Self::SecretService(attributes) => {
                let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
                let pairs: Vec<String> = pairs.collect();
                write!(formatter, "the item `{}` of the Secret Service", pairs.join(" "))
            }
            Self::Oauth(oauth) => oauth.fmt(formatter),
            Self::Spiffe(spiffe) => spiffe.fmt(formatter),
            Self::Gpg(key) => write!(formatter, "the key `{key}` of gpg"),
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
    let CredentialSource { env, file, command, secret_service, ssh_agent, gpg, oauth, spiffe } =
        &source.value;
    let plain = Plain {
        env: env.as_ref(),
        file: file.as_ref(),
        command: command.as_ref(),
        service: secret_service.as_ref(),
    };
    let alone = [
        plain.written().then_some(source.place),
        ssh_agent.as_ref().map(|at| at.place),
        gpg.as_ref().map(|at| at.place),
        oauth.as_ref().map(|at| at.place),
        spiffe.as_ref().map(|at| at.place),
    ];
    let mut written = alone.iter().flatten();
    if let (Some(_), Some(place)) = (written.next(), written.next()) {
        return Err(one_source(*place));
    }
    if let Some(key) = gpg {
        let plain = key.value.trim();
        // An option, or a search for all that has a word in it, is no name of a key.
        let odd = plain.is_empty() || plain.starts_with('-') || plain.chars().any(char::is_control);
        return match odd {
            true => Err(Problem::new(key.place, "this names no key of gpg")
                .help("write its fingerprint, as `gpg --list-secret-keys` shows it".to_owned())),
            false => Ok(SecretSource::Gpg(plain.to_owned())),
        };
    }
    match (ssh_agent, oauth, spiffe) {
        (Some(key), ..) => {
            let plain = key.value.trim();
            match plain.is_empty() || plain.chars().any(char::is_control) {
                true => Err(Problem::new(key.place, "this names no key of an ssh agent")
                    .help("write its fingerprint, as `ssh-add -l` shows it".to_owned())),
                false => Ok(SecretSource::SshAgent(plain.to_owned())),
            }
        }
        (_, Some(oauth), _) => oauth::read(oauth, scope),
        (.., Some(spiffe)) => spiffe::read(spiffe, scope),
        _ => plain_source(source.place, plain, scope),
    }
}

fn one_source(place: Place) -> Problem {
    let problem = Problem::new(place, "a secret comes from exactly one source");
    let all = ["env", "file", "command", "secret_service", "oauth", "spiffe", "ssh_agent", "gpg"];
    problem.help(format!("write one of {}", quoted(&all)))
}

/// A variable, a file, a command, or what a keyring calls a secret.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a> {
    pub(super) env: Option<&'a At<String>>,
    pub(super) file: Option<&'a At<String>>,
    pub(super) command: Option<&'a List<String>>,
    pub(super) service: Option<&'a Named<At<String>>>,
}

impl Plain<'_> {
    fn written(&self) -> bool {
        self.env.is_some() || self.file.is_some() || self.command.is_some() || self.service.is_some()
    }
}

pub(super) fn plain_source(
    place: Place,
    plain: Plain<'_>,
    scope: &Scope<'_>,
) -> Result<SecretSource, Problem> {
    match plain {
        Plain { env: Some(env), file: None, command: None, service: None } => {
            set_name(&env.value).map_err(|invalid| invalid.at(env.place))?;
            Ok(SecretSource::Env(env.value.clone()))
        }
        Plain { env: None, file: Some(file), command: None, service: None } => {
            let path = absolute(&file.value, scope).map_err(|invalid| invalid.at(file.place))?;
            Ok(SecretSource::File(path))
        }
        Plain { env: None, file: None, command: Some(command), service: None } => {
            let words: Vec<String> = command.value.iter().map(|word| word.value.clone()).collect();
            let fine = words.first().is_some_and(|word| !word.is_empty());
            if !fine || words.iter().any(|word| word.contains('\0')) {
                let problem = Problem::new(command.place, "a command needs a program");
                return Err(problem.help("write `command = [\"pass\", \"show\", \"token\"]`".to_owned()));
            }
            Ok(SecretSource::Command(words))
        }
        Plain { env: None, file: None, command: None, service: Some(attributes) } => {
            let odd = |text: &str| text.is_empty() || text.contains('\0');
            if attributes.0.is_empty()
                || attributes.0.iter().any(|(name, value)| odd(&name.value) || odd(&value.value))
            {
                return Err(Problem::new(place, "a keyring finds a secret by the attributes of its item").help(
                    "write `secret_service = { service = \"tracker\", username = \"me\" }`, as `secret-tool lookup` would be given them"
                        .to_owned(),
                ));
            }
            let pairs = attributes.0.iter().map(|(name, value)| (name.value.clone(), value.value.clone()));
            Ok(SecretSource::SecretService(pairs.collect()))
        }
        _ => Err(one_source(place)),
    }
}
