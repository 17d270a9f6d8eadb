//! Variables of guarded programs: what turns an allowed command line into another is taken out, and nothing else.

use ringfence_promises::Place;

use crate::commands::{allow, start};

fn place() -> Place {
    Place::new().in_tier(module_path!())
}

#[test]
fn options_in_variables_are_none_of_a_command_line() {
    let place = place();
    let lines = "LESSKEYIN=k ZIPOPT=-T BC_ENV_ARGS=f MANOPT=-P PIP_PYTHON=p XZ_OPT=-1 env";
    let script = format!("{lines} | sort");
    let policy = allow("\"sh -c *\", \"env ()\", \"sort ()\"");
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert!(outcome.status == 0 && outcome.out.contains("XZ_OPT=-1"), "{outcome:?}");
    for name in ["LESSKEYIN", "ZIPOPT", "BC_ENV_ARGS", "MANOPT", "PIP_PYTHON"] {
        assert!(!outcome.out.contains(name), "{name}: {}", outcome.out);
    }
}

#[test]
fn make_hands_its_own_options_on() {
    let place = place();
    place.write("Makefile", "all:\n\t+$(MAKE) -C sub a b\n");
    place.write("sub/Makefile", "a b:\n\t@printf '%s %s\\n' $@ \"$(MAKEFLAGS)\"\n");
    let policy = allow("\"make **\", \"sh -c *\", \"printf **\"");
    let outcome = start(&place, &policy, &["make", "-s", "-j2", "V=1", "all"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    for part in ["a ", "b ", "-j2 --jobserver-", "V=1"] {
        assert!(outcome.out.contains(part), "{part}: {outcome:?}");
    }
    assert!(!outcome.err.contains("jobserver unavailable"), "{outcome:?}");
    let cleaned = place.told("exec.clean");
    assert!(cleaned.iter().all(|event| !event.to_string().contains("MAKEFLAGS")), "{cleaned:?}");
}
