//! The desktop's keyring as a source: freedesktop.org's Secret Service, asked over the session bus (Secret Service API 0.2). Nobody is
//! prompted: what is locked is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use zeroize::Zeroizing;

use crate::bus::{self, Bus, Failed, In, Method, Out};

const SERVICE: &str = "org.freedesktop.secrets";
const LOCKED: &str = "it is locked: unlock the keyring, and start again";

/// The secret of the one item that has all of these attributes.
pub(crate) fn fetch(
    attributes: &BTreeMap<String, String>,
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bus = Bus::reach(&bus::address(variables)?)?;
    let item = item(&mut bus, attributes)?;
    // The bus is the invoker's own, and so is whoever could listen there.
    let mut asked = Out::default();
    asked.text("plain");
    asked.signature("s");
    asked.text("");
    let opened = bus.call(of_service("OpenSession"), "sv", &asked).map_err(told)?;
    let session = session(&opened).ok_or_else(strange)?;
    let mut asked = Out::default();
    asked.text(session);
    let secret = Method {
        service: SERVICE,
        object: &item,
        interface: "org.freedesktop.Secret.Item",
        name: "GetSecret",
    };
    let answer = bus.call(secret, "o", &asked).map_err(told)?;
    let mut reader = In::new(&answer);
    let mut value = || {
        let _session = reader.text()?;
        let _parameters = reader.bytes()?;
        reader.bytes()
    };
    value().map(|value| Zeroizing::new(value.to_vec())).ok_or_else(strange)
}

fn of_service(name: &str) -> Method<'_> {
    Method {
        service: SERVICE,
        object: "/org/freedesktop/secrets",
        interface: "org.freedesktop.Secret.Service",
        name,
    }
}

fn item(bus: &mut Bus, attributes: &BTreeMap<String, String>) -> Result<String, String> {
    let mut asked = Out::default();
    asked.pairs(attributes);
    let answer = bus.call(of_service("SearchItems"), "a{ss}", &asked).map_err(told)?;
    let mut reader = In::new(&answer);
    let (Some(open), Some(locked)) = (reader.texts(), reader.texts()) else { return Err(strange()) };
    let (open, locked): (BTreeSet<_>, BTreeSet<_>) =
        (open.into_iter().collect(), locked.into_iter().collect());
    let mut found = open.iter();
    match (found.next(), found.next(), locked.is_empty()) {
        (Some(item), None, true) => Ok((*item).to_owned()),
        (None, None, true) => Err(
            "the keyring has no such item: `secret-tool search` lists those that it has, with their attributes"
                .to_owned(),
        ),
        (None, None, false) => Err(LOCKED.to_owned()),
        _ => Err(format!(
            "the keyring has {} items of these attributes: name more of them, so that one is meant",
            open.len() + locked.len()
        )),
    }
}

/// `vo`: what the other side adds to the key, which is nothing, and the session.
fn session(answer: &[u8]) -> Option<&str> {
    let mut reader = In::new(answer);
    (reader.signature()? == "s").then_some(())?;
    reader.text()?;
    reader.text()
}

fn strange() -> String {
    "the Secret Service answers what is no answer".to_owned()
}

fn told(failed: Failed) -> String {
    match failed {
        Failed::Broken(why) => why,
        Failed::Told(name) => match name.as_str() {
            "org.freedesktop.Secret.Error.IsLocked" => LOCKED.to_owned(),
            "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
                "no Secret Service is on the session bus: start the desktop's keyring (GNOME Keyring, KWallet, KeePassXC)"
                    .to_owned()
            }
            _ if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => {
                "the Secret Service of the session bus cannot be started".to_owned()
            }
            _ => format!("the Secret Service refuses: {name}"),
        },
    }
}
