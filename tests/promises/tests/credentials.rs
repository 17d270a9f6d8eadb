//! Credentials: the task uses them and never has them; a placeholder in the wrong place is refused, and said.

use ringfence_promises::{Outcome, World};

pub(crate) const TOKEN: &str = "ghp_Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
pub(crate) const NETWORK: &str = "allow = [\"allowed.example\", { host = \"denied.example\", methods = [\"GET\"] }, { host = \"*.wild.example\", methods = [\"GET\"] }, \"allowed.example:80\", \"allowed.example:7001\"]";

/// In a world whose host trusts its authority; the invoker has the token in `$MY_TOKEN`.
pub(crate) fn run(world: &World, credentials: &str, script: &str) -> Outcome {
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        script.display()
    ))
}

/// Whether an event of this kind says this.
pub(crate) fn told(world: &World, kind: &str, credential: &str, rule: &str) -> bool {
    world.events().iter().any(|event| {
        let detail = &event["detail"];
        event["kind"] == kind
            && detail["credential"] == credential
            && detail["rule"].as_str().unwrap_or_default().contains(rule)
    })
}

fn nowhere(world: &World, outcome: &Outcome) {
    assert!(!outcome.out.contains(TOKEN) && !outcome.err.contains(TOKEN), "{outcome:?}");
    let events = serde_json::to_string(&world.events()).unwrap();
    assert!(!events.contains(TOKEN), "{events}");
}

#[test]
fn the_secret_goes_to_its_hosts_and_nowhere_else() {
    let world = World::new();
    let credentials = "[credentials.tracker]\nsource = { env = \"MY_TOKEN\" }\nhosts = [\"allowed.example\"]\nmethods = [\"GET\", \"POST\"]\n\
                       paths = [\"/repo/**\", \"/reflect\"]\ninject = [\"bearer\", \"?key={secret}\"]\nexpose = { env = \"TOK\" }";
    let script = r#"
echo "TOK ${#TOK} ${TOK:0:4} ${MY_TOKEN-unset}"
curl -sm9 -H "Authorization: token $TOK" https://allowed.example/repo/one
curl -sm9 --http1.1 -H "Authorization: Bearer $TOK" https://allowed.example/repo/two
curl -sm9 "https://allowed.example/repo/three?a=1&key=$TOK&b=2"
curl -sm9 -H "Authorization: Bearer $TOK" https://allowed.example/reflect | grep -qi "authorization: Bearer $TOK" && echo masked
curl -sm9 https://allowed.example/repo/without
for wrong in "-H Authorization:Bearer_$TOK https://denied.example/a" "-H X-Other:$TOK https://allowed.example/repo/b" \
    "https://allowed.example/repo/$TOK" "https://allowed.example/repo/c?other=$TOK" "-d x=$TOK https://allowed.example/repo/d" \
    "-H Authorization:$TOK https://allowed.example/elsewhere" "-X DELETE -H Authorization:$TOK https://allowed.example/repo/e" \
    "-H Authorization:Bearer_attackers https://allowed.example/repo/f" "-H x-api-key:attackers https://allowed.example/repo/g" \
    "-H Authorization:$TOK http://allowed.example/repo/h" "-H Authorization:$TOK https://www.wild.example/repo/i" \
    "-u $TOK:x https://allowed.example/repo/j" "https://allowed.example/repo/k?x=${TOK:0:9}%${HEX}${TOK:10}"; do
  curl -sm9 -o body -w '%{http_code} %{content_type}\n' $wrong
done
head -c 3000000 /dev/zero | tr '\0' x > big; printf '%s' "$TOK" >> big; head -c 100000 big | tr x y >> big
curl -sm20 -o body -w 'big %{http_code}\n' --data-binary @big https://allowed.example/repo/big; grep -o 'stands in the body' body
curl -sm9 https://$TOK.wild.example/; echo "name $?"
"#;
    let script = format!("HEX=$(printf %x \"'${{TOK:9:1}}\")\n{script}");
    let outcome = run(&world, credentials, &script);
    nowhere(&world, &outcome);
    for line in [
        "TOK 40 ghp_ unset",
        "path=/repo/one",
        "path=/repo/two",
        "path=/repo/three",
        "masked",
        "path=/repo/without",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}\n{:#?}", world.events());
    }
    assert_eq!(outcome.out.matches("403 application/problem+json").count(), 13, "{outcome:?}");
    assert!(outcome.out.contains("big 403") && outcome.out.contains("stands in the body"), "{outcome:?}");
    assert!(outcome.out.contains("name 6"), "{outcome:?}");
    let heads = world.log("heads.log");
    assert!(heads.contains(&format!("/repo/three?a=1&b=2&key={TOKEN};")), "{heads}");
    assert!(world.log("hits.log").contains("GET /repo/two allowed.example"), "{}", world.log("hits.log"));
    assert_eq!(heads.matches(&format!("authorization=Bearer {TOKEN}")).count(), 3, "{heads}");
    assert!(!heads.contains("/repo/without; authorization") && !heads.contains("attackers"), "{heads}");
    for never in [
        "/a;",
        "/repo/b",
        "/repo/c",
        "/repo/d",
        "/elsewhere",
        "/repo/e",
        "/repo/f",
        "/repo/g",
        "/repo/h",
        "/repo/i",
        "/repo/j",
        "/repo/k",
    ] {
        assert!(
            !heads.contains(&format!("{never};")) && !heads.contains(&format!("{never} ")),
            "{never}: {heads}"
        );
    }
    assert!(told(&world, "credential.use", "tracker", ""));
    for rule in [
        "add the host to `hosts`",
        "add the form to `inject`",
        "do not cover `DELETE /repo/e`",
        "another",
        "in the path",
        "not TLS",
    ] {
        let rule = if rule == "another" { "something else than the placeholder" } else { rule };
        assert!(told(&world, "credential.deny", "tracker", rule), "{rule}: {:#?}", world.events());
    }
    let explained = world.place.ringfence(&["explain"]).out;
    for rule in ["add the form to `inject`", "in the path", "stands in the body"] {
        assert!(explained.contains(rule), "each way has its own remedy: {rule}: {explained}");
    }
    let uses: u64 = world
        .events()
        .iter()
        .filter(|event| event["kind"] == "credential.use")
        .filter_map(|event| event["detail"]["times"].as_u64())
        .sum();
    assert_eq!(uses, 4, "{:#?}", world.events());
}

#[test]
fn files_and_commands_are_fetched_when_used_and_followed() {
    let world = World::new();
    std::fs::write(world.base.join("token"), "first-token-0123456789abcdef\n").unwrap();
    std::fs::write(world.base.join("expected"), "first-token-0123456789abcdef").unwrap();
    let base = world.base.display();
    let credentials = format!(
        "[credentials.turning]\nsource = {{ file = \"{base}/token\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/guarded\"]\nexpose = {{ file = \"~/.tool/token\", text = \"token={{secret}}\" }}\n\
         [credentials.made]\nsource = {{ command = [\"sh\", \"-c\", \"echo ran >> {base}/ran; echo made-secret-0123456789\"] }}\nhosts = [\"denied.example\"]\n\
         inject = \"X-Made: {{secret}}\"\n\
         [credentials.broken]\nsource = {{ command = [\"sh\", \"-c\", \"echo half; exit 3\"] }}\nhosts = [\"www.wild.example\"]"
    );
    let script = r#"
. ~/.tool/token; echo "placeholder $token"
ask() { curl -sm9 -H "Authorization: Bearer $token" https://allowed.example/guarded; }
ls $BASE/ran 2>&1 | grep -c ran; ask
touch turn; sleep 1.5; ask; ask
curl -sm9 -H "Authorization: Bearer attackers" https://denied.example/made | grep -o 'only the policy.s own'
curl -sm9 https://denied.example/made; curl -sm9 https://denied.example/made
curl -sm9 -w '%{http_code}\n' https://www.wild.example/broken
"#;
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; sed -i 's/mode = .*/x/' /dev/null; \
         (while ! ls {home}/../state/runs/*/layers/*/upper/turn {home}/../state/runs/*/*/upper/turn 2>/dev/null | grep -q .; do sleep 0.05; done; \
          printf %s second-token-0123456789abcdef > $BASE/expected; printf 'second-token-0123456789abcdef\n' > $BASE/t; mv $BASE/t $BASE/token) & \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill %1 2>/dev/null; exit $status",
        script.display(),
        home = world.place.home.display(),
    ));
    assert_eq!(outcome.out.matches("good\n").count(), 3, "{outcome:?} {}", world.log("heads.log"));
    assert!(!outcome.out.contains("-token-0123456789abcdef"), "{outcome:?}");
    let ran = std::fs::read_to_string(world.base.join("ran")).unwrap_or_default();
    assert_eq!(ran, "ran\n", "{outcome:?}");
    let heads = world.log("heads.log");
    assert_eq!(heads.matches("x-made=made-secret-0123456789").count(), 2, "{heads}");
    assert!(
        outcome.out.contains("only the policy's own") && !heads.contains("attackers"),
        "{outcome:?} {heads}"
    );
    assert!(outcome.out.contains("403") && !heads.contains("/broken"), "{outcome:?}");
    assert!(told(&world, "credential.deny", "broken", "exit status: 3"), "{:#?}", world.events());
    assert!(!outcome.out.contains("half"), "{outcome:?}");
}

#[test]
fn a_secret_that_is_not_there_starts_nothing() {
    let world = World::new();
    for (source, why) in [
        ("env = \"UNSET_TOKEN\"", "the variable `UNSET_TOKEN` is not set"),
        ("file = \"/nonexistent/token\"", "No such file"),
    ] {
        let credentials = format!(
            "[credentials.x]\nsource = {{ {source} }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"X\" }}"
        );
        let outcome = run(&world, &credentials, "echo started");
        assert!(outcome.status == 125 && !outcome.out.contains("started"), "{outcome:?}");
        assert!(outcome.err.contains(why), "{outcome:?}");
    }
}

#[test]
fn what_a_server_remembers_of_a_secret_is_masked_in_every_answer() {
    let world = World::new();
    let credentials = "[credentials.tracker]\nsource = { env = \"MY_TOKEN\" }\nhosts = [\"allowed.example\"]\npaths = [\"/repo/**\"]\n\
                       inject = [\"bearer\", \"basic\"]\nexpose = { env = \"TOK\" }";
    let script = r#"
for way in "--oauth2-bearer $TOK" "-u me:$TOK" "-u $TOK:x"; do
  curl -sm9 $way https://allowed.example/repo/keep
  curl -sm9 https://allowed.example/repo/kept; curl -sm9 --compressed http://allowed.example/repo/kept; curl -sm9 https://www.wild.example/repo/kept
done | tee all | cat
grep -o 'Basic .*' all | cut -d' ' -f2 | base64 -d 2>/dev/null | strings
curl -svm9 --http1.1 -H "Authorization: Bearer $TOK" https://allowed.example/repo/oddly 2>&1; echo; echo ended
"#;
    let outcome = run(&world, credentials, script);
    nowhere(&world, &outcome);
    assert_eq!(outcome.out.matches("uthorization: Bearer").count(), 4, "{outcome:?}");
    assert_eq!(outcome.out.matches("uthorization: Basic ").count(), 6, "{outcome:?}");
    assert!(outcome.out.contains("HTTP/1.1 200") && outcome.out.contains("odd\ng"), "{outcome:?}");
    assert_eq!(world.log("heads.log").matches(&format!("authorization=Bearer {TOKEN}")).count(), 2);
}

#[test]
fn where_secrets_come_from_is_out_of_the_tasks_reach() {
    let world = World::new();
    let (base, home) = (world.base.display(), world.place.home.display());
    let token = "file-secret-Zq8mT4vKx2LwP9nRb7JdYc";
    let prepare = format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; mkdir -p bin $HOME/.tool $BASE/bin; ln -sfn $PWD $BASE/way; echo {token} > token; \
         printf '#!/bin/sh\\necho %s\\n' {token} | tee $BASE/bin/get > bin/get; chmod +x bin/get $BASE/bin/get; \
         echo {token} > $HOME/.tool/real; ln -sf real $HOME/.tool/token; export PATH=$PWD/bin:$PATH:$BASE/bin PYTHONPATH=$PWD:/usr"
    );
    let attempt = |mode: &str, source: &str, script: &str| {
        let policy = world.place.policy(&format!(
            "[workspace]\nmode = \"{mode}\"\n[files]\nread = [\"{base}/ca.pem\", \"~/.tool\"]\n[network]\nallow = [\"allowed.example\"]\n\
             [credentials.x]\nsource = {{ {source} }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"TOK\" }}"
        ));
        world.host(&format!(
            "{prepare}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c '{script}'"
        ))
    };
    for source in [
        "file = \"$PWD/token\"".to_owned(),
        format!("file = \"{base}/way/token\""),
        "command = [\"./bin/get\"]".to_owned(),
        format!("command = [\"{base}/way/bin/get\"]"),
        format!("command = [\"/bin/sh\", \"{base}/way/bin/get\"]"),
    ] {
        let outcome = attempt("review", &source, "echo started");
        assert!(outcome.status == 125 && !outcome.out.contains("started"), "{source}: {outcome:?}");
        assert!(outcome.err.contains("outside of the workspace"), "{source}: {outcome:?}");
    }
    // The first of that name in PATH is the task's: another one is run.
    let script = "printf \"#!/bin/sh\\nenv > $BASE/escaped; echo evil-secret-0123456789\\n\" > bin/get; curl -sm9 -H \"Authorization: Bearer $TOK\" https://allowed.example/one";
    let outcome = attempt("direct", "command = [\"get\"]", script);
    assert!(outcome.out.contains("path=/one") && !world.base.join("escaped").exists(), "{outcome:?}");
    // Nor does a grant of its directory show it, by whichever name.
    let script = format!(
        "cat {home}/.tool/token {home}/.tool/real; cp -r {home}/.tool /tmp/t; grep -rs {token} /tmp/t; curl -sm9 -H \"Authorization: Bearer $TOK\" https://allowed.example/two"
    );
    let outcome = attempt("review", "file = \"~/.tool/token\"", &script);
    nowhere_is(token, &outcome);
    assert!(outcome.out.contains("path=/two"), "{outcome:?}");
    let heads = world.log("heads.log");
    assert_eq!(heads.matches(&format!("authorization=Bearer {token}")).count(), 2, "{heads}");
}

fn nowhere_is(token: &str, outcome: &Outcome) {
    assert!(!outcome.out.contains(token) && !outcome.err.contains(token), "{outcome:?}");
}

#[test]
fn a_sandbox_that_goes_on_holds_nobodys_pipe() {
    let world = World::new();
    std::fs::write(world.base.join("token"), "file-secret-Zq8mT4vKx2LwP9nRb7JdYc\n").unwrap();
    let base = world.base.display();
    let policy = world.policy(&format!(
        "{NETWORK}\n[credentials.filed]\nsource = {{ file = \"{base}/token\" }}\nhosts = [\"denied.example\"]\nexpose = {{ env = \"FILED\" }}"
    ));
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; timeout 60 sh -c '\"$RF\" start dev --policy {policy} --workspace . 2>&1 | cat' && echo up; \
         \"$RF\" exec dev -- sh -c 'curl -sm9 -H \"Authorization: Bearer $FILED\" https://denied.example/named'; \"$RF\" stop dev"
    ));
    assert!(outcome.out.contains("up\n") && outcome.out.contains("path=/named"), "{outcome:?}");
}

#[test]
fn the_secret_is_in_the_gateways_memory_alone() {
    alone("");
}

#[test]
fn the_secret_is_in_the_gateways_memory_alone_in_tier_landlock() {
    alone(
        "export RINGFENCE_TEST_HOST=no-userns; [ $(id -u) != 0 ] || DEGRADED='--allow-degraded root-uid'; ",
    );
}

fn alone(tier: &str) {
    let world = World::new();
    std::fs::write(world.base.join("token"), "file-secret-Zq8mT4vKx2LwP9nRb7JdYc\n").unwrap();
    let base = world.base.display();
    let policy = world.policy(&format!(
        "{NETWORK}\n[credentials.tracker]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\ninject = [\"bearer\", \"basic\"]\nexpose = {{ env = \"TOK\" }}\n\
         [credentials.filed]\nsource = {{ file = \"{base}/token\" }}\nhosts = [\"denied.example\"]\nexpose = {{ env = \"FILED\" }}"
    ));
    let inside = r#"
for i in 1 2 3; do
  curl -sm9 -H "Authorization: Bearer $TOK" https://allowed.example/reflect > one.$i
  curl -sm9 --http1.1 -H "Authorization: Bearer $FILED" https://denied.example/reflect > two.$i
done
cat one.1 two.1
# Clients that live on, with all that they sent and got.
cat > client.py <<'END'
import base64, os, time, urllib.request
kept = []
for words in ("Bearer " + os.environ["TOK"], "Basic " + base64.b64encode(b"me:" + os.environ["TOK"].encode()).decode()):
    asked = urllib.request.Request("https://allowed.example/reflect", headers={"Authorization": words})
    kept.append(urllib.request.urlopen(asked, timeout=9).read())
open("python", "w").write(repr(kept))
time.sleep(60)
END
cat > client.js <<'END'
fetch("https://allowed.example/reflect", { headers: { Authorization: "Bearer " + process.env.TOK } })
  .then(async (got) => { globalThis.kept = await got.text(); require("fs").writeFileSync("node", globalThis.kept); });
setTimeout(() => {}, 60000);
END
python3 client.py & node client.js &
for i in $(seq 150); do [ -s python ] && [ -s node ] && break; sleep 0.1; done; cat python node
( env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; grep -rs . ~ /tmp /etc . /dev/shm /run /var/tmp ) > /tmp/all 2>/dev/null
touch ready; sleep 8; wc -c < /tmp/all; cat /tmp/all; kill %1 %2
"#;
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let script = format!(
        "{tier}export SSL_CERT_FILE=$BASE/ca.pem; MY_TOKEN={TOKEN} \"$RF\" run --quiet $DEGRADED --policy {policy} --workspace . -- bash -c \"$(cat {})\" > $BASE/out 2>&1 & run=$!; \
         for i in $(seq 100); do ls $RINGFENCE_STATE/runs/*/*/upper/ready $RINGFENCE_STATE/runs/*/layers/*/upper/ready >/dev/null 2>&1 && break; \
         find $RINGFENCE_STATE -name ready 2>/dev/null | grep -q . && break; sleep 0.1; done; \
         python3 {} $run {TOKEN} file-secret-Zq8mT4vKx2LwP9nRb7JdYc; wait $run; \
         grep -rlsF -e {TOKEN} -e file-secret-Zq8mT4vKx2LwP9nRb7JdYc $RINGFENCE_STATE $HOME && echo kept; true",
        inside.display(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/search.py"),
    );
    let outcome = world.host(&script);
    let out = std::fs::read_to_string(world.base.join("out")).unwrap();
    assert!(out.contains("/reflect") && out.contains("uthorization: Bearer"), "{out}");
    for secret in [TOKEN, "file-secret-Zq8mT4vKx2LwP9nRb7JdYc"] {
        assert!(!out.contains(secret), "{out}");
    }
    assert!(!outcome.out.contains("kept"), "{outcome:?}");
    let heads = world.log("heads.log");
    assert!(heads.matches(TOKEN).count() == 5 && heads.contains("authorization=Basic "), "{heads}");
    assert_eq!(heads.matches("file-secret-Zq8mT4vKx2LwP9nRb7JdYc").count(), 3, "{heads}");
    let (mut gateways, mut readable) = (0, 0);
    for line in outcome.out.lines().filter(|line| line.starts_with("process ")) {
        let gateway = line.contains("ringfence-gate");
        gateways += usize::from(gateway);
        // Where the caller is no root, what cannot be dumped cannot be read either.
        assert!(gateway || line.contains("memory=0 ") || line.contains("unreadable"), "{}", outcome.out);
        assert!(line.ends_with("shown=0"), "{}", outcome.out);
        readable += usize::from(line.contains("memory="));
    }
    assert!(gateways == 1 && readable >= 2, "{outcome:?}");
    if ringfence_promises::root() {
        assert!(
            outcome.out.lines().any(|line| line.contains("ringfence-gate") && !line.contains("memory=0 ")),
            "{}",
            outcome.out
        );
    }
}

#[test]
fn git_clones_and_pushes_with_a_placeholder() {
    let world = World::new();
    std::fs::write(world.base.join("expected"), TOKEN).unwrap();
    let credentials = "[credentials.forge]\nsource = { env = \"MY_TOKEN\" }\nhosts = [\"allowed.example\"]\npaths = [\"/git/**\"]\n\
                       inject = \"basic\"\nexpose = { git = true }";
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let inside = "set -e; git clone -q https://allowed.example/git/one.git /tmp/c; cd /tmp/c; cat file; head -c 3000000 /dev/urandom > big; \
                  git add big; git -c user.name=w -c user.email=w@w commit -qm big; git push -q origin HEAD; git config --list --show-origin | grep -c extraheader; \
                  GIT_CONFIG_COUNT=0 GIT_TERMINAL_PROMPT=0 git ls-remote https://allowed.example/git/one.git && echo without; true";
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; mkdir -p $BASE/git $BASE/made && cd $BASE/made && git init -q . && echo content > file && \
         git add file && git -c user.name=w -c user.email=w@w commit -qm made && git clone -q --bare . $BASE/git/one.git && \
         git -C $BASE/git/one.git config http.receivepack true && cd - >/dev/null && \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c '{inside}'; git -C $BASE/git/one.git log --format=%s"
    ));
    nowhere(&world, &outcome);
    assert!(outcome.out.contains("content\n") && outcome.out.contains("big\nmade\n"), "{outcome:?}");
    assert!(!outcome.out.contains("without"), "{outcome:?}");
}

/// The official clients, from PyPI; kept beside what was built.
fn clients() -> String {
    ringfence_promises::python("sdk", "anthropic", &["openai", "anthropic"])
}

#[test]
fn official_clients_stream_with_placeholders() {
    let world = World::new();
    std::fs::write(world.base.join("expected"), TOKEN).unwrap();
    let place = clients();
    let credentials = format!(
        "[credentials.one]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/v1/chat/completions\"]\nexpose = {{ env = \"OPENAI_API_KEY\" }}\n\
         [credentials.two]\nsource = {{ command = [\"sh\", \"-c\", \"echo {TOKEN}\"] }}\nlike = \"sk-ant-api03-{}\"\nhosts = [\"allowed.example\"]\n\
         paths = [\"/v1/messages\"]\ninject = [\"X-Api-Key: {{secret}}\", \"bearer\"]\nexpose = {{ env = \"ANTHROPIC_API_KEY\" }}",
        "0".repeat(95)
    );
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let text = std::fs::read_to_string(&policy)
        .unwrap()
        .replace("read = [", &format!("exec = [\"{place}\"]\nread = ["));
    std::fs::write(&policy, text).unwrap();
    world.place.write(
        "ask.py",
        r#"
import os, time
import anthropic, openai
print("placeholders", os.environ["OPENAI_API_KEY"][:4], os.environ["ANTHROPIC_API_KEY"][:13])
say = [{"role": "user", "content": "hello"}]
def times(name, words):
    begun, text, when = time.monotonic(), "", []
    for word in words:
        if word:
            text += word
            when.append(time.monotonic() - begun)
    print(name, text, "streamed" if when[-1] - when[0] > 0.3 else f"at once {when}")
one = openai.OpenAI(base_url="https://allowed.example/v1")
times("one", (part.choices[0].delta.content for part in one.chat.completions.create(model="m", messages=say, stream=True)))
two = anthropic.Anthropic(base_url="https://allowed.example")
with two.messages.stream(model="m", max_tokens=9, messages=say) as stream:
    times("two", stream.text_stream)
"#,
    );
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; \"$RF\" run --quiet --policy {policy} --workspace . -- env PYTHONPATH={place} /usr/bin/python3 ask.py"
    ));
    nowhere(&world, &outcome);
    for line in
        ["placeholders ghp_ sk-ant-api03-", "one first second third key ", "two first second third key "]
    {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    assert_eq!(outcome.out.matches("streamed").count(), 2, "{outcome:?}");
}

#[test]
fn git_pushes_to_the_branches_that_the_policy_names() {
    let world = World::new();
    std::fs::write(world.base.join("expected"), TOKEN).unwrap();
    let inside = world.place.write(
        world.place.base.path().join("inside.sh"),
        r#"git clone -q https://allowed.example/git/one.git /tmp/c; cd /tmp/c; git config user.name w; git config user.email w@w; head -c 3000000 /dev/urandom > big; git add big; git commit -qm big
for to in HEAD:agent/one HEAD:main +HEAD:refs/tags/v1 :other "HEAD:agent/two HEAD:other"; do git push -q origin $to 2>out; echo "push $to $?"; done; git push -q -o merge_request.create origin HEAD:agent/three; echo "option $?"; grep -c 'The requested URL returned error: 403' out
TOK=$(git config --get-regexp extraheader | sed 's/.*Basic //')
curl -sm9 -H "Authorization: Basic $TOK" -H 'Content-Encoding: gzip' --data-binary @<(gzip -c big) -o body -w 'packed %{http_code}\n' https://allowed.example/git/one.git/git-receive-pack
curl -sm9 -H "Authorization: Basic $TOK" -d '00' -o body -w 'cut %{http_code}\n' https://allowed.example/git/one.git/git-receive-pack
git fetch -q && echo fetched"#,
    );
    let run = |push: &str| {
        let credentials = format!(
            "[credentials.forge]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/git/**\"]\n\
             inject = \"basic\"\npush = {push}\nexpose = {{ git = true }}"
        );
        let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
        world.host(&format!(
            "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; rm -rf $BASE/git $BASE/made; mkdir -p $BASE/git $BASE/made && cd $BASE/made && git init -q . && echo content > file && \
             git add file && git -c user.name=w -c user.email=w@w commit -qm made && git branch other && git clone -q --bare . $BASE/git/one.git && \
             git -C $BASE/git/one.git config http.receivepack true && git -C $BASE/git/one.git config receive.advertisePushOptions true && cd - >/dev/null && \
             \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; git -C $BASE/git/one.git for-each-ref --format='ref %(refname)'",
            inside.display()
        ))
    };
    let outcome = run("[\"agent/*\"]");
    nowhere(&world, &outcome);
    for line in [
        "push HEAD:agent/one 0",
        "push HEAD:main 1",
        "push +HEAD:refs/tags/v1 1",
        "push :other 1",
        "push HEAD:agent/two HEAD:other 1",
        "option 1",
        "packed 403",
        "cut 403",
        "fetched",
        "ref refs/heads/agent/one",
        "ref refs/heads/other",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
    for never in ["ref refs/heads/main", "ref refs/tags", "agent/two\n", "agent/three"] {
        assert!(!outcome.out.contains(never), "{never}: {outcome:?}");
    }
    assert!(
        told(&world, "credential.deny", "forge", "`refs/heads/main` is pushed to"),
        "{:#?}",
        world.events()
    );
    let outcome = run("[]");
    assert!(
        outcome.out.contains("push HEAD:agent/one 1") && outcome.out.contains("fetched"),
        "{outcome:?} {:#?}",
        world.events()
    );
}

/// Whole files and URLs keep their shape, so that programs which read them at their start do; what stands for the secret in them is put on
/// requests, and is refused elsewhere.
#[test]
fn placeholders_in_urls_and_files_keep_their_shape() {
    let world = World::new();
    let credentials = "[credentials.base]\nsource = { env = \"DATABASE_URL\" }\nhosts = [\"allowed.example\"]\ninject = \"basic\"\n\
                       expose = { env = \"DATABASE_URL\", file = \"~/.config/db.json\", text = '{\"url\": \"{secret}\", \"pool\": 3}' }";
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let inside = world.place.write(
        world.place.base.path().join("inside.sh"),
        r#"python3 -c '
import json, os, subprocess, urllib.parse as u
text = open(os.path.expanduser("~/.config/db.json")).read()
url = u.urlparse(json.loads(text)["url"])
print("shape", url.scheme, url.username, url.hostname, url.port, url.path, url.query, os.environ["DATABASE_URL"] == text)
ask = lambda *words: print(words[-1], subprocess.run(["curl", "-sm9", "-o", "body", "-w", "%{http_code}", *words], capture_output=True, text=True).stdout)
ask("-u", "app:" + url.password, "https://allowed.example/repo/one")
ask("-d", url.password, "https://allowed.example/repo/body")
ask("-u", "app:" + url.password, "https://denied.example/repo/other")
'"#,
    );
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem DATABASE_URL='https://app:p%40ss-{TOKEN}@allowed.example:443/main?x=1'; \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; grep -c \"authorization=Basic $(printf app:p@ss-{TOKEN} | base64 -w0)\" $BASE/heads.log",
        inside.display()
    ));
    nowhere(&world, &outcome);
    for line in [
        "shape https app allowed.example 443 /main x=1 True",
        "/repo/one 200",
        "/repo/body 403",
        "/repo/other 403",
        "\n1\n",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {:#?}", world.events());
    }
}

/// However many connections come to nothing before, by names that a wildcard grants.
#[test]
fn each_use_is_told_behind_a_flood_of_failures() {
    let world = World::new();
    let policy = world.policy(
        "allow = [\"allowed.example\", \"*.flood.example:7000\"]\n[credentials.tracker]\nsource = { env = \"MY_TOKEN\" }\n\
         hosts = [\"allowed.example\"]\npaths = [\"/repo/**\"]\nexpose = { env = \"TOK\" }",
    );
    let script = r#"python3 - <<'END'
import concurrent.futures as c, socket
def fail(n):
    try: socket.create_connection((f"n{n}.flood.example", 7000), 20).recv(1)
    except OSError: pass
list(c.ThreadPoolExecutor(16).map(fail, range(4200)))
END
curl -sm9 -H "Authorization: Bearer $TOK" https://allowed.example/repo/last"#;
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        script.display()
    ));
    assert!(outcome.out.contains("path=/repo/last"), "{outcome:?}");
    let failed = world.events().iter().filter(|event| event["kind"] == "net.fail").count();
    assert!(failed >= 4096, "{failed}");
    assert!(told(&world, "credential.use", "tracker", ""));
}
