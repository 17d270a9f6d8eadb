//! Builds: cargo with vendored dependencies, and configure, make, make check.

use std::path::Path;
use std::time::Instant;

use ringfence_real::world::{World, slower};
use ringfence_real::{inputs, long, tree};

/// Incremental builds differ in names from one to the next, inside or outside.
const BUILD: &str = "export CARGO_INCREMENTAL=0; cargo build --offline 2>&1";

fn project() -> (std::path::PathBuf, World, String) {
    let input = if long() { inputs::rust_large() } else { inputs::rust() };
    let toolchain = inputs::toolchain();
    let world = World::with(&input).programs(&toolchain.join("bin"));
    let grant = format!("[files]\nexec = [\"{}\"]\n", toolchain.display());
    (input, world, grant)
}

fn cargo_test() -> String {
    // A module of the crate in the short form.
    let filter = if long() { "" } else { " packed" };
    format!("export CARGO_INCREMENTAL=0; cargo test --offline --lib{filter} 2>&1")
}

#[test]
fn cargo_builds_and_tests_in_review() {
    let (input, world, grant) = project();
    assert!(tree::lines(&input, "rs") - tree::lines(&input.join("vendor"), "rs") >= 20_000);
    let before = tree::listing(&world.workspace);

    let script = format!("{BUILD} && {}", cargo_test());
    let inside = world.inside("default", &grant, &script);
    assert_eq!(tree::differences(&before, &tree::listing(&world.workspace)), [""; 0]);

    let outside = world.outside(&script);
    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    let tests = |line: &str| line.starts_with("test ") && !line.starts_with("test result");
    assert!(outside.lines(tests).len() >= 10, "{}", outside.out);
    assert_eq!(inside.lines(tests), outside.lines(tests));
    let compiled = |line: &str| line.trim_start().starts_with("Compiling ");
    assert_eq!(inside.lines(compiled), outside.lines(compiled));
}

#[test]
fn cargo_builds_the_same_files_in_direct() {
    let (input, world, grant) = project();
    let grant = format!("[workspace]\nmode = \"direct\"\n{grant}");
    // Time stamps in fingerprints and the log of build scripts are not the build's result.
    let result = |path: &Path| {
        let extension = path.extension().and_then(|name| name.to_str()).unwrap_or_default();
        path.starts_with("target") && matches!(extension, "rlib" | "rmeta" | "d" | "a" | "so")
    };
    let named = |path: &Path| path.starts_with("target/debug/deps") || !path.starts_with("target");

    let began = Instant::now();
    let inside = world.inside("default", &grant, BUILD);
    let within = began.elapsed();
    let (files, names) = (tree::contents(&world.workspace, result), tree::names(&world.workspace, named));
    world.reset(&input);
    let began = Instant::now();
    let outside = world.outside(BUILD);
    slower("cargo build", within, began.elapsed());

    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    assert!(files.len() >= 4, "{files:?}");
    assert_eq!(tree::differences(&tree::contents(&world.workspace, result), &files), [""; 0]);
    assert_eq!(tree::names(&world.workspace, named), names);
}

#[test]
fn cargo_fails_inside_as_it_does_outside() {
    let (_, world, grant) = project();
    world.write("src/lib.rs", "pub fn wrong() -> u32 { \"no number\" }\n");
    let inside = world.inside("default", &grant, BUILD);
    let outside = world.outside(BUILD);
    assert_eq!((outside.status, inside.status), (101, 101), "{outside:#?}{inside:#?}");
    let errors = |line: &str| line.starts_with("error");
    assert!(!outside.lines(errors).is_empty());
    assert_eq!(inside.lines(errors), outside.lines(errors));
}

const CONFIGURE: &str = "./configure --quiet --disable-cpp 2>&1 && make -j2 2>&1 && make check 2>&1";

#[test]
fn configure_make_and_make_check() {
    let input = inputs::c();
    let world = World::with(&input);
    assert!(tree::lines(&input, "c") >= 20_000);
    // What is built from sources alone, without times or names of this run in it.
    let built = |path: &Path| {
        let extension = path.extension().and_then(|name| name.to_str()).unwrap_or_default();
        matches!(extension, "o" | "a" | "h" | "pc")
            || path.ends_with("Makefile")
            || path.ends_with("pcregrep")
    };
    let logs = |path: &Path| path.extension().is_none_or(|name| name != "log" && name != "trs");

    let began = Instant::now();
    let inside = world.inside("default", "[workspace]\nmode = \"direct\"\n", CONFIGURE);
    let within = began.elapsed();
    let (files, names) = (tree::contents(&world.workspace, built), tree::names(&world.workspace, logs));
    world.reset(&input);
    let began = Instant::now();
    let outside = world.outside(CONFIGURE);
    slower("configure, make, make check", within, began.elapsed());

    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    let results =
        |line: &str| ["PASS: ", "FAIL: ", "ERROR: ", "# "].iter().any(|word| line.starts_with(word));
    assert!(outside.lines(results).iter().any(|line| line.starts_with("PASS: ")), "{}", outside.out);
    assert_eq!(inside.lines(results), outside.lines(results));
    assert!(files.len() >= 40, "{files:?}");
    assert_eq!(tree::differences(&tree::contents(&world.workspace, built), &files), [""; 0]);
    assert_eq!(tree::names(&world.workspace, logs), names);
}

#[test]
fn configure_and_make_in_review_change_nothing() {
    let world = World::with(&inputs::c());
    let before = tree::listing(&world.workspace);
    let script =
        if long() { CONFIGURE } else { "./configure --quiet --disable-cpp 2>&1 && make pcre_tables.o 2>&1" };
    let inside = world.inside("default", "", script);
    assert_eq!(inside.status, 0, "{inside:#?}");
    assert_eq!(tree::differences(&before, &tree::listing(&world.workspace)), [""; 0]);
}
