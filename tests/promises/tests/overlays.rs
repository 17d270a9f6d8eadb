//! Workspaces, and in tier `landlock` the state directory, on an overlay whose lower layer they come from, as in containers.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ringfence_promises::{Place, binary, root};

/// Whoever works there where root tests.
const SOMEBODY: &str = "4242";

/// Runs a script in `$BASE/m/w`, `$BASE/m` being an overlay; `$RF` is the binary. `upper` is on the file system of the lower layer, or
/// has its own.
fn over(place: &Place, same: bool, script: &str) -> String {
    over_on(place, "tmpfs", same, script)
}

fn over_on(place: &Place, kind: &str, same: bool, script: &str) -> String {
    let base = place.base.path();
    std::fs::copy(binary(), base.join("ringfence")).unwrap();
    std::fs::set_permissions(base, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(base.join("o")).unwrap();
    let _ = place.policy("");
    let own = if same { ":" } else { "mount -t tmpfs none up" };
    // An overlay can be put on no other one.
    let state = if place.hosted { "m/state" } else { "state" };
    let prepare = format!(
        "set -e; mount -t {kind} none $BASE/o; cd $BASE/o; mkdir -p lower/w/d lower/state state home up m; chmod 755 .
        chmod 700 lower/state state; echo a > lower/w/a; echo b > lower/w/b; echo c > lower/w/d/c
        {own}; mkdir up/up up/work; [ -z \"$SOMEBODY\" ] || chown -R $SOMEBODY:$SOMEBODY lower state home up
        mount -t overlay -o ${{OPTIONS}}lowerdir=lower,upperdir=up/up,workdir=up/work none m; cd m/w
        export RINGFENCE_STATE=$BASE/o/{state} HOME=$BASE/o/home RF=$BASE/ringfence; exec $AS bash -c '{script}'"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if root() {
        let drop = format!("setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups");
        command.env("AS", drop).env("SOMEBODY", SOMEBODY).env("OPTIONS", "");
    } else {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
        command.env("AS", "").env("SOMEBODY", "").env("OPTIONS", "userxattr,");
    }
    if place.hosted {
        command.env("RINGFENCE_TEST_HOST", "no-userns");
    }
    command.env("BASE", base.canonicalize().unwrap()).env_remove("RINGFENCE_POLICY");
    let done = command.args(["bash", "-c", &prepare]).output().unwrap();
    [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[test]
fn what_changed_lands_and_is_undone() {
    for same in [true, false] {
        let place = Place::new().in_tier(module_path!());
        let text = over(
            &place,
            same,
            "$RF run --quiet --policy $BASE/policy.toml -- sh -c \"rm b d/c; echo new > n; echo more >> a\"; echo run $?
            $RF diff --stat; $RF apply; echo apply $?; cat a n; ls; $RF undo; echo undo $?; cat a b d/c; ls",
        );
        assert!(text.contains(" 4 changes, +2 -2 lines, 2 deleted\n"), "{same}: {text}");
        assert!(
            text.contains("run 0\n") && text.contains("apply 0\na\nmore\nnew\na\nd\nn\n"),
            "{same}: {text}"
        );
        assert!(text.contains("undo 0\na\nb\nc\na\nb\nd\n"), "{same}: {text}");
    }
}

#[test]
fn a_snapshot_is_put_back() {
    let place = Place::new().in_tier(module_path!());
    let text = over(
        &place,
        true,
        "P=$BASE/o/home/p.toml; cp $BASE/policy.toml $P; echo \"workspace = { mode = \\\"direct\\\", snapshot = true }\" >> $P
        $RF run --quiet --policy $P -- sh -c \"rm b d/c; echo new > n; echo more >> a\"; echo run $?; ls
        $RF undo; echo undo $?; cat a b d/c; ls",
    );
    assert!(text.contains("run 0\na\nd\nn\n") && text.contains("undo 0\na\nb\nc\na\nb\nd\n"), "{text}");
}

/// Another directory of its name is not the workspace, on an overlay too.
#[test]
fn a_workspace_that_was_replaced_is_told() {
    let place = Place::new().in_tier(module_path!());
    let text = over(
        &place,
        true,
        "$RF run --quiet --policy $BASE/policy.toml -- touch n; echo run $?; ID=$(ls $RINGFENCE_STATE/runs)
        cd ..; cp -a w v; mv w x 2> /dev/null || rm -r w; mv v w; cd w; $RF apply $ID; echo apply $?; ls",
    );
    assert!(text.contains("run 0\n") && text.contains("apply 126\na\nb\nd\n"), "{text}");
    assert!(text.contains("the workspace is not the directory that the task worked on"), "{text}");
}

#[test]
fn a_directory_of_a_lower_layer_is_named_and_the_rest_lands() {
    for same in [true, false] {
        let place = Place::new().in_tier(module_path!());
        let text = over(
            &place,
            same,
            "$RF run --quiet --policy $BASE/policy.toml -- sh -c \"rm -r d; echo new > n\"; $RF apply; echo apply $?; ls
            $RF apply --leave d; echo rest $?; cat n; ls",
        );
        let said = "  d: a directory from a lower layer of the overlay it is on";
        assert!(text.contains(said) && text.contains("apply 126\na\nb\nd\n"), "{same}: {text}");
        assert!(text.contains("ringfence: hint: make it one of the upper layer"), "{same}: {text}");
        assert!(text.contains("ringfence: hint: to land the rest: `ringfence apply "), "{same}: {text}");
        assert!(text.contains("rest 0\nnew\na\nb\nd\nn\n"), "{same}: {text}");
    }
}

/// Nothing is copied, and nothing starts.
#[test]
fn where_removals_cannot_be_kept_is_said_before() {
    let place = Place::new().in_tier(module_path!());
    if !place.hosted {
        return;
    }
    let script = "$RF run --quiet --policy $BASE/policy.toml -- rm b; echo run $?; ls; ls $RINGFENCE_STATE/runs | wc -l";
    let text = over_on(&place, "ramfs", true, script);
    assert!(text.contains("run 125\na\nb\nd\n0\n"), "{text}");
    assert!(text.contains("its file system cannot hold what a task removes"), "{text}");
    assert!(text.contains("ringfence: hint: set RINGFENCE_STATE to a directory on ext4"), "{text}");
}
