//! What must not leave: the secrets that ringfence can know of, handed to the gateway, which looks for them, and looked for in what a task changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringfence_confine::gateway::Gateway;
use ringfence_confine::keeper::{HEAD, LONGEST};
use ringfence_leaks::{Hit, Known, Scanner};
use ringfence_plan::Invoker;
use ringfence_policy::{Leaks, Policy, SecretSource};
use ringfence_record::{Event, OutputScan, RunRecord};
use ringfence_sys::secret;
use ringfence_workspace::{Layer, Secrets};
use zeroize::Zeroize;

use crate::decoys::{self, Decoy};
use crate::failure::{Context, Failure};
use crate::run::not_confined;
use crate::secret_files::Files;
use crate::terminal;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 12;
/// Paths that a record keeps.
const REMEMBERED: usize = 1024;
/// Secrets altogether.
const MOST: usize = 512;

/// Tells the gateway, where the policy has what leaves looked through.
pub(crate) fn begin(
    policy: &Policy,
    invoker: &Invoker,
    decoys: &BTreeMap<PathBuf, Decoy>,
    denied: &[PathBuf],
    gateway: &Gateway,
) -> Result<(), Failure> {
    let Some(leaks) = &policy.leaks.egress else { return Ok(()) };
    let passed = |name: &str, value: &OsString| passed(policy, name, value);
    let decoys = decoys.iter().map(|(path, decoy)| (path.clone(), decoy.secrets.clone())).collect();
    let mut known = known(&passed, invoker, &decoys, &denied_of(policy, denied));
    let told = gateway.watch(leaks.value, &mut known).map_err(not_confined);
    known.iter_mut().for_each(|(_, bytes)| bytes.zeroize());
    told
}

/// What the changes of a run are looked through for, where its policy says that they are: secrets of whoever looks, and well-known forms.
pub(crate) fn arm(layers: &mut [Layer], invoker: &Invoker, denied: &[PathBuf]) {
    if layers.iter().all(|layer| layer.scan.is_none()) {
        return;
    }
    let secrets = Secrets::new(&without_room(known(&|_, _| false, invoker, &BTreeMap::new(), denied)));
    layers.iter_mut().for_each(|layer| layer.secrets = secrets.clone());
}

/// What is looked for in what the task writes, where its policy has that looked through.
pub(crate) fn output(
    policy: &Policy,
    invoker: &Invoker,
    decoys: &BTreeMap<PathBuf, Decoy>,
    denied: &[PathBuf],
) -> Result<Option<(Rc<Scanner>, Leaks)>, Failure> {
    let Some(rule) = &policy.leaks.output else { return Ok(None) };
    let decoys = decoys.iter().map(|(path, decoy)| (path.clone(), decoy.secrets.clone())).collect();
    let passed = |name: &str, value: &OsString| passed(policy, name, value);
    let denied = denied_of(policy, denied);
    scanner(known(&passed, invoker, &decoys, &denied)).map(|scanner| Some((scanner, rule.value)))
}

/// What the policy denies and is read for secrets: not what credentials come from, which the keeper alone reads.
pub(crate) fn denied_of(policy: &Policy, denied: &[PathBuf]) -> Vec<PathBuf> {
    let parts = policy.credentials.values().flat_map(|rule| rule.value.source.parts());
    let sources: Vec<PathBuf> = parts
        .filter_map(|source| match source {
            SecretSource::File(path) => Some(path.canonicalize().unwrap_or_else(|_| path.clone())),
            _ => None,
        })
        .collect();
    denied.iter().filter(|path| !sources.contains(path)).cloned().collect()
}

/// The same for a command of a sandbox that another process keeps: what its record says, and the secrets of whoever looks.
pub(crate) fn recorded(
    record: &RunRecord,
    run: &Path,
    invoker: &Invoker,
) -> Result<Option<(Rc<Scanner>, Leaks)>, Failure> {
    let Some(output) = &record.output else { return Ok(None) };
    let action = Leaks::named(&output.action)
        .ok_or_else(|| Failure::new(format!("the run's record: unknown action `{}`", output.action)))?;
    let decoys = decoys::remembered(run).context("the run's decoys")?;
    let passed = |name: &str, value: &OsString| {
        output.given.get(name).is_some_and(|given| given.as_bytes() == value.as_bytes())
    };
    scanner(known(&passed, invoker, &decoys, &record.denied)).map(|scanner| Some((scanner, action)))
}

/// What a record says of it.
pub(crate) fn describe(policy: &Policy, invoker: &Invoker) -> Option<OutputScan> {
    let rule = policy.leaks.output.as_ref()?;
    let given = invoker.variables.iter().filter_map(|(name, value)| {
        let name = name.to_string_lossy();
        passed(policy, &name, value).then(|| (name.into_owned(), value.to_string_lossy().into_owned()))
    });
    Some(OutputScan { action: rule.value.word().to_owned(), given: given.collect() })
}

/// What a record keeps of what is denied, for those who look later.
pub(crate) fn remembered(policy: &Policy, denied: &[PathBuf]) -> Vec<PathBuf> {
    let asked = policy.leaks.output.is_some() || policy.leaks.workspace.is_some();
    let denied = if asked { denied_of(policy, denied) } else { Vec::new() };
    denied.into_iter().filter(|path| path.to_str().is_some()).take(REMEMBERED).collect()
}

fn scanner(known: Vec<(String, Vec<u8>)>) -> Result<Rc<Scanner>, Failure> {
    let scanner = Scanner::new(&without_room(known), true);
    scanner.map(Rc::new).ok_or_else(|| {
        Failure::new("`leaks.scan = [\"output\"]`: more secrets are known than can be looked for")
            .hint("start it with fewer variables that hold secrets")
    })
}

fn without_room(known: Vec<(String, Vec<u8>)>) -> Vec<Known> {
    let known = known.into_iter();
    known.map(|(name, mut bytes)| Known { name, value: bytes.split_off(HEAD) }).collect()
}

/// A secret in what a task wrote.
pub(crate) fn event(secret: String, way: String, action: String) -> Event {
    Event::Leak {
        rule: format!("{secret}, {way}, was in the output: `[leaks]`"),
        secret,
        way,
        host: String::new(),
        port: 0,
        request: String::new(),
        action,
        process: 0,
        program: String::new(),
        times: 1,
    }
}

/// Why a run or a command was ended.
pub(crate) fn ended(hit: &Hit) -> Failure {
    const ENDED: u8 = 137;
    Failure::new(format!("ended: {}, {}, was in the output", hit.name, hit.way)).with_status(ENDED).hint(
        "`leaks.action = \"mask\"` prints as many `x` in the place of a secret, where that can be done; \"warn\" prints it",
    )
}

/// The secrets that there are, each behind [`HEAD`] bytes of room.
fn known(
    passed: &dyn Fn(&str, &OsString) -> bool,
    invoker: &Invoker,
    decoys: &BTreeMap<PathBuf, Vec<String>>,
    denied: &[PathBuf],
) -> Vec<(String, Vec<u8>)> {
    secret::wipe_what_is_freed();
    let mut known: Vec<(String, Vec<u8>)> = Vec::new();
    for (path, secrets) in decoys {
        for value in secrets {
            add(&mut known, format!("the decoy {}", path.display()), value.as_bytes());
        }
    }
    for (name, value) in &invoker.variables {
        let name = name.to_string_lossy();
        // What leads to a socket or a directory is no secret.
        if ringfence_policy::secret_name(&name)
            && !value.as_bytes().starts_with(b"/")
            && !passed(&name, value)
        {
            add(&mut known, format!("the variable {name} of whoever started this"), value.as_bytes());
        }
    }
    let mut take = |path: &Path, text: &[u8]| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        for value in ringfence_leaks::secret_values(&file, text) {
            put(&mut known, format!("something in {}", path.display()), &value);
        }
    };
    // What a task may have written comes last: it crowds nothing out.
    let mut files = Files::default();
    files.known(&invoker.home, &mut take);
    denied.iter().for_each(|path| files.place(path, &mut take));
    if known.len() > MOST {
        let (note, found) = (terminal::label("note:"), known.len());
        terminal::error(&format!("{note} `leaks`: of {found} secrets the first {MOST} are looked for"));
        known.truncate(MOST);
    }
    known
}

/// Does the policy itself give it to the task?
fn passed(policy: &Policy, name: &str, value: &OsString) -> bool {
    let set = policy.environment.set.get(name).map(|rule| &rule.value);
    matches!(set, Some(ringfence_policy::EnvironmentValue::Text(text)) if text.as_bytes() == value.as_bytes())
}

fn add(known: &mut Vec<(String, Vec<u8>)>, name: String, value: &[u8]) {
    // Of an address that holds a password, that is the secret.
    let text = String::from_utf8_lossy(value);
    if let Some((_, rest)) = text.split_once("://") {
        let password = rest.split_once('@').and_then(|(who, _)| who.split_once(':'));
        if let Some((_, password)) = password.filter(|(_, password)| !password.contains("://")) {
            add(known, name, password.as_bytes());
        }
        return;
    }
    if value.len() >= SHORTEST {
        put(known, name, value);
    }
}

fn put(known: &mut Vec<(String, Vec<u8>)>, name: String, value: &[u8]) {
    // What is beyond is counted in the end, and all of it not.
    let fine = value.len() <= LONGEST && !value.contains(&b'\n') && known.len() < 4 * MOST;
    if fine && !known.iter().any(|(_, bytes)| bytes.get(HEAD..) == Some(value)) {
        known.push((name, [&[0; HEAD], value].concat()));
    }
}
