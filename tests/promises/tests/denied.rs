//! What a pattern denies is refused and told, also where a grant names nothing but that file.

use ringfence_promises::Place;

/// Below the home, which lies over the root, and beside it; to be read, and to be written.
#[test]
fn a_file_that_is_granted_by_itself_and_denied_is_refused_as_that() {
    for key in ["read", "write"] {
        let place = Place::in_home().in_tier(module_path!());
        let beside = place.base.path().join("data");
        place.write(place.home.join("zz/.envz"), "SECRET\n");
        place.write(beside.join("plain.confz"), "SECRET\n");
        let beside = beside.display();
        let policy = format!(
            "[files]\ndeny = [\"**/.envz\", \"**/plain.confz\"]\n{key} = [\"~/zz/.envz\", \"{beside}/plain.confz\"]"
        );
        let script = format!(
            "cat ~/zz/.envz; echo $?; cat {beside}/plain.confz; echo $?; echo x > ~/zz/.envz; echo y > {beside}/plain.confz; true"
        );
        let outcome = place.run(&policy, &script);
        // There nothing hides a file in what is written.
        if module_path!().contains("landlock") && key == "write" {
            assert!(outcome.status == 125 && outcome.err.contains("files.deny `**/"), "{outcome:?}");
            continue;
        }
        assert_eq!((outcome.status, outcome.out.as_str()), (0, "1\n1\n"), "{key}: {outcome:?}");
        assert!(outcome.err.matches("ermission denied").count() >= 2, "{key}: {outcome:?}");
        assert_eq!(place.read(place.home.join("zz/.envz")).as_deref(), Some("SECRET\n"));
        if module_path!().contains("landlock") || std::fs::File::open("/dev/fuse").is_err() {
            continue;
        }
        let told = place.told("file.deny");
        for name in [".envz", "plain.confz"] {
            let named = told.iter().any(|event| {
                event["path"].as_str().unwrap().ends_with(name)
                    && event["rule"].as_str().unwrap().contains(&format!("`**/{name}` in `files.deny`"))
            });
            assert!(named, "{key} {name}: {told:?}");
        }
    }
}
