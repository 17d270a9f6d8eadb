//! Builds with the exec guard on: each of their thousands of starts is judged and confirmed, and none is ended.

use std::time::Instant;

use ringfence_real::{inputs, long, world::World};

/// Something is refused, so that somebody has to look; nothing that a build starts.
const GUARD: &str = "[commands]\ndeny = [\"git push\", \"curl\"]\n";

fn nothing_was_ended(world: &World) {
    let explained = world.ringfence(&["explain", "--json"]);
    for kind in ["tamper", "deny"] {
        assert!(!explained.out.contains(&format!("\"purpose\": \"{kind}\"")), "{}", explained.out);
    }
}

#[test]
fn configure_and_make_are_not_disturbed() {
    let world = World::with(&inputs::c());
    let all = "./configure --quiet --disable-cpp 2>&1 && make -j2 2>&1 && make check 2>&1";
    let script =
        if long() { all } else { "./configure --quiet --disable-cpp 2>&1 && make -j2 libpcreposix.la 2>&1" };
    let began = Instant::now();
    let inside = world.inside("default", GUARD, script);
    let guarded = began.elapsed();
    assert_eq!(inside.status, 0, "{inside:#?}");
    nothing_was_ended(&world);
    let began = Instant::now();
    assert_eq!(world.outside(script).status, 0);
    println!("configure and make: {guarded:?} with the guard, {:?} outside", began.elapsed());
}

#[test]
fn cargo_is_not_disturbed() {
    let input = if long() { inputs::rust_large() } else { inputs::rust() };
    let toolchain = inputs::toolchain();
    let world = World::with(&input).programs(&toolchain.join("bin"));
    let grant = format!("[files]\nexec = [\"{}\"]\n{GUARD}", toolchain.display());
    let inside = world.inside("default", &grant, "cargo build --offline 2>&1");
    assert_eq!(inside.status, 0, "{inside:#?}");
    nothing_was_ended(&world);
    // A list, and what cargo needs besides: its compiler, and the linker that this starts.
    let list = "[commands]\nallow = [\"bash -c *\", \"cargo build **\", \"rm **\"]\ndeny = [\"curl\"]\n";
    for (children, status) in [("\"free\"", 0), ("\"same\"", 101)] {
        let grant = format!("[files]\nexec = [\"{}\"]\n{list}children = {children}\n", toolchain.display());
        let inside = world.inside("default", &grant, "cargo build --offline 2>&1");
        assert_eq!(inside.status, status, "{children}: {inside:#?}");
    }
}
