//! What `explain` says beforehand is what the boundary does: both are asked about the same files, under policies made by chance.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ringfence_promises::Place;
use serde_json::Value;

/// Policies; `RINGFENCE_AGREEMENT` asks for more.
const CASES: u64 = 24;
const FILES: [&str; 4] = ["plain", ".env", "x.pem", "keys/one"];
const ACTIONS: [&str; 3] = ["read", "write", "execute"];
/// Tries each action with each path, and says which worked.
const TRY: &str = "import os, sys\n\
    def works(act):\n  \
      try: act(); return 1\n  \
      except OSError: return 0\n\
    def make(path):\n  \
      os.makedirs(os.path.dirname(path), exist_ok=True)\n  \
      os.close(os.open(path, os.O_WRONLY | os.O_CREAT))\n\
    for path in open('paths').read().splitlines():\n  \
      read = works(lambda: open(path, 'rb').read(1))\n  \
      write = works(lambda: make(path))\n  \
      run = works(lambda: os.waitpid(os.posix_spawn(path, [path], {}), 0))\n  \
      print(read, write, run, path)\n";

/// Numbers that are the same each time (xorshift).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Some of a list, each quoted for TOML.
    pub(crate) fn some(&mut self, list: &[String], one_in: u64) -> String {
        let chosen = list.iter().filter(|_| self.next(one_in) == 0).map(|text| format!("{text:?}"));
        chosen.collect::<Vec<_>>().join(", ")
    }
}

struct World {
    place: Place,
    /// Directories that hold each of [`FILES`].
    directories: Vec<PathBuf>,
}

impl World {
    fn new() -> Self {
        let place = Place::in_home();
        let data = place.base.path().join("data");
        let mut directories = vec![data.clone(), data.join("a"), data.join("a/sub"), data.join("b")];
        directories.extend([place.home.join("docs"), place.workspace.clone(), place.workspace.join("src")]);
        for directory in &directories {
            for file in FILES {
                script(&directory.join(file));
            }
        }
        for secret in [".ssh/id_rsa", ".netrc"] {
            script(&place.home.join(secret));
        }
        Self { place, directories }
    }

    fn policy(&self, chance: &mut Chance) -> String {
        let mut grants: Vec<String> =
            self.directories[..5].iter().map(|path| path.display().to_string()).collect();
        grants.push(grants[1].clone() + "/plain");
        grants.push(grants[3].clone() + "/keys/one");
        let deny = ["**/.env", "**/*.pem", "**/keys/*", "src/plain", "**/sub"].map(str::to_owned);
        let protect = ["src", "src/keys", "plain"].map(str::to_owned);
        let modes = ["review", "discard", "direct", "read"];
        let mode = modes[usize::try_from(chance.next(4)).unwrap()];
        let mut text =
            format!("[workspace]\nmode = \"{mode}\"\nprotect = [{}]\n[files]\n", chance.some(&protect, 3));
        for (key, one_in) in [("read", 2), ("exec", 4), ("write", 4)] {
            writeln!(text, "{key} = [{}]", chance.some(&grants, one_in)).unwrap();
        }
        let literal = [format!("{}/a", grants[0]), format!("{}/b/plain", grants[0])];
        let deny = [chance.some(&deny, 3), chance.some(&literal, 4)];
        writeln!(
            text,
            "deny = [{}]",
            deny.iter().filter(|list| !list.is_empty()).cloned().collect::<Vec<_>>().join(", ")
        )
        .unwrap();
        text
    }

    fn paths(&self) -> Vec<PathBuf> {
        let files = self.directories.iter().flat_map(|directory| FILES.map(|file| directory.join(file)));
        files.chain([".ssh/id_rsa", ".netrc"].map(|secret| self.place.home.join(secret))).collect()
    }
}

/// Something that can be read, written and started by whoever gets there.
fn script(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "#!/bin/sh\nexit 0\n").unwrap();
    for path in path.ancestors().take(3) {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777));
    }
}

/// What `explain` allows of a file.
fn foretold(place: &Place, policy: &str, path: &Path) -> BTreeMap<String, (bool, String)> {
    let path = path.display().to_string();
    let said =
        place.ringfence(&["explain", "--policy", policy, "--workspace", ".", "--path", &path, "--json"]);
    assert_eq!(said.status, 0, "{said:?}");
    let answers: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    let word = |answer: &Value, key: &str| answer[key].as_str().unwrap().to_owned();
    answers
        .iter()
        .map(|answer| (word(answer, "action"), (answer["allowed"].as_bool().unwrap(), word(answer, "rule"))))
        .collect()
}

#[test]
fn what_is_foretold_is_what_happens() {
    let cases =
        std::env::var("RINGFENCE_AGREEMENT").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let (mut tried, mut allowed, mut wrong) = (0, 0, String::new());
    for seed in 1..=cases {
        let world = World::new();
        let lines = world.policy(&mut Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let place = &world.place;
        place.write("try.py", TRY);
        let paths = world.paths();
        let list: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        place.write("paths", &list.join("\n"));
        let done = place.run(&lines, "exec python3 -I -S try.py");
        // What may be both written and executed is refused as a whole.
        if done.status == 125 && done.err.contains("error:") {
            continue;
        }
        assert_eq!(done.status, 0, "seed {seed}:\n{lines}\n{done:?}");
        tried += 1;
        let policy = place.policy(&lines);
        for (path, line) in paths.iter().zip(done.out.lines()) {
            let foretold = foretold(place, &policy, path);
            for (action, happened) in ACTIONS.iter().zip(line.split(' ')) {
                let (may, rule) = &foretold[*action];
                allowed += u32::from(*may);
                if *may != (happened == "1") {
                    writeln!(
                        wrong,
                        "seed {seed}: {action} {}: foretold {may} ({rule})\n{lines}",
                        path.display()
                    )
                    .unwrap();
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
    println!("{tried} policies of {cases} were run, {allowed} actions allowed");
    assert!(tried * 3 >= cases && allowed > 100, "{tried} policies of {cases}, {allowed} actions allowed");
}

/// Tries to read and to make each path; what is made in the workspace is there to be read.
const TRY_LATE: &str = "import os\n\
    def works(act):\n  \
      try: act(); return 1\n  \
      except OSError: return 0\n\
    def read(path): os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1)\n\
    def make(path):\n  \
      if os.path.isdir(path): os.mkdir(path + '/rf-new'); os.rmdir(path + '/rf-new'); return\n  \
      os.makedirs(os.path.dirname(path), exist_ok=True)\n  \
      os.close(os.open(path, os.O_WRONLY | os.O_CREAT))\n\
    for path in open('paths').read().splitlines():\n  \
      path = os.path.abspath(path)\n  \
      before, write = works(lambda: read(path)), works(lambda: make(path))\n  \
      own = write and path.startswith(os.getcwd()) and 'there' not in path\n  \
      print(works(lambda: read(path)) if own else before, write)\n";

/// Rules that hold for what is there when a run starts, baits, and the home that is the sandbox's own.
#[test]
fn what_is_not_there_yet_and_what_stands_in_the_home_is_foretold_in_both_tiers() {
    for tier in ["namespace", "landlock"] {
        let place = Place::in_home().in_tier(tier);
        let home = |name: &str| place.home.join(name).display().to_string();
        for name in ["there.env", "keys/there", "kept/file"] {
            place.write(name, "x");
        }
        for name in ["projects/p/file", "projects/file", "denied"] {
            place.write(place.home.join(name), "x");
        }
        let decoy = if tier == "namespace" && std::fs::File::open("/dev/fuse").is_ok() {
            "decoy = [\"~/.aws/credentials\"]"
        } else {
            ""
        };
        let policy = format!(
            "[workspace]\nmode = \"review\"\nprotect = [\"kept\", \"later\"]\n[files]\nread = [\"~/projects/p\"]\n\
             deny = [\"**/*.env\", \"keys\", \"absent\", \"~/denied\"]\n{decoy}\n"
        );
        let mut paths: Vec<String> =
            ["there.env", "late.env", "keys/there", "keys/new", "absent", "later", "kept/file", "kept/new"]
                .map(str::to_owned)
                .into();
        paths.extend(
            ["projects", "projects/file", "projects/new", "projects/p/new", "denied", ".netrc"].map(home),
        );
        paths.extend(["/", "/home", "/nowhere/x"].map(str::to_owned));
        paths.extend((!decoy.is_empty()).then(|| home(".aws/credentials")));
        place.write("try.py", TRY_LATE);
        place.write("paths", &paths.join("\n"));
        let done = place.run(&policy, "exec python3 -I -S try.py");
        assert_eq!(done.status, 0, "{done:?}");
        let (policy, mut wrong) = (place.policy(&policy), String::new());
        for (path, line) in paths.iter().zip(done.out.lines()) {
            let foretold = foretold(&place, &policy, Path::new(path));
            for (action, happened) in ACTIONS.iter().zip(line.split(' ')) {
                let (may, rule) = &foretold[*action];
                // What may be read need not be there.
                let nothing = *action == "read" && !place.workspace.join(path).exists();
                if *may != (happened == "1") && !(*may && nothing) {
                    writeln!(wrong, "{tier}: {action} {path}: foretold {may} ({rule})").unwrap();
                }
            }
        }
        assert!(wrong.is_empty() && done.out.lines().count() == paths.len(), "{wrong}");
    }
}

/// Tries to read and to write each path, whatever kind of file it is.
const TRY_OWN: &str = "import os\n\
    def works(path, flags):\n  \
      try: fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)\n  \
      except OSError: return 0\n  \
      try: flags & os.O_WRONLY or os.read(fd, 1)\n  \
      except BlockingIOError: pass\n  \
      except OSError: return 0\n  \
      finally: os.close(fd)\n  \
      return 1\n\
    for path in open('paths').read().splitlines():\n  \
      made = os.O_CREAT if path.endswith('/rf-own') else 0\n  \
      write = works(path, os.O_WRONLY | made)\n  \
      print(works(path, os.O_RDONLY), write)\n";

#[test]
fn what_every_sandbox_has_of_its_own_is_foretold_in_both_tiers() {
    const OWN: [&str; 21] = [
        "/dev/null",
        "/dev/ptmx",
        "/dev/pts/ptmx",
        "/dev/shm/rf-own",
        "/dev/kmsg",
        "/tmp/rf-own",
        "/var/tmp/rf-own",
        "/run/ringfence/refusals",
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/cpuinfo",
        "/proc/1/environ",
        "/proc/1/status",
        "/proc/self/status",
        "/proc/sys/kernel/hostname",
        "/etc/passwd",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/machine-id",
        "/etc/resolv.conf",
        "/sys/devices/system/cpu/online",
    ];
    for tier in ["namespace", "landlock"] {
        let place = Place::in_home().in_tier(tier);
        place.write("try.py", TRY_OWN);
        place.write("paths", &OWN.join("\n"));
        let done = place.run("[workspace]\nmode = \"discard\"", "exec python3 -I -S try.py");
        assert_eq!(done.status, 0, "{done:?}");
        let policy = place.policy("[workspace]\nmode = \"discard\"");
        let mut wrong = String::new();
        for (path, line) in OWN.iter().zip(done.out.lines()) {
            let foretold = foretold(&place, &policy, Path::new(path));
            for (action, happened) in ACTIONS.iter().zip(line.split(' ')) {
                let (may, rule) = &foretold[*action];
                if *may != (happened == "1") {
                    writeln!(wrong, "{tier}: {action} {path}: foretold {may} ({rule})").unwrap();
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}
