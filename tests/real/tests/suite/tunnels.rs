//! Tunnels that Debian ships, with their servers in the test's world: they come up without the boundary, and not with it.

use ringfence_promises::World;
use ringfence_real::{inputs, root};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/network/tunnels.sh");

#[test]
fn no_tunnel_comes_up() {
    let world = World::new();
    let tunnels = inputs::tunnels();
    let policy = world.base.join("tunnels.toml");
    let shown = tunnels.display();
    let text = format!(
        "version = 1\nextends = [\"default\"]\n[files]\nread = [\"{SCRIPT}\"]\nexec = [\"{shown}\"]\n\
         [environment]\nset = {{ TUNNELS = \"{shown}\" }}\n[network]\nallow = [\"allowed.example:80\", \"allowed.example:443\"]\n"
    );
    std::fs::write(&policy, text).expect("a policy");
    let outcome = world.host(&format!(
        "export TUNNELS={shown}\nsetsid bash {SCRIPT} servers > $BASE/servers.log 2>&1 & servers=$!\n\
         trap 'kill -- -$servers' EXIT\nmkdir $BASE/outside; sleep 1\n\
         (cd $BASE/outside && bash {SCRIPT} clients 15 2>&1 | sed 's/^/outside /')\n\
         \"$RF\" run --quiet --policy {} --workspace . -- bash -c 'cd /tmp && bash {SCRIPT} clients 4; cat *.log'",
        policy.display()
    ));
    // A tun device is root's.
    let outside = if root() { "dns2tcp iodine ptunnel-ng stunnel" } else { "dns2tcp ptunnel-ng stunnel" };
    assert!(
        outcome.out.contains(&format!("outside up: {outside}\n")),
        "{outcome:?}\n{}",
        world.log("servers.log")
    );
    assert!(outcome.out.lines().any(|line| line == "up:"), "{outcome:?}");
    assert!(
        world.refused("203.0.113.20", 8443, "no rule of `network.allow` covers"),
        "{:#?}",
        world.events()
    );
    let denied = |kind: &str, part: &str| {
        world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(part))
    };
    assert!(denied("net.deny", "t.example"), "{:#?}", world.events());
    assert!(denied("syscall.deny", "ptunnel-ng"), "{:#?}", world.events());
}
