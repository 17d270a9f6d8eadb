//! `extends`: presets by name, files beside the document, never in a circle, never from elsewhere.

use ringfence_policy::{Mode, load};

use super::support::{bad, context, file, memory, preset, same, trimmed};

#[test]
fn the_document_itself_comes_last_and_its_bases_left_to_right() {
    let files = memory(&[
        (
            "/proj/p.toml",
            "version = 1\nextends = [\"./a.toml\", \"./sub/b.toml\"]\n[files]\nread = [\"/p\"]\n",
        ),
        ("/proj/a.toml", "version = 1\n[workspace]\nmode = \"read\"\n[files]\nread = [\"a\"]\n"),
        (
            "/proj/sub/b.toml",
            "version = 1\nextends = [\"./c.toml\"]\n[workspace]\nmode = \"direct\"\n[files]\nread = [\"b\"]\n",
        ),
        ("/proj/sub/c.toml", "version = 1\n[workspace]\nmode = \"discard\"\n[files]\nread = [\"c\"]\n"),
    ]);
    let policy = load(&[file("p.toml")], &context(), &files).unwrap();
    assert_eq!(policy.workspace.mode, Mode::Direct);
    let read: Vec<String> =
        policy.files.read.iter().map(|rule| rule.value.path.display().to_string()).collect();
    assert_eq!(read, ["/proj/a", "/proj/sub/c", "/proj/sub/b", "/p"]);
    assert_eq!(policy.sources, ["p.toml", "/proj/a.toml", "/proj/sub/b.toml", "/proj/sub/c.toml"]);
}

#[test]
fn a_document_counts_once_where_it_is_first_named() {
    let files = memory(&[
        ("/proj/p.toml", "version = 1\nextends = [\"./a.toml\", \"./b.toml\"]\n"),
        ("/proj/a.toml", "version = 1\nextends = [\"./base.toml\"]\n[workspace]\nmode = \"read\"\n"),
        ("/proj/b.toml", "version = 1\nextends = [\"./././base.toml\"]\n"),
        ("/proj/base.toml", "version = 1\n[workspace]\nmode = \"direct\"\n"),
    ]);
    let policy = load(&[file("p.toml")], &context(), &files).unwrap();
    assert_eq!(policy.workspace.mode, Mode::Read, "the base must not come a second time, on top of a.toml");
    assert_eq!(policy.sources.len(), 4);
}

#[test]
fn po18_what_extends_refuses() {
    same(
        &bad(
            "extends = [\n\"../../../../etc/passwd\",\n\"./p.toml\",\n\"https://denied.example/p.toml\",\n\"no-such-preset\",\n\"defalt\",\n\"/etc/p.toml\",\n\"sub/p.toml\",\n\"./sub/../../p.toml\",\n\"./gone.toml\"]\n",
        ),
        r#"
        error: `../../../../etc/passwd` leaves the directory of this file
         --> p.toml:3:1
          |
        3 | "../../../../etc/passwd",
          | ^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: put the file beside this one and write `./NAME.toml`

        error: `extends` goes in a circle: /proj/p.toml -> /proj/p.toml
         --> p.toml:4:1
          |
        4 | "./p.toml",
          | ^^^^^^^^^^ comes back to itself
          |
          = help: remove one of the links

        error: `https://denied.example/p.toml` is a URL; a policy never comes from the network
         --> p.toml:5:1
          |
        5 | "https://denied.example/p.toml",
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: copy it beside this file and write `./NAME.toml`

        error: there is no preset `no-such-preset`
         --> p.toml:6:1
          |
        6 | "no-such-preset",
          | ^^^^^^^^^^^^^^^^
          |
          = help: the presets are `default`, `coding-agent`, `ci-step`, `analyst`, `support-agent`; a file is written `./no-such-preset`

        error: there is no preset `defalt`
         --> p.toml:7:1
          |
        7 | "defalt",
          | ^^^^^^^^
          |
          = help: did you mean `default`?

        error: `/etc/p.toml` is not beside this file
         --> p.toml:8:1
          |
        8 | "/etc/p.toml",
          | ^^^^^^^^^^^^^
          |
          = help: put the file beside this one and write `./NAME.toml`

        error: `sub/p.toml` is neither a preset nor a file
         --> p.toml:9:1
          |
        9 | "sub/p.toml",
          | ^^^^^^^^^^^^
          |
          = help: write `./sub/p.toml`

        error: `./sub/../../p.toml` leaves the directory of this file
          --> p.toml:10:1
           |
        10 | "./sub/../../p.toml",
           | ^^^^^^^^^^^^^^^^^^^^
           |
           = help: put the file beside this one and write `./NAME.toml`

        error: cannot read the policy `/proj/gone.toml`: entity not found
          --> p.toml:11:1
           |
        11 | "./gone.toml"]
           | ^^^^^^^^^^^^^
        "#,
    );
}

#[test]
fn po18_a_preset_is_never_a_file_of_its_name() {
    let evil = "version = 1\n[files]\nread = [\"/evil\"]\n";
    let files = memory(&[
        ("/proj/s.toml", "version = 1\nextends = [\"coding-agent\"]\n"),
        ("/proj/coding-agent.toml", evil),
        ("/proj/coding-agent", evil),
        ("/proj/presets/coding-agent.toml", evil),
        ("/proj/default", evil),
    ]);
    for sources in [vec![file("s.toml")], vec![preset("coding-agent")]] {
        let policy = load(&sources, &context(), &files).unwrap();
        assert!(policy.files.read.iter().all(|rule| !rule.value.path.starts_with("/evil")));
        assert!(policy.sources.iter().any(|source| source == "preset coding-agent"), "{:?}", policy.sources);
    }
}

#[test]
fn longer_circles_and_endless_chains_end() {
    let files = memory(&[
        ("/proj/p.toml", "version = 1\nextends = [\"./a.toml\"]\n"),
        ("/proj/a.toml", "version = 1\nextends = [\"./b.toml\"]\n"),
        ("/proj/b.toml", "version = 1\nextends = [\"./a.toml\"]\n"),
    ]);
    let found = trimmed(&load(&[file("p.toml")], &context(), &files).unwrap_err());
    assert!(
        found.contains("in a circle: /proj/a.toml -> /proj/b.toml -> /proj/a.toml\n --> /proj/b.toml:2:12"),
        "{found}"
    );

    let chain: Vec<(String, String)> = (0..200)
        .map(|n| (format!("/proj/{n}.toml"), format!("version = 1\nextends = [\"./{}.toml\"]\n", n + 1)))
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let found = trimmed(&load(&[file("0.toml")], &context(), &memory(&chain)).unwrap_err());
    assert!(found.contains("a policy has too many documents\n --> /proj/63.toml:2:12"), "{found}");
}
