//! The desktop's Secret Service as a source: GNOME Keyring on a session bus of the test's own.

use ringfence_promises::{Outcome, World};

const TOKEN: &str = "ghp_Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";

/// In a world with an unlocked keyring that has the token and two more items; `before` is run there, then this credential's run.
fn run(world: &World, source: &str, before: &str, inside: &str) -> Outcome {
    let policy = world.policy(&format!(
        "allow = [\"allowed.example\"]\n[credentials.tracker]\nsource.secret_service = {{ {source} }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"TOK\" }}"
    ));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let session = world.place.write(
        world.place.base.path().join("session.sh"),
        &format!(
            "printf pw | gnome-keyring-daemon --unlock --components=secrets --daemonize > /dev/null 2>&1\n\
             for names in 'tracker username me' 'twice username a' 'twice username b'; do printf {TOKEN} | secret-tool store --label=x service $names || exit 99; done\n\
             {before}\n\"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"\n",
            inside.display()
        ),
    );
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem XDG_RUNTIME_DIR=$BASE/run; mkdir -m 700 $XDG_RUNTIME_DIR; exec dbus-run-session -- bash {}",
        session.display()
    ))
}

#[test]
fn an_item_is_used_and_the_bus_is_not_there() {
    let world = World::new();
    let inside = r#"
echo "TOK ${#TOK} ${TOK:0:4} ${DBUS_SESSION_BUS_ADDRESS-unset}"
curl -sm9 -H "Authorization: Bearer $TOK" https://allowed.example/reflect | grep -c "Bearer $TOK"
secret-tool lookup service tracker 2>&1
"#;
    let outcome = run(&world, "service = \"tracker\"", "export RF", inside);
    assert!(outcome.out.contains("TOK 40 ghp_ unset\n1\n"), "{outcome:?} {:#?}", world.events());
    assert!(world.log("heads.log").contains(&format!("authorization=Bearer {TOKEN}")), "{outcome:?}");
    assert!(!outcome.out.contains(TOKEN) && !outcome.err.contains(TOKEN), "{outcome:?}");
}

#[test]
fn what_the_keyring_does_not_give_starts_nothing() {
    let lock = "dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets org.freedesktop.Secret.Service.Lock \
                array:objpath:/org/freedesktop/secrets/collection/login > /dev/null";
    for (source, before, why) in [
        ("service = \"tracker\"", lock, "it is locked: unlock the keyring"),
        ("service = \"absent\"", "", "the keyring has no such item"),
        ("service = \"twice\"", "", "the keyring has 2 items of these attributes"),
        (
            "service = \"tracker\"",
            "export DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent",
            "the session bus at",
        ),
        ("service = \"tracker\"", "unset DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR", "no session bus"),
        (
            "service = \"tracker\"",
            "export DBUS_SESSION_BUS_ADDRESS=unix:path=$PWD/own",
            "which the task writes",
        ),
    ] {
        let world = World::new();
        let outcome = run(&world, source, before, "echo started");
        assert!(
            outcome.status == 125 && outcome.err.contains(why) && !outcome.out.contains("started"),
            "{why}: {outcome:?}"
        );
    }
}
