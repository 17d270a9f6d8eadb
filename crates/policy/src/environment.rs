//! Names of variables: what may be set, and what may not be taken over because it carries a secret or a socket.

use crate::diagnostic::Invalid;
use crate::path::is_variable_name;

/// Ends of names that secrets have.
const ENDS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "_KEY",
    "APIKEY",
    "_PAT",
    "_PASS",
    "_PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "_DSN",
    "_AUTH",
    "DATABASE_URL",
    "COOKIE",
    "_WEBHOOK",
];

/// Beginnings of names that lead to secrets or to sockets of the session.
const STARTS: &[&str] = &["AWS_", "AZURE_", "DBUS_", "SSH_", "GPG_", "VAULT_", "DOCKER_", "KUBE"];

/// Whole names that do.
const NAMES: &[&str] = &[
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CREDENTIALS_DIRECTORY",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "CONTAINER_HOST",
    "LISTEN_FDS",
    "NOTIFY_SOCKET",
    "TMUX",
    "STY",
    "NETRC",
    "PGPASSFILE",
    "SSHPASS",
];

/// Reads a name that is set: any valid one.
pub(crate) fn set_name(name: &str) -> Result<(), Invalid> {
    if is_variable_name(name) && name.len() <= 255 {
        return Ok(());
    }
    Err(Invalid::new(format!("`{name}` is not the name of a variable"))
        .help("write letters, digits and `_`, not starting with a digit"))
}

/// Reads a name that is taken over from the invoker.
pub(crate) fn pass_name(name: &str) -> Result<(), Invalid> {
    if name.contains(['*', '?', '[']) {
        return Err(Invalid::new(format!("`{name}` is a pattern; variables are passed by name"))
            .help("list the names one by one"));
    }
    set_name(name)?;
    if secret_name(name) {
        return Err(Invalid::new(format!("`{name}` would carry a secret or a way out into the sandbox")).help(
            format!("let the gateway hold it: `[credentials.NAME]` with `source = {{ env = \"{name}\" }}`; if the task must see a value, write it out: `set = {{ {name} = \"..\" }}`"),
        ));
    }
    Ok(())
}

/// Does a variable of this name hold a secret, or lead to one?
pub fn secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    NAMES.contains(&upper.as_str())
        || STARTS.iter().any(|start| upper.starts_with(start))
        || ENDS.iter().any(|end| upper.ends_with(end))
}

/// Checks the text of a value: the kernel ends it at the first NUL.
pub(crate) fn set_value(name: &str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(format!("the value of `{name}` holds a NUL")).help("remove it"));
    }
    // MAX_ARG_STRLEN (man 2 execve): exec refuses a longer string.
    if name.len() + text.len() + 2 > 128 * 1024 {
        return Err(
            Invalid::new(format!("the value of `{name}` is longer than exec takes")).help("at most 128 KiB")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_passed() {
        for name in [
            "GITHUB_TOKEN",
            "github_token",
            "AWS_PROFILE",
            "SSH_AUTH_SOCK",
            "DBUS_SESSION_BUS_ADDRESS",
            "API_KEY",
            "PGPASSWORD",
            "CLIENT_SECRET",
            "XDG_RUNTIME_DIR",
            "DOCKER_HOST",
            "KUBECONFIG",
            "SSHPASS",
            "SENTRY_DSN",
        ] {
            let error = pass_name(name).unwrap_err();
            assert!(error.message.contains("secret"), "{name}");
            assert!(error.help.unwrap().contains("set"), "{name}");
        }
        for name in
            ["LANG", "LC_ALL", "TERM", "COLORTERM", "TZ", "NO_COLOR", "CI", "EDITOR", "PATH", "LD_PRELOAD"]
        {
            assert_eq!(pass_name(name), Ok(()), "{name}");
        }
        assert!(pass_name("LC_*").unwrap_err().message.contains("pattern"));
    }

    #[test]
    fn names_and_values() {
        for name in ["", "1A", "A-B", "A=B", "A B", "Ä", "A\0"] {
            assert!(set_name(name).is_err() && pass_name(name).is_err(), "{name:?}");
        }
        assert_eq!(set_name("LD_PRELOAD"), Ok(()));
        assert!(set_value("A", "x\0y").is_err());
        assert!(set_value("A", &"x".repeat(200_000)).is_err());
        assert_eq!(set_value("A", "two\nlines"), Ok(()));
    }
}
