//! Rules that lead through links of the system's: `explain`, `[expect]` and the boundary agree on what they grant and deny.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringfence_promises::{Place, root};
use serde_json::Value;

use crate::agreement::Chance;

/// What `explain` says of reading a path.
fn foretold(place: &Place, policy: &str, path: &str) -> Value {
    let said =
        place.ringfence(&["explain", "--policy", policy, "--workspace", ".", "--path", path, "--json"]);
    let answers: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_default();
    answers.first().cloned().unwrap_or_default()
}

/// Files and directories, and links of root's that lead there: such as only root can make.
fn linked() -> (Place, String) {
    let place = Place::in_home().in_tier(module_path!());
    let base = place.base.path().to_path_buf();
    for file in ["data/plain", "data/docs/plain", "data/docs/deep/plain", "data/docs/deep/x.envz"] {
        place.write(base.join(file), "text\n");
    }
    let to = [
        ("data", "to-data"),
        ("data/docs", "to-docs"),
        ("to-docs/deep", "to-deep"),
        ("data/docs/deep/plain", "to-file"),
        ("to-deep/x.envz", "to-env"),
    ];
    to.iter().for_each(|(target, link)| symlink(base.join(target), base.join(link)).unwrap());
    // Somebody's own.
    symlink(base.join("data/docs/deep"), place.home.join("own")).unwrap();
    let base = base.display().to_string();
    (place, base)
}

/// Under policies made by chance.
#[test]
fn what_is_granted_or_denied_through_links_is_foretold() {
    if !root() {
        return;
    }
    let (place, base) = linked();
    let named = |names: &[&str]| names.iter().map(|name| format!("{base}/{name}")).collect::<Vec<_>>();
    let mut grants = named(&["to-data", "to-docs", "to-deep", "to-file", "to-env", "data/docs/deep"]);
    grants.extend(named(&["data/docs/deep/plain", "data/docs", "home/own?"]));
    let mut deny = named(&["to-deep", "to-file", "data/**/deep", "data/docs/deep/x.envz"]);
    deny.extend(["**/docs", "**/deep", "**/*.envz", "**/docs/deep/*", "**/deep/**"].map(str::to_owned));
    let mut paths =
        named(&["data/plain", "data/docs/plain", "data/docs/deep/plain", "data/docs/deep/x.envz"]);
    paths.extend(named(&["to-docs/plain", "to-deep/plain", "to-file", "to-env", "home/own/plain"]));
    let (mut tried, mut allowed, mut wrong) = (0, 0, String::new());
    for seed in (1..=16_u64).chain([48]) {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let lines = format!(
            "[workspace]\nmode = \"temporary\"\n[files]\nread = [{}]\ndeny = [{}]\n",
            chance.some(&grants, 4),
            chance.some(&deny, 6)
        );
        let script = format!("for path in {}; do cat $path >/dev/null 2>&1; echo $?; done", paths.join(" "));
        let done = place.run(&lines, &script);
        // A denial that makes a grant unreachable is an error.
        if done.status == 125 {
            continue;
        }
        assert_eq!(done.out.lines().count(), paths.len(), "{lines}{done:?}");
        tried += 1;
        let policy = place.policy(&lines);
        let (mut opened, mut shut) = (Vec::new(), Vec::new());
        for (path, status) in paths.iter().zip(done.out.lines()) {
            let said = foretold(&place, &policy, path);
            if said["allowed"] != (status == "0") {
                writeln!(wrong, "seed {seed}: {path}: {status}, foretold {said}\n{lines}").unwrap();
            }
            allowed += u32::from(status == "0");
            // By its own name; by others it may be another matter in each tier.
            if Path::new(path).canonicalize().unwrap() == Path::new(path) {
                if status == "0" { &mut opened } else { &mut shut }.push(format!("read {path}"));
            }
        }
        let expected = place.policy(&format!("{lines}[expect]\nallow = {opened:?}\nrefuse = {shut:?}\n"));
        let read = place.ringfence(&["plan", "--policy", &expected, "--", "true"]);
        if read.status != 0 {
            writeln!(wrong, "seed {seed}: {}\n{lines}", read.err).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(tried > 8 && allowed > 20, "{tried} policies, {allowed} reads allowed");
}

/// A claim about a file that a link leads to is judged by where that leads, and by its name.
#[test]
fn claims_are_judged_by_where_links_lead() {
    if !root() {
        return;
    }
    let (place, base) = linked();
    let claims = |files: &str, expect: &str| {
        let text = format!("[files]\n{files}\n[expect]\n{expect}").replace("$B", &base);
        let policy = place.policy(&text);
        place.ringfence(&["plan", "--policy", &policy, "--", "true"])
    };
    let file = "$B/data/docs/deep/plain";
    let opened = claims("read = [\"$B/to-file\"]", &format!("refuse = [\"read {file}\"]"));
    assert!(opened.status == 125 && opened.err.contains("to-file` in `files.read`"), "{opened:?}");
    let allow = format!("allow = [\"read {file}\", \"read $B/to-file\"]");
    assert_eq!(claims("read = [\"$B/to-file\"]", &allow).status, 0);
    let denied = claims("read = [\"$B/to-file\"]\ndeny = [\"**/docs\"]", "allow = [\"read $B/to-file\"]");
    assert!(denied.status == 125 && denied.err.contains("`**/docs` in `files.deny`"), "{denied:?}");
    let hidden =
        claims("read = [\"$B/data\"]\ndeny = [\"$B/to-deep\"]", &format!("allow = [\"read {file}\"]"));
    assert!(hidden.status == 125 && hidden.err.contains("to-deep` in `files.deny`"), "{hidden:?}");
    // In one tier the link is not shown, in the other it leads there.
    let by_link = claims("read = [\"$B/data\"]", "refuse = [\"read $B/to-file\"]");
    assert!(by_link.status == 125, "{by_link:?}");
}

/// What a pattern denies for a grant by a link is told with that pattern, and the line that is offered opens it.
#[test]
fn a_denial_for_a_link_is_told_with_the_line_that_opens_it() {
    if !root() {
        return;
    }
    let (place, base) = linked();
    let file = format!("{base}/data/docs/deep/plain");
    let link = format!("[files]\nread = [\"{base}/to-file\"]\ndeny = [\"**/docs\"]");
    let line = format!("read = [{file:?}]");
    assert_eq!(place.run(&link, &format!("cat {base}/to-file; cat {file}")).out, "");
    for path in [&file, &format!("{base}/to-file")] {
        let said = foretold(&place, &place.policy(&link), path);
        assert!(said["rule"].as_str().unwrap().starts_with("`**/docs` in `files.deny`"), "{said}");
        assert_eq!(said["remedy"][1], line, "{said}");
    }
    let plan = place.ringfence(&["plan", "--policy", &place.policy(&link), "--", "true"]).out;
    assert!(plan.contains(&format!("hide     {file} (files.deny `**/docs`)")), "{plan}");
    if !place.hosted && std::fs::File::open("/dev/fuse").is_ok() {
        let told = place.told("file.deny");
        let own =
            |event: &&Value| event["path"] == file && event["rule"].as_str().unwrap().contains("`**/docs`");
        assert!(told.iter().any(|event| own(&event) && event["remedy"][1] == line), "{told:?}");
    }
    // A grant by a link takes nothing away from one that needs none.
    for grants in [format!("\"{file}\""), format!("\"{file}\", \"{base}/to-file\"")] {
        let policy = format!("[files]\nread = [{grants}]\ndeny = [\"**/docs\"]");
        let ran = place.run(&policy, &format!("cat {file}"));
        assert_eq!(ran.out, "text\n", "{grants}: {ran:?}");
    }
    // To be written is another matter than to be read.
    let policy = format!("[files]\nread = [\"{file}\"]\nwrite = [\"{base}/to-file\"]\ndeny = [\"**/docs\"]");
    let ran = place.run(&policy, &format!("echo more >> {file}; cat {file}"));
    assert!(ran.out.is_empty() && place.read(&file).as_deref() == Some("text\n"), "{ran:?}");
}

/// Patterns count from the root below what nothing but a link leads to, as they do for that itself.
#[test]
fn a_pattern_denies_what_lies_below_where_only_a_link_leads() {
    if !root() {
        return;
    }
    let (place, base) = linked();
    let file = format!("{base}/data/docs/deep/plain");
    let cases = [
        ("to-docs", "**/docs/**"),
        ("to-docs", "**/docs/*"),
        ("to-docs", "**/docs/deep"),
        ("to-docs", "**/docs/deep/*"),
        ("to-docs", "**/data/docs/**"),
        ("to-data", "**/data/docs/**"),
        ("to-data", "**/data/*/deep/plain"),
        ("to-deep", "**/deep/**"),
    ];
    for (link, pattern) in cases {
        let text = format!("[files]\nread = [\"{base}/{link}\"]\ndeny = [\"{pattern}\"]\n");
        let ran = place.run(&text, &format!("cat {file}"));
        assert!(ran.status != 0 && ran.out.is_empty(), "{text}{ran:?}");
        let said = foretold(&place, &place.policy(&text), &file);
        let rule = format!("`{pattern}` in `files.deny`");
        assert!(said["rule"].as_str().unwrap_or_default().starts_with(&rule), "{text}{said}");
        let claims = |list: &str| {
            let policy = place.policy(&format!("{text}[expect]\n{list} = [\"read {file}\"]\n"));
            place.ringfence(&["plan", "--policy", &policy, "--", "true"])
        };
        let plan = claims("refuse");
        assert!(plan.status == 0 && plan.out.contains(&format!("(files.deny `{pattern}`)")), "{plan:?}");
        assert_eq!(claims("allow").status, 125, "{text}");
    }
    // A rule that names what holds it has them count from there.
    let text =
        format!("[files]\nread = [\"{base}/to-docs\", \"{base}/data/docs\"]\ndeny = [\"**/docs/**\"]\n");
    let ran = place.run(&text, &format!("cat {file}"));
    assert_eq!(ran.out, "text\n", "{ran:?}");
    assert_eq!(foretold(&place, &place.policy(&text), &file)["allowed"], true);
}

/// A directory all of which a pattern denies is hidden itself, and claims are judged so.
#[test]
fn a_directory_is_denied_by_a_pattern_for_all_in_it() {
    let place = Place::in_home().in_tier(module_path!());
    let base = place.base.path().display().to_string();
    place.write(place.base.path().join("data/docs/plain"), "text\n");
    place.write(place.base.path().join("data/plain"), "text\n");
    let docs = format!("{base}/data/docs");
    let anchored = [format!("{docs}/**"), format!("{docs}/*")].map(|pattern| (pattern, "data/docs"));
    let cases = ["**/docs/**", "**/docs/?"].map(|pattern| (pattern.to_owned(), "data"));
    // Also where a rule names that very directory.
    let wider = anchored.clone().map(|(pattern, _)| (pattern, "data"));
    for (pattern, granted) in cases.into_iter().chain(anchored).chain(wider) {
        let text = format!("[files]\nread = [\"{base}/{granted}\"]\ndeny = [\"{pattern}\"]\n");
        let ran = place.run(&text, &format!("cat {docs}/plain; ls {docs}"));
        let names = if place.hosted { "plain\n" } else { "" };
        assert!(ran.out.is_empty() || ran.out == names, "{text}{ran:?}");
        for path in [docs.clone(), format!("{docs}/plain")] {
            let said = foretold(&place, &place.policy(&text), &path);
            let rule = format!("`{pattern}` in `files.deny`");
            assert!(said["rule"].as_str().unwrap_or_default().starts_with(&rule), "{text}{said}");
            let claims = |list: &str| {
                let policy = place.policy(&format!("{text}[expect]\n{list} = [\"read {path}\"]\n"));
                place.ringfence(&["plan", "--policy", &policy, "--", "true"])
            };
            assert_eq!((claims("refuse").status, claims("allow").status), (0, 125), "{text}{path}");
        }
    }
}
