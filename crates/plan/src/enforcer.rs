//! The filters that our own processes enter before they hear the first byte from a sandbox.

use crate::bpf::{self, Case, Entry, Instruction, Match, Verdict};

include!(concat!(env!("OUT_DIR"), "/enforcer.rs"));
include!(concat!(env!("OUT_DIR"), "/server.rs"));
include!(concat!(env!("OUT_DIR"), "/mounter.rs"));
include!(concat!(env!("OUT_DIR"), "/gateway.rs"));

const EPERM: Verdict = Verdict::Errno(libc::EPERM as u16);

/// The program for the root's server.
#[must_use]
pub fn server() -> Vec<Instruction> {
    let entry = |(number, name): &(u32, &str)| Entry { number: *number, cases: cases(name, 0, None).into() };
    bpf::compile(SERVER.iter().map(entry).collect(), EPERM)
}

/// The program for the mounter.
#[must_use]
pub fn mounter() -> Vec<Instruction> {
    let entry = |(number, name): &(u32, &str)| Entry { number: *number, cases: cases(name, 0, None).into() };
    bpf::compile(MOUNTER.iter().map(entry).collect(), EPERM)
}

/// The program for the gateway. `process` is its own number; `unix`, it connects to sockets of the host.
#[must_use]
pub fn gateway(process: u32, unix: bool) -> Vec<Instruction> {
    let mut families = vec![libc::AF_INET.unsigned_abs(), libc::AF_INET6.unsigned_abs()];
    if unix {
        families.push(libc::AF_UNIX.unsigned_abs());
    }
    let entry = |(number, name): &(u32, &str)| {
        let cases = match *name {
            "socket" => one_of(0, &families),
            "ioctl" => one_of(1, &[libc::FIONBIO as u32]),
            name => cases(name, process, None),
        };
        Entry { number: *number, cases: cases.into() }
    };
    bpf::compile(GATEWAY.iter().map(entry).collect(), EPERM)
}

/// Only with one of these values.
fn one_of(argument: u8, values: &[u32]) -> Vec<Case> {
    let one = |value: &u32| {
        let when = vec![Match { argument, upper: false, mask: u32::MAX, value: *value }];
        Case { when, verdict: Verdict::Allow }
    };
    values.iter().map(one).chain([otherwise(EPERM)]).collect()
}

/// The program for the supervisor. `process` is the supervisor's own number; `task` the kernel uid that root's sandbox has, if it
/// has another than the invoker's.
#[must_use]
pub fn program(process: u32, task: Option<u32>) -> Vec<Instruction> {
    let entry =
        |(number, name): &(u32, &str)| Entry { number: *number, cases: cases(name, process, task).into() };
    bpf::compile(ENFORCER.iter().map(entry).collect(), EPERM)
}

fn cases(name: &str, process: u32, task: Option<u32>) -> Vec<Case> {
    let only = |argument, value| {
        let when = vec![Match { argument, upper: false, mask: u32::MAX, value }];
        vec![Case { when, verdict: Verdict::Allow }, otherwise(EPERM)]
    };
    let never = |argument, mask: u32, value: u32| {
        let when = vec![Match { argument, upper: false, mask, value }];
        Case { when, verdict: EPERM }
    };
    match name {
        "kill" | "tkill" | "tgkill" => only(0, process),
        "socketpair" => only(0, libc::AF_UNIX.unsigned_abs()),
        "fchown" => task.map_or_else(|| vec![otherwise(EPERM)], |task| only(1, task)),
        "mmap" | "mprotect" => {
            vec![never(2, libc::PROT_EXEC as u32, libc::PROT_EXEC as u32), otherwise(Verdict::Allow)]
        }
        "ioctl" => {
            let mut cases: Vec<Case> = [libc::TIOCSTI as u32, 0x541C /* TIOCLINUX */]
                .map(|request| never(1, u32::MAX, request))
                .to_vec();
            cases.push(otherwise(Verdict::Allow));
            cases
        }
        _ => vec![otherwise(Verdict::Allow)],
    }
}

fn otherwise(verdict: Verdict) -> Case {
    Case { when: vec![], verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{ARCHITECTURE, interpret};

    #[test]
    fn the_gateway_makes_pairs_of_unix_sockets_alone() {
        for (unix, reaches) in [(false, false), (true, true)] {
            let program = gateway(70, unix);
            let judge = |number: i64, family: i32| {
                let arguments = [u64::from(family.unsigned_abs()), 1, 0, 0, 0, 0];
                interpret(&program, ARCHITECTURE, u32::try_from(number).unwrap(), arguments).unwrap()
                    == 0x7fff_0000
            };
            assert!(judge(libc::SYS_socketpair, libc::AF_UNIX) && judge(libc::SYS_socket, libc::AF_INET));
            assert!(
                !judge(libc::SYS_socketpair, libc::AF_INET) && !judge(libc::SYS_socket, libc::AF_NETLINK)
            );
            assert_eq!(judge(libc::SYS_socket, libc::AF_UNIX), reaches);
        }
    }

    #[test]
    fn the_mounter_makes_pairs_of_unix_sockets_alone_and_no_others() {
        let program = mounter();
        let judge = |number: i64, family: i32| {
            let arguments = [u64::from(family.unsigned_abs()), 1, 0, 0, 0, 0];
            interpret(&program, ARCHITECTURE, u32::try_from(number).unwrap(), arguments).unwrap()
                == 0x7fff_0000
        };
        assert!(judge(libc::SYS_socketpair, libc::AF_UNIX) && !judge(libc::SYS_socketpair, libc::AF_INET));
        assert!(!judge(libc::SYS_socket, libc::AF_UNIX) && !judge(libc::SYS_connect, 3));
    }

    #[test]
    fn itself_alone_and_nothing_that_makes_or_reaches_others() {
        let program = program(70, Some(5000));
        let judge = |number: i64, arguments: [u64; 6]| {
            interpret(&program, ARCHITECTURE, u32::try_from(number).unwrap(), arguments).unwrap()
                == 0x7fff_0000
        };
        assert!(judge(libc::SYS_tgkill, [70, 70, 20, 0, 0, 0]));
        assert!(!judge(libc::SYS_tgkill, [71, 71, 9, 0, 0, 0]));
        assert!(!judge(libc::SYS_kill, [u64::MAX, 9, 0, 0, 0, 0]));
        assert!(judge(libc::SYS_fchown, [3, 5000, 5000, 0, 0, 0]));
        assert!(!judge(libc::SYS_fchown, [3, 0, 0, 0, 0, 0]));
        assert!(!judge(libc::SYS_mmap, [0, 4096, 7, 0, 0, 0]));
        assert!(judge(libc::SYS_mmap, [0, 4096, 3, 0, 0, 0]));
        for number in [
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_setxattr,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_open_by_handle_at,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
        ] {
            assert!(!judge(number, [0; 6]), "{number}");
        }
    }
}
