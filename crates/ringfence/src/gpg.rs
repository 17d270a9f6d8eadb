//! Keys of gpg: on the host its program signs for the keeper; inside, git starts this program by another name, which asks the gateway.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use ringfence_policy::{AGENT, SIGN_OPENPGP};

use crate::keeper::{command, given};

/// Bytes of the longest text: what the gateway passes on at once.
const LONGEST: u64 = 60 << 10;
/// The agent's answers (draft-ietf-sshm-ssh-agent, section 6.1).
const EXTENSION: u8 = 27;
const SIGNED: u8 = 14;

/// The fingerprint of the one secret key that a policy means.
pub(crate) fn key(name: &str, variables: &BTreeMap<OsString, OsString>) -> Result<String, String> {
    let words = ["gpg", "--batch", "--with-colons", "--list-secret-keys", "--", name];
    let listed = command(&words.map(str::to_owned), variables).map_err(|why| {
        format!("gpg has no such secret key: `gpg --list-secret-keys` lists those that it has ({why})")
    })?;
    let text = String::from_utf8_lossy(&listed);
    // doc/DETAILS of GnuPG: a line for each secret key, its fingerprint in the tenth field of the next `fpr`.
    let lines = || text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let keys = lines().filter(|fields| fields.first() == Some(&"sec")).count();
    let print = lines().find(|fields| fields.first() == Some(&"fpr"));
    match (keys, print.and_then(|fields| fields.get(9).map(|print| (*print).to_owned()))) {
        (1, Some(print)) => Ok(print),
        (0 | 1, _) => Err("gpg has no such secret key".to_owned()),
        _ => Err("gpg has several keys of that name: write a fingerprint".to_owned()),
    }
}

/// Has gpg sign a text: an armored signature of its own.
pub(crate) fn sign(
    key: &str,
    text: &[u8],
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Vec<u8>, String> {
    // Whatever else its owner's options have it do: it signs, with this key, and the answer is all that it writes.
    let words = [
        "gpg",
        "--no-options",
        "--batch",
        "--yes",
        "--quiet",
        "--armor",
        "--output",
        "-",
        "--detach-sign",
        "--local-user",
        key,
    ];
    given(&words.map(str::to_owned), variables, text).map(|signature| signature.to_vec())
}

/// What git starts as `gpg.program`: signatures are asked for, everything else is done by the sandbox's own gpg.
pub(crate) fn inside() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // `--status-fd=2 -bsau KEY` (gpg-interface.c of git).
    if !arguments.iter().any(|word| word == "-bsau") {
        let error = Command::new("gpg").args(&arguments).exec();
        eprintln!(
            "ringfence: error: only signatures of git are made here, and gpg cannot be started: {error}"
        );
        return ExitCode::from(2);
    }
    match ask() {
        Ok(signature) => {
            let written = std::io::stdout().write_all(&signature).and_then(|()| std::io::stdout().flush());
            // What git looks for.
            eprintln!("\n[GNUPG:] SIG_CREATED D");
            ExitCode::from(u8::from(written.is_err()))
        }
        Err(why) => {
            eprintln!("ringfence: error: not signed: {why}");
            ExitCode::from(2)
        }
    }
}

fn ask() -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    std::io::stdin().take(LONGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST {
        return Err(format!("what is to be signed is longer than {LONGEST} bytes"));
    }
    let mut message = vec![EXTENSION];
    for part in [SIGN_OPENPGP, &text] {
        message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(part);
    }
    let asked = || -> std::io::Result<Vec<u8>> {
        let mut agent = UnixStream::connect(AGENT)?;
        agent.write_all(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        agent.write_all(&message)?;
        let mut length = [0; 4];
        agent.read_exact(&mut length)?;
        let mut answer = Vec::new();
        agent.take(u32::from_be_bytes(length).into()).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().map_err(|error| format!("the agent of the sandbox: {error}"))?;
    match answer.split_first() {
        Some((&SIGNED, [_, _, _, _, signature @ ..])) => Ok(signature.to_vec()),
        _ => Err("`ringfence explain` says why".to_owned()),
    }
}
