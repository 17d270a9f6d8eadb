//! Requests to the root's server, one after another: each has one well-formed answer, or none.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ringfence_plan::{Content, Node};
use ringfence_void::{Decision, Server};

fuzz_target!(|bytes: &[u8]| {
    let node = |path: &str, content| Node { path: path.into(), content };
    let file = |decoy| Content::File { mode: 0o600, bytes: b"bytes".to_vec(), decoy };
    let nodes = [
        node("/home/u/.aws/credentials", file(true)),
        node("/etc/passwd", file(false)),
        node("/bin", Content::Link { target: "usr/bin".into() }),
        node("/w/keys", Content::Hidden { directory: true }),
        node("/run/ringfence/refusals", Content::Refusals),
        node("/p/asked", Content::Asked { directory: true }),
    ];
    let mut server = Server::new(&nodes, (1000, 1000), true);
    let mut answer = Vec::new();
    let mut rest = bytes;
    // A byte of length before each, so that the fuzzer can make sequences; the header's own length is mended.
    while let Some((length, more)) = rest.split_first() {
        let (request, after) = more.split_at(more.len().min(usize::from(*length)));
        rest = after;
        let mut request = request.to_vec();
        if length % 2 == 0 && request.len() >= 4 {
            let length = u32::try_from(request.len()).unwrap_or(0).to_ne_bytes();
            request[..4].copy_from_slice(&length);
        }
        if let Some(look) = server.serve(&request, &mut answer) {
            assert!(answer.is_empty() && look.path.is_absolute());
            if length % 3 == 0 {
                server.offer(Path::new("/p/new/x"), false, &look, &mut answer);
            } else {
                server.finish(&look, &mut answer);
            }
            assert!(!answer.is_empty());
        }
        assert!(answer.is_empty() || (16..=(64 << 10) + 1024).contains(&answer.len()));
        if !answer.is_empty() {
            let length = u32::from_ne_bytes([answer[0], answer[1], answer[2], answer[3]]);
            assert_eq!(usize::try_from(length).unwrap_or(0), answer.len());
        }
    }
    server.decide(Path::new("/p/asked"), Decision::Refused);
});
