//! A policy file of hostile bytes: an error or a policy, never a panic, and an error that acts on no terminal.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use ringfence_policy::{Context, Files, Source, load};

struct One<'a>(&'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/p/policy.toml") {
            Ok(self.0.to_vec())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn read_ceiling(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

fuzz_target!(|bytes: &[u8]| {
    let context = Context { home: "/home/u".into(), cwd: "/p".into(), ..Context::default() };
    let sources = [Source::File(PathBuf::from("/p/policy.toml"))];
    if let Err(wrong) = load(&sources, &context, &One(bytes)) {
        let shown = wrong.to_string();
        assert!(!shown.is_empty());
        let acts = |one: char| one.is_control() && one != '\n';
        assert!(!shown.chars().any(acts), "{shown:?}");
    }
});
