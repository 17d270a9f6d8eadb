//! Ordinary text is no secret: what this machine has of sources, packages and documents, in parts as large as requests.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ringfence_leaks::{Known, Scanner};

/// Bytes that are looked through, at least and of each place; of one request at most.
const LEAST: usize = 50 << 20;
const OF_ONE: usize = if cfg!(debug_assertions) { 40 << 20 } else { 400 << 20 };
const REQUEST: usize = 16 << 10;
/// One request in so many may be taken for a leak.
const RARE: usize = 10_000;
/// As people choose them: these would be found by chance before all others.
const CHOSEN: [&str; 8] = [
    "Zx81kQp0",
    "Summer-2024!",
    "Tr0ub4dor&3",
    "pg-Passw0rd",
    "correct-horse-battery",
    "plain-session-secret",
    "nrcPassWord99887766",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ8v1Lk2Xs",
];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Twenty, of several lengths, and those that people choose.
fn known() -> Vec<Known> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let random = (0..20u64).map(|number| {
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let value = (0..[12, 20, 32, 40][number as usize % 4]).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            letters[(state >> 33) as usize % letters.len()]
        });
        Known { name: format!("secret {number}"), value: value.collect() }
    });
    let chosen = CHOSEN.iter().map(|text| Known { name: (*text).to_owned(), value: (*text).into() });
    random.chain(chosen).collect()
}

#[test]
fn ordinary_traffic_holds_no_secrets() {
    let home = std::env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let scanner = Scanner::new(&known(), true).unwrap();
    let (mut bytes, mut requests, mut forms) = (0, 0, Vec::new());
    let mut spent = std::time::Duration::ZERO;
    // Source code, packages as they are loaded, and what a system has beside.
    let places = [home.join("registry/src"), home.join("registry/cache")];
    for place in
        places.into_iter().chain(["/usr/lib/python3", "/usr/include", "/usr/share"].map(PathBuf::from))
    {
        let (mut all, mut own) = (Vec::new(), 0);
        files(&place, &mut all);
        all.sort();
        for path in all {
            let Ok(text) = std::fs::read(&path) else { continue };
            for part in text.chunks(REQUEST) {
                let begun = Instant::now();
                let hit = scanner.whole(part);
                spent += begun.elapsed();
                (own, requests) = (own + part.len(), requests + 1);
                if let Some(hit) = hit {
                    assert_eq!(hit.way, "form", "{}: {hit:?}", path.display());
                    forms.push((hit.name, path.clone()));
                }
            }
            if own > OF_ONE {
                break;
            }
        }
        println!("{}: {own} bytes", place.display());
        bytes += own;
    }
    assert!(bytes >= LEAST && requests >= RARE, "this machine has {bytes} bytes in {requests} requests");
    let rate = bytes as f64 / spent.as_secs_f64() / 1e9;
    println!(
        "{bytes} bytes as {requests} requests, {rate:.3} GB/s; known secrets: 0; forms: {}",
        forms.len()
    );
    for (name, path) in &forms {
        println!("  {name}: {}", path.display());
    }
    // Keys of tests are keys.
    let others = forms.iter().filter(|(name, _)| name != "private key").count();
    assert!(others * RARE < requests, "{others} in {requests}: {forms:?}");
}
