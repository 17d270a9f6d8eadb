//! `source.spiffe`: a JWT-SVID of the Workload API.

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

/// Whose token, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spiffe {
    /// Where the Workload API is; `None`: where the invoker's `SPIFFE_ENDPOINT_SOCKET` says.
    pub socket: Option<PathBuf>,
    /// Whom the token is for; at least one.
    pub audience: Vec<String>,
    /// Of several identities that ringfence has there, this one.
    pub id: Option<String>,
}

impl fmt::Display for Spiffe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(formatter, "the JWT-SVID of `{id}`"),
            None => formatter.write_str("the JWT-SVID of the Workload API"),
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
    if audience.is_empty()
        || audience.iter().any(|text| text.is_empty() || text.chars().any(char::is_control))
    {
        let problem = Problem::new(at.place, "a JWT-SVID is for somebody");
        return Err(problem
            .help("add `audience = \"https://api.example.org\"`, as the server knows itself".to_owned()));
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
    Ok(SecretSource::Spiffe(Box::new(Spiffe { socket, audience, id })))
}
