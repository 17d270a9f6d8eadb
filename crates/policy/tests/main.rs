//! One binary for all tests through the public interface, so that it is linked once.
#[cfg(test)]
mod suite {
    pub(crate) mod support;

    mod ceiling;
    mod decisions;
    mod diagnostics;
    mod extends;
    mod hostile;
    mod lints;
    mod merging;
    mod not_yet;
    mod presets;
    mod printing;
    #[cfg(feature = "schema")]
    mod schema;
    mod speed;
    mod steps;
}

#[test]
fn no_file_is_forgotten() {
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(listed.contains(&format!("mod {module};")), "{name} is not part of the suite");
    }
}
