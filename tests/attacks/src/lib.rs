//! The attack table: one row, one attack, run in a host of our own and judged clause by clause.
//!
//! `attacks.tsv` is the table; `README.md` beside it says how to read it. [`run`] is what `cargo xtask attack` calls:
//! it starts a few worlds (`world/world.sh`: fresh namespaces with their own addresses, services and home), hands them
//! rows one by one, and adds up the verdicts. Each row is first run without the boundary, to see that it works there.
#![forbid(unsafe_code)]

mod footprint;
mod judge;
mod places;
mod pool;
mod process;
mod summary;
mod table;
mod verdict;
mod worker;

pub use pool::Options;
pub use pool::Who;
pub use pool::run;
pub use summary::Summary;
pub use table::Row;
pub use table::rows;
pub use worker::work;

/// What stops the runner itself, as opposed to a row that fails.
#[derive(Debug)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}
