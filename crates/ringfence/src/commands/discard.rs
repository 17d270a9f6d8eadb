//! stub
use crate::failure::Failure;
use clap::Args;
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    run: Option<String>,
}
pub(crate) fn run(_: &Arguments) -> Result<u8, Failure> {
    Err(Failure::new("pending"))
}
pub(crate) fn remove(_: &ringfence_record::RunDir, _: &ringfence_record::RunRecord) -> Result<(), Failure> {
    Ok(())
}
