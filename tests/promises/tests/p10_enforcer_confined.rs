//! Promise 10 comes with the gateway. What holds now: init has no privilege, no environment, and cannot be reached.

use ringfence_promises::Place;

#[test]
fn init_is_out_of_the_tasks_reach() {
    let place = Place::new();
    let script = "kill -9 1 2>/dev/null; kill -STOP 1 2>/dev/null; kill -TERM 1 2>/dev/null; \
                  cat /proc/1/mem /proc/1/environ 2>/dev/null; ls /proc/1/root/ 2>/dev/null; grep CapEff /proc/1/status; echo alive";
    let outcome = place.run("", script);
    assert_eq!(outcome.out, "CapEff:\t0000000000000000\nalive\n", "{}", outcome.err);
}
