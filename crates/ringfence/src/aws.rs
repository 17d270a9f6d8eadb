//! Keys of AWS in the forms that its tools have: brought into one line, `ID:SECRET` or `ID:SECRET:TOKEN`.

use ringfence_policy::aws_variables;
use ringfence_record::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

/// Keys like no others, where nothing says what they look like.
pub(crate) const LIKE: &str = "AKIA2222222222222222:0000000000000000000000000000000000000000";

/// Keys in one line, and when they end, as seconds since 1970.
pub(crate) type Keys = (Zeroizing<Vec<u8>>, Option<i64>);

/// Reads what a process for credentials writes (JSON), a file of credentials (INI), or that line itself.
pub(crate) fn read(bytes: &[u8]) -> Result<Keys, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?.trim();
    match text.as_bytes().first() {
        Some(b'{') => json(text),
        Some(b'[' | b'#' | b';') => ini(text),
        _ if text.contains('\n') => ini(text),
        _ => {
            let mut parts = text.splitn(3, ':');
            joined(parts.next(), parts.next(), parts.next()).map(|line| (line, None))
        }
    }
}

/// One line of the parts; each without what would end a header.
pub(crate) fn joined(
    id: Option<&str>,
    secret: Option<&str>,
    token: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let fine = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    let part = |part: Option<&str>, what: &str| {
        part.filter(|part| fine(part) && !part.contains(':')).map(str::to_owned).ok_or_else(|| {
            format!("it has no {what}: keys of AWS are JSON of `aws configure export-credentials`, a file of credentials, or `ID:SECRET:TOKEN`")
        })
    };
    let (id, secret) = (part(id, "id")?, Zeroizing::new(part(secret, "secret key")?));
    let token = match token.filter(|token| !token.is_empty()) {
        Some(token) if !fine(&token) => return Err("its session token is no word".to_owned()),
        token => token,
    };
    let line = [Some(id.as_str()), Some(secret.as_str()), token];
    Ok(Zeroizing::new(line.into_iter().flatten().collect::<Vec<_>>().join(":").into_bytes()))
}

/// `{"Version": 1, "AccessKeyId": ..}`, or what the token service answers, which has that one deeper.
fn json(text: &str) -> Result<Keys, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "it is no JSON".to_owned())?;
    let own = value.get("Credentials").unwrap_or(&value);
    let field = |name: &str| own.get(name).and_then(Value::as_str);
    let line = joined(
        field("AccessKeyId"),
        field("SecretAccessKey"),
        field("SessionToken").or_else(|| field("Token")),
    )?;
    let ends = field("Expiration").map(|time| moment(time).ok_or("its `Expiration` is no time in UTC"));
    Ok((line, ends.transpose()?))
}

/// `2030-01-01T00:00:00Z`, or with `+00:00`; seconds since 1970.
fn moment(text: &str) -> Option<i64> {
    let whole = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?.get(..19)?;
    Some(format!("{whole}.000000000Z").parse::<Timestamp>().ok()?.sec)
}

/// The profile `default`, or the only one.
fn ini(text: &str) -> Result<Keys, String> {
    let mut profiles: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            profiles.push((name.trim(), Vec::new()));
        } else if let (Some((name, value)), Some((_, fields))) = (line.split_once('='), profiles.last_mut()) {
            fields.push((name.trim(), value.trim()));
        }
    }
    let only = profiles.first().filter(|_| profiles.len() == 1);
    let (_, fields) = profiles.iter().find(|(name, _)| *name == "default").or(only).ok_or(
        "it has several profiles, and none is `default`: have `aws configure export-credentials --profile NAME` write the one",
    )?;
    let field = |name: &str| fields.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    joined(field("aws_access_key_id"), field("aws_secret_access_key"), field("aws_session_token"))
        .map(|line| (line, None))
}

/// A file as AWS's tools read it, from a placeholder.
pub(crate) fn file(placeholder: &str) -> String {
    let names = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
    let lines = names.iter().zip(placeholder.splitn(3, ':')).map(|(name, part)| format!("{name} = {part}\n"));
    format!("[default]\n{}", lines.collect::<String>())
}

/// Variables as AWS's tools read them; `name` is the one of the secret key.
pub(crate) fn variables(name: &str, placeholder: &str) -> Vec<(String, String)> {
    let Some((id, token)) = aws_variables(name) else { return Vec::new() };
    [id, name.to_owned(), token].into_iter().zip(placeholder.splitn(3, ':').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        String::from_utf8(read(text.as_bytes()).unwrap().0.to_vec()).unwrap()
    }

    #[test]
    fn keys_are_read_in_each_of_their_forms() {
        for (text, keys) in [
            ("AKIA1:s/+=\n", "AKIA1:s/+="),
            ("AKIA1:s:t:u", "AKIA1:s:t:u"),
            (r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s"}"#, "A:s"),
            (r#"{"Credentials":{"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t=="}}"#, "A:s:t=="),
            ("[default]\naws_access_key_id = A\n# x\naws_secret_access_key=s\nregion = x\n[other]\n", "A:s"),
            ("[one]\naws_access_key_id=A\naws_secret_access_key=s==\naws_session_token = t\n", "A:s==:t"),
        ] {
            assert_eq!(line(text), keys, "{text}");
        }
        let ends = r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"2030-01-01T00:00:00Z"}"#;
        assert_eq!(read(ends.as_bytes()).unwrap().1, Some(1_893_456_000));
        for bad in [
            "",
            "A",
            "A:",
            ":s",
            "A:s s",
            "{",
            "{}",
            "[a]\n[b]\n",
            r#"{"AccessKeyId":"A","SecretAccessKey":"s\r\nX: y"}"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
