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

/// What cannot be listed can be opened by who guesses its name, or gives itself the right to.
#[test]
fn what_patterns_deny_is_hidden_in_what_cannot_be_looked_through_too() {
    for mode in ["review", "direct"] {
        let place = Place::new().in_tier(module_path!());
        let granted = place.base.path().join("granted");
        let mut deep = place.workspace.join("deep");
        for _ in 0..14 {
            deep = deep.join("d".repeat(250));
        }
        for directory in [&granted, &place.workspace] {
            for rights in ["311", "000", "600"] {
                place.write(directory.join(format!("x{rights}/.envz")), "SECRET\n");
            }
        }
        place.write(deep.join(".envz"), "SECRET\n");
        // Below, no path is left that a name fits into.
        let script =
            "cd '$DEEP' && for n in 1 2 3; do mkdir $L && cd $L || exit 1; done && echo SECRET > .envz"
                .replace("$DEEP", deep.to_str().unwrap())
                .replace("$L", &"e".repeat(250));
        let script = script.replace(" mkdir ", " mkdir -m 755 ");
        place.host(&script);
        let rights = |directory: &std::path::Path| {
            for rights in ["311", "000", "600"] {
                let at = directory.join(format!("x{rights}"));
                let mode = u32::from_str_radix(rights, 8).unwrap();
                std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            }
        };
        rights(&granted);
        rights(&place.workspace);
        let policy = format!(
            "[workspace]\nmode = \"{mode}\"\n[files]\ndeny = [\"**/.envz\"]\nread = [\"{}\"]",
            granted.display()
        );
        let script = format!(
            "for at in {} .; do chmod 700 $at/x*; for one in 311 000 600; do cat $at/x$one/.envz; done; done; \
             cd deep; while cd *; do :; done; cat .envz; echo over",
            granted.display()
        );
        let outcome = place.run(&policy, &script);
        let hosted = module_path!().contains("landlock") && mode == "direct";
        assert_eq!(outcome.out, if hosted { "" } else { "over\n" }, "{mode}: {outcome:?}");
        assert_eq!(outcome.status, if hosted { 125 } else { 0 }, "{mode}: {outcome:?}");
        for directory in [&granted, &place.workspace] {
            let script = format!("chmod 700 {}/x*", directory.display());
            place.host(&script);
        }
    }
}

/// Landlock's rights are a file's, by whichever name: a name beside the denied one must not open it.
#[test]
fn a_denied_file_is_not_opened_by_its_name_where_it_has_another() {
    let place = Place::in_home().in_tier(module_path!());
    let [tree, other] = ["tree", "other"].map(|name| place.base.path().join(name));
    for name in ["ok/x.key", "ok/shut/inner"] {
        place.write(tree.join(name), "SECRET\n");
    }
    for name in ["ok/plain", "ok/many"] {
        place.write(tree.join(name), "plain\n");
    }
    std::fs::create_dir(&other).unwrap();
    let link = |from: &str, to: std::path::PathBuf| std::fs::hard_link(tree.join(from), to).unwrap();
    link("ok/x.key", tree.join("ok/x.bak"));
    link("ok/x.key", tree.join("top.bak"));
    link("ok/x.key", place.base.path().join("named.bak"));
    link("ok/x.key", other.join("elsewhere.bak"));
    link("ok/shut/inner", tree.join("ok/inner.bak"));
    link("ok/many", tree.join("ok/many.too"));
    let (base, tree) = (place.base.path().display(), tree.display());
    let policy = format!(
        "[workspace]\nmode = \"temporary\"\n[files]\nread = [\"{tree}\", \"{base}/other\", \"{base}/named.bak\"]\n\
         deny = [\"**/*.key\", \"**/shut\"]"
    );
    let script = format!(
        "cd {tree}; cat ok/plain ok/many ok/many.too; cat ok/x.key; cat ok/x.bak; cat top.bak; cat ../named.bak; \
         cat ok/shut/inner; echo over"
    );
    let outcome = place.run(&policy, &script);
    assert_eq!(outcome.out, "plain\nplain\nplain\nover\n", "{outcome:?}");
    let named = place.policy(&policy);
    for name in ["tree/ok/x.key", "tree/ok/x.bak", "tree/top.bak", "named.bak"] {
        let told = place.ringfence(&["explain", "--policy", &named, "--path", &format!("{base}/{name}")]);
        assert!(told.out.contains(&format!("{name}: refused")), "{told:?}");
    }
    let told = place.ringfence(&["plan", "--policy", &named, "--", "true"]);
    assert!(told.out.contains("it has others (hard links), by which a grant elsewhere shows it"), "{told:?}");
}

/// The user that builds root's sandbox has no right of root's over private directories: those are hidden as a whole.
#[test]
fn what_is_denied_in_a_directory_of_roots_own_stops_no_start() {
    for owner in ["0", "65532"] {
        let place = Place::new().in_tier(module_path!());
        let tree = place.base.path().join("tree");
        for name in ["ok/x.key", "ok/plain", "ok/deep/in/y.key", "open/z.key", "open/plain"] {
            place.write(tree.join(name), "text\n");
        }
        let script = format!("chmod 700 {0}/ok {0}/ok/deep/in; chmod 755 {0}/ok/deep", tree.display());
        place.host(&script);
        if ringfence_promises::root() {
            place.host(&format!("chown -R {owner} {}/ok", tree.display()));
        }
        let tree = tree.display();
        let policy =
            format!("[workspace]\nmode = \"temporary\"\n[files]\nread = [\"{tree}\"]\ndeny = [\"**/*.key\"]");
        let script = format!(
            "cd {tree}; cat ok/x.key ok/deep/in/y.key open/z.key; cat ok/plain >&2; cat open/plain; ls -d ok"
        );
        let outcome = place.run(&policy, &script);
        assert_eq!(outcome.out, "text\nok\n", "{owner}: {outcome:?}");
        let named = place.policy(&policy);
        let path = format!("{tree}/ok/plain");
        let told = place.ringfence(&["explain", "--policy", &named, "--path", &path]);
        let opened = outcome.err.contains("text");
        let said = if opened { "plain: allowed" } else { "plain: refused" };
        let first = told.out.lines().next().unwrap_or_default();
        assert!(first.contains(said), "{owner} {told:?} {outcome:?}");
    }
}

/// In tier `landlock` a right on a file holds by all of its names: what is hidden for another one is told of.
#[test]
fn a_file_that_is_hidden_for_another_name_is_foretold() {
    let place = Place::in_home().in_tier(module_path!());
    let tree = place.base.path().join("tree");
    for name in ["a/b/secret.key", "plain", "alone"] {
        place.write(tree.join(name), "text");
    }
    std::fs::hard_link(tree.join("a/b/secret.key"), tree.join("top")).unwrap();
    std::fs::hard_link(tree.join("plain"), tree.join("plain.too")).unwrap();
    let root = tree.display().to_string();
    let policy =
        format!("[workspace]\nmode = \"temporary\"\n[files]\nread = [\"{root}\"]\ndeny = [\"{root}/a\"]");
    let agree = |note: &str| {
        let named = place.policy(&policy);
        for name in ["top", "plain", "alone"] {
            let read = place.run(&policy, &format!("cat {root}/{name}")).out == "text";
            let path = format!("{root}/{name}");
            let told = place.ringfence(&["explain", "--policy", &named, "--path", &path]);
            let allowed = told.out.lines().next().is_some_and(|line| line.contains(": allowed"));
            assert_eq!(read, allowed, "{name}: {told:?}");
        }
        let told = place.ringfence(&["plan", "--policy", &named, "--", "true"]);
        assert!(told.out.contains(note) || !module_path!().contains("landlock"), "{told:?}");
    };
    agree("hidden files with other names (hard links), 1");
    if !ringfence_promises::root() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |bits| std::fs::set_permissions(tree.join("a"), PermissionsExt::from_mode(bits)).unwrap();
        mode(0);
        agree("cannot be looked through");
        mode(0o755);
    }
}

/// Deny wins: a link that only root can make is followed where a rule names it, and opens neither what lies in a denied directory nor
/// a secret, which takes its own name.
#[test]
fn what_is_denied_or_secret_is_not_opened_through_a_link_of_the_systems() {
    if !ringfence_promises::root() {
        return;
    }
    for deny in ["$B/a/sub", "**/sub", "$B/**/sub"] {
        for key in ["read", "write"] {
            let place = Place::in_home().in_tier(module_path!());
            let base = place.base.path().to_path_buf();
            place.write(base.join("a/sub/file"), "SECRET\n");
            place.write(base.join("a/sub/tree/file"), "SECRET\n");
            place.write(base.join("a/plain"), "plain\n");
            place.write(place.home.join(".ssh/key"), "SECRET\n");
            place.write(place.home.join(".ssh/own"), "own\n");
            let links = [("a/sub/file", "l"), ("a/sub/tree", "t"), ("a/plain", "p")];
            for (to, from) in links {
                std::os::unix::fs::symlink(base.join(to), base.join(from)).unwrap();
            }
            for name in ["key", "own"] {
                std::os::unix::fs::symlink(place.home.join(".ssh").join(name), base.join(name)).unwrap();
            }
            let own = "\"$B/key\", \"$B/own\", \"~/.ssh/own\"";
            let links = "\"$B/l\", \"$B/t\", \"$B/p\"";
            let text = match key {
                "read" => format!("[files]\nread = [{own}, {links}]\ndeny = [\"$D\"]"),
                _ => format!("[files]\nread = [{own}]\nwrite = [{links}]\ndeny = [\"$D\"]"),
            };
            let policy = text.replace("$D", deny).replace("$B", base.to_str().unwrap());
            let script = "cat $B/p $B/own $B/a/plain; cat $B/l $B/a/sub/file $B/t/file $B/a/sub/tree/file $B/key ~/.ssh/key; \
                 echo x >> $B/a/sub/file; true";
            let outcome = place.run(&policy, &script.replace("$B", base.to_str().unwrap()));
            if module_path!().contains("landlock") && key == "write" {
                assert!(outcome.status == 125 && outcome.err.contains("files.deny `"), "{outcome:?}");
            } else {
                assert_eq!(
                    (outcome.status, outcome.out.as_str()),
                    (0, "plain\nown\nplain\n"),
                    "{deny} {key}: {outcome:?}"
                );
            }
            assert_eq!(place.read(base.join("a/sub/file")).as_deref(), Some("SECRET\n"));
        }
    }
}
