//! What the benchmark compares beside the cold start: native speed inside, and start-up against the size of a policy.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Comparison, SOMEBODY, compare, compare_to};
use crate::command::is_root;

/// Programs that keep the kernel busy with one kind of call, for so long that their own start does not count.
const LOOPS: [(&str, &str); 4] = [
    ("stat", "import os\nfor n in range(1500000): os.stat('data')"),
    ("open", "import os\nfor n in range(600000): os.close(os.open('data', 0))"),
    (
        "fork and exec",
        "import os\nfor n in range(2500):\n    os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    ),
    (
        "read and write",
        "import os\nfile = os.open('read', os.O_RDWR | os.O_CREAT)\npart = bytes(1 << 16)\n\
         for n in range(1024): os.pwrite(file, part, n << 16)\n\
         for m in range(160):\n    for n in range(1024): os.pread(file, 1 << 16, n << 16)\n\
         for m in range(80):\n    for n in range(1024): os.pwrite(file, part, n << 16)",
    ),
];

/// Debian's own: a version manager's would start a shell first.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// The least that any boundary of this kind has: a filter of one instruction, which allows everything (seccomp(2)), and a
/// Landlock domain of six rules (landlock(7)).
pub(crate) const LEAST: &str = "import ctypes, os, struct
libc = ctypes.CDLL(None)
every = (1 << 15) - 1
ruleset = libc.syscall(444, struct.pack('Q', every), 8, 0)
for tree in ('.', '/usr', '/etc', '/dev', '/proc', '/tmp'):
    assert libc.syscall(445, ruleset, 1, struct.pack('=Qi', every, os.open(tree, os.O_PATH)), 0) == 0
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(446, ruleset, 0) == 0
allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
assert libc.prctl(22, 2, struct.pack('H6xQ', 1, ctypes.addressof(allow))) == 0";

/// Native speed: loops of one call, the same against the least of all boundaries, and a build of C files. By an ordinary
/// user, who is the typical one, also where root measures.
pub(crate) fn native(binary: &Path, scratch: &Path) -> Result<Vec<Comparison>, String> {
    let workspace = scratch.join("native");
    let home = scratch.join("somebody");
    for directory in [&workspace, &home] {
        std::fs::create_dir_all(directory).map_err(|e| e.to_string())?;
    }
    std::fs::write(workspace.join("data"), "x").map_err(|e| e.to_string())?;
    write_project(&workspace)?;
    let copy = scratch.join("ringfence");
    std::fs::copy(binary, &copy).map_err(|e| e.to_string())?;
    let policy = scratch.join("direct.toml");
    let text = "version = 1\nextends = [\"default\"]\n[workspace]\nmode = \"direct\"\n";
    std::fs::write(&policy, text).map_err(|e| e.to_string())?;
    let user = is_root().then_some(SOMEBODY);
    if user.is_some() {
        let files = std::fs::read_dir(&workspace).map_err(|e| e.to_string())?;
        let files = files.map(|file| file.map(|file| file.path()).map_err(|e| e.to_string()));
        for path in files.chain([Ok(workspace.clone()), Ok(home.clone())]) {
            std::os::unix::fs::chown(path?, user, user).map_err(|e| e.to_string())?;
        }
    }
    let by_user = |mut command: Command| {
        command.current_dir(&workspace).env("HOME", &home);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    };
    let outside = |line: &[&str]| {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]);
        by_user(command)
    };
    let inside = |line: &[&str]| {
        let mut command = Command::new(&copy);
        command.args(["run", "--quiet", "--policy"]).arg(&policy).args(["--workspace", ".", "--"]).args(line);
        by_user(command)
    };
    let mut found = Vec::new();
    for (name, code) in LOOPS {
        let line = [PYTHON, "-c", code];
        let name = format!("{name}, inside against outside");
        found.push(compare(&name, || inside(&line), || outside(&line), 7)?);
    }
    for (name, code) in &LOOPS[..3] {
        let least = format!("{LEAST}\n{code}");
        let name = format!("{name}, inside against a filter of one instruction and a domain of six rules");
        let (line, least) = ([PYTHON, "-c", code], [PYTHON, "-c", &least]);
        found.push(compare(&name, || inside(&line), || outside(&least), 7)?);
    }
    let build = ["sh", "-c", "make -s clean && make -s -j2"];
    found.push(compare("native build, inside against outside", || inside(&build), || outside(&build), 7)?);
    Ok(found)
}

/// What passes between a task and its invoker, against the same without ringfence; and a command in a sandbox that lives.
pub(crate) fn live(binary: &Path, scratch: &Path, runs: usize) -> Result<Vec<Comparison>, String> {
    let workspace = scratch.join("live");
    std::fs::create_dir_all(&workspace).map_err(|e| e.to_string())?;
    let file = workspace.join("big");
    std::fs::write(&file, vec![b'x'; 1 << 28]).map_err(|e| e.to_string())?;
    let policy = |name: &str, more: &str| -> Result<PathBuf, String> {
        let path = scratch.join(name);
        let text = format!("version = 1\nextends = [\"default\"]\n{more}");
        std::fs::write(&path, text).map_err(|e| e.to_string())?;
        Ok(path)
    };
    let (plain, counted) =
        (policy("plain.toml", "")?, policy("counted.toml", "[limits]\noutput = \"1TiB\"\n")?);
    let mut found = Vec::new();
    for (name, policy) in [("a pipe", &plain), ("a relayed pipe", &counted)] {
        let piped = |head: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{head} cat big | cat > /dev/null")]).current_dir(&workspace);
            command.env("RINGFENCE_STATE", scratch.join("state"));
            command
        };
        let head = format!("{} run --quiet --policy {} --", binary.display(), policy.display());
        let name = format!("256 MiB through {name}, inside against outside");
        found.push(compare(&name, || piped(&head), || piped(""), 7)?);
    }
    // What a terminal emulator would read goes nowhere.
    let shown = |head: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{head} head -c 67108864 big"), "/dev/null"]).current_dir(&workspace);
        command.env("RINGFENCE_STATE", scratch.join("state"));
        command
    };
    let head = format!("{} run --quiet --policy {} --", binary.display(), plain.display());
    let name = "64 MiB through a pseudo-terminal, inside against outside";
    found.push(compare(name, || shown(&head), || shown(""), 7)?);
    found.push(exec(binary, scratch, &workspace, runs)?);
    Ok(found)
}

/// `ringfence exec` without its client's own start, against the same program without ringfence.
fn exec(binary: &Path, scratch: &Path, workspace: &Path, runs: usize) -> Result<Comparison, String> {
    let verb = |words: &[&str]| {
        let mut command = Command::new(binary);
        command.args(words).current_dir(workspace).env("RINGFENCE_STATE", scratch.join("state"));
        command
    };
    let started = verb(&["start", "bench", "--preset", "default"]).status().map_err(|e| e.to_string())?;
    if !started.success() {
        return Err("`ringfence start` failed".to_owned());
    }
    let inside = || verb(&["exec", "bench", "--", "/bin/true"]);
    // The same client, where there is no such sandbox.
    let alone = || {
        let mut command = inside();
        command.env("RINGFENCE_STATE", scratch.join("nothing"));
        command
    };
    // Short ones, and so many.
    let client = compare_to(125, "a client's own start", inside, alone, runs * 10);
    let program = compare("the program", inside, || Command::new("/bin/true"), runs * 10);
    let name = "exec in a sandbox that lives, less a client's own start, against fork and exec";
    let compared = program.and_then(|program| Ok(program.less(name, &client?)));
    verb(&["stop", "bench", "--grace", "0"]).status().map_err(|e| e.to_string())?;
    compared
}

/// KiB of all that stays beside a task that sleeps, shared pages counted by their shares (proc(5), Pss).
pub(crate) fn beside(binary: &Path, scratch: &Path) -> Result<u64, String> {
    let mut run = ringfence(binary, scratch, scratch);
    let mut supervisor = run
        .args(["--preset", "default", "--workspace", "native", "--", "sleep", "60"])
        .spawn()
        .map_err(|e| e.to_string())?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut total = Ok(0);
    let mut processes = vec![supervisor.id()];
    while let Some(process) = processes.pop() {
        let file = |name: &str| {
            std::fs::read_to_string(format!("/proc/{process}/{name}")).map_err(|e| e.to_string())
        };
        let children = file(&format!("task/{process}/children"))?;
        processes.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        if file("comm")?.trim() != "sleep" {
            let rollup = file("smaps_rollup");
            let own = rollup.and_then(|text| {
                let line = text.lines().find_map(|line| {
                    line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok()
                });
                line.ok_or_else(|| "no Pss".to_owned())
            });
            total = total.and_then(|sum| own.map(|own| sum + own));
        }
    }
    supervisor.kill().and_then(|()| supervisor.wait()).map_err(|e| e.to_string())?;
    total
}

/// Start-up with many rules against start-up with ten.
pub(crate) fn policies(binary: &Path, scratch: &Path, runs: usize) -> Result<Vec<Comparison>, String> {
    let workspace = scratch.join("rules");
    std::fs::create_dir_all(&workspace).map_err(|e| e.to_string())?;
    let trees: Vec<PathBuf> = (0..300).map(|number| scratch.join("data").join(number.to_string())).collect();
    for tree in &trees {
        std::fs::create_dir_all(tree).map_err(|e| e.to_string())?;
    }
    let policy = |name: &str, granted: &[PathBuf]| -> Result<PathBuf, String> {
        let list: Vec<String> = granted.iter().map(|path| format!("\"{}\"", path.display())).collect();
        let path = scratch.join(name);
        let text = format!("version = 1\nextends = [\"default\"]\n[files]\nread = [{}]\n", list.join(",\n"));
        std::fs::write(&path, text).map_err(|e| e.to_string())?;
        Ok(path)
    };
    let few = policy("few.toml", &trees[..10])?;
    let many = policy("many.toml", &with_files(&trees[..50], 10_000)?)?;
    let trees = policy("trees.toml", &trees)?;
    let start = |policy: &Path| {
        let mut command = ringfence(binary, scratch, &workspace);
        command.arg("--policy").arg(policy).args(["--workspace", ".", "--", "/bin/true"]);
        command
    };
    Ok(vec![
        compare(
            "start with 10,000 rules in 50 trees against 10 rules",
            || start(&many),
            || start(&few),
            runs,
        )?,
        compare("start with 300 trees against 10", || start(&trees), || start(&few), runs)?,
    ])
}

/// The trees and so many new files in them that `total` paths come together; no path twice, neighbours in different trees.
fn with_files(trees: &[PathBuf], total: usize) -> Result<Vec<PathBuf>, String> {
    let mut paths = trees.to_vec();
    for (number, tree) in trees.iter().cycle().enumerate().take(total - trees.len()) {
        let path = tree.join(format!("file{number}"));
        std::fs::write(&path, "").map_err(|e| e.to_string())?;
        paths.push(path);
    }
    Ok(paths)
}

pub(crate) fn inside_and_outside(
    name: &str,
    binary: &Path,
    scratch: &Path,
    workspace: &Path,
    line: &[&str],
    runs: usize,
) -> Result<Comparison, String> {
    let policy = scratch.join("direct.toml");
    let text = "version = 1\nextends = [\"default\"]\n[workspace]\nmode = \"direct\"\n";
    std::fs::write(&policy, text).map_err(|e| e.to_string())?;
    let inside = || {
        let mut command = ringfence(binary, scratch, workspace);
        command.arg("--policy").arg(&policy).args(["--workspace", ".", "--"]).args(line);
        command
    };
    let outside = || {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(workspace);
        command
    };
    compare(name, inside, outside, runs)
}

pub(crate) fn ringfence(binary: &Path, scratch: &Path, workspace: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["run", "--quiet"]).current_dir(workspace).env("RINGFENCE_STATE", scratch.join("state"));
    command
}

/// Forty C files that take a compiler some seconds.
pub(crate) fn write_project(workspace: &Path) -> Result<(), String> {
    let mut objects = String::new();
    for file in 0..40 {
        let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for function in 0..60 {
            writeln!(
                text,
                "int f{file}_{function}(int a, char *b) {{ for (int i = 0; i < a; i++) b[i % 64] ^= (char)(i * {function}); \
                 return (int)strlen(b) + printf(\"%d\", a); }}"
            )
            .ok();
        }
        std::fs::write(workspace.join(format!("f{file}.c")), text).map_err(|e| e.to_string())?;
        write!(objects, " f{file}.o").ok();
    }
    let makefile = format!("CFLAGS = -O2\nall:{objects}\nclean:\n\trm -f *.o\n");
    std::fs::write(workspace.join("Makefile"), makefile).map_err(|e| e.to_string())
}
