//! `[containers]`, as it is written.

use crate::reader::{At, List, table};

table! {
    /// A container engine of the host, by way of the gateway.
    ContainersTable {
        /// Its socket, where Docker's API is spoken.
        engine: At<String>,
        /// What may be asked of it: `read`, `inspect`, `pull`, `build`, `run`, `attach`, `exec`, `network`.
        allow: List<String>,
        /// Images that may be pulled and run, `docker.io/library/alpine:3.*`; `**` is any.
        images: List<String>,
        /// Names that builds may give to what they make, and that may be run.
        tags: List<String>,
    }
}
