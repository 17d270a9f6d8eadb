//! Where secrets come from must be out of the task's reach: a file that it could read, or a link or a program that it could put in the
//! place of another one, would have the keeper, which has the invoker's rights, tell or do what the task wants.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{Credential, Grant, Mode, PathPattern, Policy, Rule, SecretSource};

use crate::bus::Address;
use crate::chosen;
use crate::failure::Failure;

/// How git calls what it is told of (gpg-interface.c and connect.c of git): beside a list of commands this alone is allowed with them.
const GPG_CALLS: [&str; 1] = ["--status-fd=2 -bsau *"];
const GIT_CALLS: [&str; 2] = [
    "(-o SendEnv=GIT_PROTOCOL|-4|-6|-p *) * 'git-upload-pack '**",
    "(-o SendEnv=GIT_PROTOCOL|-4|-6|-p *) * 'git-receive-pack '**",
];

/// Trees that a task of this policy writes, or may have written: without links.
pub(crate) struct Reach(Vec<PathBuf>);

impl Reach {
    pub(crate) fn of(policy: &Policy, invoker: &Invoker, workspace: Option<&Path>) -> Self {
        let workspace = chosen::workspace(policy, invoker, workspace);
        let granted = policy.files.write.iter().map(|rule| rule.value.path.clone());
        Self(granted.chain([workspace]).filter_map(|path| path.canonicalize().ok()).collect())
    }

    /// The tree of these by way of which a path is found.
    fn over(&self, path: &Path) -> Option<&Path> {
        let way = ringfence_confine::survey::way(path);
        self.0.iter().find(|tree| way.iter().any(|place| place.starts_with(tree))).map(PathBuf::as_path)
    }

    /// The program that is meant, found as execvp(3) does it, but nowhere that the task writes.
    fn program(&self, name: &str, variables: &BTreeMap<OsString, OsString>) -> Result<PathBuf, String> {
        if name.contains('/') {
            let path = Path::new(name);
            return match self.over(path) {
                _ if !path.is_absolute() => Err(format!("`{name}` is relative: name it with its whole path")),
                Some(tree) => Err(found_by(path, tree)),
                None => Ok(path.to_path_buf()),
            };
        }
        let usual = OsString::from("/usr/local/bin:/usr/bin:/bin");
        let places = std::env::split_paths(variables.get(OsStr::new("PATH")).unwrap_or(&usual))
            .map(|place| place.join(name))
            .find(|path| path.is_absolute() && executable(path) && self.over(path).is_none());
        places.ok_or_else(|| format!("`{name}` is in no directory of PATH that the task cannot write"))
    }

    /// Without what would lead a program to what the task writes (`PATH`, `PYTHONPATH`, `PWD`, ..).
    pub(crate) fn variables(&self, all: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
        let kept = |name: &OsStr, value: &OsStr| {
            let paths = name.as_bytes().ends_with(b"PATH");
            let fine = |part: &&[u8]| {
                let path = Path::new(OsStr::from_bytes(part));
                match path.is_absolute() {
                    true => self.over(path).is_none(),
                    // A relative one, or an empty one, means where the program runs.
                    false => !paths,
                }
            };
            let parts: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b':').filter(fine).collect();
            let left = parts.join(&b':');
            (value.is_empty() || !left.is_empty()).then(|| OsString::from_vec(left))
        };
        all.iter().filter_map(|(name, value)| Some((name.clone(), kept(name, value)?))).collect()
    }
}

/// The tree of the host in which a task of this policy may change this file as it runs.
pub(crate) fn written(policy: &Policy, workspace: &Path, file: &Path) -> Option<PathBuf> {
    let direct = (policy.workspace.mode == Mode::Direct).then(|| workspace.to_path_buf());
    let granted = policy.files.write.iter().map(|rule| rule.value.path.clone());
    let trees = direct.into_iter().chain(granted).filter_map(|path| path.canonicalize().ok());
    Reach(trees.collect()).over(file).map(Path::to_path_buf)
}

/// What is in a directory, and in those in it.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| {
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let first = list(directory);
    first.iter().flat_map(|path| [vec![path.clone()], list(path)].concat()).collect()
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn found_by(path: &Path, tree: &Path) -> String {
    format!("{} is found by way of {}, which the task writes", path.display(), tree.display())
}

/// Refuses sources that a task could change, and hides the files of the others from it, whatever tree is granted.
pub(crate) fn guard(policy: &mut Policy, invoker: &Invoker, workspace: Option<&Path>) -> Result<(), Failure> {
    if policy.credentials.is_empty() {
        return Ok(());
    }
    let reach = Reach::of(policy, invoker, workspace);
    let (mut hidden, mut started) = (Vec::new(), Vec::new());
    let sources = policy.credentials.iter().flat_map(|(name, rule)| {
        // Who writes the keys of hosts says where a key of ssh goes.
        for path in rule
            .value
            .ssh()
            .then(|| crate::ssh::places(rule.value.known_hosts.as_deref(), &invoker.home))
            .into_iter()
            .flatten()
        {
            if let Some(tree) = reach.over(&path) {
                return vec![Err(refused(name, rule, &found_by(&path, tree)))];
            }
        }
        rule.value.source.parts().into_iter().map(|source| Ok((name, rule, source))).collect::<Vec<_>>()
    });
    for source in sources {
        let (name, rule, source) = source?;
        match source {
            SecretSource::SshAgent(_) if rule.value.git_only() => {
                reach.program("ssh", &invoker.variables).map_err(|why| refused(name, rule, &why))?;
                let own = std::env::current_exe().map_err(|error| refused(name, rule, &error.to_string()))?;
                started.push((own, &GIT_CALLS[..], rule.origin.clone()));
            }
            SecretSource::Env(_) | SecretSource::SshAgent(_) | SecretSource::Oauth(_) => {}
            SecretSource::Gpg(_) => {
                reach.program("gpg", &invoker.variables).map_err(|why| refused(name, rule, &why))?;
                let home = invoker.variables.get(OsStr::new("GNUPGHOME")).map(PathBuf::from);
                let home = home.unwrap_or_else(|| invoker.home.join(".gnupg"));
                // Its options and those of its agent name files and programs.
                for path in [vec![home.clone()], entries(&home)].concat() {
                    if let Some(tree) = reach.over(&path) {
                        return Err(refused(name, rule, &found_by(&path, tree)));
                    }
                }
                // What git starts inside is this very program, in this way alone.
                let own = std::env::current_exe().map_err(|error| refused(name, rule, &error.to_string()))?;
                started.push((own, &GPG_CALLS[..], rule.origin.clone()));
            }
            SecretSource::SecretService(_) => {
                // Where there is no bus, the secret is not there: that is said when it is asked for.
                if let Ok(Address::Path(path)) = crate::bus::address(&invoker.variables)
                    && let Some(tree) = reach.over(&path)
                {
                    return Err(refused(name, rule, &found_by(&path, tree)));
                }
            }
            SecretSource::Spiffe(spiffe) => {
                let path = crate::spiffe::socket(spiffe, &invoker.variables);
                let path = path.map_err(|why| refused(name, rule, &why))?;
                if let Some(tree) = reach.over(&path) {
                    return Err(refused(name, rule, &found_by(&path, tree)));
                }
            }
            SecretSource::File(path) => {
                if let Some(tree) = reach.over(path) {
                    return Err(refused(name, rule, &found_by(path, tree)));
                }
                let mut way = ringfence_confine::survey::way(path);
                way.push(path.clone());
                way.sort();
                way.dedup();
                hidden.extend(way.into_iter().filter_map(|path| {
                    let value = PathPattern::exactly(&path)?;
                    Some(Rule { value, origin: rule.origin.clone() })
                }));
            }
            SecretSource::Command(words) => {
                let words = command(words, &reach, invoker);
                words.map_err(|why| refused(name, rule, &why))?;
            }
        }
    }
    policy.files.deny.extend(hidden);
    for (path, calls, origin) in started {
        let plain =
            |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte));
        if let (Some(commands), Some(own)) = (&mut policy.commands, path.to_str().filter(plain)) {
            let entry = |call: &&str| Rule { value: format!("{own} {call}"), origin: origin.clone() };
            commands.allow.extend(calls.iter().map(entry));
        }
        policy.files.exec.push(Rule { value: Grant { path, optional: false }, origin });
    }
    Ok(())
}

/// The command as it is run: its program found, and no path among its words that the task writes.
pub(crate) fn command(words: &[String], reach: &Reach, invoker: &Invoker) -> Result<Vec<String>, String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let program = reach.program(program, &invoker.variables)?;
    for path in arguments.iter().map(Path::new).filter(|path| path.is_absolute()) {
        if let Some(tree) = reach.over(path) {
            return Err(found_by(path, tree));
        }
    }
    let program = program.to_str().ok_or("its program's path is not UTF-8")?.to_owned();
    Ok([&[program], arguments].concat())
}

fn refused(name: &str, rule: &Rule<Credential>, why: &str) -> Failure {
    let text = format!("{}: the credential `{name}`: {}: {why}", rule.origin, rule.value.source);
    Failure::new(text)
        .hint("keep secrets, and the programs that get them, outside of the workspace and of `files.write`")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_leads_through_a_tree_that_is_written_is_found() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().canonicalize().unwrap().join(path);
        for directory in ["work/bin", "own/bin"] {
            fs::create_dir_all(at(directory)).unwrap();
            fs::write(at(directory).join("get"), "").unwrap();
            fs::set_permissions(at(directory).join("get"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(at("own"), at("work/out")).unwrap();
        symlink(at("work"), at("own/in")).unwrap();
        let reach = Reach(vec![at("work")]);
        for inside in ["work/x", "work/out/bin/get", "own/in/bin/get", "own/../work/bin"] {
            assert!(reach.over(&at(inside)).is_some(), "{inside}");
        }
        assert!(reach.over(&at("own/bin/get")).is_none() && reach.over(&at("own/missing")).is_none());
        let path = format!("work/bin::relative:{}:{}", at("own/in/bin").display(), at("own/bin").display());
        let variables: BTreeMap<OsString, OsString> = [
            ("PATH", path.as_str()),
            ("PWD", &at("work").display().to_string()),
            ("LANG", "C:x"),
            ("EMPTY", ""),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        assert_eq!(reach.program("get", &variables).unwrap(), at("own/bin/get"));
        assert!(reach.program("./get", &variables).is_err());
        assert!(reach.program(&at("own/in/bin/get").display().to_string(), &variables).is_err());
        let left = reach.variables(&variables);
        assert_eq!(left.get(OsStr::new("PATH")).unwrap(), at("own/bin").as_os_str());
        assert!(left.len() == 3 && left[OsStr::new("LANG")] == "C:x" && left[OsStr::new("EMPTY")].is_empty());
    }
}
