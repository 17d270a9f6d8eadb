//! How much of the kernel answers: calls that cannot succeed, and namespaces made by a child that ends.

use ringfence_audit::Level;
use ringfence_sys::clone::unshare;
use ringfence_sys::harmless::{self, Answer};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::Request;
use crate::isolate::status;
use crate::look::text;
use crate::report::Out;

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    let made = |flags: UnshareFlags| {
        status(move || unshare(u64::from(flags.bits())).map_or_else(Errno::raw_os_error, |()| 0)) == Some(0)
    };
    let user = made(UnshareFlags::NEWUSER);
    let mounts = made(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWNET);
    out.either(
        "user-namespaces",
        Level::Medium,
        user,
        ("user namespaces can be made", "no user namespace can be made"),
        "in one, everybody is root: most holes that let a sandbox be left needed one",
    );
    out.either(
        "namespaces-inner",
        Level::Low,
        mounts,
        ("mount and network namespaces can be made in one", "no mount or network namespace can be made"),
        "mounts, filters and interfaces of the kernel can be talked to",
    );
    let keys: Vec<String> = text("/proc/keys")
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .map(str::to_owned)
        .collect();
    let count = keys.len();
    let what = format!("{count} kernel keys are listed");
    let mut kinds = keys;
    kinds.sort();
    kinds.dedup();
    out.list(
        "keyrings",
        Level::Low,
        kinds,
        &what,
        "no kernel key is listed",
        "keyrings are not of any namespace but the user's: what others put there may be read",
    );
    out.either(
        "kernel-log",
        Level::Low,
        harmless::may_read_log(),
        ("the kernel's log can be read", "the kernel's log cannot be read"),
        "it tells addresses, and what the machine does",
    );
    let addresses = text("/proc/kallsyms")
        .lines()
        .take(64)
        .any(|line| line.bytes().take(16).any(|byte| byte.is_ascii_hexdigit() && byte != b'0'));
    out.either(
        "kernel-addresses",
        Level::Low,
        addresses,
        ("the kernel's addresses can be read", "the kernel's addresses are hidden"),
        "who attacks the kernel needs them",
    );
    // Last: a filter may end this child for one of them. What was reached before is told one by one.
    let mut reached = Vec::new();
    harmless::each(|name, answer| {
        if answer == Answer::Reached {
            reached.push(name.to_owned());
        }
    });
    out.list(
        "system-calls",
        Level::Low,
        reached,
        "system calls that sandboxes refuse are answered",
        "system calls that sandboxes refuse are refused",
        "each leads to much code of the kernel, or around what looks at paths",
    );
}
