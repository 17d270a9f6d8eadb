//! Conditions on the arguments of system calls, which a table cannot say. Arguments that the kernel reads as 32 bits are compared as
//! 32 bits, or garbage in the upper half would slip past (CVE-2019-10063).

use std::borrow::Cow;

use crate::bpf::{Case, Match, Verdict};

/// An open asks only if it can change something; how openat2(2) opens stands in memory, where no filter looks.
pub(crate) fn writing(name: &str) -> Vec<Case> {
    let flags = match name {
        "open" => 1,
        "openat" => 2,
        _ => return always(Verdict::Notify),
    };
    let asks = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC];
    let mut cases: Vec<Case> =
        asks.iter().map(|flag| bits(flags, *flag as u32, *flag as u32, Verdict::Notify)).collect();
    cases.extend(conditions(name).into_owned());
    cases
}

pub(crate) const ENOSYS: Verdict = Verdict::Errno(libc::ENOSYS as u16);
/// Init tells of it, and answers as the kernel would: [`crate::syscalls::errno`].
pub(crate) const TOLD: Verdict = Verdict::Notify;

const SET_ID: u32 = 0o6000;
const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

/// A process that shares its current directory with another one could have it changed between its judgement and the moment when an
/// interpreter opens its script. Threads end with an execve. `waiting`: not for a parent that waits until the other one has started something,
/// as browsers leave their root. `rest`: what else is asked of the call.
pub(crate) fn alone(waiting: bool, rest: Vec<Case>) -> Vec<Case> {
    const SHARED: u32 = (libc::CLONE_FS | libc::CLONE_THREAD) as u32;
    let without = |flag: i32| bits(0, SHARED | flag as u32, libc::CLONE_FS as u32, TOLD);
    let mut cases = match waiting {
        true => vec![without(libc::CLONE_VM), without(libc::CLONE_VFORK)],
        false => vec![without(0)],
    };
    cases.extend(rest);
    cases
}

/// A file is mapped as code, which is what a mount could forbid (mmap(2): PROT_EXEC without MAP_ANONYMOUS).
pub(crate) fn mapping() -> Vec<Case> {
    let is = |argument, mask: i32, value: i32| Match {
        argument,
        upper: false,
        mask: mask as u32,
        value: value as u32,
    };
    let when = vec![is(2, libc::PROT_EXEC, libc::PROT_EXEC), is(3, libc::MAP_ANONYMOUS, 0)];
    let mut cases = vec![Case { when, verdict: Verdict::Notify }];
    cases.extend(always(Verdict::Allow));
    cases
}

/// What is there already becomes code (mprotect(2)): a file that was mapped for reading, too.
pub(crate) fn protecting() -> Vec<Case> {
    let mut cases = vec![bits(2, libc::PROT_EXEC as u32, libc::PROT_EXEC as u32, Verdict::Notify)];
    cases.extend(always(Verdict::Allow));
    cases
}

pub(crate) fn always(verdict: Verdict) -> Vec<Case> {
    vec![Case { when: vec![], verdict }]
}

/// The same where nothing else is asked before: what most calls have takes no memory at a start.
pub(crate) fn only(verdict: Verdict) -> Cow<'static, [Case]> {
    static ALLOWED: [Case; 1] = [Case { when: Vec::new(), verdict: Verdict::Allow }];
    static TAKEN: [Case; 1] = [Case { when: Vec::new(), verdict: Verdict::Notify }];
    match verdict {
        Verdict::Allow => Cow::Borrowed(&ALLOWED),
        Verdict::Notify => Cow::Borrowed(&TAKEN),
        other => Cow::Owned(always(other)),
    }
}

/// Conditions of tier `landlock` that differ: processes, sockets and inode flags of others are within reach there.
pub(crate) fn closer(name: &str) -> Option<Vec<Case>> {
    let own = |argument| vec![bits(argument, u32::MAX, 0, Verdict::Allow), otherwise()];
    let mut cases = match name {
        // Of a process: 0 is the caller. prlimit64 is the same everywhere.
        "sched_setaffinity" | "sched_setparam" | "sched_setscheduler" | "sched_setattr" => {
            return Some(own(0));
        }
        // PRIO_PROCESS and IOPRIO_WHO_PROCESS of the caller.
        "setpriority" => return Some(of_caller(0)),
        "ioprio_set" => return Some(of_caller(1)),
        "socket" => {
            let mut cases = unix();
            cases.push(otherwise());
            return Some(cases);
        }
        "ioctl" => {
            // FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR: they need a descriptor that reads, no more.
            let flags = [0x4008_6602, 0x4004_6602, 0x401c_5820];
            let mut cases = flags.map(|request| bits(1, u32::MAX, request, TOLD)).to_vec();
            // SIOCATMARK and its neighbours are of the socket itself (asm-generic/sockios.h). The rest of its letter, which any socket
            // answers, tells of the host's interfaces, addresses and neighbours (netdevice(7)).
            cases.push(bits(1, 0xfff8, 0x8900, Verdict::Allow));
            cases.push(bits(1, 0xff00, 0x8900, Verdict::Errno(libc::ENOTTY as u16)));
            // PIDFD_GET_INFO, in each of its sizes: ids, parent and control group of any process of the host.
            cases.push(bits(1, 0xffff, 0xff0b, Verdict::Errno(libc::ENOTTY as u16)));
            cases
        }
        _ => return None,
    };
    cases.extend(conditions(name).into_owned());
    Some(cases)
}

pub(crate) fn of_caller(which: u32) -> Vec<Case> {
    let is = |argument, value| Match { argument, upper: false, mask: u32::MAX, value };
    vec![Case { when: vec![is(0, which), is(1, 0)], verdict: Verdict::Allow }, otherwise()]
}

/// A thread with descriptors of its own: nobody who looks at a process would see what it holds (clone(2)).
pub(crate) fn own_files() -> Case {
    let (thread, files) = (libc::CLONE_THREAD as u32, libc::CLONE_FILES as u32);
    bits(0, thread | files, thread, Verdict::Errno(libc::EINVAL as u16))
}

/// Namespaces of one's own, and everything that is not shared any more but descriptors, for the same reason (unshare(2)).
pub(crate) fn unsharing() -> Vec<Case> {
    let files = libc::CLONE_FILES as u32;
    let mut cases = vec![bits(0, files, files, Verdict::Errno(libc::EINVAL as u16))];
    cases.extend(always(Verdict::Allow));
    cases
}

pub(crate) fn otherwise() -> Case {
    Case { when: vec![], verdict: TOLD }
}

pub(crate) fn sealed_memfd() -> Vec<Case> {
    // MFD_EXEC is 0x10, MFD_NOEXEC_SEAL 0x8 (linux/memfd.h).
    let mut cases = vec![bits(1, 0x10, 0x10, TOLD), bits(1, 0x8, 0x8, Verdict::Allow)];
    cases.extend(always(ENOSYS));
    cases
}

pub(crate) fn conditions(name: &str) -> Cow<'static, [Case]> {
    let mut cases = match name {
        "clone" => {
            let new = NEW_NAMESPACES.iter();
            let mut cases: Vec<_> =
                new.map(|flag| bits(0, *flag as u32, *flag as u32, Verdict::Notify)).collect();
            cases.push(own_files());
            cases
        }
        "close_range" => {
            let own = libc::CLOSE_RANGE_UNSHARE;
            vec![bits(2, own, own, Verdict::Errno(libc::EINVAL as u16))]
        }
        "chmod" | "fchmod" => set_id(1),
        "fchmodat" | "fchmodat2" => set_id(2),
        "mknodat" => set_id(2).into_iter().chain(devices(2)).collect(),
        "mknod" => set_id(1).into_iter().chain(devices(1)).collect(),
        "creat" => set_id(1),
        "open" => creating(1, 2),
        "openat" => creating(2, 3),
        "memfd_create" => vec![bits(1, 0x10, 0x10, TOLD)], // MFD_EXEC
        "ioctl" => return requests().into(),
        // A path leads to sockets of the host below a grant, which neither mounts nor Landlock before ABI 9 refuse.
        "connect" => return only(Verdict::Notify),
        "socket" => return socket().into(),
        "socketpair" => return socket_pair().into(),
        // A connection that is made without connect(2): nobody would know whose it is. Callers connect then (tcp(7)).
        "sendto" | "sendmmsg" => vec![fast_open(3)],
        "sendmsg" => vec![fast_open(2)],
        // A lease holds up whoever opens the file on the host.
        "fcntl" => vec![bits(1, u32::MAX, libc::F_SETLEASE as u32, TOLD)],
        "personality" => return personality().into(),
        "prlimit64" => return limits().into(),
        "prctl" => vec![
            // PR_SET_MM rewrites what /proc shows of a process; PR_SET_DUMPABLE and the rest stay.
            bits(0, u32::MAX, libc::PR_SET_MM as u32, TOLD),
        ],
        _ => return only(Verdict::Allow),
    };
    cases.extend(always(Verdict::Allow));
    cases.into()
}

/// The mode, and behind it the device. A character device 0 is no device: overlays keep what was removed so (mknod(2)).
fn devices(mode: u8) -> Vec<Case> {
    let kind = |kind: u32| Match { argument: mode, upper: false, mask: libc::S_IFMT, value: kind };
    let none = Match { argument: mode + 1, upper: false, mask: u32::MAX, value: 0 };
    vec![
        Case { when: vec![kind(libc::S_IFCHR), none], verdict: Verdict::Allow },
        Case { when: vec![kind(libc::S_IFCHR)], verdict: TOLD },
        Case { when: vec![kind(libc::S_IFBLK)], verdict: TOLD },
    ]
}

pub(crate) fn fast_open(flags: u8) -> Case {
    let bit = libc::MSG_FASTOPEN as u32;
    bits(flags, bit, bit, Verdict::Errno(libc::EOPNOTSUPP as u16))
}

pub(crate) fn bits(argument: u8, mask: u32, value: u32, verdict: Verdict) -> Case {
    Case { when: vec![Match { argument, upper: false, mask, value }], verdict }
}

/// Requests that are known; every other one is answered as by a file that has none (ioctl(2), ENOTTY). File systems have some that
/// read, write, copy and remove past every rule about paths: btrfs makes a snapshot of a tree with all that is hidden in it.
pub(crate) fn requests() -> Vec<Case> {
    // TIOCLINUX types into a console as TIOCSTI does into a terminal.
    let never = [libc::TIOCSTI as u32, 0x541C, libc::TIOCSETD as u32, libc::TIOCCONS as u32];
    let known = [
        0x4004_9409, // FICLONE
        0x4020_940d, // FICLONERANGE
        0xc018_9436, // FIDEDUPERANGE
        0x8008_6601, // FS_IOC_GETFLAGS, and as 32 bits
        0x8004_6601,
        0x4008_6602, // FS_IOC_SETFLAGS
        0x4004_6602,
        0x801c_581f, // FS_IOC_FSGETXATTR
        0x401c_5820, // FS_IOC_FSSETXATTR
        0xc020_660b, // FS_IOC_FIEMAP
        0x8008_7601, // FS_IOC_GETVERSION
        0x8004_5200, // RNDGETENTCNT
        0x0000_0002, // FIGETBSZ
    ];
    // Of terminals and all descriptors, sockets, epoll, the task's own filters, namespaces, and descriptors of processes; by the
    // letter of their numbers (ioctl-number.rst).
    let kinds = [0x54, 0x89, 0x8a, 0x21, 0xb7, 0xff];
    let mut cases: Vec<Case> = never.map(|request| bits(1, u32::MAX, request, TOLD)).to_vec();
    cases.extend(known.map(|request| bits(1, u32::MAX, request, Verdict::Allow)));
    cases.extend(kinds.map(|kind| bits(1, 0xff00, kind << 8, Verdict::Allow)));
    // Of btrfs.
    cases.push(bits(1, 0xff00, 0x9400, TOLD));
    cases.extend(always(Verdict::Errno(libc::ENOTTY as u16)));
    cases
}

/// Refuses a mode argument that holds a set-user-id or set-group-id bit.
pub(crate) fn set_id(argument: u8) -> Vec<Case> {
    [0o4000, 0o2000].map(|bit| bits(argument, bit, bit, TOLD)).to_vec()
}

/// The same for an open that creates; without O_CREAT or O_TMPFILE the mode is ignored and may be garbage.
pub(crate) fn creating(flags: u8, mode: u8) -> Vec<Case> {
    let create = [libc::O_CREAT as u32, (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32];
    let bit = |argument, bit: u32| Match { argument, upper: false, mask: bit, value: bit };
    create
        .iter()
        .flat_map(|flag| {
            [SET_ID & 0o4000, SET_ID & 0o2000]
                .map(|mode_bit| Case { when: vec![bit(flags, *flag), bit(mode, mode_bit)], verdict: TOLD })
        })
        .collect()
}

/// unix (not datagram: its address can come with any message, past `connect`), inet, inet6, and netlink for routes only.
pub(crate) fn socket() -> Vec<Case> {
    let family = |family: i32| Match { argument: 0, upper: false, mask: u32::MAX, value: family as u32 };
    let route = Match { argument: 2, upper: false, mask: u32::MAX, value: libc::NETLINK_ROUTE as u32 };
    let mut cases = unix();
    // Others (MPTCP, SCTP, UDP-Lite, ping) are ways that nothing here looks at.
    let protocol = |value: i32| Match { argument: 2, upper: false, mask: u32::MAX, value: value as u32 };
    for inet in [libc::AF_INET, libc::AF_INET6] {
        let known = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
        cases.extend(
            known.map(|known| Case { when: vec![family(inet), protocol(known)], verdict: Verdict::Allow }),
        );
    }
    cases.extend([
        Case { when: vec![family(libc::AF_NETLINK), route], verdict: Verdict::Allow },
        Case { when: vec![], verdict: TOLD },
    ]);
    cases
}

pub(crate) fn socket_pair() -> Vec<Case> {
    let mut cases = unix();
    cases.extend(always(TOLD));
    cases
}

/// Streams and sequenced packets, whose peer `connect` names. Any other kind is a datagram socket, also SOCK_RAW, which the
/// kernel turns into one (unix_create in net/unix/af_unix.c).
pub(crate) fn unix() -> Vec<Case> {
    let family = || Match { argument: 0, upper: false, mask: u32::MAX, value: libc::AF_UNIX as u32 };
    // SOCK_TYPE_MASK is 0xf (linux/net.h); the rest are SOCK_CLOEXEC and SOCK_NONBLOCK.
    let kind = |kind: i32| Match { argument: 1, upper: false, mask: 0xf, value: kind as u32 };
    vec![
        Case { when: vec![family(), kind(libc::SOCK_STREAM)], verdict: Verdict::Allow },
        Case { when: vec![family(), kind(libc::SOCK_SEQPACKET)], verdict: Verdict::Allow },
        Case { when: vec![family()], verdict: TOLD },
    ]
}

/// Linux, its 32-bit reporting twin, both with ADDR_NO_RANDOMIZE for debuggers, and the question.
pub(crate) fn personality() -> Vec<Case> {
    let mut cases: Vec<_> = [0, 0x0008, 0x0004_0000, 0x0004_0008, 0xffff_ffff]
        .map(|value| bits(0, u32::MAX, value, Verdict::Allow))
        .to_vec();
    cases.extend(always(TOLD));
    cases
}

/// Its own, and the question. Init and the root's server have the task's ids: without descriptors or time of their own, they could
/// neither end a run nor tell of it.
pub(crate) fn limits() -> Vec<Case> {
    let nowhere = [false, true].map(|upper| Match { argument: 2, upper, mask: u32::MAX, value: 0 });
    let mut cases =
        vec![bits(0, u32::MAX, 0, Verdict::Allow), Case { when: nowhere.to_vec(), verdict: Verdict::Allow }];
    cases.extend(always(Verdict::Notify));
    cases
}
