//! Messages that a client of ssh sends to an agent, and what is made of them.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;

const KEY: &[u8] = b"the public key";

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    parts.iter().for_each(|part| string(&mut out, part));
    out
}

fn sign_in(session: &[u8], user: &str, host: Option<&[u8]>) -> Vec<u8> {
    let method: &[u8] = if host.is_some() { b"publickey-hostbound-v00@openssh.com" } else { b"publickey" };
    let mut data = strings(&[session]);
    data.push(50);
    data.extend(strings(&[user.as_bytes(), b"ssh-connection", method]));
    data.push(1);
    data.extend(strings(&[b"ssh-ed25519", KEY]));
    data.extend(host.iter().flat_map(|host| strings(&[host])));
    data
}

/// A host that signs a session.
fn said(session: &[u8], signed: &[u8], forwarding: u8) -> Vec<u8> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let host = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let key = strings(&[b"ssh-ed25519", host.public_key().as_ref()]);
    let signature = strings(&[b"ssh-ed25519", host.sign(signed).as_ref()]);
    let mut out = strings(&[&key, session, &signature]);
    out.push(forwarding);
    out
}

#[test]
fn a_session_is_bound_to_the_host_that_signed_it() {
    let good = said(b"session", b"session", 0);
    let bound = bind(&good, 0).unwrap();
    assert_eq!((bound.session.as_slice(), bound.said.as_slice()), (&b"session"[..], good.as_slice()));
    assert!(bind(&said(b"session", b"another", 0), 0).is_err());
    assert!(bind(&said(b"session", b"session", 1), 0).is_err());
    assert!(bind(&good, MOST_BINDS).is_err());
    for cut in 0..good.len() {
        assert!(bind(&good[..cut], 0).is_err(), "{cut}");
    }
    assert!(bind(&[good, vec![0]].concat(), 0).is_err());
}

#[test]
fn a_signature_is_for_a_session_that_was_bound() {
    let binds = [bind(&said(b"one", b"one", 0), 0).unwrap(), bind(&said(b"two", b"two", 0), 0).unwrap()];
    let own = binds[1].host_key.clone();
    let to = |number, user: &str| Ok(Purpose::SignIn(number, user.to_owned()));
    assert_eq!(purpose(&sign_in(b"one", "git", None), KEY, &binds), to(0, "git"));
    assert_eq!(purpose(&sign_in(b"two", "git", Some(&own)), KEY, &binds), to(1, "git"));
    for (data, why) in [
        (sign_in(b"one", "git", Some(&own)), "another one"),
        (sign_in(b"three", "git", None), "did not say"),
        (sign_in(b"one", "a b", None), "plain name"),
        (sign_in(b"one", "", None), "plain name"),
        ([sign_in(b"one", "git", None), vec![0]].concat(), "neither"),
        (b"a challenge of another protocol".to_vec(), "neither"),
        (Vec::new(), "neither"),
    ] {
        assert!(purpose(&data, KEY, &binds).unwrap_err().contains(why), "{why}");
    }
    assert!(purpose(&sign_in(b"one", "git", None), b"another key", &binds).is_err());
    assert!(purpose(&sign_in(b"one", "git", None), KEY, &[]).is_err());
}

#[test]
fn files_have_a_namespace() {
    let file = |namespace: &str, hash: &str| {
        [&b"SSHSIG"[..], &strings(&[namespace.as_bytes(), b"", hash.as_bytes(), &[0; 64]])].concat()
    };
    assert_eq!(purpose(&file("git", "sha512"), KEY, &[]), Ok(Purpose::File("git".to_owned())));
    assert!(purpose(&file("git", "md5"), KEY, &[]).is_err());
    let whole = file("git", "sha512");
    for cut in 0..whole.len() {
        assert!(purpose(&whole[..cut], KEY, &[]).is_err(), "{cut}");
    }
}

#[test]
fn whatever_comes_is_read_or_refused() {
    let binds = [bind(&said(b"one", b"one", 0), 0).unwrap()];
    let good = [sign_in(b"one", "git", None), said(b"one", b"one", 0)];
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..100_000 {
        let mut data = good[round % 2].clone();
        for _ in 0..=random(4) {
            let at = random(data.len());
            match random(3) {
                0 => data[at] = u8::try_from(random(256)).unwrap(),
                1 => data.truncate(at.max(1)),
                _ => data.insert(at, 255),
            }
        }
        // What is taken is for the very session and key.
        if let Ok(Purpose::SignIn(number, _)) = purpose(&data, KEY, &binds) {
            assert!(number == 0 && data.starts_with(&strings(&[b"one"])) && data.ends_with(&strings(&[KEY])));
        }
        if let Ok(bound) = bind(&data, 0) {
            assert_eq!(bound.session, b"one");
        }
    }
}
