//! What a policy says may be granted while a sandbox runs: any file.

use ringfence_promises::Place;

#[test]
fn a_file_may_be_named_as_grantable() {
    let place = Place::new().in_tier(module_path!());
    let told =
        place.run("[approvals]\ngrantable = { read = [\"/etc/hostname\", \"/etc/passwd\"] }", "echo started");
    assert_eq!(told.out, "started\n", "{}", told.err);
}
