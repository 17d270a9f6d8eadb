//! Secrets in addresses: who asks, by which parameters, and of some services the path.

use std::collections::BTreeSet;

use ringfence_leaks::looks_random;

use super::{cover, is_secret, run};

/// Parameters that are no secret in other places.
const PARAMETERS: [&str; 7] = ["key", "sig", "session", "code", "sid", "pwd", "pass"];
/// Passwords that stand for none, since the name before them is the key.
const DUMMIES: [&str; 5] = ["x", "x-oauth-basic", "api_token", "unused", "none"];
/// Bytes of the shortest name that may be a key where no password is.
const SHORTEST: usize = 16;

/// Services at whose addresses may be written by whoever knows them: hosts (`*`: with others before that), how their paths begin (`*`:
/// one name, whichever), and how many more names are none of the secret.
const ADDRESSES: &[(&str, &str, usize)] = &[
    ("hooks.slack.com", "/services/", 2),
    ("hooks.slack.com", "/triggers/", 2),
    ("hooks.slack.com", "/workflows/", 2),
    ("discord.com", "/api/webhooks/", 1),
    ("discord.com", "/api/*/webhooks/", 1),
    ("*.discord.com", "/api/webhooks/", 1),
    ("discordapp.com", "/api/webhooks/", 1),
    ("*.webhook.office.com", "/webhookb2/", 0),
    ("outlook.office.com", "/webhook/", 0),
    ("hooks.zapier.com", "/hooks/catch/", 1),
    ("open.feishu.cn", "/open-apis/bot/v2/hook/", 0),
];
/// Here it is one name, behind these letters.
const NAMES: &[(&str, &str)] = &[("api.telegram.org", "/bot"), ("api.telegram.org", "/file/bot")];

/// A word without them.
pub(super) fn without_secrets(word: &str) -> String {
    if !word.contains("://") {
        return word.to_owned();
    }
    let (mut out, mut done) = (String::new(), 0);
    // There a comma is between two words.
    let brace = word.find('{').unwrap_or(word.len());
    for (at, _) in word.match_indices("://") {
        for (from, to) in secrets(word, at) {
            let whole = word.get(from..to).unwrap_or_default();
            let whole = whole.split(',').next().filter(|_| brace < from).unwrap_or(whole);
            // Nothing is masked on which a shell acts.
            let to = from + run(whole, 0, false);
            if from < done || to <= from {
                continue;
            }
            out.push_str(word.get(done..from).unwrap_or_default());
            out.push_str(super::MASK);
            done = to;
        }
    }
    out.push_str(word.get(done..).unwrap_or_default());
    without_parameters(&out)
}

/// Of the address whose scheme ends here: from where to where they stand, in order.
fn secrets(word: &str, scheme: usize) -> Vec<(usize, usize)> {
    let from = scheme + "://".len();
    let rest = word.get(from..).unwrap_or_default();
    let end = from + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = word.get(from..end).unwrap_or_default();
    let web = word.get(..scheme).is_some_and(|before| before.ends_with("http") || before.ends_with("https"));
    let mut found = Vec::new();
    if let Some((user, _)) = authority.rsplit_once('@') {
        let (name, password) = user.split_once(':').map_or((user, None), |(name, own)| (name, Some(own)));
        if web && is_key(name, password) {
            found.push((from, from + name.len()));
        }
        found.extend(password.map(|_| (from + name.len() + 1, from + user.len())));
    }
    found
}

/// Where addresses are secrets themselves, in a word that is no program and no code: the last name of a path may be what runs.
pub(super) fn addresses(word: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    if word.contains(['{', '[']) || word.contains(char::is_whitespace) {
        return found;
    }
    for (at, _) in word.match_indices("https://") {
        let from = at + "https://".len();
        let rest = word.get(from..).unwrap_or_default();
        let end = from + rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = word.get(from..end).unwrap_or_default();
        let host = authority.rsplit('@').next().and_then(|host| host.split(':').next()).unwrap_or_default();
        found.extend(
            path(&host.to_ascii_lowercase(), word.get(end..).unwrap_or_default())
                .map(|(at, to)| (end + at, end + to)),
        );
    }
    found
}

/// Whether what stands for a user is what lets in: of a service that asks for nothing else.
pub(super) fn is_key(name: &str, password: Option<&str>) -> bool {
    match password {
        Some(password) => {
            let dummy = password.is_empty() || DUMMIES.iter().any(|own| own.eq_ignore_ascii_case(password));
            dummy && !is_name(name)
        }
        None => {
            let has = |is: fn(&u8) -> bool| name.as_bytes().iter().any(is);
            let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !name.contains('.');
            looks_random(name.as_bytes()) || mixed && name.len() >= SHORTEST
        }
    }
}

/// Whether somebody is called so: an address of mail, or letters with few digits behind them.
fn is_name(text: &str) -> bool {
    let letters = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let plain = letters.chars().all(|letter| letter.is_ascii_lowercase() || "._-".contains(letter));
    let mail = text.split_once('@').is_some_and(|(_, host)| host.contains('.'));
    mail || plain && !letters.is_empty() && text.len() <= 16 && text.len() - letters.len() <= 3
}

/// Where the secret of such a path is; what begins with `?` is no path.
fn path(host: &str, rest: &str) -> Option<(usize, usize)> {
    let rest = rest.get(..rest.find("://").unwrap_or(rest.len()))?;
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let path = rest.get(..end)?;
    let named = |own: &str| match own.strip_prefix('*') {
        Some(below) => host.len() > below.len() && host.ends_with(below),
        None => own == host,
    };
    let whole = ADDRESSES.iter().filter(|(own, ..)| named(own)).find_map(|(_, begins, more)| {
        let mut at = begun(path, begins)?;
        for _ in 0..*more {
            at += path.get(at..)?.find('/')? + 1;
        }
        (at < end).then_some((at, end))
    });
    whole.or_else(|| {
        let (_, begins) =
            NAMES.iter().filter(|(own, _)| named(own)).find(|(_, own)| path.starts_with(own))?;
        let to = path.get(begins.len()..)?.find('/').map_or(end, |to| begins.len() + to);
        Some((begins.len(), to))
    })
}

/// Where a path goes on that begins so.
fn begun(path: &str, begins: &str) -> Option<usize> {
    match begins.split_once('*') {
        None => path.starts_with(begins).then_some(begins.len()),
        Some((head, tail)) => {
            let rest = path.strip_prefix(head)?;
            let name = rest.find('/')?;
            rest.get(name..)?.starts_with(tail).then_some(head.len() + name + tail.len())
        }
    }
}

/// Without what parameters of such names hold, but for those that a shell would read: what is in them may be what runs.
fn without_parameters(word: &str) -> String {
    let mut end = 0;
    let read: BTreeSet<&str> = word.split('$').skip(1).map(variable).collect();
    let mut one = |part: &str| {
        let begin = end;
        end += part.len();
        let is = |name: &str| {
            is_secret(name)
                || name.to_ascii_lowercase().ends_with("signature")
                || PARAMETERS.iter().any(|own| name.eq_ignore_ascii_case(own))
        };
        let (name, _) =
            part.split_once('=').filter(|(name, _)| begin > 0 && is(name) && !read.contains(name))?;
        let mut out = format!("{name}=");
        let body = word.get(..end)?;
        let body = body.strip_suffix('#').unwrap_or(body);
        let at = cover(body, begin + name.len() + 1, false, &mut out);
        Some(out + word.get(at..end)?)
    };
    word.split_inclusive(['?', '&', '#']).map(|part| one(part).unwrap_or_else(|| part.to_owned())).collect()
}

/// The name of a variable that begins here.
fn variable(text: &str) -> &str {
    let text = text.strip_prefix('{').unwrap_or(text);
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !part(letter)).next().unwrap_or_default()
}
