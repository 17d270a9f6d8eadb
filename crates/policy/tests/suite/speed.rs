//! Loading is on the way of every start. The targets are judged by the benchmark; a test fails at ten times.

use std::fmt::Write;
use std::time::{Duration, Instant};

use ringfence_policy::{Policy, load};

use super::support::{context, file, memory, preset};

/// The bounds are for release builds; unoptimised code takes about this many times longer.
const UNOPTIMISED: u32 = if cfg!(debug_assertions) { 20 } else { 1 };

fn best(times: u32, mut work: impl FnMut() -> Policy) -> Duration {
    (0..times)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(work());
            start.elapsed()
        })
        .min()
        .unwrap()
}

#[test]
fn the_default_preset_loads_in_300_microseconds() {
    let (context, files) = (context(), memory(&[]));
    let took = best(200, || load(&[preset("default")], &context, &files).unwrap());
    println!("default preset: {took:?} (target 300us)");
    assert!(took < Duration::from_micros(3000) * UNOPTIMISED, "{took:?}");
    let took = best(50, || load(&[preset("coding-agent")], &context, &files).unwrap());
    println!("coding-agent preset: {took:?}");
}

#[test]
fn ten_thousand_rules_load_in_100_milliseconds() {
    let mut text = "version = 1\n[files]\n".to_owned();
    for (list, root) in [("read", "/r"), ("exec", "/e"), ("write", "/w")] {
        writeln!(text, "{list} = [").unwrap();
        for number in 0..10_000 {
            writeln!(text, "\"{root}/{}/directory-{number}\",", number % 100).unwrap();
        }
        text.push_str("]\n");
    }
    text.push_str("deny = [");
    (0..3000).for_each(|number| writeln!(text, "\"{number}/x\",").unwrap());
    text.push_str("]\n[expect]\nallow = [");
    (0..500).for_each(|number| writeln!(text, "\"read /r/{}/directory-{number}/x\",", number % 100).unwrap());
    text.push_str("]\n");
    let (context, files) = (context(), memory(&[("/proj/p.toml", &text)]));
    assert!(text.len() < 1 << 20, "{}", text.len());
    let took = best(3, || load(&[file("p.toml")], &context, &files).unwrap());
    println!("30,000 grants, 3,000 denials, 500 claims: {took:?} (target 100ms)");
    assert!(took < Duration::from_millis(1000) * UNOPTIMISED, "{took:?}");
}

#[test]
fn ten_thousand_contradictions_are_found_as_fast() {
    let mut text = "version = 1\n[files]\n".to_owned();
    for list in ["exec", "write"] {
        writeln!(text, "{list} = [").unwrap();
        (0..10_000).for_each(|number| writeln!(text, "\"/x/{number}\",").unwrap());
        text.push_str("]\n");
    }
    let (context, files) = (context(), memory(&[("/proj/p.toml", &text)]));
    let start = Instant::now();
    let found = load(&[file("p.toml")], &context, &files).unwrap_err();
    let shown = found.to_string().len();
    let took = start.elapsed();
    println!("10,000 contradictions: {took:?}, {shown} bytes of errors");
    assert!(took < Duration::from_millis(1000) * UNOPTIMISED, "{took:?}");
}
