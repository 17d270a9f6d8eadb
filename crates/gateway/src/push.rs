//! What a push of git changes (gitprotocol-pack(5), Reference Update Request): a credential may be for some branches alone.

use hyper::header::CONTENT_ENCODING;
use hyper::{Method, Request};
use ringfence_confine::gateway::Held;
use ringfence_policy::{is_hostile, wild};

use crate::asked::Asked;
use crate::credentials::Denied;

/// Bytes of the list of what is changed: over https, where it is kept for each request, and over ssh.
pub(crate) const LONGEST: usize = 64 << 10;
pub(crate) const LONGEST_SSH: usize = 1 << 20;
/// Bytes of the longest name of a reference.
const NAME: usize = 512;
const SERVICE: &str = "git-receive-pack";
/// Some servers do more for an option than change references: merge requests into any branch, repositories that become public.
const OPTIONS: &[u8] = b"push-options";
/// Why a list that cannot be read is refused, one with options, and a push where none is allowed.
pub(crate) const STRANGE: &str = "what is pushed cannot be read: signed pushes, and names that are no references (git-check-ref-format(1)) or longer than 512 bytes, are not carried";
pub(crate) const OPTED: &str = "options of a push (`git push -o`) may change more than branches, and are not carried where `push` names those";
pub(crate) const NONE: &str = "`push` of the credential names no branch: the task fetches alone";

/// Refuses a push to another branch than those of the policy; what was read of the body for that is sent with the rest.
pub(crate) async fn check(one: &Held, head: &Request<()>, body: &mut Asked) -> Result<(), Denied> {
    let Some(branches) = &one.credential.push else { return Ok(()) };
    let denied = |rule: String| Denied { credential: one.name.clone(), rule };
    let (path, query) = (head.uri().path(), head.uri().query().unwrap_or_default());
    if branches.is_empty() && (path.contains(SERVICE) || query.contains(SERVICE)) {
        return Err(denied(NONE.to_owned()));
    }
    if !path.contains(SERVICE) {
        return Ok(());
    }
    if head.method() != Method::POST
        || !path.ends_with(&format!("/{SERVICE}"))
        || head.headers().contains_key(CONTENT_ENCODING)
    {
        return Err(denied("this is no push as git makes it".to_owned()));
    }
    let (mut list, mut state) = (List::default(), Pushed::More);
    let whole = |bytes: &[u8]| {
        state = list.more(bytes);
        !matches!(state, Pushed::More)
    };
    body.front(LONGEST, whole).await.map_err(|()| denied(too_long(LONGEST)))?;
    match state {
        Pushed::Changes(names) => judge(&names, branches).map_err(denied),
        Pushed::Options => Err(denied(OPTED.to_owned())),
        Pushed::More | Pushed::Strange => Err(denied(STRANGE.to_owned())),
    }
}

pub(crate) fn too_long(most: usize) -> String {
    format!("the list of what is pushed is longer than {} KiB: push fewer references at a time", most >> 10)
}

/// Whether all that is changed is covered by what a policy names.
pub(crate) fn judge(names: &[String], branches: &[String]) -> Result<(), String> {
    match names.iter().find(|name| !branches.iter().any(|own| wild(own.as_bytes(), name.as_bytes()))) {
        None => Ok(()),
        Some(name) => Err(format!(
            "`{}` is pushed to, and `push` of the credential names `{}`: if it belongs there, add it",
            name.escape_debug().take(200).collect::<String>(),
            branches.join("`, `")
        )),
    }
}

/// What the beginning of a body says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Its list has not ended.
    More,
    /// These are changed.
    Changes(Vec<String>),
    /// More than references may be changed: options follow.
    Options,
    /// It is no such list.
    Strange,
}

/// The list as far as it was read: each byte is looked at once, however they come.
#[derive(Debug, Default)]
pub(crate) struct List {
    read: usize,
    names: Vec<String>,
}

impl List {
    /// `whole` is all that came so far.
    pub(crate) fn more(&mut self, whole: &[u8]) -> Pushed {
        loop {
            let rest = whole.get(self.read..).unwrap_or_default();
            let Some((digits, behind)) = rest.split_first_chunk::<4>() else { return Pushed::More };
            let length =
                str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let line = match length.and_then(|text| usize::from_str_radix(text, 16).ok()) {
                Some(0) => return Pushed::Changes(std::mem::take(&mut self.names)),
                Some(length) if length > 4 => length - 4,
                _ => return Pushed::Strange,
            };
            let Some(line) = behind.get(..line) else { return Pushed::More };
            self.read += digits.len() + line.len();
            // What a client can do stands behind a NUL, on whichever line.
            let able = line.iter().position(|byte| *byte == 0).and_then(|nul| line.get(nul..));
            if able.is_some_and(|able| memchr::memmem::find(able, OPTIONS).is_some()) {
                return Pushed::Options;
            }
            match change(line) {
                Some(name) => self.names.extend(name),
                None => return Pushed::Strange,
            }
        }
    }
}

/// The reference that a line changes; `Some(None)`: it says something else of the kind that a list holds.
fn change(line: &[u8]) -> Option<Option<String>> {
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let line = str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
    let object =
        |text: &str| [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("shallow"), Some(id), None) if object(id) => Some(None),
        (Some(old), Some(new), Some(name)) if object(old) && object(new) && is_reference(name) => {
            Some(Some(name.to_owned()))
        }
        _ => None,
    }
}

/// Whether git takes a name for one (git-check-ref-format(1)), and whoever reads it sees which.
fn is_reference(name: &str) -> bool {
    let odd = |letter: char| " ~^:?*[\\".contains(letter) || is_hostile(letter);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.len() <= NAME
        && !name.contains(odd)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(whole: &[u8]) -> Pushed {
        List::default().more(whole)
    }

    #[test]
    fn the_list_of_a_push_is_read() {
        let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
        let (old, new) = ("a".repeat(40), "0".repeat(40));
        let list = format!(
            "{}{}{}0000PACK",
            line(&format!("shallow {old}")),
            line(&format!("{old} {new} refs/heads/a\0 report-status agent=git/2\n")),
            line(&format!("{old} {new} refs/tags/b"))
        );
        let end = list.find("PACK").unwrap();
        assert_eq!(
            pushed(list.as_bytes()),
            Pushed::Changes(vec!["refs/heads/a".to_owned(), "refs/tags/b".to_owned()])
        );
        let mut list_read = List::default();
        for cut in 0..end {
            assert_eq!(list_read.more(&list.as_bytes()[..cut]), Pushed::More, "{cut}");
            assert_eq!(pushed(&list.as_bytes()[..cut]), Pushed::More, "{cut}");
        }
        assert_eq!(list_read.more(list.as_bytes()), pushed(list.as_bytes()));
        let asked = list.replace(" agent=git/2", " push-options agent=git/2");
        let longer = asked.replacen(
            &list[52..56],
            &format!("{:04x}", 13 + usize::from_str_radix(&list[52..56], 16).unwrap()),
            1,
        );
        assert_eq!(pushed(longer.as_bytes()), Pushed::Options);
        assert_eq!(pushed(line(&format!("{old} {new} refs/heads/push-options")).as_bytes()), Pushed::More);
        assert_eq!(pushed(b"0000"), Pushed::Changes(Vec::new()));
        for strange in [
            "0001".to_owned(),
            "0004".to_owned(),
            "+004".to_owned(),
            "zzzz".to_owned(),
            line("push-cert\0x"),
            line(&format!("{old} {new}")),
            line(&format!("{old} {new} refs/heads/agent/../main")),
            line(&format!("{old} {new} refs/heads/a refs/heads/main")),
            line(&format!("{old} {new} refs/heads/a\nrefs/heads/main")),
            line(&format!("{old} {new} refs/heads/a\u{202e}b")),
            line(&format!("{old} {new} refs/heads/a\u{1b}[0m")),
            line(&format!("{old} {new} refs//heads/a")),
            line(&format!("{old} {new} refs/heads/a.lock")),
            line(&format!("{old} {new} refs/heads/.a")),
            line(&format!("{old} {new} refs/heads/a/")),
            line(&format!("{old} {new} refs/heads/{}", "a".repeat(NAME))),
            line(&format!("{old}\t{new} refs/heads/a")),
        ] {
            assert_eq!(pushed(strange.as_bytes()), Pushed::Strange, "{strange}");
        }
        assert!(
            wild(b"refs/heads/agent/*", b"refs/heads/agent/a/b") && !wild(b"refs/heads/a", b"refs/heads/ab")
        );
    }
}
