//! Builds the boundary: carries out a plan between clone and exec, and decides nothing.
//!
//! [`begin`] makes the namespaces; meanwhile [`probe`] and [`survey`] look at the host and the plan is made; init gets it as
//! `orders`. What runs in the new processes is in `child` (the order of construction is the order of that page), `root` and
//! `init`.

#![forbid(unsafe_code)]

mod caller;
mod channel;
mod child;
mod connections;
mod enclosure;
pub mod gateway;
mod guard;
mod hosted;
mod init;
mod interpreter;
#[cfg(debug_assertions)]
mod intruder;
mod job;
pub mod keeper;
mod landlock;
mod leader;
mod lives;
mod mounter;
pub mod mountinfo;
mod nascent;
mod orders;
mod parent;
pub mod probe;
mod proc;
pub mod publish;
mod purpose;
mod query;
mod rare;
mod reach;
mod renames;
pub mod report;
mod rest;
mod restack;
mod retold;
mod root;
mod script;
mod shorten;
mod spare;
mod stage;
pub mod survey;
mod unnamed;
mod void;
mod written;

pub use enclosure::{Enclosure, enclose};
pub use guard::{Why, foreseen, is_program};
pub use hosted::{Settle, begin as begin_hosted};
pub use interpreter::Unfit;
pub use landlock::{hidden_by_names, told_of_names};
pub use mounter::{NOT_LOCKED, Opening, RESTACKED};
pub use nascent::{Nascent, begin};
pub use orders::{Job, Size, Stream};
pub use parent::{Boundary, Failure, WayOut};
pub use purpose::Purpose;
pub use query::Query;
pub use report::{Command, Fate, Life, Message, Process, Refusal, Refused};
pub use rest::Rest;
pub use restack::Stack;
pub use ringfence_policy::{GrantedCommand, GrantedHost};
pub use ringfence_void::Decision;
pub use script::Program;
pub use stage::{stage, stage_of_job};
pub use void::BEYOND;
