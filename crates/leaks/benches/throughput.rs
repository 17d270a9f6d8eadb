//! `cargo bench -p ringfence-leaks`: how fast one core looks through what leaves, for twenty known secrets and all forms.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_leaks::{Known, Scanner};
use rustix::time::{ClockId, clock_gettime};

/// As large as what a body comes in.
const PART: usize = 16 << 10;
const SIZE: usize = 8 << 20;
/// The best of so many: a machine that does other things as well only ever slows it.
const ROUNDS: usize = 60;

fn main() {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let known: Vec<Known> = (0..20usize)
        .map(|number| {
            let bytes = random(number as u64, [16, 20, 32, 40][number % 4]);
            let value = bytes.iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect();
            Known { name: format!("secret {number}"), value }
        })
        .collect();
    let Some(scanner) = Scanner::new(&known, true) else { return };
    let source = source();
    let bytes = random(7, SIZE);
    let encoded = STANDARD.encode(random(9, SIZE / 4 * 3));
    let percent: String = source.iter().take(SIZE / 4).map(|byte| format!("%{byte:02x}")).collect();
    let json = format!("{:?}", String::from_utf8_lossy(&source));
    let rows: [(&str, &[u8]); 5] = [
        ("source code", &source),
        ("random bytes", &bytes),
        ("base64", encoded.as_bytes()),
        ("source code in JSON", json.as_bytes()),
        ("all percent-encoded", percent.as_bytes()),
    ];
    for (name, text) in rows {
        let best = (0..ROUNDS).map(|_| once(&scanner, text)).min().unwrap_or_default();
        println!("{name:>20}: {:.3} GB/s", text.len() as f64 / best.as_secs_f64() / 1e9);
    }
}

fn once(scanner: &Scanner, text: &[u8]) -> Duration {
    let begun = spent();
    let mut stream = scanner.begin();
    for part in text.chunks(PART) {
        let hit = black_box(stream.push(scanner, part));
        // A key of a crate's tests is one; a stream goes on behind it.
        assert!(hit.is_none_or(|hit| hit.way == "form"));
    }
    spent() - begun
}

/// Of this thread's processor, whatever else the machine does.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sources of the crates that this is built of.
fn source() -> Vec<u8> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut text = Vec::new();
    gather(&home.unwrap_or_default().join("registry/src"), &mut text);
    assert!(text.len() > SIZE / 4, "cargo has no sources here");
    text
}

fn gather(directory: &Path, text: &mut Vec<u8>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if text.len() > SIZE {
            return;
        }
        if path.is_dir() {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
