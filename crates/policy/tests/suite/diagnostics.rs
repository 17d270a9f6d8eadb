//! Bad input: each error names file, line, offending text and mend, and hostile text stays harmless. Names begin with
//! the row of the attack table they stand for.

use std::io;
use std::path::Path;

use ringfence_policy::{Diagnostics, Files, HostFiles, Source, load};

use super::support::{bad, context, file, good, memory, one, preset, same, trimmed};

#[test]
fn po03_misspelt_tables_and_keys_name_the_nearest() {
    same(
        &bad("[netwrok]\nallow = [\"a.example:443\"]\n[files]\nreed = [\"/\"]\n[workspace]\ncolour = 1\n"),
        r#"
        error: unknown key `netwrok`
         --> p.toml:2:2
          |
        2 | [netwrok]
          |  ^^^^^^^ no such key
          |
          = help: did you mean `network`?

        error: unknown key `files.reed`
         --> p.toml:5:1
          |
        5 | reed = ["/"]
          | ^^^^ no such key
          |
          = help: did you mean `files.read`?

        error: unknown key `workspace.colour`
         --> p.toml:7:1
          |
        7 | colour = 1
          | ^^^^^^ no such key
          |
          = help: the keys here are `path`, `mode`, `quota`, `protect`, `outputs`, `snapshot`, `git`
        "#,
    );
}

#[test]
fn po04_the_version_must_be_known() {
    same(
        &trimmed(&one("# a policy\nversion = 99\n[files]\nread = [\"/usr\"]\n").unwrap_err()),
        "
        error: version 99 of the policy format is not known
         --> p.toml:2:11
          |
        2 | version = 99
          |           ^^ this build reads version 1
          |
          = help: write `version = 1`
        ",
    );
    for text in ["", "# nothing\n", "[files]\nread = []\n"] {
        assert!(
            one(text).unwrap_err().to_string().contains("write `version = 1` as the first line"),
            "{text}"
        );
    }
    for text in ["version = '1'", "version = 1.0", "version = true"] {
        let found = one(text).unwrap_err();
        assert_eq!(found.list().len(), 1, "{found}");
        assert!(found.to_string().contains("`version` must be an integer"), "{found}");
    }
    assert!(one("version = -1").is_err() && one("version = 0").is_err());
}

#[test]
fn po05_duplicate_keys_and_tables() {
    same(
        &bad("[files]\nread = []\nread = [\"/\"]\n[files]\nexec = []\n"),
        r#"
        error: not valid TOML: duplicate key
         --> p.toml:4:1
          |
        4 | read = ["/"]
          | ^^^^ written a second time here

        error: not valid TOML: duplicate key
         --> p.toml:5:2
          |
        5 | [files]
          |  ^^^^^ written a second time here
        "#,
    );
}

#[test]
fn po06_nul_in_a_path_or_host() {
    let found = bad(
        "[files]\nread = [\"/usr\\u0000/../..\"]\n[network]\nallow = [\"a.example\\u0000.denied.example:443\"]\n",
    );
    assert!(found.contains("U+0000 is not allowed here\n --> p.toml:3:9"), "{found}");
    assert!(found.contains("a host cannot hold the character U+0000\n --> p.toml:5:10"), "{found}");
}

#[test]
fn control_characters_are_refused_everywhere_a_name_or_path_stands() {
    for character in ["\\u0000", "\\n", "\\u001b[2J", "\\u202e", "\\u200b", "\\u007f", "\\r"] {
        for text in [
            "[files]\nread = [\"/a@\"]",
            "[files]\ndeny = [\"a@\"]",
            "[files]\ndecoy = [\"a@\"]",
            "[workspace]\nprotect = [\"a@\"]",
            "[workspace]\npath = \"/a@\"",
            "[commands]\nallow = [\"a@\"]",
            "[commands]\ndeny = [\"a@\"]",
            "[environment]\npass = [\"A@\"]",
            "[environment.set]\n\"A@\" = \"x\"",
            "[environment.set]\nA = { path = \"/a@\" }",
            "[expect]\nrefuse = [\"read /a@\"]",
            "[network]\ndeny = [\"a@.example.org\"]",
            "extends = [\"./a@.toml\"]",
            "extends = [\"a@\"]",
            "identity = { name = \"a@\" }",
            "[credentials.\"a@\"]\nsource = { env = \"A\" }\nhosts = []\ninject = \"A: {secret}\"",
            "[step.\"a@\"]",
            "[step.a.environment]\npass = [\"A@\"]",
        ] {
            let text = text.replace('@', character);
            let found = bad(&text);
            assert!(found.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text}\n{found:?}");
            // A step stays refused as a whole, whatever is wrong inside.
            let own = text.starts_with("[step.a.") || !found.contains("not yet enforceable");
            assert!(own, "a bad value gets its own error: {text}\n{found}");
        }
    }
}

#[test]
fn hostile_bytes_in_the_file_itself_never_reach_the_terminal() {
    for text in [
        "version = 1\n\u{1b}[2J = 1\n",
        "version = 1 # \u{202e}\n[files]\nread = [\"\u{202e}/\u{9b}31m\"]\n",
        "version = 1\n\"\u{1b}]0;x\u{7}\" = 1\n",
        "version = 1\n[files]\nread = [\"/\u{7f}\"]\n",
        "version = 1\nidentity = { name = '\u{200f}' }\n",
    ] {
        let found = one(text).unwrap_err();
        let json = found.to_json().to_string();
        let coloured = found.render(true).replace("\u{1b}[", "");
        for shown in [found.render(false), json, coloured] {
            let hostile = |c: char| (c.is_control() && c != '\n') || ('\u{200b}'..='\u{202e}').contains(&c);
            assert!(!shown.contains(hostile), "{shown:?}");
        }
    }
}

#[test]
fn po15_bad_hosts_in_network_allow() {
    let hosts = [
        "*",
        "*.com",
        "a*.example:443",
        "https://allowed.example/x",
        " allowed.example",
        "allowed.example.*",
        "[::1",
        "allowed.example:443-80",
        "allowed.example:0",
        "allowed.example:70000",
        "10.0.0.1/33",
    ];
    let text = format!("[network]\nallow = [\n{}]\n", hosts.map(|host| format!("\"{host}\",\n")).concat());
    let found = bad(&text);
    for line in 4..4 + hosts.len() {
        assert!(found.contains(&format!("--> p.toml:{line}:1\n")), "line {line} has no error:\n{found}");
    }
    assert!(!found.contains("not yet"), "a bad value gets its own error:\n{found}");
}

#[test]
fn po16_a_name_of_mixed_scripts_is_called_out() {
    same(
        &bad("[network]\nallow = [\"\\u0430llowed.example:443\", \"ALLOWED.EXAMPLE.:443\"]\n")
            .replace('\u{430}', "<CYRILLIC A>"),
        r#"
        error: `<CYRILLIC A>llowed.example` has letters outside ASCII, which may look like others
         --> p.toml:3:10
          |
        3 | allow = ["\u0430llowed.example:443", "ALLOWED.EXAMPLE.:443"]
          |          ^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: if this very name is meant, write `xn--llowed-2nf.example`
        "#,
    );
}

#[test]
fn po17_limits() {
    let found = bad(
        "[limits]\nmemory = \"99999999999GiB\"\nprocesses = -1\ntime = \"-5s\"\nopen_files = 0\noutput = \"10\"\n\
         cpu = nan\nfile_size = 5\ntmp = \"0B\"\n",
    );
    for expected in [
        "error: `99999999999GiB` is more than fits into 63 bits\n --> p.toml:3:10",
        "error: `limits.processes` cannot be -1\n --> p.toml:4:13",
        "error: `-5s` is not a duration: it is negative\n --> p.toml:5:8",
        "error: `limits.open_files` cannot be 0\n --> p.toml:6:14",
        "error: `10` is not a size: the unit is missing\n --> p.toml:7:10",
        "error: `limits.cpu` cannot be NaN\n --> p.toml:8:7",
        "error: `limits.file_size` must be a string\n --> p.toml:9:13",
        "error: `0B` is not a size: it is zero",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    assert!(bad("[limits]\nprocesses = 99999999999999999999\n").contains("does not fit into 64 bits"));
}

#[test]
fn po19_a_credential_with_a_line_break() {
    let found = bad("[credentials.x]\nsource = { cmd = \"touch pwn\" }\nhosts = [\"denied.example\"]\n\
         inject = \"Authorization: {secret}\\r\\nHost: denied.example\"\n");
    assert!(found.contains("unknown key `credentials.x.source.cmd`"), "{found}");
    assert!(found.contains("a header cannot hold the character U+000D\n --> p.toml:5:10"), "{found}");
    let all = "[credentials.x]\nsource = { env = \"A\" }\nhosts = [\"a.example\"]\ninject = \"Authorization: {secret}\"\n";
    let found = bad(all);
    assert!(found.contains("covers `a.example:443`: the credential `x` could not be used"), "{found}");
    assert!(found.contains("[network] allow = [\"a.example:443\"]"), "{found}");
    let policy = good(&format!("{all}[network]\nallow = [\"a.example\"]"));
    assert_eq!(policy.credentials["x"].value.inject[0].text(), "authorization: {secret}");
    let plain = bad(&format!("{all}[network]\nallow = [{{ host = \"a.example\", protocol = \"tcp\" }}]"));
    assert!(plain.contains("which is not TLS"), "{plain}");
    let none = bad(&format!("{all}[network]\nallow = [\"a.example\"]\ninspect = \"none\""));
    assert!(none.contains("put on requests by inspection"), "{none}");
    let two = |more: &str, other: &str| {
        let text = all.replace("hosts =", &format!("{more}\nhosts ="));
        bad(&format!(
            "{text}{}[network]\nallow = [\"a.example\"]",
            text.replace(".x]", ".y]").replace(more, other)
        ))
    };
    assert!(
        two("methods = [\"GET\"]", "methods = [\"GET\", \"PUT\"]").contains("in the same place of a request")
    );
    assert!(two("paths = [\"/a\"]", "methods = [\"PUT\"]").contains("`x` and `y`: both would be put"));
    let git = "expose = { git = true }";
    let both = format!("{all}{}[network]\nallow = [\"a.example\"]", all.replace(".x]", ".y]"))
        .replace("inject = \"Authorization: {secret}\"", &format!("inject = \"basic\"\n{git}"));
    assert!(bad(&both).contains("git sends one of them to a host"));
    let apart = format!("{all}{}[network]\nallow = [\"a.example\"]", all.replace(".x]", ".y]"));
    good(
        &apart.replacen("hosts =", "paths = [\"/a\"]\nhosts =", 1).replace("y]\n", "y]\npaths = [\"/b\"]\n"),
    );
    let closed = bad(&format!("{all}[network]\nallow = [{{ host = \"a.example\", inspect = false }}]"));
    assert!(
        closed.contains("keeps from inspection") && closed.contains("remove `inspect = false`"),
        "{closed}"
    );
    for (good, wrong, why) in [
        ("{ env = \"A\" }", "{ env = \"A\", file = \"/x\" }", "exactly one source"),
        ("{ env = \"A\" }", "{}", "exactly one source"),
        ("{ env = \"A\" }", "{ env = \"A-B\" }", "not the name of a variable"),
        ("a.example", "*", "a star stands only"),
        ("Authorization: {secret}", "Authorization: x", "must hold `{secret}` once"),
        ("Authorization: {secret}", "{secret}", "name of a header"),
        ("hosts =", "# hosts =", "`credentials.x.hosts` is missing"),
        ("source =", "# source =", "`credentials.x.source` is missing"),
        ("\"a.example\"", "", "let the secret go nowhere"),
        ("a.example", "10.0.0.0/8", "is a network"),
        ("inject =", "expose = {}\ninject =", "`expose` names no place"),
        ("inject =", "expose = { env = \"X\", text = \"y\" }\ninject =", "holds neither"),
        ("inject =", "expose = { git = true }\ninject =", "basic authentication"),
        ("inject =", "like = \"short\"\ninject =", "at least 20"),
        ("inject =", "methods = [\"get\"]\ninject =", "upper case"),
    ] {
        let found = bad(&all.replace(good, wrong));
        assert!(found.contains(why) && !found.contains("not yet"), "{wrong}: {found}");
    }
}

#[test]
fn po20_identities() {
    let found = bad("identity = { name = \"../../x\" , spiffe = \"spiffe://a/../b\\n\" }\n");
    for expected in
        ["either a `name` or a `spiffe` ID", "`../../x` is not an identity's name", "is not a SPIFFE ID"]
    {
        assert!(found.contains(expected), "{found}");
    }
    assert!(bad("identity = {}\n").contains("neither is here"));
    let found = bad("identity = \"x\"\n");
    assert!(found.contains("`identity` must be a table"), "{found}");
    assert!(found.contains("help: its keys are `name`, `spiffe`: `{ name = .. }`"), "{found}");
}

#[test]
fn what_stands_in_the_wrong_table_is_told_where_it_belongs() {
    let found =
        bad("[commands]\nallow = [\"ls\"]\nlists.replace = [\"commands.allow\"]\nextends = [\"default\"]\n");
    assert!(
        found.contains("`lists` is no part of a table: it stands above the first, or as `[lists]`"),
        "{found}"
    );
    assert!(found.contains("`extends` stands above the first table"), "{found}");
    let found = bad("[approvals.grantable]\ncommands = [\"ls\"]\n");
    assert!(found.contains("`approvals.grantable.commands` needs `commands.allow`"), "{found}");
}

#[test]
fn what_is_not_toml_or_nested_too_deeply() {
    same(
        &bad("x = [1\ny = ]]\nz = {{\n"),
        r#"
        error: not valid TOML: missing comma between array elements, expected `,`
         --> p.toml:3:1
          |
        3 | y = ]]
          | ^ here
        "#,
    );
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let found = bad(&deep);
    assert!(found.contains("nested too deeply") && found.len() < 20_000, "{}", found.len());
    bad(&format!("[{}]\n", vec!["a"; 100_000].join(".")));
    bad(&format!("x = {}", "{a=".repeat(50_000)));
    assert!(bad("files = 1\ncommands = []\n[[network]]\n").contains("`files` must be a table"));
}

#[test]
fn each_wrong_type_is_named() {
    let found = bad(
        "[files]\nread = \"/usr\"\nexec = [1, [], {}, \"/usr\"]\n[workspace]\ngit = \"yes\"\nmode = \"drect\"\n",
    );
    for expected in [
        "`files.read` must be a list\n --> p.toml:3:8\n  |\n3 | read = \"/usr\"\n  |        ^^^^^^ this is a string",
        "`files.exec` must be a string\n --> p.toml:4:9",
        "`workspace.git` must be true or false\n --> p.toml:6:7",
        "`workspace.mode` cannot be `drect`\n --> p.toml:7:8",
        "= help: did you mean `direct`?",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_hostile_number_of_errors_stays_readable() {
    let text = format!("[files]\nread = [{}]\n", "\"*\",".repeat(100_000));
    let found = bad(&text);
    assert!(found.ends_with("error: 99900 more errors are not shown"), "{}", &found[found.len() - 80..]);
    assert!(found.len() < 100_000, "{}", found.len());
}

#[test]
fn errors_as_json() {
    let json = one("version = 1\n[files]\nreed = []\n").unwrap_err().to_json();
    let expected = serde_json::json!([{
        "file": "p.toml", "line": 3, "column": 1, "message": "unknown key `files.reed`", "label": "no such key",
        "suggestion": "did you mean `files.read`?", "related": [],
    }]);
    assert_eq!(json, expected);
}

#[test]
fn sources_that_cannot_be_read() {
    let load = |sources: &[Source]| trimmed(&load(sources, &context(), &memory(&[])).unwrap_err());
    same(
        &load(&[file("gone.toml"), preset("defualt")]),
        "
        error: cannot read the policy `gone.toml`: entity not found
        --> gone.toml

        error: there is no preset `defualt`
        --> command line
         = help: did you mean `default`?
        ",
    );
    assert!(load(&[file("/x/../p.toml")]).contains("is named with `..`"));
}

/// Answers every read with these bytes or this error.
struct Always(Result<Vec<u8>, io::ErrorKind>);

impl Files for Always {
    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read(path)
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        self.0.clone().map_err(io::Error::from)
    }
    fn exists(&self, _: &Path) -> bool {
        true
    }
}

#[test]
fn bytes_that_are_not_utf8() {
    let found = load(&[file("p.toml")], &context(), &Always(Ok(b"version = 1\xff".to_vec()))).unwrap_err();
    assert!(found.to_string().contains("cannot read the policy `p.toml`: byte 11 is not UTF-8"), "{found}");
}

fn on_host(path: &Path) -> Result<Vec<u8>, String> {
    HostFiles.read(path).map_err(|error| error.to_string())
}

#[test]
fn po26_devices_directories_and_large_files_fail_at_once() {
    let start = std::time::Instant::now();
    let directory = std::env::temp_dir().join(format!("ringfence-policy-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let link = directory.join("z.toml");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let large = directory.join("large.toml");
    std::fs::File::create(&large).unwrap().set_len(10 << 20).unwrap();
    let right = directory.join("right.toml");
    std::fs::write(&right, "version = 1\n").unwrap();
    let dangling = directory.join("dangling.toml");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let fifo = directory.join("f.toml");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    let found = [&link, &directory, &large, &fifo].map(|path| on_host(path));
    let (right, exists) = (on_host(&right), HostFiles.exists(&dangling));
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(made.success());
    let expected = ["it is a device", "it is a directory", "larger than 1 MiB", "it is a FIFO"];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.as_ref().is_err_and(|error| error.contains(expected)), "{expected}: {found:?}");
    }
    assert_eq!(right.as_deref(), Ok(&b"version = 1\n"[..]));
    assert!(exists, "a dangling symlink is there");
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn diagnostics_are_an_error_type() {
    fn takes(_: &dyn std::error::Error) {}
    let found: Diagnostics = one("").unwrap_err();
    takes(&found);
    assert_eq!(found.list().first().map(|first| (first.line(), first.column())), Some((0, 0)));
}
