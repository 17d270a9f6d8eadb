//! The variables of the task, built from nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ringfence_policy::{EnvironmentValue, Policy};

use crate::grants::{Access, Grants};
use crate::host::USUAL_PATH;
use crate::survey::Survey;
use crate::{Invoker, Request};

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

/// Where programs are looked for, as far as it lies in executable trees.
fn search_path(invoker: &Invoker, survey: &Survey, grants: &Grants) -> OsString {
    let executable = |path: &PathBuf| {
        let granted = survey.resolve(path).and_then(|real| grants.covering(real));
        granted.is_some_and(|granted| granted.access == Access::Execute)
    };
    let found: Vec<PathBuf> = invoker.searched().into_iter().filter(executable).collect();
    // None of them has a `:`, as they come from such a list.
    match std::env::join_paths(found) {
        Ok(path) if !path.is_empty() => path,
        _ => USUAL_PATH.into(),
    }
}
