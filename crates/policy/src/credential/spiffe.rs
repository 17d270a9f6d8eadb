//! `source.spiffe`: an SVID of the Workload API.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::credential::SecretSource;
use crate::diagnostic::Problem;
use crate::document::{Forms, SpiffeTable};
use crate::identity;
use crate::path::{Scope, absolute};
use crate::reader::At;

/// The variable that says where the socket is (SPIFFE Workload Endpoint, section 4).
pub const SPIFFE_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Whose token, and for whom; or whose certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spiffe {
    /// Where the Workload API is; `None`: where the invoker's `SPIFFE_ENDPOINT_SOCKET` says.
    pub socket: Option<PathBuf>,
    /// Whom the token is for; at least one, and none for a certificate.
    pub audience: Vec<String>,
    /// It is a certificate and its key.
    pub x509: bool,
    /// Of several identities that ringfence has there, this one.
    pub id: Option<String>,
}

impl fmt::Display for Spiffe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.x509 { "X.509" } else { "JWT" };
        match &self.id {
            Some(id) => write!(formatter, "the {kind}-SVID of `{id}`"),
            None => write!(formatter, "the {kind}-SVID of the Workload API"),
        }
    }
}

pub(super) fn read(at: &At<SpiffeTable>, scope: &Scope<'_>) -> Result<SecretSource, Problem> {
    let table = &at.value;
    let audience: Vec<String> = match table.audience.as_ref().map(|at| &at.value) {
        Some(Forms::Text(text)) => vec![text.clone()],
        Some(Forms::List(list)) => list.iter().map(|at| at.value.clone()).collect(),
        None => Vec::new(),
    };
    let x509 = table.x509.as_ref().is_some_and(|at| at.value);
    if let Some(audience) = table.audience.as_ref().filter(|_| x509) {
        let problem = Problem::new(audience.place, "an X.509-SVID is for whoever trusts its authority");
        return Err(problem.help("remove `audience`".to_owned()));
    }
    if !x509 && audience.is_empty()
        || audience.iter().any(|text| text.is_empty() || text.chars().any(char::is_control))
    {
        let problem = Problem::new(at.place, "a JWT-SVID is for somebody");
        return Err(problem
            .help("add `audience = \"https://api.example.org\"`, as the server knows itself, or `x509 = true` for a certificate".to_owned()));
    }
    let socket = match &table.socket {
        Some(socket) => {
            let text = socket.value.strip_prefix("unix://").unwrap_or(&socket.value);
            Some(absolute(text, scope).map_err(|invalid| invalid.at(socket.place))?)
        }
        None => None,
    };
    if let Some(id) = &table.id {
        identity::spiffe(&id.value).map_err(|invalid| invalid.at(id.place))?;
    }
    let id = table.id.as_ref().map(|id| id.value.clone());
    Ok(SecretSource::Spiffe(Box::new(Spiffe { socket, audience, x509, id })))
}
