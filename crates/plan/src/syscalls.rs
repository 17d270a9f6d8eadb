//! The list of system calls and the conditions on their arguments.
//!
//! The answers are data (`syscalls.toml`), the conditions stand in `conditions.rs`.

pub use crate::changes::{NO_PATH, Paths, attributes, looked, opened, renames, written};

use crate::bpf::{self, Case, Entry, Instruction, Verdict};
use crate::conditions::{
    ENOSYS, TOLD, alone, always, closer, conditions, mapping, only, own_files, protecting, sealed_memfd,
    unsharing, writing,
};
use crate::gated;

/// How a system call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It runs.
    Allow,
    /// EPERM, once init has told of it.
    Refuse,
    /// ENOSYS.
    Absent,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Syscall {
    /// Its name.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: u32,
    /// Its answer.
    pub answer: Answer,
    /// Why.
    pub why: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/syscalls.rs"));

/// The whole list, for `plan` and the documentation.
#[must_use]
pub fn list() -> &'static [Syscall] {
    SYSCALLS
}

/// What differs from sandbox to sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Variant {
    /// The kernel itself makes memfds without exec (`vm.memfd_noexec`); where that cannot be set, memfd_create is absent unless it
    /// asks for MFD_NOEXEC_SEAL.
    pub memfd_noexec: bool,
    /// `runtime.debug`: the task may look into its own processes. A tracer changes no verdict: the filter judges after it (since
    /// Linux 4.8); init and the root's server have a right that it lacks, are not dumpable, and lie outside of its Landlock domain.
    pub debug: bool,
    /// `runtime.user_namespaces`. What a new mount namespace inherits is locked as a whole: it can be covered, never uncovered or
    /// made writable (mount_namespaces(7), "Restrictions on mount namespaces").
    pub user_namespaces: bool,
    /// `runtime.io_uring`: its operations pass no filter.
    pub io_uring: bool,
    /// Init judges what is executed.
    pub guarded: bool,
    /// No memory has a descriptor (memfd_create(2)): a dynamic loader would start any program from it, and every program load it as
    /// code, whatever may not be executed where the task writes.
    pub no_memfd: bool,
    /// Files that the task writes lie on mounts that turn its ids into others: what a capability in a namespace of its own lets it set on them
    /// (`security.capability`) would be the host's.
    pub mapped_ids: bool,
    /// It asks in which directories they stand, which nobody may then share.
    pub directories: bool,
    /// Init judges which files are mapped as code, in tier `landlock`.
    pub mapped: bool,
    /// Tier `landlock`: there are no namespaces and no mounts, so calls that reach past Landlock are init's to make, or refused.
    pub hosted: bool,
    /// `runtime.watch_writes`: init looks at calls that change files, and tells of those the kernel will refuse.
    pub watch_writes: bool,
    /// Tier `landlock` with a network: sockets of it are made and connected by init (`gated.rs`).
    pub gated: bool,
    /// `workspace.quota`: room on disk comes by writing, which takes time, and not by asking (fallocate(2)).
    pub quota: bool,
    /// The workspace is an overlay: init has directories renamed that the overlay would refuse to.
    pub renames: bool,
}

impl Variant {
    /// What most policies lead to, for root or for an ordinary user: a copy-on-write workspace, and nothing that must be asked for.
    #[must_use]
    pub fn usual(root: bool) -> Self {
        Self { memfd_noexec: root, mapped_ids: root, renames: true, ..Self::default() }
    }

    fn grants(self, name: &str) -> bool {
        self.debug && DEBUG.contains(&name)
            || self.io_uring && IO_URING.contains(&name)
            || self.user_namespaces && NAMESPACES.contains(&name)
    }
}

/// The program for the kernel.
#[must_use]
pub fn program(variant: Variant) -> Vec<Instruction> {
    let entries = SYSCALLS.iter().map(|call| Entry {
        number: call.number,
        cases: match (call.answer, call.name) {
            (_, "unshare") if variant.user_namespaces => unsharing().into(),
            (_, name) if variant.grants(name) => only(Verdict::Allow),
            (Answer::Refuse, _) => only(Verdict::Notify),
            (Answer::Absent, _) => only(ENOSYS),
            (Answer::Allow, "execve" | "execveat" | "exit_group") if variant.guarded => only(Verdict::Notify),
            // The name of an attribute is in memory. Programs that keep attributes take that for a file system without.
            (Answer::Allow, name)
                if variant.user_namespaces && variant.mapped_ids && SET_ATTRIBUTES.contains(&name) =>
            {
                only(Verdict::Errno(libc::EOPNOTSUPP as u16))
            }
            (Answer::Allow, "fallocate") if variant.quota => only(Verdict::Errno(libc::EOPNOTSUPP as u16)),
            (Answer::Allow, "clone") if variant.user_namespaces => {
                let mut rest = vec![own_files()];
                rest.extend(always(Verdict::Allow));
                match variant {
                    Variant { directories: true, .. } => alone(false, rest).into(),
                    Variant { guarded: true, .. } => alone(true, rest).into(),
                    _ => rest.into(),
                }
            }
            (Answer::Allow, "clone") if variant.guarded => {
                alone(false, conditions("clone").into_owned()).into()
            }
            (Answer::Allow, "mmap") if variant.mapped => mapping().into(),
            (Answer::Allow, "mprotect" | "pkey_mprotect") if variant.mapped => protecting().into(),
            (Answer::Allow, name) if variant.hosted && HOSTED.contains(&name) => only(Verdict::Notify),
            (Answer::Allow, name) if variant.hosted && SHARED.contains(&name) => only(TOLD),
            (Answer::Allow, name) if variant.gated && gated::conditions(name).is_some() => {
                gated::conditions(name).unwrap_or_default().into()
            }
            (Answer::Allow, name) if variant.hosted && closer(name).is_some() => {
                closer(name).unwrap_or_default().into()
            }
            (Answer::Allow, name) if variant.watch_writes && written(call.number as i32).is_some() => {
                writing(name).into()
            }
            (Answer::Allow, _) if variant.renames && renames(call.number as i32).is_some() => {
                only(Verdict::Notify)
            }
            // Init opens what debuggers read of a process in /proc.
            (Answer::Allow, "open" | "openat") if variant.hosted && variant.debug => only(Verdict::Notify),
            (Answer::Allow, "memfd_create") if variant.no_memfd => only(ENOSYS),
            (Answer::Allow, "memfd_create") if !variant.memfd_noexec => sealed_memfd().into(),
            (Answer::Allow, name) => conditions(name),
        },
    });
    bpf::compile(entries.collect(), ENOSYS)
}

/// What sets extended attributes.
const SET_ATTRIBUTES: [&str; 4] = ["setxattr", "lsetxattr", "fsetxattr", "setxattrat"];

/// In tier `landlock`, init makes these on a file that it found itself: Landlock knows no right to change attributes. Set-id
/// bits are never set. Nor does it know one to read attributes, which may hold anything: where a path leads is found in the same way;
/// a descriptor that reads them was opened for reading.
const HOSTED: [&str; 28] = [
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
    "inotify_add_watch",
    "getxattr",
    "lgetxattr",
    "getxattrat",
    "listxattr",
    "llistxattr",
    "listxattrat",
];

/// In tier `landlock`, what is shared with the rest of the host: System V memory, message queues and their kin, names of files.
const SHARED: [&str; 18] = [
    "shmget",
    "shmat",
    "shmctl",
    "shmdt",
    "semget",
    "semop",
    "semtimedop",
    "semctl",
    "msgget",
    "msgsnd",
    "msgrcv",
    "msgctl",
    "mq_open",
    "mq_unlink",
    "mq_notify",
    "process_mrelease",
    "process_madvise",
    "name_to_handle_at",
];

/// What `runtime.debug` grants.
pub const DEBUG: [&str; 4] = ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp"];

/// What `runtime.io_uring` grants.
pub const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// What `runtime.user_namespaces` grants; for the rest of it, capabilities in the new namespace are asked by the kernel.
pub const NAMESPACES: [&str; 18] = [
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "statmount",
    "listmount",
    "sethostname",
    "setdomainname",
];

/// The name of a call that is refused, and why; `None` for what is judged each time, and for what nobody asks init about.
#[must_use]
pub fn refused(number: i32) -> Option<(&'static str, &'static str)> {
    let call = SYSCALLS.iter().find(|call| i64::from(call.number) == i64::from(number))?;
    match (call.answer, call.name) {
        (Answer::Refuse, name) => Some((name, call.why)),
        (Answer::Absent, _)
        | (
            _,
            "connect" | "sendto" | "recvfrom" | "recvmsg" | "getpeername" | "getsockname" | "execve"
            | "execveat" | "exit_group",
        ) => None,
        (_, name @ ("bind" | "listen")) => Some((name, gated::LISTENING)),
        (_, "setsockopt") => Some(("setsockopt", gated::SETSOCKOPT)),
        (Answer::Allow, "chmod" | "fchmod" | "fchmodat" | "fchmodat2") => {
            Some((call.name, "set-id bits are never set"))
        }
        (Answer::Allow, name) if HOSTED.contains(&name) || SHARED.contains(&name) => {
            Some((name, "tier `landlock`: it reaches what is not granted, past Landlock"))
        }
        (_, "clone") => Some(("clone", "new namespaces are attack surface of the kernel")),
        (_, "prlimit64") => Some(("prlimit64", "the limits of another process are not its to set")),
        // Allowed, but for these arguments: the line of the table says which are not.
        (Answer::Allow, name) => Some((name, call.why)),
    }
}

/// Whether init makes this call itself, in tier `landlock`.
#[must_use]
pub fn hosted(number: i32) -> bool {
    let call = SYSCALLS.iter().find(|call| i64::from(call.number) == i64::from(number));
    call.is_some_and(|call| HOSTED.contains(&call.name))
}

/// Whether init judges this call where it makes the sockets of a network.
#[must_use]
pub fn gated(number: i32) -> bool {
    let call = SYSCALLS.iter().find(|call| i64::from(call.number) == i64::from(number));
    call.is_some_and(|call| gated::CALLS.contains(&call.name))
}

/// Numbers of descriptors that what passes for a socket of UDP is given then.
pub const ASKERS: std::ops::Range<u32> = gated::ASKERS;

/// What a call that is told of answers: what the kernel says to such arguments where it has no such thing (socket(2)), else EPERM.
#[must_use]
pub fn errno(number: i32, arguments: &[u64; 6]) -> i32 {
    let socket = [libc::SYS_socket, libc::SYS_socketpair].contains(&i64::from(number));
    let family = arguments.first().map_or(0, |family| *family as u32);
    match family {
        _ if [libc::SYS_bind, libc::SYS_listen].contains(&i64::from(number)) => libc::EACCES,
        _ if !socket => libc::EPERM,
        unix if unix == libc::AF_UNIX.unsigned_abs() => libc::EPROTONOSUPPORT,
        _ => libc::EAFNOSUPPORT,
    }
}

/// Whether a call that is watched would be told of all the same, for a set-id bit in its mode, or a device that it makes.
#[must_use]
pub fn sets_id(number: i32, arguments: &[u64; 6]) -> bool {
    let Some(call) = SYSCALLS.iter().find(|call| i64::from(call.number) == i64::from(number)) else {
        return false;
    };
    let holds = |case: &&Case| case.when.iter().all(|when| when.holds(arguments));
    conditions(call.name).iter().find(holds).is_some_and(|case| case.verdict == TOLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{ARCHITECTURE, interpret};

    const ALLOW: u32 = 0x7fff_0000;
    const USUAL: Variant = Variant {
        memfd_noexec: true,
        debug: false,
        user_namespaces: false,
        io_uring: false,
        guarded: false,
        no_memfd: false,
        directories: false,
        mapped_ids: false,
        mapped: false,
        hosted: false,
        watch_writes: false,
        gated: false,
        quota: false,
        renames: false,
    };

    fn judge(name: &str, arguments: [u64; 6]) -> u32 {
        let number = SYSCALLS.iter().find(|call| call.name == name).unwrap().number;
        interpret(&program(USUAL), ARCHITECTURE, number, arguments).unwrap()
    }

    #[test]
    fn memory_that_a_loader_could_be_handed_is_left_out() {
        let number = SYSCALLS.iter().find(|call| call.name == "memfd_create").unwrap().number;
        let answer =
            |variant| interpret(&program(variant), ARCHITECTURE, number, [0, 8, 0, 0, 0, 0]).unwrap();
        assert_eq!(answer(USUAL), ALLOW);
        assert_eq!(answer(Variant { guarded: true, ..USUAL }), ALLOW);
        assert_eq!(answer(Variant { no_memfd: true, ..USUAL }), 0x0005_0000 | libc::ENOSYS as u32);
    }

    #[test]
    fn the_answers_of_the_table_reach_the_program() {
        let program = program(USUAL);
        for call in SYSCALLS {
            let verdict = interpret(&program, ARCHITECTURE, call.number, [0; 6]).unwrap();
            match call.answer {
                // SECCOMP_RET_USER_NOTIF: init tells, and answers EPERM.
                Answer::Refuse => assert_eq!(verdict, 0x7fc0_0000, "{}", call.name),
                Answer::Absent => assert_eq!(verdict, 0x5_0000 | libc::ENOSYS as u32, "{}", call.name),
                Answer::Allow if call.name.starts_with("socket") => {}
                Answer::Allow if call.name == "connect" => assert_eq!(verdict, 0x7fc0_0000),
                // The request 0 is unknown.
                Answer::Allow if call.name == "ioctl" => {
                    assert_eq!(verdict, 0x5_0000 | libc::ENOTTY as u32);
                }
                Answer::Allow => assert_eq!(verdict, ALLOW, "{}", call.name),
            }
        }
        assert_eq!(interpret(&program, ARCHITECTURE, 900, [0; 6]), Some(0x5_0000 | libc::ENOSYS as u32));
    }

    /// Calls that a variant opens.
    fn opened(variant: Variant) -> Vec<&'static str> {
        let opened = SYSCALLS.iter().filter(|call| {
            let judge = |variant| interpret(&program(variant), ARCHITECTURE, call.number, [0; 6]);
            judge(variant) != judge(USUAL)
        });
        let mut opened: Vec<_> = opened.map(|call| call.name).collect();
        opened.sort_unstable();
        opened
    }

    #[test]
    fn what_is_granted_opens_its_own_calls_and_no_others() {
        let debug = opened(Variant { debug: true, ..USUAL });
        assert_eq!(debug, ["kcmp", "process_vm_readv", "process_vm_writev", "ptrace"]);
        let ring = opened(Variant { io_uring: true, ..USUAL });
        assert_eq!(ring, ["io_uring_enter", "io_uring_register", "io_uring_setup"]);
        assert_eq!(opened(Variant { quota: true, ..USUAL }), ["fallocate"]);
        let namespaces = opened(Variant { user_namespaces: true, ..USUAL });
        assert_eq!(namespaces.len(), NAMESPACES.len(), "{namespaces:?}");
        for never in ["bpf", "keyctl", "open_by_handle_at", "ptrace", "init_module", "setdomain", "reboot"] {
            assert!(!namespaces.contains(&never), "{never}");
        }
        let clone = |variant| {
            let number = SYSCALLS.iter().find(|call| call.name == "clone").unwrap().number;
            let flags = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
            interpret(&program(variant), ARCHITECTURE, number, flags).unwrap()
        };
        assert_eq!(clone(Variant { user_namespaces: true, ..USUAL }), ALLOW);
        assert_ne!(clone(USUAL), ALLOW);
    }

    #[test]
    fn nobody_shares_a_directory_with_who_is_judged() {
        let answer = |variant: Variant, flags: i32| {
            let number = SYSCALLS.iter().find(|call| call.name == "clone").unwrap().number;
            interpret(&program(variant), ARCHITECTURE, number, [flags as u64, 0, 0, 0, 0, 0]).unwrap()
        };
        let (shared, waiting) = (libc::CLONE_FS, libc::CLONE_FS | libc::CLONE_VM | libc::CLONE_VFORK);
        let thread = libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_VM | libc::CLONE_THREAD;
        let nested = Variant { user_namespaces: true, ..USUAL };
        let guarded = Variant { guarded: true, ..nested };
        let directories = Variant { directories: true, ..guarded };
        for (variant, allowed) in
            [(nested, 3), (guarded, 2), (directories, 1), (Variant { guarded: true, ..USUAL }, 1)]
        {
            let answers = [thread, waiting, shared].map(|flags| answer(variant, flags) == ALLOW);
            assert_eq!(answers.iter().filter(|allowed| **allowed).count(), allowed, "{answers:?}");
            assert!(answers[0]);
        }
        assert_eq!(answer(directories, libc::CLONE_NEWUSER), ALLOW);
    }

    #[test]
    fn threads_share_what_they_have_open() {
        let nested = Variant { user_namespaces: true, ..USUAL };
        let (thread, files) = (libc::CLONE_THREAD as u64, libc::CLONE_FILES as u64);
        for variant in [USUAL, nested, Variant { guarded: true, ..nested }] {
            let answer = |name: &str, arguments: [u64; 6]| {
                let number = SYSCALLS.iter().find(|call| call.name == name).unwrap().number;
                interpret(&program(variant), ARCHITECTURE, number, arguments).unwrap()
            };
            assert_ne!(answer("clone", [thread, 0, 0, 0, 0, 0]), ALLOW);
            assert_eq!(answer("clone", [thread | files, 0, 0, 0, 0, 0]), ALLOW);
            assert_ne!(answer("clone3", [0; 6]), ALLOW);
            assert_ne!(answer("unshare", [files, 0, 0, 0, 0, 0]), ALLOW);
            assert_ne!(answer("unshare", [files | libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), ALLOW);
            assert_ne!(answer("close_range", [3, 9, libc::CLOSE_RANGE_UNSHARE.into(), 0, 0, 0]), ALLOW);
            assert_eq!(answer("close_range", [3, 9, libc::CLOSE_RANGE_CLOEXEC.into(), 0, 0, 0]), ALLOW);
        }
        let unshare = SYSCALLS.iter().find(|call| call.name == "unshare").unwrap().number;
        let new = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
        assert_eq!(interpret(&program(nested), ARCHITECTURE, unshare, new).unwrap(), ALLOW);
    }

    #[test]
    fn no_attribute_is_set_through_a_mount_that_maps_ids() {
        for name in SET_ATTRIBUTES {
            let number = SYSCALLS.iter().find(|call| call.name == name).unwrap().number;
            let answer = |user_namespaces, mapped_ids| {
                let variant = Variant { user_namespaces, mapped_ids, ..USUAL };
                interpret(&program(variant), ARCHITECTURE, number, [0; 6]).unwrap() == ALLOW
            };
            assert_eq!(
                [answer(false, true), answer(true, false), answer(true, true)],
                [true, true, false],
                "{name}"
            );
        }
    }

    #[test]
    fn garbage_in_the_upper_half_changes_nothing() {
        let high = 1u64 << 32;
        assert_ne!(judge("ioctl", [0, 0x5412 | high, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge("socket", [40 | high, 3, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge("clone", [libc::CLONE_NEWUSER as u64 | high, 0, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge("chmod", [0, 0o4755 | high, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn requests_of_file_systems_are_known_ones() {
        let of = |request| judge("ioctl", [3, request, 0, 0, 0, 0]);
        let (told, unknown) = (0x7fc0_0000, 0x5_0000 | libc::ENOTTY as u32);
        // TCGETS, FIONREAD, SIOCGIFCONF, FICLONE, FICLONERANGE, FIDEDUPERANGE, FS_IOC_GETFLAGS.
        for known in [0x5401, 0x541b, 0x8912, 0x4004_9409, 0x4020_940d, 0xc018_9436, 0x8008_6601, 0x4008_6602]
        {
            assert_eq!(of(known), ALLOW, "{known:x}");
        }
        // BTRFS_IOC_SNAP_CREATE, _V2, SUBVOL_CREATE, SNAP_DESTROY; TIOCSTI.
        for never in [0x5000_9401, 0x5000_9417, 0x5000_940e, 0x5000_940f, 0x5412] {
            assert_eq!(of(never), told, "{never:x}");
        }
        // FS_IOC_SET_ENCRYPTION_POLICY, FS_IOC_ENABLE_VERITY, BCH_IOCTL_SUBVOLUME_CREATE, FAT_IOCTL_SET_ATTRIBUTES.
        for other in [0x800c_6613, 0x4080_6685, 0x4020_bc10, 0x4004_7211] {
            assert_eq!(of(other), unknown, "{other:x}");
        }
    }

    #[test]
    fn no_connection_is_made_but_by_connect() {
        for (name, at) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
            let mut arguments = [0; 6];
            arguments[at] = libc::MSG_FASTOPEN as u64;
            assert_eq!(judge(name, arguments), 0x5_0000 | libc::EOPNOTSUPP as u32, "{name}");
        }
    }

    #[test]
    fn set_id_bits_are_refused_only_where_they_count() {
        let create = libc::O_CREAT as u64;
        assert_ne!(judge("openat", [0, 0, create, 0o6755, 0, 0]), ALLOW);
        assert_eq!(judge("openat", [0, 0, 0, 0o6755, 0, 0]), ALLOW);
        assert_ne!(judge("openat", [0, 0, libc::O_TMPFILE as u64, 0o2755, 0, 0]), ALLOW);
        assert_eq!(judge("openat", [0, 0, libc::O_DIRECTORY as u64, 0o2755, 0, 0]), ALLOW);
        assert_eq!(judge("fchmod", [0, 0o1755, 0, 0, 0, 0]), ALLOW);
        assert_ne!(judge("mknodat", [0, 0, 0o104_755, 0, 0, 0]), ALLOW);
        for (mode, device, allowed) in
            [(0o020_666, 0x103, false), (0o060_660, 0, false), (0o020_000, 0, true), (0o010_644, 0, true)]
        {
            assert_eq!(judge("mknodat", [0, 0, mode, device, 0, 0]) == ALLOW, allowed, "{mode:o}");
            assert_eq!(sets_id(libc::SYS_mknodat as i32, &[0, 0, mode, device, 0, 0]), !allowed, "{mode:o}");
        }
    }

    #[test]
    fn only_its_own_limits_are_its_to_set() {
        let [own, new] = [0, 0x7fff_0000_1000];
        assert_eq!(judge("prlimit64", [own, 7, new, 0, 0, 0]), ALLOW);
        assert_eq!(judge("prlimit64", [2, 7, 0, new, 0, 0]), ALLOW);
        for pointer in [new, 1, 1 << 32] {
            assert_ne!(judge("prlimit64", [1, 7, pointer, 0, 0, 0]), ALLOW);
        }
    }

    #[test]
    fn socket_families() {
        let of = |family: i32, kind: i32, protocol: i32| {
            judge("socket", [family as u64, kind as u64, protocol as u64, 0, 0, 0])
        };
        assert_eq!(of(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0), ALLOW);
        assert_ne!(of(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0), ALLOW);
        for kind in [0, libc::SOCK_RAW, libc::SOCK_RDM, 6, 10, 15] {
            assert_ne!(of(libc::AF_UNIX, kind, 0), ALLOW, "{kind}");
            assert_ne!(judge("socketpair", [1, kind as u64, 0, 0, 0, 0]), ALLOW, "{kind}");
        }
        assert_eq!(of(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK, 0), ALLOW);
        assert_eq!(of(libc::AF_INET, libc::SOCK_DGRAM, 0), ALLOW);
        assert_eq!(of(libc::AF_NETLINK, libc::SOCK_RAW, 0), ALLOW);
        assert_ne!(of(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER), ALLOW);
        for family in [libc::AF_VSOCK, libc::AF_PACKET, libc::AF_ALG] {
            assert_ne!(of(family, libc::SOCK_STREAM, 0), ALLOW);
        }
    }
}
