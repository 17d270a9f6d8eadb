//! The merged policy as TOML: each line says where it came from, and reading it back gives the same policy.

use ringfence_policy::{Policy, load, print_merged};

use super::support::{context, file, good, memory, preset, same};

#[test]
fn each_line_names_its_origin() {
    let policy = good(
        "identity = { name = \"a\" }\n[workspace]\npath = \"/w\"\nmode = \"read\"\nprotect = [\".git/hooks\"]\n\
         [files]\nread = [\"~/x?\"]\nexec = []\ndeny = [\"**/.env\"]\n[environment]\npass = [\"LANG\"]\n\
         set = { A = \"q\\\"\\n\", R = { path = \"~/.r\", optional = true } }\n[commands]\nallow = []\n\
         [limits]\ntmp = \"1536KiB\"\n[runtime]\ntmp_exec = true\n[expect]\nrefuse = [\"read /x\"]\n",
    );
    let printed = print_merged(&policy);
    let (head, rest) = printed.split_once('\n').unwrap();
    assert_eq!(head, format!("# the merged policy; hash {}", policy.hash));
    same(
        rest.trim_end(),
        r#"
        # merged from p.toml
        version = 1
        identity = { name = "a" } # from p.toml:2

        [workspace]
        path = "/w" # from p.toml:4
        mode = "read" # from p.toml:5
        protect = [
          ".git/hooks", # from p.toml:6
        ]

        [files]
        read = [
          "/home/u/x?", # from p.toml:8
        ]
        deny = [
          "**/.env", # from p.toml:10
        ]

        [environment]
        pass = [
          "LANG", # from p.toml:12
        ]

        [environment.set]
        A = "q\"\U0000000A" # from p.toml:13
        R = { path = "/home/u/.r", optional = true } # from p.toml:13

        [commands]
        from_workspace = false
        allow = [] # from p.toml:15

        [limits]
        tmp = "1536KiB" # from p.toml:17

        [runtime]
        tmp_exec = true # from p.toml:19

        [expect]
        refuse = [
          "read /x", # from p.toml:21
        ]
        "#,
    );
}

/// What a policy says, without where it says so.
fn meaning(policy: &Policy) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                for key in ["origin", "origins", "hash", "sources"] {
                    map.remove(key);
                }
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(policy).unwrap();
    strip(&mut value);
    value
}

#[test]
fn reading_it_back_gives_the_same_policy() {
    let odd = "[files]\nread = [\"/a$$b\", \"/ä ö\\\"\\\\\"]\nwrite = [\"/srv/$$x?\"]\nexec = [\"/x y\"]\n[workspace]\npath = \"/w$$\"\ngit = true\n\
               [commands]\nallow = [\"a\", \"b$\", \"'/x y/$$z' './$a' (-n *|-q) **\"]\ndeny = [\"/opt/$$x (-a)\"]\nshell = false\nchildren = [\"c *\"]\n[limits]\ntmp = \"1025B\"\n[environment.set]\nA = { path = \"/x$$y\" }\n";
    let default = load(&[preset("coding-agent")], &context(), &memory(&[])).unwrap();
    for policy in [good(""), good(odd), default] {
        let printed = print_merged(&policy);
        let again = load(&[file("p.toml")], &context(), &memory(&[("/proj/p.toml", &printed)]))
            .unwrap_or_else(|found| panic!("{printed}\n{found}"));
        assert_eq!(meaning(&again), meaning(&policy), "{printed}");
    }
}

#[test]
fn presets_are_named_as_the_origin() {
    let printed = print_merged(&load(&[preset("coding-agent")], &context(), &memory(&[])).unwrap());
    let line = |text: &str| {
        printed.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(line("\".git/hooks\"").contains("# from preset coding-agent:"), "{}", line("\".git/hooks\""));
    assert!(line("\"/usr\"").contains("# from preset default:"));
    assert!(line("mode = ").contains("# from preset default:"));
}

#[test]
fn hostile_names_of_sources_stay_comments() {
    let name = "/proj/a\nread = [\"/\"]\u{1b}.toml";
    let policy =
        load(&[file(name)], &context(), &memory(&[(name, "version = 1\n[files]\nread = [\"/x\"]\n")]))
            .unwrap();
    let printed = print_merged(&policy);
    assert!(!printed.contains('\u{1b}') && !printed.contains("\nread = [\"/\"]"), "{printed}");
}

#[test]
fn what_is_said_of_a_service_of_the_host_is_read_back() {
    for rule in [
        "{ host_loopback = 80 }",
        "{ host_loopback = 80, protocol = \"http\", methods = [\"GET\"], paths = [\"/a\"], request_size = \"10B\" }",
        "{ host_loopback = 80, tls = true, inspect = true, bytes_out = \"1KiB\" }",
        "{ host_loopback = 80, protocol = \"http\", websocket = true }",
        "{ host = \"a.example\", inspect = true }",
        "{ host = \"a.example:80\", websocket = false }",
    ] {
        let policy = good(&format!("[network]\nallow = [{rule}]"));
        let printed = print_merged(&policy);
        let (_, text) = printed.split_once("version = 1").unwrap();
        let allow = |policy: &Policy| -> Vec<_> {
            policy.network.allow.iter().map(|rule| rule.value.clone()).collect()
        };
        assert_eq!(allow(&good(text)), allow(&policy), "{printed}");
    }
}
