//! A policy to begin with: it is accepted, it runs, and nothing is overwritten.

use ringfence_promises::Place;

#[test]
fn each_preset_makes_a_policy_that_checks() {
    for preset in ["coding-agent", "default", "ci-step", "analyst", "support-agent"] {
        let place = Place::new();
        place.write("package.json", "{}");
        let made = place.ringfence(&["init", "--preset", preset]);
        assert!(made.status == 0 && made.out.contains("trusted as it is now"), "{preset}: {made:?}");
        let text = place.read("ringfence.toml").unwrap();
        assert!(
            text.contains(&format!("extends = [\"{preset}\"]")) && text.contains("registries = [\"npm\"]"),
            "{text}"
        );
        assert_eq!(place.ringfence(&["check", "ringfence.toml"]).status, 0, "{preset}");
        if preset == "coding-agent" {
            let run = place.ringfence(&["run", "--quiet", "--", "sh", "-c", "echo inside"]);
            assert_eq!((run.status, run.out.as_str()), (0, "inside\n"), "{}", run.err);
        }
    }
}

#[test]
fn nothing_is_overwritten_and_no_link_followed() {
    let place = Place::new();
    place.write("ringfence.toml", "version = 1\n");
    let again = place.ringfence(&["init"]);
    assert!(again.status == 125 && again.err.contains("there already"), "{again:?}");
    assert_eq!(place.read("ringfence.toml").as_deref(), Some("version = 1\n"));
    let place = Place::new();
    std::os::unix::fs::symlink(place.home.join("elsewhere"), place.workspace.join("ringfence.toml")).unwrap();
    assert_eq!(place.ringfence(&["init"]).status, 125);
    assert!(!place.home.join("elsewhere").exists());
    let unknown = place.ringfence(&["init", "--preset", "nothing"]);
    assert!(unknown.status == 125 && unknown.err.contains("ringfence presets"), "{unknown:?}");
}
