//! What busybox and toybox start of their own file by themselves, which nobody sees: it counts before they start.

use ringfence_promises::Place;

use crate::commands::start;

/// Directories with a file of many programs, which is Perl: each of its programs is the script of that name, and says that it runs.
fn world() -> (Place, String) {
    let place = Place::new().in_tier(module_path!());
    let far = place.base.path().join("far");
    std::fs::create_dir(&far).unwrap();
    for name in ["toybox", "busybox-static"] {
        std::fs::copy("/usr/bin/perl", far.join(name)).unwrap();
    }
    for applet in ["find", "xargs", "tar", "udhcpc", "env", "timeout", "cat", "unheard-of"] {
        place.write(applet, "$| = 1; print \"ran\";\n");
    }
    let far = far.canonicalize().unwrap().display().to_string();
    (place, far)
}

/// Which of these lines ran, each as its words behind blanks.
fn ran<'a>(place: &Place, far: &str, policy: &str, lines: &[&'a str]) -> Vec<&'a str> {
    let policy =
        format!("[files]\nexec = [\"{far}\", \"/usr\"]\n[commands]\nfrom_workspace = false\n{policy}");
    let one = |line: &&&str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = vec![format!("{far}/{}", words[0])];
        command.extend(words[1..].iter().cloned());
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let outcome = start(place, &policy, &command);
        assert!(outcome.out == "ran" || outcome.status == 126, "{line}: {outcome:?}");
        outcome.out == "ran"
    };
    lines.iter().filter(one).copied().collect()
}

const HIDDEN: [&str; 9] = [
    "busybox-static find ead -exec h{} -n1 x ;",
    "busybox-static find x -exec env {} x ;",
    "busybox-static find x -exec xargs -a in find ;",
    "toybox find x -exec comm {} /dev/null ;",
    "toybox find x -exec unheard-of {} ;",
    "toybox unheard-of x",
    "toybox tar -c -I base64 x",
    "busybox-static udhcpc -s head",
    "toybox timeout comm x",
];

#[test]
fn what_may_be_any_program_of_its_file_is_refused_where_one_is_denied() {
    let (place, far) = world();
    let none: [&str; 0] = [];
    assert_eq!(ran(&place, &far, "deny = [\"head\", \"comm\"]", &HIDDEN), none);
    assert_eq!(ran(&place, &far, "shell = false", &HIDDEN), none);
    let ordinary = [
        "toybox cat x",
        "busybox-static find . -name x",
        "busybox-static find . -exec cat {} ;",
        "toybox env -i A=b timeout 5 cat x",
        "toybox env curl x",
    ];
    assert_eq!(ran(&place, &far, "deny = [\"head\", \"comm\"]", &ordinary), ordinary);
    // What is no program of theirs starts where it is seen.
    assert_eq!(ran(&place, &far, "deny = [\"docker\", \"ssh\"]", &HIDDEN), HIDDEN);
}

#[test]
fn what_a_list_does_not_name_is_started_by_none_that_it_names() {
    let (place, far) = world();
    let entry = |file: &str, applet: &str| format!("\"{far}/{file} {applet} **\"");
    let listed = ["find", "xargs", "tar", "udhcpc", "unheard-of", "env", "timeout"];
    let listed = listed.iter().flat_map(|name| [entry("toybox", name), entry("busybox-static", name)]);
    let listed = listed.collect::<Vec<_>>().join(", ");
    let none: [&str; 0] = [];
    assert_eq!(ran(&place, &far, &format!("allow = [{listed}]"), &HIDDEN), none);
    let each = [
        "busybox-static find . -name x",
        "busybox-static find x -exec cat {} ;",
        "busybox-static find x -exec cat x ;",
        "busybox-static env git status",
    ];
    assert_eq!(ran(&place, &far, &format!("allow = [{listed}]"), &each), [each[0], each[3]]);
    // A word that may be any fits no entry with words of its own.
    let words =
        format!("allow = [{listed}, \"{far}/busybox-static cat ./**\", \"{far}/busybox-static cat x\"]");
    assert_eq!(ran(&place, &far, &words, &each), [each[0], each[2], each[3]]);
    let wide = format!("allow = [{listed}, {}]", entry("busybox-static", "cat"));
    assert_eq!(ran(&place, &far, &wide, &each), each);
    let denied = "deny = [\"cat ./secret\"]";
    assert_eq!(ran(&place, &far, denied, &each), [each[0], each[2], each[3]]);
    let whole = format!("allow = [\"{far}/toybox\", \"{far}/busybox-static **\"]");
    assert_eq!(ran(&place, &far, &whole, &HIDDEN), HIDDEN);
}

/// What toybox does not know it looks up as a link, and is what that names: here as Perl, which follows links to its scripts.
#[test]
fn toybox_is_by_no_link_what_is_denied_or_not_listed() {
    let (place, far) = world();
    place.write("head", "$| = 1; print \"ran\";\n");
    place.write("-cat", "$| = 1; print \"ran\";\n");
    for link in ["toybox-x", "toybox", "busybox", "coreutils", "awk", "curl", "dd", "go"] {
        std::os::unix::fs::symlink("head", place.workspace.join(link)).unwrap();
    }
    let links = [
        "toybox ./toybox-x cat x",
        "toybox toybox-x cat x",
        "toybox toybox cat x",
        "toybox ./busybox cat x",
        "toybox ./coreutils cat x",
        "toybox coreutils cat x",
        "toybox ./cat x",
        "toybox ./awk x",
        "toybox awk x",
        "toybox dd x",
        "toybox curl x",
        "toybox ./go x",
    ];
    let ordinary = ["toybox cat x", "toybox env curl x"];
    let none: [&str; 0] = [];
    let listed = format!("allow = [\"{far}/toybox cat **\", \"bash -c *\"]");
    let denied = format!("deny = [\"{far}/toybox head\"]");
    for policy in [&listed, &denied, "shell = false"] {
        assert_eq!(ran(&place, &far, policy, &links), none, "{policy}");
    }
    assert_eq!(ran(&place, &far, &listed, &ordinary), ordinary[..1]);
    assert_eq!(ran(&place, &far, &denied, &ordinary), ordinary);
    // Nor by what it is called.
    let policy = |list: &str| {
        format!("[files]\nexec = [\"{far}\", \"/usr\"]\n[commands]\nfrom_workspace = false\n{list}")
    };
    for called in ["./-cat", "-cat", "./awk", "./curl", "toybox-x", "./coreutils"] {
        let script = format!("exec -a {called} {far}/toybox cat x");
        for list in [&listed, &denied] {
            let outcome = start(&place, &policy(list), &["bash", "-c", &script]);
            assert!(outcome.status == 126 && outcome.out.is_empty(), "{called}, {list}: {outcome:?}");
        }
    }
    let script = format!("exec -a /anywhere/toybox {far}/toybox cat x");
    assert_eq!(start(&place, &policy(&listed), &["bash", "-c", &script]).out, "ran");
}

/// A static `busybox` runs its own programs by itself, and is called what it is called.
#[test]
fn an_entry_that_is_offered_for_a_static_file_names_it_as_it_is() {
    let place = Place::new().in_tier(module_path!());
    let far = place.base.path().join("far");
    std::fs::create_dir(&far).unwrap();
    let mut file = std::fs::read("/bin/busybox").unwrap();
    // No header of a loader (elf(5), PT_INTERP).
    let entries = usize::from(u16::from_le_bytes([file[56], file[57]]));
    let loader = (0..entries).map(|entry| 64 + 56 * entry).find(|at| file[*at] == 3);
    if let Some(at) = loader {
        file[at] = 0;
    }
    let path = far.join("busybox");
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = path.canonicalize().unwrap().display().to_string();
    let policy = |more: &str| {
        format!(
            "[files]\nexec = [\"{}\", \"/usr\"]\n[commands]\nallow = [\"busybox ls\"{more}]",
            far.display()
        )
    };
    let command = [path.as_str(), "head", "x"];
    let outcome = start(&place, &policy(""), &command);
    assert_eq!(outcome.status, 126, "{outcome:?}");
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains(&format!("allow = [\"{path} head x\"]")) && !told.contains("static"), "{told}");
    let with = start(&place, &policy(&format!(", \"{path} head x\"")), &command);
    assert!(![125, 126].contains(&with.status), "{with:?}");
    let inner = [path.as_str(), "sh", "-c", "x"];
    let shell = start(&place, &policy(&format!(", \"{path} sh **\"")), &inner);
    assert_eq!(shell.status, 126, "{shell:?}");
    // No entry of the program helps there.
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains("which may start any program of it") && !told.contains("allow = ["), "{told}");
    let inner = [path.as_str(), "env", "head", "x"];
    start(&place, &policy(&format!(", \"{path} env **\"")), &inner);
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains(&format!("allow = [\"{path} head x\"]")), "{told}");
}

/// A program that reads another one itself starts it unseen: valgrind, an emulator, another C library's loader.
#[test]
fn what_loads_programs_itself_is_refused_where_one_is_denied() {
    let place = Place::new().in_tier(module_path!());
    let far = place.base.path().join("far");
    std::fs::create_dir(&far).unwrap();
    let names = ["valgrind.bin", "none-amd64-linux", "qemu-x86_64-static", "ld-musl-x86_64.so.1"];
    for name in names.iter().chain(&["qemu-img"]) {
        std::fs::copy("/usr/bin/echo", far.join(name)).unwrap();
    }
    let far = far.canonicalize().unwrap().display().to_string();
    let run = |rules: &str, program: &str| {
        let policy = format!("[files]\nexec = [\"{far}\", \"/usr\"]\n[commands]\n{rules}");
        start(&place, &policy, &[program, "ran"])
    };
    for name in names {
        let program = format!("{far}/{name}");
        let refused = run("deny = [\"curl?\"]", &program);
        let told = place.ringfence(&["explain"]).out;
        assert!(refused.status == 126 && told.contains("is a loader"), "{name}: {refused:?}: {told}");
        assert_eq!(run("shell = false", &program).status, 126, "{name}");
        assert_eq!(run("pipes = false", &program).out, "ran\n", "{name}");
        let named = format!("allow = [\"{program}\"]\ndeny = [\"curl?\"]");
        assert_eq!(run(&named, &program).out, "ran\n", "{name}");
    }
    assert_eq!(run("deny = [\"curl?\"]", &format!("{far}/qemu-img")).out, "ran\n");
    std::fs::copy("/usr/bin/echo", place.workspace.join("linker")).unwrap();
    assert_eq!(run("deny = [\"curl?\"]\nfrom_workspace = true", "./linker").out, "ran\n");
}
