//! SVIDs, which the keeper asks the Workload API for.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use ringfence_confine::keeper::{FOREVER, Kind};
use ringfence_gateway::workload;
use ringfence_policy::{SPIFFE_SOCKET, Spiffe};
use zeroize::Zeroizing;

use crate::keeper::{plain, read};

/// A made-up JWT that ends in 2099, whose form placeholders have: nobody is asked before the token is used.
pub(crate) const LIKE: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJ4Iiwic3ViIjoieCIsImV4cCI6NDA3MDkwODgwMH0.0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

/// Where the Workload API is.
pub(crate) fn socket(spiffe: &Spiffe, variables: &BTreeMap<OsString, OsString>) -> Result<PathBuf, String> {
    if let Some(socket) = &spiffe.socket {
        return Ok(socket.clone());
    }
    let told = variables.get(OsStr::new(SPIFFE_SOCKET)).filter(|text| !text.is_empty());
    let told = told.ok_or_else(|| {
        format!("nothing says where the Workload API is: set `{SPIFFE_SOCKET}`, or `socket` of the source")
    })?;
    let text = told.to_str().unwrap_or_default();
    let path = PathBuf::from(
        text.strip_prefix("unix:").map_or(text, |path| path.strip_prefix("//").unwrap_or(path)),
    );
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("`{SPIFFE_SOCKET}` is no unix socket: write `unix:///PATH`")),
    }
}

/// A token, whose end stands in it, or a certificate with its key.
pub(crate) fn fetch(
    spiffe: &Spiffe,
    variables: &BTreeMap<OsString, OsString>,
) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let socket = socket(spiffe, variables)?;
    if spiffe.x509 {
        return read(&workload::x509_svid(&socket, spiffe.id.as_deref())?, Kind::Certificate);
    }
    let token = workload::jwt_svid(&socket, &spiffe.audience, spiffe.id.as_deref())?;
    Ok((Zeroizing::new(plain(&token)?.to_vec()), FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_policy_or_the_variable_says() {
        let spiffe = |path: Option<&str>| Spiffe {
            socket: path.map(PathBuf::from),
            audience: Vec::new(),
            x509: false,
            id: None,
        };
        let told = |text: &str| BTreeMap::from([(OsString::from(SPIFFE_SOCKET), OsString::from(text))]);
        assert_eq!(socket(&spiffe(Some("/a")), &told("unix:///b")), Ok("/a".into()));
        for text in ["unix:///run/b", "unix:/run/b", "/run/b"] {
            assert_eq!(socket(&spiffe(None), &told(text)), Ok("/run/b".into()), "{text}");
        }
        for text in ["", "tcp://127.0.0.1:1", "unix:b"] {
            assert!(socket(&spiffe(None), &told(text)).is_err(), "{text}");
        }
    }
}
