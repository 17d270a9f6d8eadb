//! stub
use clap::Args;
use crate::failure::Failure;
#[derive(Args, Debug)]
pub(crate) struct Arguments { run: Option<String> }
pub(crate) fn run(_: &Arguments) -> Result<u8, Failure> { Err(Failure::new("pending")) }
pub(crate) fn count(_: &ringfence_record::RunDirectory) -> Result<u64, Failure> { Ok(1) }
pub(crate) fn remove(_: &ringfence_record::RunDirectory) -> Result<(), Failure> { Ok(()) }
