//! The variables of the task, built from nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use ringfence_policy::{EnvironmentValue, Policy};

use crate::grants::{Access, Grants};
use crate::survey::Survey;
use crate::{Invoker, Request};

const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last are the files of whom it trusts where TLS is looked into: the sandbox's authority, and all.
pub(crate) fn build(
    policy: &Policy,
    survey: &Survey,
    invoker: &Invoker,
    grants: &Grants,
    request: &Request,
    [own, all]: [&Path; 2],
) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> = BTreeMap::new();
    let mut set = |name: &str, value: &OsStr| {
        variables.insert(name.into(), value.to_os_string());
    };
    set("HOME", invoker.home.as_os_str());
    set("USER", OsStr::new("task"));
    set("LOGNAME", OsStr::new("task"));
    set("SHELL", OsStr::new("/bin/sh"));
    set("TMPDIR", OsStr::new("/tmp"));
    set("PATH", &search_path(invoker, survey, grants));
    for name in &policy.environment.pass {
        if let Some(value) = invoker.variables.get(OsStr::new(&name.value)) {
            set(&name.value, value);
        }
    }
    for (name, rule) in &policy.environment.set {
        match &rule.value {
            EnvironmentValue::Text(text) => set(name, OsStr::new(text)),
            EnvironmentValue::Path(grant) => {
                let visible = grants.mounts.iter().any(|granted| granted.place.real.starts_with(&grant.path))
                    || grants.covering(&grant.path).is_some();
                if !grant.optional || visible {
                    set(name, grant.path.as_os_str());
                }
            }
        }
    }
    if request.trust.is_some() {
        for name in TRUST {
            variables.insert(name.into(), all.into());
        }
        // Beside its own.
        variables.insert("NODE_EXTRA_CA_CERTS".into(), own.into());
    }
    for (name, placeholder) in &request.exposed.variables {
        variables.insert(name.into(), placeholder.into());
    }
    variables
}

/// Where clients are told whom to trust: OpenSSL, Go and rustls; curl; Python's requests and pip; git; cargo; npm; AWS; gRPC.
static TRUST: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// The invoker's PATH as far as it lies in executable trees, in its order; then the usual directories.
fn search_path(invoker: &Invoker, survey: &Survey, grants: &Grants) -> OsString {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut add = |entry: &[u8]| {
        let path = Path::new(OsStr::from_bytes(entry));
        let executable = survey
            .resolve(path)
            .and_then(|real| grants.covering(real))
            .is_some_and(|granted| granted.access == Access::Execute);
        if path.is_absolute() && executable && !entries.iter().any(|have| have == entry) {
            entries.push(entry.to_vec());
        }
    };
    if let Some(path) = invoker.variables.get(OsStr::new("PATH")) {
        path.as_bytes().split(|byte| *byte == b':').for_each(&mut add);
    }
    USUAL_PATH.as_bytes().split(|byte| *byte == b':').for_each(&mut add);
    if entries.is_empty() {
        return USUAL_PATH.into();
    }
    OsString::from_vec(entries.join(&b':'))
}
