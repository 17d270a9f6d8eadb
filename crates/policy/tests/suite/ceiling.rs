//! The administrator's bound: nothing exceeds it, and one that cannot be read is never taken for none.

use std::io;
use std::path::Path;

use ringfence_policy::{Context, Diagnostics, Files, Leaks, Mode, Policy, load};

use super::support::{Memory, context, file, memory, preset, same, trimmed};

fn below(ceiling: &str, policy: &str) -> Result<Policy, Diagnostics> {
    let ceiling = format!("version = 1\n{ceiling}");
    let policy = format!("version = 1\n{policy}");
    let files = memory(&[("/etc/ringfence/ceiling.toml", &ceiling), ("/proj/p.toml", &policy)]);
    load(&[file("p.toml")], &context(), &files)
}

#[track_caller]
fn refused(ceiling: &str, policy: &str) -> String {
    match below(ceiling, policy) {
        Ok(_) => panic!("accepted: {policy}"),
        Err(found) => trimmed(&found),
    }
}

#[track_caller]
fn accepted(ceiling: &str, policy: &str) -> Policy {
    below(ceiling, policy).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn both_lines_are_named() {
    same(
        &refused(
            "[workspace]\nmode = \"discard\"\n[files]\nread = [\"/srv\"]\nwrite = []\n[limits]\ntmp = \"1MiB\"\n",
            "[workspace]\nmode = \"direct\"\n[files]\nread = [\"/srv/x\", \"/other\"]\nwrite = [\"/srv/y\"]\n[limits]\ntmp = \"2MiB\"\n[runtime]\ntmp_exec = true\n",
        ),
        r#"
        error: `workspace.mode` is `direct`, which is above the ceiling
         --> p.toml:3:8
          |
        3 | mode = "direct"
          |        ^^^^^^^^ set here
          |
         ::: /etc/ringfence/ceiling.toml:3:8
          |
        3 | mode = "discard"
          |        --------- the ceiling allows at most `discard`
          |
          = help: write `mode = "discard"`

        error: `/other` in `files.read` is above the ceiling
         --> p.toml:5:19
          |
        5 | read = ["/srv/x", "/other"]
          |                   ^^^^^^^^ granted here
          |
         ::: /etc/ringfence/ceiling.toml:5:8
          |
        5 | read = ["/srv"]
          |        -------- the ceiling's `files.read` does not hold it
          |
          = help: remove it, or have the administrator add it to the ceiling's `files.read`

        error: `/srv/y` in `files.write` is above the ceiling
         --> p.toml:6:10
          |
        6 | write = ["/srv/y"]
          |          ^^^^^^^^ granted here
          |
         ::: /etc/ringfence/ceiling.toml:5:9
          |
        5 | read = ["/srv"]
          |         ------ the ceiling allows less here: no `files.write`
          |
          = help: remove it, or have the administrator add it to the ceiling's `files.write`

        error: `limits.tmp` of "2MiB" is above the ceiling
         --> p.toml:8:7
          |
        8 | tmp = "2MiB"
          |       ^^^^^^ set here
          |
         ::: /etc/ringfence/ceiling.toml:8:7
          |
        8 | tmp = "1MiB"
          |       ------ the ceiling allows "1MiB"
          |
          = help: write the ceiling's limit or a smaller one

        error: `runtime.tmp_exec = true` is above the ceiling
          --> p.toml:10:12
           |
        10 | tmp_exec = true
           |            ^^^^ set here
           |
          ::: /etc/ringfence/ceiling.toml:1:1
           |
         1 | version = 1
           | - the ceiling does not allow it
           |
           = help: remove it
        "#,
    );
}

#[test]
fn rights_include_reading_and_trees_what_is_below() {
    let ceiling = "[files]\nread = [\"/r\"]\nexec = [\"/e\"]\nwrite = [\"/w\"]\n";
    accepted(
        ceiling,
        "[files]\nread = [\"/r/a/b\", \"/e\", \"/w/x\"]\nexec = [\"/e/x\"]\nwrite = [\"/w\"]\n",
    );
    for policy in [
        "read = [\"/rr\"]",
        "read = [\"/\"]",
        "exec = [\"/r\"]",
        "exec = [\"/w\"]",
        "write = [\"/e\"]",
        "write = [\"/r/x\"]",
    ] {
        refused(ceiling, &format!("[files]\n{policy}\n"));
    }
    // A ceiling bounds; it may name roots that no policy could be granted itself.
    accepted("[files]\nread = [\"/\"]\n", "[files]\nread = [\"/srv\"]\n");
    refused("[files]\nread = [\"/\"]\n", "[files]\nread = [\"/\"]\n");
    // Absent lists allow nothing, as everywhere.
    refused("", "[files]\nread = [\"/srv\"]\n");
}

#[test]
fn modes_are_ordered_by_what_they_can_change() {
    let order = [&["read", "temporary"][..], &["discard"], &["review"], &["direct"]];
    for (most_rank, most) in order.iter().enumerate() {
        for (rank, wanted) in order.iter().enumerate() {
            for (most, wanted) in most.iter().flat_map(|most| wanted.iter().map(move |wanted| (most, wanted)))
            {
                let [ceiling, policy] =
                    [most, wanted].map(|mode| format!("[workspace]\nmode = \"{mode}\"\n"));
                assert_eq!(below(&ceiling, &policy).is_ok(), rank <= most_rank, "{wanted} below {most}");
            }
        }
    }
    assert!(refused("", "[workspace]\nmode = \"direct\"\n").contains("at most `review`"));
    assert!(
        refused("[workspace]\nmode = \"read\"\n", "")
            .contains("is `review`, which is above the ceiling (it is the default)")
    );
}

#[test]
fn programs_and_variables_where_the_ceiling_has_a_list() {
    let ceiling = "[commands]\nallow = [\"git\", \"cargo\"]\n[environment]\npass = [\"LANG\"]\n";
    accepted(ceiling, "[commands]\nallow = [\"git\"]\n[environment]\npass = [\"LANG\"]\n");
    let found =
        refused(ceiling, "[commands]\nallow = [\"git\", \"curl\"]\n[environment]\npass = [\"TERM\"]\n");
    assert!(found.contains("`curl` in `commands.allow` is above the ceiling\n --> p.toml:3:17"), "{found}");
    assert!(found.contains("::: /etc/ringfence/ceiling.toml:3:9"), "{found}");
    assert!(found.contains("`TERM` in `environment.pass` is above the ceiling"), "{found}");
    assert!(refused(ceiling, "").contains("any program may start, which is above the ceiling"));
    // A program of the ceiling's with any arguments covers those with fewer; not the other way round.
    let ceiling = "[commands]\nallow = [\"git\", \"cargo build **\"]\n";
    accepted(ceiling, "[commands]\nallow = [\"git status **\", \"cargo build **\"]\n");
    assert!(refused(ceiling, "[commands]\nallow = [\"cargo\"]\n").contains("`cargo` in `commands.allow`"));
    // So does a pattern the words that it means, but for paths, which depend on the directory.
    let ceiling = "[commands]\nallow = [\"git status **\", \"sh -c *\", \"cat ./**\", \"ls (-l|-a)\"]\n";
    accepted(ceiling, "[commands]\nallow = [\"git status\", \"git status -s\", \"sh -c ls\", \"ls -a\"]\n");
    for wider in ["git statuses", "sh -c -x", "cat x", "cat ./x", "ls -R", "git *", "sh -c ls x", "sh"] {
        refused(ceiling, &format!("[commands]\nallow = [\"{wider}\"]\n"));
    }
    let children = "[commands]\nallow = [\"git\"]\nchildren = \"free\"\n";
    assert!(refused(ceiling, children).contains("`commands.children` is above the ceiling"));
    accepted("[commands]\nallow = [\"git\"]\nchildren = \"free\"\n", children);
    // By what it means, and beside what `allow` lets start anyway.
    let most = "[commands]\nallow = [\"git\", \"cc\"]\nchildren = [\"ls **\", \"as -o *\"]\n";
    let with = |children: &str| format!("[commands]\nallow = [\"git\"]\nchildren = [{children}]\n");
    accepted(most, &with("\"ls -l\", \"cc\", \"cc -c\", \"as -o *\", \"as? -o x\""));
    accepted("[commands]\nallow = [\"git\", \"cc\"]\n", &with("\"cc\""));
    for wider in ["\"as\"", "\"as -o **\"", "\"ld\"", "\"ls\", \"ld\""] {
        assert!(refused(most, &with(wider)).contains("`commands.children` is above the ceiling"), "{wider}");
    }
    let held = accepted("[commands]\ndeny = [\"git push\"]\nshell = false\n", "[commands]\nshell = true\n");
    assert!(held.guard.deny.len() == 1 && !held.guard.shell());
    accepted("", "[commands]\nallow = [\"curl\"]\n[environment]\npass = [\"TERM\"]\n");
}

#[test]
fn switches_only_where_the_ceiling_has_them() {
    for (table, key) in [("commands", "from_workspace"), ("workspace", "git"), ("runtime", "tmp_exec")] {
        let text = |value| format!("[{table}]\n{key} = {value}\n");
        accepted(&text(true), &text(true));
        accepted("", &text(false));
        assert!(refused("", &text(true)).contains(&format!("`{table}.{key} = true` is above the ceiling")));
        assert!(refused(&text(false), &text(true)).contains("the ceiling forbids it"));
    }
}

#[test]
fn what_the_ceiling_restricts_holds_for_all() {
    let policy = accepted(
        "[files]\nread = [\"/srv\"]\ndeny = [\"**/x\"]\n[workspace]\nprotect = [\"y\"]\n[limits]\ntmp = \"1MiB\"\n",
        "[files]\nread = [\"/srv\"]\n",
    );
    assert_eq!(policy.files.deny[0].origin.to_string(), "/etc/ringfence/ceiling.toml:4");
    assert_eq!(policy.workspace.protect[0].value.text(), "y");
    assert_eq!(policy.limits.tmp.unwrap().value, 1 << 20);
    assert_eq!(policy.workspace.mode, Mode::Review);
    assert_eq!(policy.sources.last().unwrap(), "/etc/ringfence/ceiling.toml");
    let found =
        refused("[files]\nread = [\"/srv\"]\ndeny = [\"/srv/a\"]\n", "[files]\nread = [\"/srv/a/b\"]\n");
    assert!(found.contains("`/srv/a/b` is granted and denied as a whole\n --> p.toml:3:9"), "{found}");
    assert!(found.contains("::: /etc/ringfence/ceiling.toml:4:9"), "{found}");
}

#[test]
fn a_ceiling_may_extend_presets_and_bounds_them_all() {
    let ceiling = "version = 1\nextends = [\"coding-agent\"]\n[files]\nread = [\"/srv\"]\n";
    let files = memory(&[("/etc/ringfence/ceiling.toml", ceiling)]);
    for name in ["default", "coding-agent"] {
        let policy = load(&[preset(name)], &context(), &files).unwrap_or_else(|found| panic!("{found}"));
        assert!(policy.workspace.protect.iter().any(|rule| rule.value.text() == ".git/hooks"), "{name}");
    }
    let files = memory(&[("/etc/ringfence/ceiling.toml", "version = 1\n[files]\nexec = [\"/usr\"]\n")]);
    assert!(load(&[preset("default")], &context(), &files).is_err());
}

#[test]
fn a_broken_ceiling_is_an_error_and_so_is_one_that_depends_on_the_invoker() {
    for (ceiling, why) in [
        ("x = ", "not valid TOML"),
        ("[files]\nreed = []", "did you mean `files.read`?"),
        ("[files]\nread = [\"$SDK\"]", "a variable that the invoker chooses"),
        ("[approvals]\ngrantable = { write = [\"/a\"] }", "not yet enforceable"),
        ("identity = { name = \"a\" }", "has no meaning in a ceiling"),
        ("[workspace]\npath = \"/srv\"", "has no meaning in a ceiling"),
        ("[environment.set]\nA = \"1\"", "has no meaning in a ceiling"),
        ("[expect]\nallow = [\"read /x\"]", "has no meaning in a ceiling"),
    ] {
        // Not what is above it: that is not known.
        let found = refused(ceiling, "[files]\nread = [\"/srv\"]\n");
        assert!(!found.contains("above the ceiling"), "{found}");
        assert!(found.contains(why) && found.contains("/etc/ringfence/ceiling.toml:"), "{ceiling}\n{found}");
    }
}

#[test]
fn what_leaves_is_looked_through_below_a_ceiling_that_says_so() {
    let ceiling = "version = 1\n[files]\nread = [\"/srv\"]\n[leaks]\nscan = [\"egress\"]\n";
    let warn = "[leaks]\nscan = [\"egress\"]\naction = \"warn\"\n";
    let warns = |ceiling: &str, own: &str| {
        let own = format!("version = 1\n{own}");
        let files = memory(&[("/etc/ringfence/ceiling.toml", ceiling), ("/proj/p.toml", &own)]);
        let policy = load(&[file("p.toml")], &context(), &files).unwrap_or_else(|found| panic!("{found}"));
        matches!(policy.leaks.egress.unwrap().value, Leaks::Warn)
    };
    assert!(!warns(ceiling, "") && !warns(ceiling, warn));
    let lenient = format!("{ceiling}action = \"warn\"\n");
    assert!(warns(&lenient, warn));
}

#[test]
fn a_host_is_kept_from_inspection_where_the_ceiling_keeps_it() {
    let network = |more: &str| format!("[network]\nallow = [{{ host = \"a.example\"{more} }}]");
    let (open, closed) = (network(""), network(", inspect = false"));
    let leaks = "\n[leaks]\nscan = [\"egress\"]";
    assert!(refused(&open, &closed).contains("above the ceiling"));
    assert!(refused(&format!("{open}{leaks}"), &closed).contains("above the ceiling"));
    let looked_into = |policy: Policy| policy.network.allow[0].value.http.is_some();
    assert!(looked_into(accepted(&format!("{closed}{leaks}"), &open)));
    assert!(!looked_into(accepted(&format!("{closed}{leaks}"), &closed)));
    assert!(!looked_into(accepted(&open, &open)));
    let none = format!("{open}\ninspect = \"none\"");
    for ceiling in [format!("{open}{leaks}"), format!("{open}\ninspect = \"auto\"")] {
        assert!(refused(&ceiling, &none).contains("`network.inspect` is `none`, which is above the ceiling"));
    }
    assert!(!looked_into(accepted(&open, &none)));
}

#[test]
fn home_in_a_ceiling_is_the_user_databases() {
    let ceiling = "version = 1\n[files]\nread = [\"/home\", \"/srv\"]\ndeny = [\"~/vault\"]\n";
    let files = memory(&[("/etc/ringfence/ceiling.toml", ceiling), ("/proj/p.toml", "version = 1\n")]);
    let moved = Context { home: "/srv/fake".into(), ..context() };
    let policy = load(&[file("p.toml")], &moved, &files).unwrap();
    assert_eq!(policy.files.deny[0].value.base(Path::new("/")), Path::new("/home/u/vault"));
    let nobody = Context { listed_home: None, ..moved };
    let found = load(&[file("p.toml")], &nobody, &files).unwrap_err().to_string();
    assert!(found.contains("the home directory is not known"), "{found}");
}

#[test]
fn many_grants_above_are_summed_up() {
    let found = refused("[files]\nread = [\"/srv\"]\n", "extends = [\"default\"]\n");
    assert!(found.matches("is above the ceiling").count() < 12, "{found}");
    assert!(found.contains("more grants in `files.exec` are above the ceiling"), "{found}");
}

/// A policy that can be read below a ceiling that cannot.
struct Unreadable(io::ErrorKind);

impl Files for Unreadable {
    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path.starts_with("/etc") { Err(self.0.into()) } else { Ok(b"version = 1\n".to_vec()) }
    }
    fn exists(&self, _: &Path) -> bool {
        true
    }
}

#[test]
fn a_ceiling_that_cannot_be_read_is_not_the_absence_of_one() {
    // NotFound although it exists: a dangling symlink.
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound, io::ErrorKind::Other] {
        let found = load(&[file("p.toml")], &context(), &Unreadable(kind)).unwrap_err().to_string();
        assert!(found.contains("cannot read the policy `/etc/ringfence/ceiling.toml`"), "{kind}: {found}");
    }
    let none = Memory::default();
    assert!(load(&[preset("default")], &context(), &none).is_ok(), "without a ceiling nothing is bounded");
}
