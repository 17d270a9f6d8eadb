//! Test suites of other languages: pytest and node's.

use std::path::Path;

use ringfence_real::{inputs, long, tree, world::World};

/// With temporary files in the workspace: what tests write and then start may not lie in /tmp, which is noexec inside.
const PYTEST: &str =
    ".venv/bin/python -m pytest -q -rA --no-header -p no:cacheprovider --color=no --basetemp=.tmp";

fn python() -> World {
    let world = World::with(&inputs::python());
    let made = world.outside("/usr/bin/python3 -m venv --without-pip .venv");
    assert_eq!(made.status, 0, "package python3-venv? {made:#?}");
    let packages = world.outside(".venv/bin/python -c 'import site; print(site.getsitepackages()[0])'").out;
    let lines = format!("{0}/site\n{0}/src\n", world.workspace.display());
    world.write(Path::new(packages.trim()).join("workspace.pth"), &lines);
    world
}

#[test]
fn pytest_of_click() {
    let world = python();
    let before = tree::listing(&world.workspace);
    let files =
        "arguments basic chain commands context defaults formatting imports options parser termui testing";
    let files: Vec<String> = files.split(' ').map(|name| format!("tests/test_{name}.py")).collect();
    let all = "tests --ignore tests/test_deprecations.py";
    let script = format!("{PYTEST} {} 2>&1", if long() { all.to_owned() } else { files.join(" ") });

    let inside = world.inside("default", "", &script);
    assert_eq!(tree::differences(&before, &tree::listing(&world.workspace)), [""; 0]);
    let outside = world.outside(&script);

    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    let results = |line: &str| {
        ["PASSED ", "FAILED ", "ERROR ", "SKIPPED ", "XFAIL "].iter().any(|word| line.starts_with(word))
    };
    assert!(outside.lines(results).len() >= 100, "{}", outside.out);
    assert_eq!(inside.lines(results), outside.lines(results));
}

#[test]
fn pytest_fails_inside_as_it_does_outside() {
    let world = python();
    world.write("tests/test_wrong.py", "def test_wrong():\n    assert 'inside' == 'outside'\n");
    let script = format!("{PYTEST} tests/test_wrong.py 2>&1");
    let (inside, outside) = (world.inside("default", "", &script), world.outside(&script));
    assert_eq!((outside.status, inside.status), (1, 1), "{outside:#?}{inside:#?}");
    let failed = |line: &str| line.starts_with("FAILED ") || line.starts_with("E ");
    assert_eq!(inside.lines(failed), outside.lines(failed));
}

#[test]
fn node_test_of_pino() {
    let world = World::with(&inputs::node());
    let before = tree::listing(&world.workspace);
    // No file that needs a name server, or packages that are for a browser.
    let files = "basic,caller,complex-objects,crlf,custom-levels,diagnostics,error,error-key,formatters,\
                 is-level-enabled,levels,metadata,mixin,redact,serializers,timestamp";
    let script = format!("node --test --test-reporter=tap test/{{{}}}.test.js", files.replace(' ', ""));

    let inside = world.inside("default", "", &script);
    assert_eq!(tree::differences(&before, &tree::listing(&world.workspace)), [""; 0]);
    let outside = world.outside(&script);

    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    let results = |line: &str| {
        let line = line.trim_start();
        line.starts_with("ok ")
            || line.starts_with("not ok ")
            || (line.starts_with("# ") && !line.contains("duration"))
    };
    let passed = outside.lines(|line| line.trim_start().starts_with("ok ")).len();
    assert!(passed >= 100, "{passed} passed\n{}", outside.out);
    let unnumbered = |lines: Vec<&str>| {
        // Files run side by side, so their numbers vary.
        let mut lines: Vec<String> = lines.into_iter().map(without_number).collect();
        lines.sort();
        lines
    };
    assert_eq!(unnumbered(inside.lines(results)), unnumbered(outside.lines(results)));
}

fn without_number(line: &str) -> String {
    let name = line.split_once(" - ").map_or("", |(_, name)| name);
    match line.trim_start() {
        ok if ok.starts_with("ok ") => format!("ok {name}"),
        not if not.starts_with("not ok ") => format!("not ok {name}"),
        other => other.to_owned(),
    }
}

#[test]
fn npm_runs_scripts() {
    let world = World::with(&inputs::node());
    let script = "npm pkg set scripts.test='node --test --test-reporter=tap test/levels.test.js' && npm test --silent \
                  | grep -E '^# (tests|pass|fail)'; exit ${PIPESTATUS[0]}";
    let (inside, outside) = (world.inside("default", "", script), world.outside(script));
    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    assert!(outside.out.contains("# fail 0"), "{outside:#?}");
    assert_eq!(inside.out, outside.out);
}
