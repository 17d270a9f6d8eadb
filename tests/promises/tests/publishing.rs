//! Packages, crates and images are published with placeholders alone; shown with npm, cargo, and skopeo against Debian's registry of images.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringfence_promises::{Outcome, World};

const TOKEN: &str = "kq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";

/// In a world that takes this token alone; the invoker has it in `$MY_TOKEN`. `before` runs on the host, and `more` may change the policy.
fn run(world: &World, (network, credentials): (&str, &str), before: &str, inside: &str) -> Outcome {
    std::fs::write(world.base.join("expected"), TOKEN).unwrap();
    let policy = world.policy(&format!("{network}\n{credentials}"));
    let text = std::fs::read_to_string(&policy).unwrap();
    // Who has none needs it for crates alone.
    let rust = sysroot();
    let exec = if rust.as_os_str().is_empty() {
        String::new()
    } else {
        format!("exec = [\"{}\"]\n", rust.display())
    };
    std::fs::write(&policy, text.replacen("read = [", &format!("{exec}read = ["), 1)).unwrap();
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; served=; {before}\n\
         \"$RF\" run --quiet --policy {policy} --workspace . -- env RUST={} bash -c \"$(cat {})\"; status=$?; for one in $served; do kill $one; done; exit $status",
        rust.display(),
        inside.display(),
    ))
}

/// A toolchain of Rust that runs here.
fn sysroot() -> PathBuf {
    let asked = |from: &str| {
        let said = Command::new("rustc").args(["--print", "sysroot"]).current_dir(from).output().ok()?;
        let place = Path::new(String::from_utf8_lossy(&said.stdout).trim()).canonicalize().ok()?;
        place.join("bin/cargo").is_file().then_some(place)
    };
    asked(env!("CARGO_MANIFEST_DIR")).or_else(|| asked("/")).unwrap_or_default()
}

fn told(world: &World, kind: &str, text: &str) -> bool {
    world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(text))
}

fn nowhere(world: &World, outcome: &Outcome, secrets: &[&str]) {
    let events = serde_json::to_string(&world.events()).unwrap();
    for secret in secrets {
        assert!(secret.len() > 20, "{secret}");
        for text in [&outcome.out, &outcome.err, &events] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[test]
fn npm_and_cargo_publish_with_placeholders_alone() {
    let world = World::new();
    let credentials = "[credentials.npm]\nsource = { env = \"MY_TOKEN\" }\nhosts = [\"allowed.example\"]\nmethods = [\"PUT\"]\npaths = [\"/npm/own-package\"]\n\
                       expose = { file = \"~/.npmrc\", text = \"//allowed.example/npm/:_authToken={secret}\\n\" }\n\
                       [credentials.crates]\nsource = { command = [\"cat\", \"$BASE/expected\"] }\nhosts = [\"allowed.example\"]\npaths = [\"/crates/**\"]\n\
                       inject = \"Authorization: {secret}\"\nexpose = { env = \"CARGO_REGISTRIES_OWN_TOKEN\" }";
    let credentials = credentials.replace("$BASE", &world.base.display().to_string());
    let inside = r#"
export PATH=$RUST/bin:$PATH CARGO_HOME=$TMPDIR/cargo CARGO_REGISTRIES_OWN_INDEX=sparse+https://allowed.example/crates/ CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token
mkdir -p package crate/src; cd package
echo '{"name": "own-package", "version": "1.2.3", "license": "MIT"}' > package.json; echo text > README.md
npm publish --registry https://allowed.example/npm/ --cache "$TMPDIR/npm" --no-update-notifier 2>&1; echo "npm $?"
sed -i 's/"own-package"/"other-package"/' package.json
npm publish --registry https://allowed.example/npm/ --cache "$TMPDIR/npm" --no-update-notifier > said 2>&1; echo "other $?"
cd ../crate; echo '// nothing' > src/lib.rs
printf '[package]\nname = "own-crate"\nversion = "4.5.6"\nedition = "2021"\nlicense = "MIT"\ndescription = "x"\n' > Cargo.toml
cargo publish --registry own --no-verify --allow-dirty 2>&1; echo "cargo $?"
cargo info --registry own own-crate 2>&1 | head -1
env; cat ~/.npmrc
"#;
    let outcome = run(&world, ("allow = [\"allowed.example\"]", &credentials), "", inside);
    nowhere(&world, &outcome, &[TOKEN]);
    for line in ["+ own-package@1.2.3", "npm 0", "other 1", "cargo 0", "Published own-crate v4.5.6"] {
        assert!(
            outcome.out.contains(line),
            "{line}: {outcome:?} {:#?} {}",
            world.events(),
            world.log("heads.log")
        );
    }
    assert_eq!(world.log("packages.log"), "own-package 1.2.3 own-package-1.2.3.tgz\n");
    let index = world.log("index.jsonl");
    assert!(index.contains("\"own-crate\"") && index.contains("\"4.5.6\""), "{index}");
    let heads = world.log("heads.log");
    assert!(heads.contains("PUT /npm/own-package; ") && !heads.contains("PUT /npm/other-package"), "{heads}");
    assert!(
        heads.contains(&format!("authorization={TOKEN}"))
            && heads.contains(&format!("authorization=Bearer {TOKEN}")),
        "{heads}"
    );
    for credential in ["npm", "crates"] {
        assert!(told(&world, "credential.use", &format!("\"{credential}\"")), "{:#?}", world.events());
    }
    assert!(
        told(&world, "credential.deny", "do not cover `PUT /npm/other-package`"),
        "{:#?}",
        world.events()
    );
}

/// Debian's registry of images over TLS, which takes tokens of `denied.example` alone.
const REGISTRY: &str = r#"
cat > $BASE/registry.yml <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $BASE/registry } }
http: { addr: "203.0.113.10:5000", tls: { certificate: $BASE/server.pem, key: $BASE/server.key } }
auth: { token: { realm: "https://denied.example/token", service: registry, issuer: world, rootcertbundle: $BASE/ca.pem } }
END
docker-registry serve $BASE/registry.yml > $BASE/registry.log 2>&1 & served=$!
for i in $(seq 200); do (exec 3<>/dev/tcp/203.0.113.10/5000) 2>/dev/null && break; kill -0 $served || exit 98; sleep 0.05; done
"#;

/// An image of one layer.
const IMAGE: &str = r#"
python3 - <<END
import gzip, hashlib, io, json, os, tarfile
os.makedirs("image/blobs/sha256")
def blob(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    open("image/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
layer = blob(gzip.compress(out.getvalue()), "layer.v1.tar+gzip")
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(out.getvalue()).hexdigest()]}}).encode(), "config.v1+json")
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
json.dump({"schemaVersion": 2, "manifests": [manifest]}, open("image/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open("image/oci-layout", "w"))
END
copy() { skopeo copy --insecure-policy --authfile ~/.docker/config.json "$@" 2>&1; }
"#;

const NETWORK: &str = "allow = [{ host = \"allowed.example\", port = 5000, tls = true }, \"denied.example\"]";

fn credential(hosts: &str) -> String {
    format!(
        "[credentials.images]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [{hosts}]\npaths = [\"/v2/\", \"/v2/one/**\", \"/token\"]\n\
         inject = \"registry:pusher\"\nexpose = {{ env = \"PASSWORD\", file = \"~/.docker/config.json\", text = '{{\"auths\": {{\"allowed.example:5000\": {{\"auth\": \"{{basic}}\"}}}}}}' }}"
    )
}

#[test]
fn images_are_pushed_and_pulled_and_the_task_holds_no_token() {
    let world = World::new();
    let inside = [
        IMAGE,
        r#"
copy oci:image docker://allowed.example:5000/one/app:1; echo "pushed $?"
copy docker://allowed.example:5000/one/app:1 oci:pulled; echo "pulled $?"; ls pulled/blobs/sha256 | wc -l
copy oci:image docker://allowed.example:5000/two/app:1 > said; echo "two $?"
auth=$(sed 's/.*"auth": "//; s/".*//' ~/.docker/config.json)
ask() { curl -sm9 -o body -w '%{http_code}\n' "$@"; }
scope='service=registry&scope=repository:one/app:pull&scope=repository:two/app:pull,push'
curl -sm9 -H "Authorization: Basic $auth" "https://denied.example/token?$scope" > answer
TOK=$(python3 -c 'import json; a = json.load(open("answer")); print(a["token"]) if a["token"] == a["access_token"] else None'); echo "token ${#TOK} $(echo $TOK | tr -cd . | wc -c)"
echo $TOK | cut -d. -f2 | tr -- -_ +/ | base64 -d 2>/dev/null; echo
printf 'list '; ask -H "Authorization: Bearer $TOK" https://allowed.example:5000/v2/one/app/tags/list; cat body
for wrong in "-H Authorization:Bearer_$TOK https://allowed.example:5000/v2/one/app/tags/list" "-H X-Other:$TOK https://allowed.example:5000/v2/one/a" "-d x=$TOK https://allowed.example:5000/v2/one/b" \
  "https://denied.example/token?a=$TOK" "--oauth2-bearer $TOK https://allowed.example:5000/v2/two/app/tags/list" "--oauth2-bearer x$TOK https://allowed.example:5000/v2/one/app/tags/list" "--oauth2-bearer other https://allowed.example:5000/v2/one/app/tags/list"; do
  ask $wrong
done
env; cat ~/.docker/config.json
"#,
    ];
    let credential = credential("\"allowed.example:5000\", \"denied.example\"");
    let outcome = run(&world, (NETWORK, &credential), REGISTRY, &inside.concat());
    let issued = world.log("issued.log");
    let mut secrets: Vec<&str> = issued.lines().collect();
    secrets.push(TOKEN);
    // Neither claims nor signatures of any of them.
    secrets.extend(issued.lines().flat_map(|token| token.split('.').skip(1)));
    assert!(secrets.len() > 9, "{outcome:?} {issued}");
    nowhere(&world, &outcome, &secrets);
    for line in
        ["pushed 0", "pulled 0\n3\n", "two 1", " 2\n", "list 200\n{\"name\":\"one/app\",\"tags\":[\"1\"]}"]
    {
        assert!(
            outcome.out.contains(line),
            "{line}: {outcome:?} {:#?} {}",
            world.events(),
            world.log("registry.log")
        );
    }
    assert_eq!(outcome.out.lines().filter(|line| *line == "403").count(), 7, "{outcome:?}");
    assert!(world.base.join("registry/docker/registry/v2/repositories/one/app").is_dir(), "{outcome:?}");
    assert!(!world.base.join("registry/docker/registry/v2/repositories/two").exists(), "{outcome:?}");
    for rule in [
        "do not cover `GET /v2/two/app/tags/list`",
        "stands in the header `x-other`",
        "stands in the body",
        "something else than the placeholder",
    ] {
        assert!(told(&world, "credential.deny", rule), "{rule}: {:#?}", world.events());
    }
}

#[test]
fn a_realm_that_the_policy_does_not_name_gets_nothing() {
    let world = World::new();
    let inside = [IMAGE, "copy oci:image docker://allowed.example:5000/one/app:1; echo \"pushed $?\""];
    let outcome = run(&world, (NETWORK, &credential("\"allowed.example:5000\"")), REGISTRY, &inside.concat());
    nowhere(&world, &outcome, &[TOKEN]);
    assert!(outcome.out.contains("pushed 1"), "{outcome:?}");
    assert!(
        told(
            &world,
            "credential.deny",
            "tokens are given out by `denied.example:443`: if that belongs to it, add it to `hosts`"
        ),
        "{:#?}",
        world.events()
    );
    assert!(
        !world.base.join("issued.log").exists() && !world.log("hits.log").contains("/token"),
        "{outcome:?}"
    );
}
