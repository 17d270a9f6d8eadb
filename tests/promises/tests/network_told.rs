//! Whatever a network refuses, and whatever comes to nothing in it, is told once and counted.

use ringfence_promises::World;
use serde_json::Value;

fn world() -> World {
    World::new().in_tier(module_path!())
}

/// What the events of this kind say, in their order.
fn told(world: &World, kind: &str) -> Vec<Value> {
    world.place.told(kind)
}

#[test]
fn whatever_comes_to_the_port_of_names_by_tcp_is_told() {
    for sent in [
        r#"b"GET / HTTP/1.0\r\n\r\n""#,
        r#"struct.pack(">H", 2000) + b"x" * 2000"#,
        r#"b"\0\x20a secret""#,
        r#"b"s""#,
    ] {
        let world = world();
        let script = format!(
            "python3 - <<'END'\nimport socket, struct\ns = socket.create_connection((\"203.0.113.53\", 53), 5)\n\
             s.sendall({sent})\n\
             try: s.shutdown(socket.SHUT_WR); print(\"got\", s.recv(9))\nexcept OSError: print(\"reset\")\nEND"
        );
        let outcome = world.run("allow = [\"allowed.example:80\"]", &script);
        assert!(["got b''\n", "reset\n"].contains(&outcome.out.as_str()), "{sent}: {outcome:?}");
        let told = told(&world, "net.deny");
        assert!(
            told.len() == 1 && told[0]["host"] == "(a packet of TCP that asks for no name)",
            "{sent}: {told:#?}"
        );
    }
}

#[test]
fn who_connects_to_the_port_of_names_and_says_nothing_is_not_told_of() {
    let world = world();
    let script =
        "python3 -c 'import socket; s = socket.create_connection((\"203.0.113.53\", 53), 5); s.close()'";
    let _ = world.run("allow = [\"allowed.example:80\"]", script);
    assert_eq!(told(&world, "net.deny").len(), 0, "{:#?}", world.events());
}
