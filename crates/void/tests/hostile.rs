//! Requests that no kernel would send: whatever comes in, what goes out is one well-formed answer, or none.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ringfence_plan::{Content, Node};
use ringfence_void::{Decision, LONGEST_REQUEST, Ledger, Server};

/// The longest answer: a listing and its header.
const LONGEST_ANSWER: usize = (64 << 10) + 1024;

fn server(asks: bool) -> Server {
    let node = |path: &str, content| Node { path: path.into(), content };
    let file = |decoy| Content::File { mode: 0o600, bytes: b"bytes".to_vec(), decoy };
    let nodes = [
        node("/usr", Content::Directory { mode: 0o755 }),
        node("/home/u/.aws/credentials", file(true)),
        node("/etc/passwd", file(false)),
        node("/bin", Content::Link { target: "usr/bin".into() }),
        node("/w/.env", Content::Hidden { directory: false }),
        node("/w/keys", Content::Hidden { directory: true }),
        node("/run/ringfence/refusals", Content::Refusals),
        node("/p/asked", Content::Asked { directory: true }),
    ];
    Server::new(&nodes, (1000, 1000), asks)
}

/// struct fuse_in_header and a body.
fn request(code: u32, unique: u64, node: u64, thread: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(40 + body.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(code.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(node.to_ne_bytes());
    bytes.extend([1000_u32.to_ne_bytes(), 1000_u32.to_ne_bytes(), thread.to_ne_bytes(), [0; 4]].concat());
    bytes.extend(body);
    bytes
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        &b"usr\0"[..],
        b"home\0",
        b".env\0",
        b"none\0",
        b"..\0",
        b"a/b\0",
        b"\0",
        b"",
        b"no end",
        b"\xff\xfe\0",
        b"asked\0",
    ]);
    prop_oneof![
        names.prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..128),
        (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(one, two, three)| {
            [&one.to_ne_bytes()[..], &two.to_ne_bytes(), &three.to_ne_bytes(), &[0; 20]].concat()
        }),
        Just(vec![b'x'; LONGEST_REQUEST]),
    ]
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let shaped = (
        0..60_u32,
        0..64_u64,
        prop_oneof![0..24_u64, any::<u64>()],
        prop_oneof![0..4_u32, any::<u32>()],
        bodies(),
    )
        .prop_map(|(code, unique, node, thread, body)| request(code, unique, node, thread, &body))
        .boxed();
    let cut =
        (shaped.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if byte % 4 == 0 {
                bytes.truncate(at);
            }
            bytes
        });
    prop_oneof![4 => shaped, 2 => cut, 1 => prop::collection::vec(any::<u8>(), 0..256)]
}

/// struct fuse_out_header.
fn well_formed(answer: &[u8]) -> bool {
    let word = |at: usize| answer.get(at..at + 4).map(|part| i32::from_ne_bytes(part.try_into().unwrap()));
    answer.is_empty()
        || answer.len() >= 16
            && answer.len() <= LONGEST_ANSWER
            && word(0) == i32::try_from(answer.len()).ok()
            && word(4).is_some_and(|error| (-4095..=0).contains(&error) && (error == 0 || answer.len() == 16))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_in(asks: bool, requests in prop::collection::vec(requests(), 1..80), decided in 0..8_u8) {
        let (mut server, mut answer, mut waiting) = (server(asks), Vec::new(), 0);
        for (number, bytes) in requests.iter().enumerate() {
            let look = server.serve(bytes, &mut answer);
            prop_assert!(well_formed(&answer), "{bytes:?} -> {answer:?}");
            if let Some(look) = look {
                prop_assert!(answer.is_empty(), "a look that was answered already");
                prop_assert!(look.path.is_absolute());
                if number % 3 == 0 {
                    server.offer(Path::new("/p/offered/x"), false, &look, &mut answer);
                } else {
                    server.finish(&look, &mut answer);
                }
                prop_assert!(well_formed(&answer) && !answer.is_empty());
                waiting += 1;
            }
        }
        let decision = [Decision::Granted, Decision::Refused, Decision::Ended][usize::from(decided % 3)];
        for path in ["/p/asked", "/p/offered/x", "/nowhere", "/"] {
            let (answered, error) = server.decide(Path::new(path), decision);
            prop_assert!(answered.len() <= requests.len() && (0..4096).contains(&error));
        }
        prop_assert!(waiting <= requests.len());
    }
}

/// 100,000 names of a crawler: what is remembered of them is bounded, and the tree does not grow.
#[test]
fn a_crawl_of_many_names_is_remembered_in_bounds() {
    let (mut server, mut ledger, mut answer) = (server(false), Ledger::default(), Vec::new());
    let (mut told, mut listing) = (0, 0);
    for number in 0..100_000_u64 {
        let name = format!("name-{number}\0");
        let look = server.serve(&request(1, number, 1, 7, name.as_bytes()), &mut answer).unwrap();
        told += usize::from(matches!(
            ledger.note(&[look.path.as_os_str().as_encoded_bytes()], &[b"find"]),
            ringfence_void::First::New(_)
        ));
        server.told.add(&look.path, "look", ringfence_void::By::Nothing);
        server.finish(&look, &mut answer);
        listing = listing.max(answer.len());
    }
    assert!(told <= 8192, "{told} names have events of their own");
    // struct fuse_init_in is not asked for: reading what was told needs the node's number, which a lookup gives.
    let find = |server: &mut Server, path: PathBuf| {
        let mut node = 1_u64;
        for name in path.components().skip(1) {
            let name = [name.as_os_str().as_encoded_bytes(), b"\0"].concat();
            let mut answer = Vec::new();
            assert!(server.serve(&request(1, 1, node, 7, &name), &mut answer).is_none());
            node = u64::from_ne_bytes(answer[16..24].try_into().unwrap());
        }
        node
    };
    let refusals = find(&mut server, "/run/ringfence/refusals".into());
    let body =
        [&0_u64.to_ne_bytes()[..], &0_u64.to_ne_bytes(), &(1_u32 << 20).to_ne_bytes(), &[0; 20]].concat();
    assert!(server.serve(&request(15, 1, refusals, 7, &body), &mut answer).is_none());
    assert!(answer.len() <= LONGEST_ANSWER && listing < 1024, "{} and {listing} bytes", answer.len());
}
