//! The shipped roles: each does its work, and no way around what it may start leads anywhere. Each way is first shown to work
//! where nothing stops it.

use std::fs;

use ringfence_real::{inputs, world::World};

/// What a way shows where it works.
const MARK: &str = "RF-MARK";
/// What curl tells of itself.
const CURL: &str = "libcurl/";

/// Tries each outside, where it must show its mark, and inside, where it must not; with how many there were.
fn none_leads_anywhere(
    ways: &[(&str, &str)],
    outside: impl Fn(&str) -> String,
    inside: impl Fn(&str) -> String,
) {
    for (way, mark) in ways {
        let works = outside(way);
        assert!(works.contains(mark), "{way} does not work anywhere: {works}");
        let said = inside(way);
        assert!(!said.contains(mark), "{way} got through: {said}");
    }
    println!("{} ways around, none leads anywhere", ways.len());
    assert!(ways.len() >= 15);
}

fn loader() -> String {
    let found = fs::read_dir("/lib64").expect("a loader").flatten().map(|entry| entry.path());
    let loader = found.into_iter().find(|path| path.to_string_lossy().contains("ld-linux"));
    loader.expect("a loader").display().to_string()
}

/// A repository with a crate, and a place to push to.
fn repository(world: &World) {
    world.write("src/lib.rs", "pub fn two() -> u8 { 2 }\n#[test]\nfn is_two() { assert_eq!(two(), 2); }\n");
    world.write("Cargo.toml", "[package]\nname = \"it\"\nedition = \"2021\"\n[workspace]\n");
    world.write("wrapped/.cargo/config.toml", "[build]\nrustc-wrapper = \"/usr/bin/curl\"\n");
    world.write("wrapped/Cargo.toml", "[package]\nname = \"w\"\nedition = \"2021\"\n[workspace]\n");
    world.write("wrapped/src/lib.rs", "");
    world.write("agent.sh", "curl --version\n");
    world.write("patterns", "*.rs diff=x\n");
    let made = world.outside(
        "set -e; git init -q -b main .; git config user.name n; git config user.email n@example.org
         git init -q --bare remote; git remote add origin ./remote; ln -s /usr/bin/curl cargo
         printf 'target\nremote\n' >.gitignore; git add -A; git commit -qm first",
    );
    assert_eq!(made.status, 0, "{made:?}");
}

#[test]
fn a_coding_agent_builds_and_commits_and_does_not_push() {
    let toolchain = inputs::toolchain();
    let world = World::new().programs(&toolchain.join("bin"));
    repository(&world);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/coding-agent.toml");
    let example = fs::read_to_string(example).expect("the example");
    let policy = world.base.join("agent.toml");
    fs::write(&policy, format!("{example}\n[files]\nexec = [\"{}\"]\n", toolchain.display()))
        .expect("a policy");
    let policy = policy.display().to_string();
    let run =
        |script: &str| world.ringfence(&["run", "--quiet", "--policy", &policy, "--", "bash", "-c", script]);
    let work = "set -e; cargo --offline build 2>&1; cargo --offline test 2>&1
        echo '// more' >>src/lib.rs; git status --short; git diff --stat; git add src; git commit -qm second; git log --oneline";
    let done = run(work);
    for part in ["Finished", "is_two ... ok", "M src/lib.rs", "1 insertion", "second"] {
        assert!(done.out.contains(part), "{part}: {done:#?}");
    }
    assert_eq!(done.status, 0, "{done:#?}");
    let through = format!("{} /usr/bin/curl --version", loader());
    let ways = [
        ("git push origin main", "new branch"),
        ("git -C . push origin main", "new branch"),
        ("git --no-pager push ./remote HEAD:refs/heads/x", "new branch"),
        ("git -c alias.x='!curl --version' x", CURL),
        ("git -c alias.x=push x origin HEAD:refs/heads/y", "new branch"),
        (
            "GIT_EXTERNAL_DIFF='curl --version; true' git diff HEAD~0 --ext-diff; echo >>agent.sh; GIT_EXTERNAL_DIFF='curl --version;:' git diff --ext-diff",
            CURL,
        ),
        ("GIT_EDITOR='curl --version;:' git commit --amend", CURL),
        ("echo >>agent.sh; git -c diff.external='curl --version;:' diff", CURL),
        ("curl --version", CURL),
        ("/usr/bin/curl --version", CURL),
        ("env curl --version", CURL),
        ("command curl --version", CURL),
        ("exec -a cargo curl --version", CURL),
        ("./cargo --version", CURL),
        ("bash agent.sh", CURL),
        ("sh -c 'curl --version'", CURL),
        ("nice curl --version", CURL),
        ("timeout 5 curl --version", CURL),
        ("echo --version | xargs curl", CURL),
        ("find . -maxdepth 0 -exec curl --version ';'", CURL),
        ("python3 -c 'import os; os.execvp(\"curl\", [\"curl\", \"--version\"])'", CURL),
        ("perl -e 'exec \"curl\", \"--version\"'", CURL),
        ("exec 3</usr/bin/curl; /proc/self/fd/3 --version", CURL),
        ("cp /usr/bin/curl mine; ./mine --version", CURL),
        ("cd wrapped; cargo --offline build 2>&1", CURL),
        ("RUSTC_WRAPPER=/usr/bin/curl cargo --offline build 2>&1", CURL),
        (through.as_str(), CURL),
    ];
    none_leads_anywhere(
        &ways,
        |way| {
            let copy = World::new().programs(&toolchain.join("bin"));
            repository(&copy);
            let said = copy.outside(way);
            said.out + &said.err
        },
        |way| {
            let said = run(way);
            said.out + &said.err
        },
    );
}

/// What a program's own ways to start others, and other programs, print where they may.
const PROGRAMS: &[&[&str]] = &[
    &["sh", "-c", "echo RF-$((40+2))"],
    &["bash", "-c", "echo RF-$((40+2))"],
    &["/bin/dash", "-c", "echo RF-$((40+2))"],
    &["python3", "-c", "print('RF-%d' % 42)"],
    &["perl", "-e", "print 'RF-', 40+2"],
    &["awk", "BEGIN { print \"RF-\" 40+2 }"],
    &["env", "sh", "-c", "echo RF-$((40+2))"],
    &["env", "-S", "echo RF-42"],
    &["nice", "echo", "RF-42"],
    &["timeout", "5", "echo", "RF-42"],
    &["nohup", "echo", "RF-42"],
    &["setsid", "-w", "echo", "RF-42"],
    &["find", ".", "-maxdepth", "0", "-exec", "echo", "RF-42", ";"],
    &["xargs", "-a", "/etc/hostname", "echo", "RF-42"],
    &["git", "-c", "alias.x=!echo RF-42", "x"],
    &["sed", "-n", "1e echo RF-42", "/etc/hostname"],
    &["make", "-s", "--eval", "x:;@echo RF-42", "x"],
    &["tar", "cf", "/dev/null", "--checkpoint=1", "--checkpoint-action=exec=echo RF-42", "/etc/hostname"],
    &["curl", "-s", "file:///etc/hostname", "-w", "RF-%{http_version}42", "-o", "/dev/null"],
];

/// The same of sqlite3, behind its name.
const SQLITE: &[&[&str]] = &[
    &[":memory:", ".shell echo RF-42"],
    &[":memory:", ".system echo RF-42"],
    &["-cmd", ".shell echo RF-42", ":memory:", ".quit"],
    &[":memory:", ".once '|cat'", "select 'RF-' || (40+2)"],
    &[":memory:", ".output '|cat'", "select 'RF-' || (40+2)"],
    &[":memory:", ".import '|echo RF-42 >&2' u"],
    &[":memory:", "select edit('x', 'echo RF-42; true')"],
];

fn argv(world: &World, policy: &str, words: &[&str]) -> String {
    let said = world.ringfence(&[&["run", "--quiet", "--policy", policy, "--"], words].concat());
    said.out + &said.err
}

/// All of those, and the loader; `named`: the ways of sqlite3 that this role's own list leaves to it.
fn no_program_starts_another(world: &World, policy: &str, database: &str) {
    let loader = loader();
    let through = [loader.as_str(), "/bin/echo", "RF-42"];
    let mut ways: Vec<Vec<&str>> = PROGRAMS.iter().map(|way| way.to_vec()).collect();
    ways.push(through.to_vec());
    for way in SQLITE {
        ways.push([&["sqlite3"], *way].concat());
        let own: Vec<&str> =
            way.iter().map(|word| if *word == ":memory:" { database } else { word }).collect();
        ways.push([&["sqlite3", "-readonly"], &own[..]].concat());
    }
    let mut tried = 0;
    for way in &ways {
        let mut command = world.command(way[0]);
        let works = command.args(&way[1..]).output().expect("it starts");
        let works = [works.stdout, works.stderr].concat();
        assert!(
            String::from_utf8_lossy(&works).contains("RF-"),
            "{way:?}: {}",
            String::from_utf8_lossy(&works)
        );
        let said = argv(world, policy, way);
        assert!(
            !said.lines().any(|line| line.trim() == "RF-42" || line.starts_with("RF-042")),
            "{way:?} got through: {said}"
        );
        tried += 1;
    }
    println!("{tried} ways around, none leads anywhere");
    assert!(tried >= 15);
}

#[test]
fn a_support_agent_has_one_client() {
    let world = World::new();
    let database = world.base.join("tickets.db").display().to_string();
    let made = world.outside(&format!(
        "sqlite3 {database} \"create table t(id, text); insert into t values (7, 'it does not print')\""
    ));
    assert_eq!(made.status, 0, "{made:?}");
    let policy = world.policy(
        "support-agent",
        &format!(
            "[files]\nread = [\"{database}\"]\n[commands]\nallow = [\"sqlite3 -readonly {database} *\"]"
        ),
    );
    let asked =
        argv(&world, &policy, &["sqlite3", "-readonly", &database, "select text from t where id = 7"]);
    // Where there is no control group, a note follows.
    assert!(asked.starts_with("it does not print\n"), "{asked}");
    let changed = argv(&world, &policy, &["sqlite3", &database, "delete from t"]);
    assert!(changed.contains("may not be executed"), "{changed}");
    no_program_starts_another(&world, &policy, &database);
    // Without a client, the preset starts nothing.
    let none = world.ringfence(&["run", "--quiet", "--preset", "support-agent", "--", "true"]);
    assert_eq!(none.status, 126, "{none:?}");
}

#[test]
fn an_analyst_has_two_clients_and_one_command_at_a_time() {
    let world = World::new();
    world.write("sales.csv", "region,sum\nnorth,3\nsouth,4\n");
    world.write("it.db", "");
    let policy = world.policy("analyst", "[commands]\nallow = [\"sqlite3\", \"jq (-r) * **\"]");
    let start = world.ringfence(&["start", "analysis", "--policy", &policy, "--workspace", "."]);
    assert_eq!(start.status, 0, "{start:?}");
    let exec = |words: &[&str]| world.ringfence(&[&["exec", "analysis", "--"], words].concat());
    let made = exec(&[
        "sqlite3",
        "it.db",
        ".import --csv sales.csv sales",
        ".mode json",
        ".output sums.json",
        "select sum(sum) as all_of_it from sales",
    ]);
    let read = exec(&["jq", "-r", ".[0].all_of_it", "sums.json"]);
    // One waits for its input; meanwhile no other starts.
    let mut waiting = world.command(ringfence_real::binary());
    waiting.args(["exec", "analysis", "--", "sqlite3", "it.db"]).stdin(std::process::Stdio::piped());
    let mut waiting = waiting.spawn().expect("ringfence");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let beside = exec(&["jq", "-r", ".", "sums.json"]);
    drop(waiting.stdin.take());
    let ended = waiting.wait().expect("it ends");
    let after = exec(&["jq", "-r", ".[0].all_of_it", "sums.json"]);
    let explained = world.ringfence(&["explain", "analysis"]);
    let _ = world.ringfence(&["stop", "analysis", "--grace", "0"]);
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(read.out, "7\n", "{read:?}");
    assert!(beside.status == 126 && beside.err.contains("one run at a time"), "{beside:?}");
    assert!(ended.success() && after.out == "7\n", "{after:?}");
    assert!(explained.out.contains("one command at a time"), "{explained:?}");
    no_program_starts_another(&world, &policy, "it.db");
    let line = argv(&world, &policy, &["sqlite3 it.db .tables | jq ."]);
    assert!(line.contains("an argument each"), "{line}");
}

/// Lines of a recipe.
const RECIPES: &[(&str, &str)] = &[
    ("git push ./remote HEAD:refs/heads/x", "new branch"),
    ("git -C . push ./remote HEAD:refs/heads/y", "new branch"),
    ("curl --version", CURL),
    ("env curl --version", CURL),
    ("/usr/bin/curl --version", CURL),
    ("bash -c 'exec -a cc curl --version'", CURL),
    ("sh -c 'curl --version'", CURL),
    ("echo --version | xargs curl", CURL),
    ("find . -maxdepth 0 -exec curl --version ';'", CURL),
    ("./cc --version", CURL),
    ("cc -wrapper curl,--version x.c", CURL),
    ("cc -B./tools -c x.c; ./tools/as --version", CURL),
    ("python3 -c 'print(\"RF-MARK\")'", MARK),
    ("perl -e 'print \"RF-MARK\"'", MARK),
    ("nice echo RF-MARK | tr a a | nice cat", MARK),
    ("timeout 5 printf RF-MARK", MARK),
    ("git status --porcelain=v2 --branch", "branch.head"),
    ("awk 'BEGIN { system(\"nice echo RF-MARK\") }'", MARK),
    ("tar cf /dev/null --checkpoint=1 --checkpoint-action=exec='nice echo RF-MARK' Makefile", MARK),
    ("exec 3</usr/bin/curl; /proc/self/fd/3 --version", CURL),
];

#[test]
fn a_ci_step_makes_and_nothing_else() {
    let prepare = |world: &World, recipe: &str| {
        world.write("x.c", "#include <stdio.h>\nint main(void) { puts(\"built and run\"); return 0; }\n");
        world.write(
            "Makefile",
            &format!("SHELL=/bin/bash\nall: x\n\t./x\nx: x.c\n\t$(CC) -O2 -o x x.c\nway:\n\t@{recipe}\n"),
        );
        let made = world.outside(
            "set -e; mkdir -p tools; ln -sf /usr/bin/curl cc; ln -sf /usr/bin/curl tools/as; git init -q -b main .
             git config user.name n; git config user.email n@example.org; git init -q --bare remote; git add x.c; git commit -qm first",
        );
        assert_eq!(made.status, 0, "{made:?}");
    };
    let world = World::new();
    prepare(&world, ":");
    let step = |target: &str| {
        world.ringfence(&["run", "--quiet", "--preset", "ci-step", "--", "make", "-s", target])
    };
    let done = step("all");
    assert!(done.status == 0 && done.out.contains("built and run"), "{done:#?}");
    let first = world.ringfence(&["run", "--quiet", "--preset", "ci-step", "--", "sh", "-c", "echo RF-MARK"]);
    assert!(first.status == 126 && first.out.is_empty(), "{first:?}");
    none_leads_anywhere(
        RECIPES,
        |way| {
            let copy = World::new();
            prepare(&copy, &way.replace('$', "$$"));
            let said = copy.outside("make -s way");
            said.out + &said.err
        },
        |way| {
            let copy = World::new();
            prepare(&copy, &way.replace('$', "$$"));
            let said = copy.ringfence(&["run", "--quiet", "--preset", "ci-step", "--", "make", "-s", "way"]);
            // make names the recipe that failed, but shows none of it.
            said.out + &said.err
        },
    );
}
