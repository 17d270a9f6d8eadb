//! Words that programs read as more than they say: names that begin as options do, commands cut short, corrected, or by an alias.

use std::path::Path;

use ringfence_promises::{Outcome, Place};

use crate::commands::{allow, start};

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

fn unlisted(outcome: &Outcome) -> bool {
    outcome.status == 126 && outcome.err.contains("not with these arguments")
}

/// gcc reads more words from a file, vim and less run what stands behind `+`.
#[test]
fn no_wildcard_stands_for_a_sign_of_the_programs_own() {
    let place = new_place();
    place.write("x.c", "int x;\n");
    place.write("r.c", "-v\n");
    place.write("@r.c", "int y;\n");
    let list =
        allow("\"gcc -c ./*.c\", \"gcc -S (-O?) *\", \"gcc -o * -c x.c\", \"less * ./x.c\", \"vim? ./**\"");
    let policy = format!("{list}\nchildren = \"free\"");
    for words in [
        &["gcc", "-c", "@r.c"][..],
        &["gcc", "-S", "@r.c"],
        &["gcc", "-o", "@r.c", "-c", "x.c"],
        &["less", "+!id", "x.c"],
        &["less", "++1", "x.c"],
    ] {
        let outcome = start(&place, &policy, words);
        assert!(unlisted(&outcome), "{words:?}: {outcome:?}");
    }
    for words in [&["gcc", "-c", "x.c"][..], &["gcc", "-c", "./@r.c"], &["gcc", "-S", "-O1", "x.c"]] {
        assert_ne!(start(&place, &policy, words).status, 126, "{words:?}");
    }
    for word in ["+1", "+/int", "/dev/null"] {
        assert!(start(&place, &policy, &["less", word, "x.c"]).out.contains("int x;"), "{word}");
    }
    if Path::new("/usr/bin/vim").exists() {
        let outcome = start(&place, &policy, &["vim", "+call writefile(['x'], 'hit')"]);
        assert!(unlisted(&outcome), "{outcome:?}");
    }
}
