//! Several documents become one.

use std::path::{Path, PathBuf};

use ringfence_policy::{Children, EnvironmentValue, Grant, Identity, Mode, Origin, Policy, Rule, load};

use super::support::{bad, context, file, good, memory, one, preset, same, trimmed};

fn two(first: &str, second: &str) -> Policy {
    let files = [("/proj/a.toml", first), ("/proj/b.toml", second)];
    let files = files.map(|(path, text)| (path, format!("version = 1\n{text}")));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let sources = [file("a.toml"), file("b.toml")];
    load(&sources, &context(), &memory(&files)).unwrap_or_else(|found| panic!("{found}"))
}

fn paths(rules: &[Rule<Grant>]) -> Vec<String> {
    rules
        .iter()
        .map(|rule| format!("{}{}", rule.value.path.display(), if rule.value.optional { "?" } else { "" }))
        .collect()
}

#[test]
fn po02_missing_sections_grant_nothing() {
    let policy = one("version = 1\n").unwrap();
    assert!(policy.files.read.is_empty() && policy.files.exec.is_empty() && policy.files.write.is_empty());
    assert!(policy.environment.pass.is_empty() && policy.environment.set.is_empty());
    assert!(!policy.from_workspace && !policy.runtime.tmp_exec && !policy.workspace.git);
    assert_eq!(policy.workspace.mode, Mode::Review);
    assert_eq!(policy.workspace.path, None);
    assert!(policy.commands.is_none() && policy.identity.is_none());
}

#[test]
fn po01_an_empty_list_is_not_everything() {
    let policy = good("[network]\nallow = []\n[files]\nread = []\n[commands]\nallow = []\n");
    assert_eq!(policy.commands.map(|commands| commands.allow), Some(Vec::new()));
    good("[network]\nallow = []\n[files]\nread = []\n[commands]\nallow = [\"cat\", \"curl\"]\n");
    assert!(good("[commands]\nfrom_workspace = true\n").commands.is_none());
}

#[test]
fn decoys_add_up_and_are_single_files() {
    let policy = two("[files]\ndecoy = [\"~/.netrc\"]\n", "[files]\ndecoy = [\"~/.netrc\", \"/srv/x\"]\n");
    let paths: Vec<_> = policy.files.decoy.iter().map(|rule| rule.value.as_path()).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(
        paths.contains(&Path::new("/home/u/.netrc")) && paths.contains(&Path::new("/srv/x")),
        "{paths:?}"
    );
    let refused = bad("[files]\ndecoy = [\"~/.ssh/*\"]\n");
    assert!(refused.contains("a decoy is one file, not a pattern"), "{refused}");
}

#[test]
fn every_value_of_one_document() {
    let policy = good(
        "identity = { spiffe = \"spiffe://example.org/agents/build\" }\n\
         [workspace]\npath = \"sub/./dir\"\nmode = \"discard\"\nprotect = [\".git/hooks\"]\ngit = true\n\
         [files]\nread = [\"~/a?\", \"data\"]\nexec = [\"$SDK/bin\"]\nwrite = [\"/srv//x/\"]\ndeny = [\"**/.env\"]\n\
         [environment]\npass = [\"LANG\"]\nset = { CI = \"1\", R = { path = \"~/.r\", optional = true } }\n\
         [commands]\nallow = [\"cargo\", \"$SDK/bin/cc\"]\nfrom_workspace = true\n\
         [limits]\ntmp = \"1GiB\"\n[runtime]\ntmp_exec = true\n",
    );
    let at = |line| Origin { source: "p.toml".into(), line };
    let id = Identity::Spiffe("spiffe://example.org/agents/build".to_owned());
    assert_eq!(policy.identity, Some(Rule { value: id, origin: at(2) }));
    assert_eq!(policy.workspace.path, Some(Rule { value: PathBuf::from("/proj/sub/dir"), origin: at(4) }));
    assert_eq!((policy.workspace.mode, policy.workspace.git), (Mode::Discard, true));
    assert_eq!(policy.workspace.protect[0].value.text(), ".git/hooks");
    assert_eq!(paths(&policy.files.read), ["/home/u/a?", "/proj/data"]);
    assert_eq!(paths(&policy.files.exec), ["/opt/sdk/bin"]);
    assert_eq!(paths(&policy.files.write), ["/srv/x"]);
    assert_eq!(policy.files.read[0].origin, at(9));
    assert_eq!(policy.files.deny[0].value.text(), "**/.env");
    assert_eq!(policy.environment.pass[0].value, "LANG");
    assert_eq!(policy.environment.set["CI"].value, EnvironmentValue::Text("1".to_owned()));
    let path = EnvironmentValue::Path(Grant { path: "/home/u/.r".into(), optional: true });
    assert_eq!(policy.environment.set["R"].value, path);
    let commands: Vec<String> = policy.commands.unwrap().allow.into_iter().map(|rule| rule.value).collect();
    assert_eq!(commands, ["cargo", "/opt/sdk/bin/cc"]);
    assert_eq!(policy.limits.tmp.map(|rule| rule.value), Some(1 << 30));
    assert!(policy.from_workspace && policy.runtime.tmp_exec);
    assert_eq!(policy.origins["workspace.mode"], at(5));
    assert_eq!(policy.home, PathBuf::from("/home/u"));
    assert_eq!(policy.sources, ["p.toml"]);
}

#[test]
fn lists_add_up_and_single_values_are_replaced() {
    let policy = two(
        "identity = { name = \"a\" }\n[workspace]\nmode = \"direct\"\ngit = true\nprotect = [\"a\"]\n\
         [files]\nread = [\"/a\", \"/both\"]\ndeny = [\"x\"]\n\
         [environment]\npass = [\"LANG\"]\nset = { A = \"1\", B = \"1\" }\n[commands]\nfrom_workspace = true\n",
        "identity = { name = \"b\" }\n[workspace]\nmode = \"read\"\ngit = false\nprotect = [\"b\", \"a\"]\n\
         [files]\nread = [\"/both\", \"/b\"]\ndeny = [\"x\", \"y\"]\n\
         [environment]\npass = [\"LANG\", \"TERM\"]\nset = { B = \"2\" }\n[commands]\nfrom_workspace = false\n",
    );
    assert_eq!(policy.identity.unwrap().value, Identity::Name("b".to_owned()));
    assert_eq!(
        (policy.workspace.mode, policy.workspace.git, policy.from_workspace),
        (Mode::Read, false, false)
    );
    assert_eq!(paths(&policy.files.read), ["/a", "/both", "/b"]);
    let origins: Vec<String> = policy.files.read.iter().map(|rule| rule.origin.to_string()).collect();
    assert_eq!(origins, ["a.toml:8", "a.toml:8", "b.toml:8"]);
    let texts = |rules: &[Rule<ringfence_policy::PathPattern>]| {
        rules.iter().map(|rule| rule.value.text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&policy.files.deny), ["x", "y"]);
    assert_eq!(texts(&policy.workspace.protect), ["a", "b"]);
    assert_eq!(policy.environment.pass.len(), 2);
    assert_eq!(policy.environment.set["A"].value, EnvironmentValue::Text("1".to_owned()));
    assert_eq!(policy.environment.set["B"].value, EnvironmentValue::Text("2".to_owned()));
}

#[test]
fn a_grant_that_is_required_once_is_required() {
    let policy = two("[files]\nread = [\"/a?\"]\n", "[files]\nread = [\"/a\", \"/a?\"]\n");
    assert_eq!(paths(&policy.files.read), ["/a"]);
}

#[test]
fn the_smaller_limit_holds() {
    for (first, second) in [("1GiB", "2GiB"), ("2GiB", "1GiB")] {
        let [first, second] = [first, second].map(|size| format!("[limits]\ntmp = \"{size}\"\n"));
        assert_eq!(two(&first, &second).limits.tmp.unwrap().value, 1 << 30);
    }
    let policy = two("[limits]\ntmp = \"1GiB\"\n", "[limits]\ntmp = \"2GiB\"\n");
    assert_eq!(&*policy.limits.tmp.unwrap().origin.source, "a.toml");
}

#[test]
fn commands_add_up_and_absence_is_not_a_list() {
    let names = |policy: Policy| {
        policy.commands.map(|commands| commands.allow.into_iter().map(|rule| rule.value).collect::<Vec<_>>())
    };
    let list = |entries: &str| format!("[commands]\nallow = [{entries}]\n");
    assert_eq!(names(two("", "")), None);
    assert_eq!(names(two(&list("\"a\""), "")), Some(vec!["a".to_owned()]));
    assert_eq!(names(two(&list("\"a\""), &list("\"b\", \"a\""))), Some(vec!["a".to_owned(), "b".to_owned()]));
    let replace = format!("lists = {{ replace = [\"commands.allow\"] }}\n{}", list("\"b\""));
    assert_eq!(names(two(&list("\"a\""), &replace)), Some(vec!["b".to_owned()]));
    let emptied = "lists = { replace = [\"commands.allow\"] }\n";
    assert_eq!(names(two(&list("\"a\""), emptied)), Some(Vec::new()), "emptied, not absent");
}

#[test]
fn lists_start_anew_where_they_allow() {
    let policy = two(
        "[files]\nread = [\"/a\"]\nexec = [\"/e\"]\nwrite = [\"/w\"]\n[environment]\npass = [\"LANG\"]\n",
        "lists = { replace = [\"files.read\", \"files.exec\", \"files.write\", \"environment.pass\"] }\n\
         [files]\nread = [\"/b\"]\n",
    );
    assert_eq!(paths(&policy.files.read), ["/b"]);
    assert!(
        policy.files.exec.is_empty() && policy.files.write.is_empty() && policy.environment.pass.is_empty()
    );
    same(
        &bad("lists.replace = [\"files.deny\", \"file.read\", \"workspace.protect\", \"limits\"]\n"),
        r#"
        error: `files.deny` can only be tightened
         --> p.toml:2:18
          |
        2 | lists.replace = ["files.deny", "file.read", "workspace.protect", "limits"]
          |                  ^^^^^^^^^^^^ this list restricts
          |
          = help: only a list that allows can start anew, such as `files.read`

        error: `file.read` is not a list that can be replaced
         --> p.toml:2:32
          |
        2 | lists.replace = ["files.deny", "file.read", "workspace.protect", "limits"]
          |                                ^^^^^^^^^^^ no such list
          |
          = help: did you mean `files.read`?

        error: `workspace.protect` can only be tightened
         --> p.toml:2:45
          |
        2 | lists.replace = ["files.deny", "file.read", "workspace.protect", "limits"]
          |                                             ^^^^^^^^^^^^^^^^^^^ this list restricts
          |
          = help: only a list that allows can start anew, such as `files.read`

        error: `limits` is not a list that can be replaced
         --> p.toml:2:66
          |
        2 | lists.replace = ["files.deny", "file.read", "workspace.protect", "limits"]
          |                                                                  ^^^^^^^^ no such list
          |
          = help: the lists are `files.read`, `files.exec`, `files.write`, `environment.pass`, `commands.allow`, `commands.children`, `network.allow`, `network.registries`
        "#,
    );
}

#[test]
fn paths_are_relative_to_their_own_document() {
    let files = memory(&[(
        "/srv/policies/p.toml",
        "version = 1\n[workspace]\npath = \".\"\n[files]\nread = [\"data\"]\n",
    )]);
    for source in ["/srv/policies/p.toml", "../srv/policies/p.toml", "./../srv/policies/p.toml"] {
        let policy = load(&[file(source)], &context(), &files).unwrap();
        assert_eq!(policy.workspace.path.unwrap().value, PathBuf::from("/srv/policies"), "{source}");
        assert_eq!(paths(&policy.files.read), ["/srv/policies/data"]);
    }
}

#[test]
fn variables_that_are_not_set_or_carry_secrets() {
    let found = bad(
        "[files]\nread = [\"$NOPE/x\"]\n[environment]\npass = [\"GITHUB_TOKEN\", \"LC_*\"]\nset = { \"A B\" = \"1\" }\n",
    );
    for expected in [
        "the variable `NOPE` in `$NOPE/x` is not set\n --> p.toml:3:9",
        "`GITHUB_TOKEN` would carry a secret or a way out into the sandbox\n --> p.toml:5:9",
        "write it out: `set = { GITHUB_TOKEN = \"..\" }`",
        "`LC_*` is a pattern; variables are passed by name\n --> p.toml:5:25",
        "`A B` is not the name of a variable\n --> p.toml:6:9",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_path_in_a_variable_grants_nothing() {
    let policy = good("[environment.set]\nX = { path = \"/srv/x\" }\n");
    assert!(policy.files.read.is_empty());
    assert!(bad("[environment.set]\nX = { optional = true }\n").contains("the path of `X` is missing"));
    assert!(bad("[environment.set]\nX = { path = \"/a/../b\" }\n").contains("holds `..`"));
    assert!(bad("[environment.set]\nX = 1\n").contains("`environment.set.X` must be a string or"));
}

#[test]
fn a_glob_in_a_grant_suggests_the_directory() {
    same(
        &bad("[files]\nread = [\"/srv/data/*.csv\"]\n"),
        r#"
        error: a grant names one file or directory, `/srv/data/*.csv` is a pattern
         --> p.toml:3:9
          |
        3 | read = ["/srv/data/*.csv"]
          |         ^^^^^^^^^^^^^^^^^ 
          |
          = help: grant the directory `/srv/data` and hide the rest by `files.deny`
        "#,
    );
}

#[test]
fn errors_of_all_documents_are_shown_at_once() {
    let files = memory(&[("/proj/a.toml", "version = 1\nx = 1\n"), ("/proj/b.toml", "version = 1\ny = 1\n")]);
    let found = load(&[file("a.toml"), file("b.toml"), preset("nope")], &context(), &files).unwrap_err();
    let found = trimmed(&found);
    assert!(found.contains("--> a.toml:2:1") && found.contains("--> b.toml:2:1"), "{found}");
    assert!(found.contains("there is no preset `nope`"), "{found}");
}

#[test]
fn the_hash_covers_every_document_and_its_bounds() {
    let hash = |first: &str, second: &str| two(first, second).hash;
    let base = hash("# a\n", "# b\n");
    assert_eq!(base.len(), 64);
    assert_eq!(base, hash("# a\n", "# b\n"));
    for other in [hash("# a\n", "# c\n"), hash("# b\n", "# a\n"), hash("# a\n# b\n", "")] {
        assert_ne!(base, other);
    }
    // The same bytes in a row, parted elsewhere.
    let parted = |first: &str, second: &str| {
        let files = memory(&[("/proj/a.toml", first), ("/proj/b.toml", second)]);
        load(&[file("a.toml"), file("b.toml")], &context(), &files).unwrap().hash
    };
    assert_ne!(parted("version = 1\n#", "#\nversion = 1\n"), parted("version = 1\n##", "\nversion = 1\n"));
}

#[test]
fn limits_are_only_tightened_and_nonsense_is_none() {
    let policy = good(
        "[limits]\nmemory = \"64MiB\"\ncpu = 1.5\nprocesses = 8\nopen_files = 64\nfile_size = \"1MiB\"\noutput = \"2KiB\"\ntime = \"2s\"\nexact = true\n",
    );
    let value = |rule: &Option<Rule<u64>>| rule.as_ref().map(|rule| rule.value);
    let limits = &policy.limits;
    assert_eq!(value(&limits.memory), Some(64 << 20));
    assert_eq!(value(&limits.cpu), Some(1500));
    assert_eq!(value(&limits.processes), Some(8));
    assert_eq!(value(&limits.open_files), Some(64));
    assert_eq!(value(&limits.file_size), Some(1 << 20));
    assert_eq!(value(&limits.output), Some(2048));
    assert_eq!(value(&limits.time), Some(2000));
    assert!(limits.exact);
    for (text, why) in [
        ("memory = \"99999999999GiB\"", "63 bits"),
        ("memory = \"0B\"", "zero"),
        ("cpu = 0.0", "write 0.01 to 65536"),
        ("cpu = nan", "write 0.01 to 65536"),
        ("processes = 0", "write 1 to"),
        ("open_files = -1", "write 1 to"),
        ("time = \"1y\"", "unit is not known"),
        ("output = 5", "string"),
    ] {
        let found = bad(&format!("[limits]\n{text}\n"));
        assert!(found.contains(why), "{text}\n{found}");
    }
}

#[test]
fn lists_of_children_add_up_and_a_word_takes_their_place() {
    let children = |first: &str, second: &str| {
        let document = |children: &str| format!("[commands]\nallow = [\"make\"]\nchildren = {children}\n");
        let policy = two(&document(first), &document(second));
        policy.guard.children.programs().iter().map(|rule| rule.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(children("[\"cc\", \"ld\"]", "[\"as -o *\", \"cc\"]"), ["cc", "ld", "as -o *"]);
    assert_eq!(children("[\"cc\"]", "[]"), ["cc"]);
    assert!(children("[\"cc\"]", "\"same\"").is_empty() && children("\"free\"", "[]").is_empty());
    let replaced = two(
        "[commands]\nallow = [\"make\"]\nchildren = [\"cc\"]\n",
        "lists.replace = [\"commands.children\"]\n[commands]\nchildren = [\"as\"]\n",
    );
    assert_eq!(replaced.guard.children.programs().len(), 1);
    let anew = two(
        "[commands]\nallow = [\"make\"]\nchildren = \"free\"\n",
        "lists.replace = [\"commands.children\"]\n",
    );
    assert_eq!(anew.guard.children, Children::Same);
}
