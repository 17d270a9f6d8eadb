//! What must not leave: the secrets that ringfence can know of, handed to the gateway, which looks for them, and looked for in what a task changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringfence_confine::gateway::Gateway;
use ringfence_confine::keeper::{HEAD, LONGEST};
use ringfence_leaks::{Hit, Known, Scanner};
use ringfence_plan::Invoker;
use ringfence_policy::{Leaks, Policy};
use ringfence_record::{Event, OutputScan, RunRecord};
use ringfence_sys::secret;
use ringfence_workspace::{Layer, Secrets};
use rustix::fs::{Mode, OFlags};
use zeroize::{Zeroize, Zeroizing};

use crate::decoys::{self, Decoy};
use crate::failure::{Context, Failure};
use crate::run::not_confined;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 12;
/// Bytes of a file that are looked at, and secrets altogether.
const MOST: (u64, usize) = (64 << 10, 256);

/// Tells the gateway, where the policy has what leaves looked through.
pub(crate) fn begin(
    policy: &Policy,
    invoker: &Invoker,
    decoys: &BTreeMap<PathBuf, Decoy>,
    gateway: Option<&Gateway>,
) -> Result<(), Failure> {
    let (Some(leaks), Some(gateway)) = (&policy.leaks.egress, gateway) else { return Ok(()) };
    let passed = |name: &str, value: &OsString| passed(policy, name, value);
    let decoys = decoys.iter().map(|(path, decoy)| (path.clone(), decoy.secrets.clone())).collect();
    let mut known = known(&passed, invoker, &decoys);
    let told = gateway.watch(leaks.value, &mut known).map_err(not_confined);
    known.iter_mut().for_each(|(_, bytes)| bytes.zeroize());
    told
}

/// What the changes of a run are looked through for, where its policy says that they are: secrets of whoever looks, and well-known forms.
pub(crate) fn arm(layers: &mut [Layer], invoker: &Invoker) {
    if layers.iter().all(|layer| layer.scan.is_none()) {
        return;
    }
    let secrets = Secrets::new(&without_room(known(&|_, _| false, invoker, &BTreeMap::new())));
    layers.iter_mut().for_each(|layer| layer.secrets = secrets.clone());
}

/// What is looked for in what the task writes, where its policy has that looked through.
pub(crate) fn output(
    policy: &Policy,
    invoker: &Invoker,
    decoys: &BTreeMap<PathBuf, Decoy>,
) -> Result<Option<(Rc<Scanner>, Leaks)>, Failure> {
    let Some(rule) = &policy.leaks.output else { return Ok(None) };
    let decoys = decoys.iter().map(|(path, decoy)| (path.clone(), decoy.secrets.clone())).collect();
    let passed = |name: &str, value: &OsString| passed(policy, name, value);
    scanner(known(&passed, invoker, &decoys)).map(|scanner| Some((scanner, rule.value)))
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
    scanner(known(&passed, invoker, &decoys)).map(|scanner| Some((scanner, action)))
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
    for pattern in ringfence_policy::known_secrets(&invoker.home) {
        let text = pattern.text();
        let path =
            text.strip_prefix("~/").map_or_else(|| PathBuf::from(text), |rest| invoker.home.join(rest));
        if !text.contains('*') {
            words(&mut known, &path);
        }
    }
    known.truncate(MOST.1);
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
    let fine = (SHORTEST..=LONGEST).contains(&value.len()) && !value.contains(&b'\n');
    if fine && !known.iter().any(|(_, bytes)| bytes.get(HEAD..) == Some(value)) {
        known.push((name, [&[0; HEAD], value].concat()));
    }
}

/// What of a file looks like a secret: long words of letters and digits.
fn words(known: &mut Vec<(String, Vec<u8>)>, path: &Path) {
    // A FIFO of that name would be waited at for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    let file = std::fs::File::from(file);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    let mut text = Zeroizing::new(Vec::new());
    if file.take(MOST.0).read_to_end(&mut text).is_err() {
        return;
    }
    for word in ringfence_leaks::random_words(&text) {
        add(known, format!("something in {}", path.display()), word);
    }
}
