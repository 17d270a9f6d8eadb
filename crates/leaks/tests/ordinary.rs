//! Ordinary text is no secret: the sources of other crates, as far as cargo has them here, in parts as large as requests.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ringfence_leaks::{Known, Scanner};

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

#[test]
fn sources_hold_no_secrets() {
    let home = std::env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let mut all = Vec::new();
    files(&home.join("registry/src"), &mut all);
    all.sort();
    let known: Vec<Known> = (0..20u64)
        .map(|number| {
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
            let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let value = (0..[12, 20, 32, 40][number as usize % 4]).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                letters[(state >> 33) as usize % letters.len()]
            });
            Known { name: format!("secret {number}"), value: value.collect() }
        })
        .collect();
    let scanner = Scanner::new(&known, true).unwrap();
    // Debug builds are slow; the count per request is what matters.
    let most = if cfg!(debug_assertions) { 12 << 20 } else { 400 << 20 };
    let (mut bytes, mut requests, mut forms) = (0, 0u64, Vec::new());
    let mut spent = std::time::Duration::ZERO;
    for path in all {
        let Ok(text) = std::fs::read(&path) else { continue };
        for part in text.chunks(64 << 10) {
            let begun = Instant::now();
            let hit = scanner.whole(part);
            spent += begun.elapsed();
            (bytes, requests) = (bytes + part.len(), requests + 1);
            if let Some(hit) = hit {
                assert_eq!(hit.way, "form", "{}: {hit:?}", path.display());
                forms.push((hit.name, path.clone()));
            }
        }
        if bytes > most {
            break;
        }
    }
    assert!(requests > 100, "cargo has no sources here");
    let rate = bytes as f64 / spent.as_secs_f64() / 1e9;
    println!(
        "{bytes} bytes as {requests} requests, {rate:.3} GB/s; known secrets: 0; forms: {}",
        forms.len()
    );
    for (name, path) in &forms {
        println!("  {name}: {}", path.display());
    }
    // Keys of tests are keys.
    let others = forms.iter().filter(|(name, _)| name != "private key").count() as u64;
    assert!(others * 10_000 <= requests.max(10_000), "{forms:?}");
}
