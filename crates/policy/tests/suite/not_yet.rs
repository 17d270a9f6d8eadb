//! What a later build will enforce is refused by name; what asks for nothing more than what holds is accepted.

use super::support::{bad, good, same};

/// Each key of the format that nothing enforces yet, with a valid value.
const LATER: &[(&str, &str)] =
    &[("approvals.grantable.write", "[approvals]\ngrantable = { write = [\"~/projects/**\"] }")];

#[test]
fn each_later_key_is_refused_by_name() {
    for (what, text) in LATER {
        let found = bad(text);
        let expected = format!("{what}` is not yet enforceable");
        assert!(found.contains(&expected), "{text}\n{found}");
        assert_eq!(found.matches("error:").count(), 1, "{text}\n{found}");
    }
    same(
        &bad("[approvals]\ngrantable = { write = [\"~/a\"] }\n"),
        r#"
        error: `approvals.grantable.write` is not yet enforceable
         --> p.toml:3:23
          |
        3 | grantable = { write = ["~/a"] }
          |                       ^^^^^^^ this build cannot enforce it
          |
          = help: remove it: a rule that cannot be enforced is refused, never ignored
        "#,
    );
}

#[test]
fn a_bad_value_gets_its_own_error_first() {
    for (text, why) in [
        ("[workspace]\nquota = \"2GB\"", "the unit is not known"),
        ("[workspace]\noutputs = [\"../x\"]", "holds `..`"),
        ("[network]\nregistries = [\"cargoo\"]", "did you mean `cargo`?"),
        ("[network]\nallow = [{ host = \"a.example\", unix = \"/x\" }]", "exactly one of"),
        ("[network]\nallow = [{}]", "exactly one of"),
        ("[network]\nallow = [{ host = \"a.example\", port = 0 }]", "not a port"),
        ("[network]\nallow = [{ host = \"a.example:80\", port = 80 }]", "not an IPv6 address"),
        ("[network]\nallow = [{ host = \"a.example\", methods = [\"get\"] }]", "upper case"),
        ("[network]\nallow = [{ host = \"a.example\", paths = [\"x\"] }]", "write `/x`"),
        ("[network]\nallow = [{ host = \"a.example\", bytes_out = \"1\" }]", "unit is missing"),
        ("[network]\nallow = [{ host = \"a.example\", protocol = \"gopher\" }]", "not known"),
        ("[network]\nallow = [{ host_loopback = 70000 }]", "not a port"),
        ("[network]\nallow = [{ host_loopback = 80, port = 90 }]", "remove `port`"),
        ("[network]\nallow = [{ host_loopback = 80, protocol = \"nonsense\" }]", "not known"),
        ("[network]\nallow = [{ host_loopback = 80, methods = [\"GET\"] }]", "write `protocol = \"http\"`"),
        ("[network]\nallow = [{ host_loopback = 80, inspect = true }]", "is not TLS"),
        ("[network]\nallow = [{ host_loopback = 80, tls = true, protocol = \"http\" }]", "contradict"),
        ("[network]\nallow = [{ host = \"a.example\", tls = false }]", "remove it"),
        ("[network]\nallow = [{ host = \"a.example:8080\", websocket = false }]", "known only of HTTP"),
        ("[network]\nallow = [\"localhost:5432\"]", "write `{ host_loopback = 5432 }`"),
        ("[network]\nallow = [\"*.ringfence.internal:80\"]", "write `{ host_loopback = 80 }`"),
        ("[network]\ndeny = [\"*\"]", "a star stands only"),
        ("[network]\npublish = [0]", "not a port"),
        ("[network]\ninspect = \"some\"", "expected one of"),
        ("[network]\nallow = [{ host = \"a.example:22\", inspect = false }]", "is not TLS"),
        ("[network]\ninspect = \"none\"\n[leaks]\nscan = [\"egress\"]", "looks into what leaves"),
        (
            "[network]\nallow = [{ host = \"a.example\", methods = [\"GET\"], inspect = false }]",
            "needs inspection",
        ),
        (
            "[network]\ninspect = \"all\"\nallow = [{ host = \"a.example\", inspect = false }]",
            "keeps its TLS from inspection",
        ),
        ("[leaks]\nscan = [\"ingress\"]", "did you mean `egress`?"),
        ("[leaks]\naction = \"ignore\"", "expected one of"),
        ("[runtime]\ndebug = [\"gdb\"]", "expected one of"),
        ("[runtime]\nterminal = \"cooked\"", "expected one of"),
        ("[approvals]\non_refusal = \"allow\"", "expected one of"),
        ("[approvals]\ngrantable = { read = [\"a**\"] }", "stand alone"),
        ("[commands]\nallow = [\"\"]", "a command is empty"),
        ("[commands]\nallow = [\"./run.sh\"]", "commands.from_workspace = true"),
        ("[commands]\nallow = [\"..\"]", "neither a name"),
        ("[commands]\nallow = [\"python*\"]", "the program of `python*` is a pattern"),
        ("[commands]\ndeny = [\"git (a\"]", "leaves a group open"),
        ("[commands]\nallow = ['git commit -m \"a b\"']", "holds no word together"),
        (
            "[commands]\ndeny = [\"git push && ls\"]",
            "`&` in `git push && ls` means something to a shell alone",
        ),
        ("[commands]\ndeny = [\"rm; ls\"]", "means something to a shell alone"),
        ("[commands]\nallow = [\"ls > x\"]", "means something to a shell alone"),
        ("[commands]\nallow = [\"ls -l>\"]", "means something to a shell alone"),
        ("[commands]\nallow = [\"sleep 1 &\"]", "means something to a shell alone"),
        ("[commands]\nchildren = \"all\"", "expected one of"),
        ("[commands]\nchildren = [\"cc\"]", "needs `commands.allow`"),
        ("[commands]\nallow = [\"git push\"]\ndeny = [\"git push\"]", "can never start"),
    ] {
        let found = bad(text);
        assert!(found.contains(why), "{text}\n{found}");
        assert!(!found.contains("not yet enforceable"), "{text}\n{found}");
    }
}

#[test]
fn what_already_holds_is_accepted() {
    good(
        "[workspace]\nsnapshot = false\noutputs = []\n[files]\ndecoy = []\n\
         [commands]\ndeny = []\nshell = true\nchildren = \"same\"\npin = false\n\
         [network]\nallow = []\nregistries = []\npublish = []\ninspect = \"auto\"\ndeny = [\"upload.example.org\", \"*.example.com:80\"]\n\
         [credentials]\n[leaks]\nscan = []\naction = \"block\"\n[limits]\nexact = false\n\
         [runtime]\nuser_namespaces = false\ndebug = []\nio_uring = false\nterminal = \"raw\"\n\
         [step]\n[approvals]\non_refusal = \"fail\"\ngrantable = { read = [], hosts = [] }\n[expect]\n",
    );
}

#[test]
fn nothing_is_said_of_a_socket_that_is_not_held() {
    for (key, value) in [
        ("port", "80"),
        ("protocol", "\"http\""),
        ("tls", "true"),
        ("methods", "[\"GET\"]"),
        ("paths", "[\"/a\"]"),
        ("request_size", "\"1KiB\""),
        ("websocket", "false"),
        ("inspect", "true"),
        ("bytes_out", "\"1KiB\""),
    ] {
        let found = bad(&format!("[network]\nallow = [{{ unix = \"/run/x.sock\", {key} = {value} }}]"));
        assert!(found.contains(&format!("`{key}` cannot be held for a unix socket")), "{found}");
        assert!(found.contains(&format!("remove `{key}`")), "{found}");
    }
}
