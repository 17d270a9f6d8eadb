//! Programs that start what stands behind their options.

use std::path::Path;

/// One of them. Behind one that is not here nothing is known to be a program.
pub(crate) struct Wrapper {
    names: &'static [&'static str],
    /// Words of which the first one has to be, so that it starts anything.
    pub(crate) with: &'static [&'static str],
    /// Letters that take nothing, and those that take the rest of their word or the next one.
    flags: &'static str,
    valued: &'static str,
    /// Letters that take the rest of their word, if there is one.
    glued: &'static str,
    /// Long options that take nothing, and those that take what stands behind `=` or the next word.
    long: &'static [&'static str],
    long_valued: &'static [&'static str],
    /// Those that take what stands behind `=`, if anything.
    long_glued: &'static [&'static str],
    /// Words that come before the program.
    pub(crate) operands: usize,
    /// More options may stand behind those.
    pub(crate) again: bool,
    /// `-` and `NAME=VALUE` may come first.
    pub(crate) variables: bool,
    /// It starts what stands behind `--` only.
    pub(crate) dashes: bool,
    /// It is a program, and starts another one here.
    here: bool,
    /// By other options it starts none: behind one that is not here nothing is known to be a program.
    strict: bool,
}

const PLAIN: Wrapper = Wrapper {
    names: &[],
    with: &[],
    flags: "",
    valued: "",
    glued: "",
    long: &[],
    long_valued: &[],
    long_glued: &[],
    operands: 0,
    again: false,
    variables: false,
    dashes: false,
    here: true,
    strict: false,
};

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["env"],
        flags: "i0v",
        valued: "uC",
        long: &["--ignore-environment", "--null", "--debug"],
        long_valued: &["--unset", "--chdir"],
        variables: true,
        ..PLAIN
    },
    Wrapper {
        names: &["timeout"],
        flags: "fpv",
        valued: "ks",
        long: &["--foreground", "--preserve-status", "--verbose"],
        long_valued: &["--kill-after", "--signal"],
        operands: 1,
        ..PLAIN
    },
    Wrapper { names: &["nice"], valued: "n", long_valued: &["--adjustment"], ..PLAIN },
    Wrapper { names: &["nohup", "unbuffer"], ..PLAIN },
    Wrapper { names: &["eval", "builtin"], here: false, ..PLAIN },
    Wrapper { names: &["command"], flags: "p", here: false, ..PLAIN },
    Wrapper { names: &["exec"], flags: "cl", valued: "a", here: false, ..PLAIN },
    Wrapper { names: &["setsid"], flags: "cfw", long: &["--ctty", "--fork", "--wait"], ..PLAIN },
    Wrapper { names: &["stdbuf"], valued: "ioe", long_valued: &["--input", "--output", "--error"], ..PLAIN },
    Wrapper {
        names: &["ionice"],
        flags: "t",
        valued: "cn",
        long: &["--ignore"],
        long_valued: &["--class", "--classdata"],
        ..PLAIN
    },
    Wrapper {
        names: &["time"],
        flags: "apqvl",
        valued: "fo",
        long: &["--append", "--portability", "--quiet", "--verbose"],
        long_valued: &["--format", "--output"],
        ..PLAIN
    },
    Wrapper {
        names: &["xargs"],
        flags: "0oprtx",
        valued: "adEILnPs",
        long: &["--null", "--no-run-if-empty", "--verbose", "--open-tty", "--interactive", "--exit"],
        long_valued: &["--arg-file", "--delimiter", "--max-args", "--max-procs", "--max-chars"],
        ..PLAIN
    },
    Wrapper {
        names: &["sudo"],
        flags: "AbBEHknPS",
        valued: "CDghpRrTtuU",
        long: &["--background", "--non-interactive", "--preserve-env", "--set-home", "--stdin"],
        long_valued: &["--user", "--group", "--host", "--prompt", "--chdir"],
        variables: true,
        ..PLAIN
    },
    Wrapper { names: &["python", "python3"], with: &["-m"], here: false, ..PLAIN },
    Wrapper { names: &["doas"], flags: "n", valued: "uC", ..PLAIN },
    Wrapper { names: &["sshpass"], flags: "ve", valued: "pfdP", ..PLAIN },
    Wrapper {
        names: &["ssh"],
        flags: "46AaCfGgKkMNnqsTtVvXxYy",
        valued: "BbcDEeFIiJLlmOoPpQRSWw",
        operands: 1,
        again: true,
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: &["docker", "podman", "nerdctl"],
        with: &["exec", "run"],
        flags: "itdPq",
        valued: "euvwplhmc",
        long: &[
            "--rm",
            "--interactive",
            "--tty",
            "--detach",
            "--privileged",
            "--init",
            "--publish-all",
            "--quiet",
            "--read-only",
        ],
        long_valued: &[
            "--env",
            "--user",
            "--volume",
            "--workdir",
            "--name",
            "--network",
            "--env-file",
            "--entrypoint",
            "--detach-keys",
            "--publish",
            "--label",
            "--hostname",
            "--add-host",
            "--mount",
            "--tmpfs",
            "--memory",
            "--cpus",
            "--cap-add",
            "--cap-drop",
            "--security-opt",
            "--device",
            "--gpus",
            "--platform",
            "--pull",
            "--restart",
            "--volumes-from",
        ],
        operands: 1,
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: COMPOSE,
        with: &["exec", "run"],
        flags: "diPqtT",
        valued: "euvwpl",
        long: &[
            "--rm",
            "--interactive",
            "--no-TTY",
            "--no-tty",
            "--detach",
            "--privileged",
            "--build",
            "--no-deps",
            "--service-ports",
            "--use-aliases",
            "--remove-orphans",
            "--quiet",
            "--quiet-build",
            "--quiet-pull",
        ],
        long_valued: &[
            "--env",
            "--user",
            "--volume",
            "--workdir",
            "--name",
            "--index",
            "--publish",
            "--label",
            "--entrypoint",
            "--env-from-file",
            "--cap-add",
            "--cap-drop",
            "--pull",
        ],
        operands: 1,
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: &["flock"],
        flags: "sxenuoFv",
        valued: "wE",
        long: &[
            "--shared",
            "--exclusive",
            "--unlock",
            "--nonblock",
            "--nb",
            "--close",
            "--no-fork",
            "--verbose",
        ],
        long_valued: &["--timeout", "--wait", "--conflict-exit-code"],
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["kubectl", "oc"],
        with: &["exec", "run"],
        flags: "itq",
        valued: "ncs",
        long: &["--stdin", "--tty", "--quiet", "--rm"],
        long_valued: &["--namespace", "--container", "--context", "--image", "--restart"],
        operands: 1,
        again: true,
        dashes: true,
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: &["taskset"],
        flags: "ac",
        long: &["--all-tasks", "--cpu-list"],
        operands: 1,
        strict: true,
        ..PLAIN
    },
    Wrapper {
        names: &["chrt"],
        flags: "abdfiorRv",
        valued: "TPD",
        long: &[
            "--all-tasks",
            "--batch",
            "--deadline",
            "--fifo",
            "--idle",
            "--other",
            "--rr",
            "--reset-on-fork",
            "--verbose",
        ],
        long_valued: &["--sched-runtime", "--sched-period", "--sched-deadline"],
        operands: 1,
        strict: true,
        ..PLAIN
    },
    Wrapper {
        names: &["prlimit"],
        valued: "o",
        glued: "cdefilmnqrstuvxy",
        long: &["--noheadings", "--raw", "--verbose"],
        long_valued: &["--output"],
        long_glued: &[
            "--as",
            "--core",
            "--cpu",
            "--data",
            "--fsize",
            "--locks",
            "--memlock",
            "--msgqueue",
            "--nice",
            "--nofile",
            "--nproc",
            "--rss",
            "--rtprio",
            "--rttime",
            "--sigpending",
            "--stack",
        ],
        strict: true,
        ..PLAIN
    },
    Wrapper {
        names: &["setpriv"],
        long: &["--clear-groups", "--keep-groups", "--init-groups", "--nnp", "--no-new-privs", "--reset-env"],
        long_valued: &[
            "--groups",
            "--inh-caps",
            "--ambient-caps",
            "--bounding-set",
            "--ruid",
            "--euid",
            "--reuid",
            "--rgid",
            "--egid",
            "--regid",
            "--securebits",
            "--pdeathsig",
            "--ptracer",
            "--selinux-label",
            "--apparmor-profile",
            "--landlock-access",
            "--landlock-rule",
            "--seccomp-filter",
        ],
        strict: true,
        ..PLAIN
    },
    Wrapper {
        names: &["chroot"],
        long: &["--skip-chdir"],
        long_valued: &["--userspec", "--groups"],
        operands: 1,
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: &["strace"],
        flags: "cCdDfFhikqrtTvVwxyYzZnA",
        valued: "abeEIoOpPsSuUX",
        long: &["--debug", "--summary", "--summary-only", "--syscall-number"],
        long_valued: &["--attach", "--env", "--output", "--trace", "--user"],
        long_glued: &["--follow-forks", "--decode-fds", "--absolute-timestamps", "--relative-timestamps"],
        strict: true,
        ..PLAIN
    },
    Wrapper { names: &["ltrace"], flags: "bcCfhiLrStTvV", valued: "aADeEFlnopsuwxX", strict: true, ..PLAIN },
    // A shell reads the words.
    Wrapper {
        names: &["watch"],
        flags: "bcCegprtwx",
        valued: "nq",
        glued: "d",
        long: &[
            "--beep",
            "--color",
            "--no-color",
            "--errexit",
            "--chgexit",
            "--precise",
            "--no-rerun",
            "--no-title",
            "--no-wrap",
            "--exec",
        ],
        long_valued: &["--interval", "--equexit"],
        long_glued: &["--differences"],
        here: false,
        ..PLAIN
    },
    Wrapper { names: &["firejail"], here: false, ..PLAIN },
    Wrapper { names: &["parallel"], flags: "0kqtuvmX", valued: "adjnILNPS", here: false, ..PLAIN },
    Wrapper {
        names: &["systemd-run"],
        flags: "dGPqrSt",
        valued: "EHMpu",
        long: &["--user", "--scope", "--pty", "--pipe", "--wait", "--collect", "--quiet", "--no-block"],
        long_valued: &[
            "--property",
            "--setenv",
            "--unit",
            "--uid",
            "--gid",
            "--slice",
            "--working-directory",
        ],
        here: false,
        ..PLAIN
    },
    Wrapper {
        names: &["runuser"],
        valued: "ugG",
        long_valued: &["--user", "--group", "--supp-group"],
        here: false,
        ..PLAIN
    },
];

/// Programs with containers in groups: the first one is a command of others, too.
pub(crate) const COMPOSE: &[&str] = &["compose", "docker-compose", "podman-compose"];

/// Whether a word sets a variable for what is started.
pub(crate) fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(part) && name.starts_with(|first: char| !first.is_ascii_digit())
}

impl Wrapper {
    /// That of this name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name))
    }

    /// Whether an option takes the next word. `None`: it is not known.
    pub(crate) fn takes(&self, word: &str) -> Option<bool> {
        if word.starts_with("--") {
            let (name, glued) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
            let valued = self.long_valued.contains(&name);
            let known = valued || self.long_glued.contains(&name) || !glued && self.long.contains(&name);
            return known.then_some(valued && !glued);
        }
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            if self.valued.contains(letter) {
                return Some(letters.next().is_none());
            }
            if self.glued.contains(letter) {
                return Some(false);
            }
            if !self.flags.contains(letter) {
                return None;
            }
        }
        Some(false)
    }
}

/// What is started here behind one of them; an option that is not known takes nothing, unless some of those mean that nothing starts.
pub(crate) fn behind(words: &[String]) -> Option<&[String]> {
    let (program, rest) = words.split_first()?;
    let wrapper = Wrapper::of(Path::new(program).file_name()?.to_str()?).filter(|wrapper| wrapper.here)?;
    let (mut at, mut left, mut ended) = (0, wrapper.operands, false);
    loop {
        let word = rest.get(at)?;
        let option = !ended && left == wrapper.operands && word.len() > 1 && word.starts_with('-');
        if option {
            ended = word == "--";
            let takes = wrapper.takes(word);
            if wrapper.strict && takes.is_none() && !ended {
                return None;
            }
            at += if takes == Some(true) { 2 } else { 1 };
        } else if wrapper.variables && is_variable(word) {
            at += 1;
        } else if left > 0 {
            (at, left) = (at + 1, left - 1);
        } else {
            // An option for all that (`flock FILE -c`) is no program.
            return rest.get(at..).filter(|_| !word.starts_with('-'));
        }
    }
}
