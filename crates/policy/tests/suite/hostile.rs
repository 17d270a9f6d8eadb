//! Mutated policies: whatever the bytes are, loading answers, soon, and in text that a terminal can show.

use std::time::Instant;

use ringfence_policy::{Files, load, presets, print_merged};

use super::support::{Memory, context, file};

/// A policy with every table, so that each reader is reached.
const EVERYTHING: &str = r#"
version = 1
extends = ["default", "./b.toml"]
identity = { name = "build-agent" }
lists = { replace = ["files.read"] }
workspace = { path = ".", mode = "review", quota = "2GiB", protect = [".git/hooks"], outputs = ["dist/**"], git = true }
[files]
read = ["~/.cargo/registry", "$SDK/x?"]
exec = ["/usr"]
write = ["/srv/[x"]
deny = ["**/.env", "**/*.pem", "[!a-]x{1,2}"]
[environment]
set = { CI = "1", R = { path = "~/x", optional = true } }
[commands]
allow = ["cargo", "git status", "/usr/bin/cc"]
[network]
allow = ["a.example.org:443", { host = "[2001:db8::/32]:80" }, "10.0.0.0/8", "b\u00fccher.example"]
[credentials.tracker]
source = { env = "T" }
hosts = ["api.example.org"]
inject = "Authorization: Bearer {secret}"
[limits]
memory = "4GiB"
cpu = 2.0
time = "30m"
[expect]
allow = ["run cargo build", "https GET api.example.org/x"]
refuse = ["read ~/.ssh/id", "connect [::1]:80"]
"#;

/// A small generator with a fixed seed (xorshift64), so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const PIECES: &[&[u8]] = &[
    b"\"",
    b"'''",
    b"[",
    b"]",
    b"{",
    b"}",
    b"=",
    b"\n",
    b"\0",
    b"\x1b[2J",
    b"\xff",
    "\u{202e}".as_bytes(),
    b"..",
    b"**",
    b"\\u0000",
    b"$",
    b"~",
    b"?",
    b"*",
    b"[!",
    b"99999999999999999999",
    b"-1",
    b"nan",
    b"://",
    b"%",
    b"\r\n",
    b"#",
    "\u{e9}\u{301}".as_bytes(),
    b"/",
    b".",
    b",",
    b"[[a]]",
];

#[test]
fn mutated_policies_are_answered() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let seeds: Vec<&[u8]> =
        presets().iter().map(|(_, text)| text.as_bytes()).chain([EVERYTHING.as_bytes()]).collect();
    for round in 0..1500 {
        let mut bytes = seeds[if round % 4 == 0 { random.below(2) } else { 2 }].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
                1 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
                _ => {
                    let from = random.below(bytes.len());
                    let piece = bytes[from..(from + random.below(60)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let mut files = Memory::default();
        files.0.insert("/proj/b.toml".into(), b"version = 1\n".to_vec());
        files.0.insert("/proj/p.toml".into(), bytes);
        let shown = match load(&[file("p.toml")], &context(), &files) {
            Ok(policy) => print_merged(&policy),
            Err(found) => format!("{found}{}", found.to_json()),
        };
        let hostile = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        };
        let text = files.read("/proj/p.toml".as_ref()).unwrap();
        let found = shown.find(hostile).map(|at| shown[at..].chars().take(40).collect::<String>());
        assert!(found.is_none(), "round {round}: {:?}\n{found:?}", String::from_utf8_lossy(&text));
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
