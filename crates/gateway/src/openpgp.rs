//! Commits and tags of git that the host's gpg signs: the gateway reads what is signed, and nothing else is.

use ringfence_policy::is_hostile;

use crate::Gateway;
use crate::agent::target;

/// The longest name that is told of.
const SHOWN: usize = 100;

/// Has a text signed, if it is a commit or a tag. `None`: it is not, and that was said.
pub(crate) async fn sign(gateway: &Gateway, text: &[u8]) -> Option<Vec<u8>> {
    let credentials = gateway.credentials.as_deref()?;
    let host = target("gpg");
    let told = |name: String, request: String, rule: String| {
        let host = &host;
        async move { gateway.refusals.credential(&name, host, request, rule, 1).await }
    };
    let Some((number, one)) = credentials.gpg().next() else {
        told("gpg".into(), "signature".into(), "the policy names no key of gpg".into()).await;
        return None;
    };
    let name = || one.name.clone();
    let object = match (credentials.waits(one), object(text)) {
        (None, Ok(object)) => object,
        (Some(why), _) => {
            told(name(), "signature".into(), why).await;
            return None;
        }
        (None, Err(why)) => {
            told(name(), "signature".into(), why.into()).await;
            return None;
        }
    };
    let request = format!("signature for {object}");
    told(name(), request.clone(), String::new()).await;
    let why = match credentials.vault.ask(number, text).await {
        Ok(signature) if credentials.waits(one).is_none() => return Some(signature),
        Ok(_) => "it was taken back meanwhile".to_owned(),
        Err(why) => format!("{}: {why}", one.credential.source),
    };
    told(name(), request, why).await;
    None
}

/// What git would sign (git-commit-tree(1), git-mktag(1)), in words: its header is all there, in its order, with nothing between that
/// another program could read as a header of its own, and a message follows.
fn object(text: &[u8]) -> Result<String, &'static str> {
    const NONE: &str = "what shall be signed is no commit and no tag of git, which alone a key of gpg signs";
    let end = text.windows(2).position(|two| two == b"\n\n").ok_or(NONE)?;
    // Names and the message may be in another encoding, which the header says. Archives and documents are no words: some are read from
    // their end, or from wherever they begin.
    let odd = |byte: &u8| byte.is_ascii_control() && !b"\n\t\r".contains(byte);
    if text.iter().any(odd) || memchr::memmem::find(text, b"%PDF-").is_some() {
        return Err(NONE);
    }
    let header = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
    let hash = |id: &str| {
        matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if header.chars().any(|letter| letter != '\n' && is_hostile(letter)) {
        return Err(NONE);
    }
    let mut lines = header.split('\n').peekable();
    let mut next =
        |word: &str| lines.next_if(|line| line.starts_with(word)).and_then(|line| line.get(word.len()..));
    if let Some(tree) = next("tree ") {
        while let Some(parent) = next("parent ") {
            if !hash(parent) {
                return Err(NONE);
            }
        }
        let whole = hash(tree)
            && next("author ").is_some_and(person)
            && next("committer ").is_some_and(person)
            && lines.all(further(hash));
        return if whole { Ok(format!("a commit of tree {tree}")) } else { Err(NONE) };
    }
    let parts = (next("object "), next("type "), next("tag "), next("tagger "));
    let (Some(own), Some("commit" | "tree" | "blob" | "tag"), Some(name), Some(who)) = parts else {
        return Err(NONE);
    };
    let name: String = name.chars().take(SHOWN).collect();
    if hash(own) && !name.is_empty() && person(who) && lines.next().is_none() {
        Ok(format!("the tag {name} of {own}"))
    } else {
        Err(NONE)
    }
}

/// `NAME <MAIL> SECONDS ZONE`.
fn person(text: &str) -> bool {
    let Some((who, when)) = text.split_once('>') else { return false };
    let mut when = when.strip_prefix(' ').unwrap_or_default().split(' ');
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = when.next().is_some_and(digits);
    let zone = when.next().and_then(|zone| zone.strip_prefix(['+', '-']));
    who.split_once('<').is_some_and(|(_, mail)| !mail.contains('<'))
        && seconds
        && zone.is_some_and(|zone| zone.len() == 4 && digits(zone))
        && when.next().is_none()
}

/// What may stand behind who committed: how the message is encoded, and tags that were merged, whole, each of their lines set in.
fn further(hash: impl Fn(&str) -> bool) -> impl FnMut(&str) -> bool {
    let mut merged = false;
    move |line| {
        if let Some(id) = line.strip_prefix("mergetag object ") {
            merged = hash(id);
            return merged;
        }
        if line.starts_with(' ') {
            return merged;
        }
        merged = false;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // jj names what a commit is a version of.
        let words = ["encoding ", "change-id "].iter().find_map(|word| line.strip_prefix(word));
        words.is_some_and(|name| !name.is_empty() && name.bytes().all(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn commits_and_tags_are_known_by_their_headers() {
        let (id, long) = ("a1".repeat(20), "0f".repeat(32));
        let who = "A <a@example.org> 1 +0000";
        let commit = format!(
            "tree {id}\nparent {id}\nparent {id}\nauthor {who}\ncommitter {who}\nencoding x\n\ntext\n"
        );
        assert_eq!(object(commit.as_bytes()), Ok(format!("a commit of tree {id}")));
        let merge = commit.replace(
            "encoding x\n",
            &format!("mergetag object {id}\n type commit\n tag v\n \n text\nencoding UTF-8\n"),
        );
        assert!(object(merge.as_bytes()).is_ok());
        let tag = format!("object {long}\ntype commit\ntag v1\ntagger {who}\n\ntext\n");
        assert_eq!(object(tag.as_bytes()), Ok(format!("the tag v1 of {long}")));
        for (from, to) in [
            ("tree ", "certificate version 0.1\ntree "),
            ("committer ", "x "),
            ("\n\n", "\n"),
            (&id[..3], "zz"),
            ("parent a", "parent  a"),
            // What other programs would read as theirs: a release of packages, for one.
            ("encoding x\n", "Origin: x\nSuite: y\nSHA256:\n 00 0 main/binary-amd64/Packages\n"),
            ("encoding x\n", "encoding x:\n"),
            ("encoding x\n", " SHA256:\n"),
            ("encoding x\n", "mergetag object x:\n SHA256:\n"),
            ("author A <", "author A ("),
            ("<a@example.org> 1 +0000\ncommitter", "\ncommitter"),
            ("1 +0000\ncommitter", "1 +0000 x\ncommitter"),
            ("1 +0000\ncommitter", "1 +0000\r\ncommitter"),
            ("author A", "author A\0"),
            ("author A", "author A\u{202e}"),
        ] {
            assert!(object(commit.replacen(from, to, 1).as_bytes()).is_err(), "{from:?}");
        }
        for (from, to) in
            [("type commit", "type mail"), ("tag v1\n", ""), ("tagger ", "x "), ("\n\n", "\nmore x\n\n")]
        {
            assert!(object(tag.replacen(from, to, 1).as_bytes()).is_err(), "{from:?}");
        }
        assert!(object(&[commit.as_bytes(), b"\xe4 \r\n\t"].concat()).is_ok());
        assert!(object(&commit.replace("author A", "author J\u{fffd}rg").into_bytes()).is_ok());
        for other in [&b"PK\x03\x04"[..], b"a\0b", b"x %PDF-1.4", b"\x1b[2J"] {
            assert!(object(&[commit.as_bytes(), other].concat()).is_err(), "{other:?}");
            assert!(object(&[tag.as_bytes(), other].concat()).is_err(), "{other:?}");
        }
        assert!(
            object(b"some text\n\nmore").is_err() && object(b"\xff\n\n").is_err() && object(b"").is_err()
        );
    }
}
