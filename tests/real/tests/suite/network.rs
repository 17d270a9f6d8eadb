//! Real clients through the gateway, in a preset, and the same requests with and without it: `network/` has both sides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringfence_promises::{Outcome, World};
use ringfence_real::{inputs, long};

const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/network");
/// Starts the servers, and ends them with the script.
const UP: &str = r#"
export SSL_CERT_FILE=$BASE/ca.pem GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=$BASE/ca.pem PYTHONPATH=$SITE PYTHONDONTWRITEBYTECODE=1
git init -q $BASE/made && (cd $BASE/made && echo content > file && git add file && git -c user.name=w -c user.email=w@w commit -qm made)
git clone -q --bare $BASE/made $BASE/git/made.git
/usr/bin/python3 $SERVERS/servers.py > $BASE/servers.log 2>&1 & servers=$!
trap 'kill $servers' EXIT
for n in $(seq 600); do [ -e $BASE/up ] && break; kill -0 $servers || break; sleep 0.1; done
[ -e $BASE/up ] || { cat $BASE/servers.log >&2; exit 1; }
"#;

/// A world with the servers of `network/servers.py` in it.
struct Net {
    world: World,
    site: PathBuf,
}

impl Net {
    fn new() -> Self {
        let net = Self { world: World::new(), site: inputs::web() };
        std::fs::create_dir_all(net.world.base.join("git")).expect("a directory");
        net
    }

    /// Rules that have every request looked into, or let the same ports through as they are.
    fn policy(&self, inspected: bool) -> String {
        let methods = "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"OPTIONS\"]";
        let rules: Vec<String> = [(8080, "http"), (8443, "tls"), (8444, "tls"), (8445, "tls")]
            .iter()
            .map(|(port, protocol)| {
                let more = if inspected { methods.to_owned() } else { String::new() };
                let rule =
                    format!("host = \"allowed.example\", port = {port}, protocol = \"{protocol}\", {more}");
                format!("{{ {} }}", rule.trim_end_matches(", "))
            })
            .collect();
        let (base, site) = (self.world.base.display(), self.site.display());
        let own = if inspected {
            String::new()
        } else {
            // Nobody has placed an authority there: the servers' own is the task's matter.
            format!(
                ", SSL_CERT_FILE = \"{base}/ca.pem\", REQUESTS_CA_BUNDLE = \"{base}/ca.pem\", GIT_SSL_CAINFO = \"{base}/ca.pem\", \
                      NODE_EXTRA_CA_CERTS = \"{base}/ca.pem\", GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = \"{base}/ca.pem\""
            )
        };
        let text = format!(
            "version = 1\nextends = [\"coding-agent\"]\n[files]\nread = [\"{base}/ca.pem\", \"{SERVERS}\"]\n\
             exec = [\"{site}\", \"{base}/bin?\"]\n[environment]\nset = {{ PYTHONPATH = \"{site}\", SERVERS = \"{SERVERS}\", BIN = \"{base}/bin\"{own} }}\n\
             [network]\nallow = [{}]\n",
            rules.join(", ")
        );
        let path = self.world.place.base.path().join(format!("network-{inspected}.toml"));
        std::fs::write(&path, text).expect("a policy");
        path.display().to_string()
    }

    /// A script of that host, once the servers are up.
    fn host(&self, script: &str) -> Outcome {
        let variables = format!("export SITE={} SERVERS={SERVERS}\n", self.site.display());
        self.world.host(&format!("{variables}{UP}{script}"))
    }
}

/// A binary that needs no library of the system: of musl where the toolchain has that target, else of glibc.
fn static_binary(into: &Path) {
    const MUSL: &str = "x86_64-unknown-linux-musl";
    std::fs::create_dir_all(into).expect("a directory");
    let source = format!("{SERVERS}/static.rs");
    let toolchain = inputs::toolchain();
    let mut rustc = Command::new(toolchain.join("bin/rustc"));
    match toolchain.join("lib/rustlib").join(MUSL).is_dir() {
        true => rustc.arg(format!("--target={MUSL}")),
        false => rustc.arg("-Ctarget-feature=+crt-static"),
    };
    rustc.args(["--edition=2021", "-o"]).arg(into.join("static")).arg(source);
    let built = rustc.output().expect("rustc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

#[test]
fn clients_need_no_change_whether_looked_into_or_not() {
    let net = Net::new();
    static_binary(&net.world.base.join("bin"));
    let script = r#"
/usr/bin/python3 $SERVERS/clients.py
for v in --http1.1 --http2; do curl -sm30 $v https://allowed.example:8443/get -o /dev/null -w "curl-%{http_version} %{http_code}\n"; done
head -c 3000000 /dev/zero > z
curl -svm30 --http1.1 -H 'Expect: 100-continue' --data-binary @z https://allowed.example:8443/own/echo 2>&1 | grep -aoE 'HTTP/1.1 100|"length": 3000000'
node -e 'fetch("https://allowed.example:8443/get").then(r => r.json()).then(j => console.log("node", j.url))'
git clone -q https://allowed.example:8443/own/git/made.git /tmp/all && cat /tmp/all/file
git clone -q --depth 1 https://allowed.example:8443/own/git/made.git /tmp/one && echo "git $(git -C /tmp/one log --oneline | wc -l)"
$BIN/static"#;
    let script = net.world.place.write(net.world.base.join("script.sh"), script);
    let run = |policy: String| {
        format!(
            "\"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; ",
            script.display()
        )
    };
    let wanted = [
        "requests ok",
        "requests-redirect ok",
        "httpx-HTTP/1.1 ok",
        "httpx-HTTP/2 ok",
        "aiohttp ok",
        "events-HTTP/1.1 ok",
        "events-HTTP/2 ok",
        "grpc-one ok",
        "grpc-many ok",
        "grpc-sum ok",
        "grpc-talk ok",
        "grpc-status ok",
        "trailers ok",
        "curl-1.1 200",
        "curl-2 200",
        "HTTP/1.1 100",
        "\"length\": 3000000",
        "node https://allowed.example:8443/get",
        "content",
        "git 1",
        "static ok",
    ];
    let wanted: BTreeSet<&str> = wanted.into_iter().collect();
    for inspected in [true, false] {
        let outcome = net.host(&run(net.policy(inspected)));
        std::fs::remove_file(net.world.base.join("up")).expect("the servers were up");
        for directory in ["made", "git/made.git"] {
            std::fs::remove_dir_all(net.world.base.join(directory)).expect("a repository");
        }
        let seen: BTreeSet<&str> = outcome.out.lines().collect();
        assert_eq!(seen, wanted, "looked into: {inspected}: {}", outcome.err);
    }
}

#[test]
fn the_same_requests_have_the_same_answers() {
    let net = Net::new();
    let form = if long() { "long" } else { "" };
    let conform = format!("/usr/bin/python3 {SERVERS}/conform.py {form}");
    let outcome = net.host(&format!(
        "{conform} > $BASE/outside.jsonl || exit 1; \
         \"$RF\" run --quiet --policy {} --workspace . -- {conform} > $BASE/inside.jsonl",
        net.policy(true)
    ));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let [outside, inside] = ["outside.jsonl", "inside.jsonl"].map(|name| net.world.log(name));
    assert!(outside.lines().count() >= 400, "{}", outside.lines().count());
    assert!(!outside.contains("\"failed\""), "{outside}");
    for (outside, inside) in outside.lines().zip(inside.lines()) {
        assert_eq!(inside, outside);
    }
    assert_eq!(inside.lines().count(), outside.lines().count());
    println!("{} requests had the same answers", outside.lines().count());
}
