//! Where rules say what requests over TLS may be: the gateway makes an authority that only this sandbox trusts, before the plan
//! puts its certificate there. The key never leaves the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use ringfence_confine::gateway::Gateway;
use ringfence_plan::{Invoker, Trust};
use ringfence_policy::{NetworkRules, Policy};

use crate::failure::Failure;
use crate::keystore;
use crate::run::not_confined;

/// Where distributions keep the certificates of those that are trusted.
static ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];

/// A gateway that has begun, and whom the task trusts; none where nothing is looked into.
pub(crate) fn begin(policy: &Policy, invoker: &Invoker) -> Result<(Option<Gateway>, Option<Trust>), Failure> {
    let Some(rules) = NetworkRules::of(policy) else { return Ok((None, None)) };
    if rules.inspected().next().is_none() {
        // What leaves without TLS is looked through too, and keys of ssh are used without it.
        let held = !policy.credentials.is_empty() || policy.containers.is_some();
        let watches = policy.leaks.egress.is_some() || held;
        return Ok((watches.then(Gateway::start).transpose().map_err(not_confined)?, None));
    }
    let roots = roots(&invoker.variables)?;
    let gateway = Gateway::start().map_err(not_confined)?;
    let own = gateway.authority(&rules, roots.clone()).map_err(not_confined)?;
    let all = format!("{roots}\n{own}");
    let java = keystore::of(&all);
    let (bundles, stores) = (real(ROOTS.iter().map(PathBuf::from)), real(keystore::places(invoker)));
    Ok((Some(gateway), Some(Trust { own, all, java, bundles, stores })))
}

/// Files that are there, each once, without links.
fn real(places: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let found = places.filter_map(|path| path.canonicalize().ok().filter(|path| path.is_file()));
    found.collect::<BTreeSet<_>>().into_iter().collect()
}

/// For a plan that is only shown.
pub(crate) fn example(policy: &Policy) -> Option<Trust> {
    let inspects = NetworkRules::of(policy).is_some_and(|rules| rules.inspected().next().is_some());
    inspects.then(Default::default)
}

/// Whom the host trusts, as PEM.
pub(crate) fn roots(variables: &BTreeMap<OsString, OsString>) -> Result<String, Failure> {
    let named = variables.get(OsStr::new("SSL_CERT_FILE")).filter(|path| !path.is_empty());
    let places = named.map(OsStr::new).into_iter().chain(ROOTS.iter().map(OsStr::new));
    places.filter_map(|path| std::fs::read_to_string(path).ok()).find(|text| text.contains("BEGIN")).ok_or_else(|| {
        Failure::new("no certificates of authorities are found on this host, which inspection of TLS needs").hint(
            "install them (`ca-certificates`), or name the file in `SSL_CERT_FILE`; or remove `methods` and `paths` from rules for TLS",
        )
    })
}
