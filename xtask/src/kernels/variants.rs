//! What is lowered on each kernel, and what must follow: the rows of docs/kernels.md.

/// A boot: what only the kernel's command line, or what is mounted first, can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) name: &'static str,
    /// Words for the kernel's command line; `ringfence.*` are read by the guest.
    pub(crate) line: &'static str,
}

/// Who starts `ringfence run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    User,
    Root,
}

impl Who {
    pub(crate) const BOTH: [Self; 2] = [Self::User, Self::Root];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Root => "root",
        }
    }
}

/// What a run must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// It works in this tier, and each of these is said as degraded.
    Work(&'static str, &'static [&'static str]),
    /// Nothing runs, and the refusal has this in it.
    Refuse(&'static str),
}

/// Which rows of the attack table are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    None,
    /// What this variant could weaken.
    These(&'static [&'static str]),
    /// One or two of each group; in the long form all.
    Selected,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) boot: &'static Boot,
    /// Shell, as the guest's root, before; the variant is left out where it fails, and what it says is why.
    pub(crate) before: &'static str,
    /// Shell, after.
    pub(crate) after: &'static str,
    pub(crate) rows: Rows,
    /// By the highest Landlock ABI and who starts it.
    pub(crate) must: fn(u32, Who) -> Must,
    /// Whether rules for arguments work (`commands.allow = ["echo good"]`), or why they are refused.
    pub(crate) guard: fn(u32, Who) -> Result<(), &'static str>,
}

/// One or two attacks of each group that needs nothing but the standard programs.
pub(crate) const SELECTED: &[&str] =
    &["FR01", "FR11", "FW01", "WS01", "SE01", "PR02", "PR13", "FD01", "IP01", "NW02", "EX07", "SC01"];

const PLAIN: Boot = Boot { name: "v2", line: "" };
const OLD: Boot = Boot { name: "v1", line: "ringfence.cgroups=1" };
const NO_IPV6: Boot = Boot { name: "no-ipv6", line: "ipv6.disable=1" };
const NO_LANDLOCK: Boot = Boot { name: "no-landlock", line: "lsm=lockdown,yama,apparmor" };

/// In the order in which they are tried.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        name: "control groups v2, delegated",
        boot: &PLAIN,
        before: "",
        after: "",
        rows: Rows::Selected,
        must: |_, _| Must::Work("namespace", &[]),
        guard: works,
    },
    Variant {
        name: "control groups v2, not delegated",
        boot: &PLAIN,
        before: "undelegate",
        after: "delegate",
        rows: Rows::These(&["RX04"]),
        must: |_, who| match who {
            Who::User => Must::Work("namespace", &["polled"]),
            Who::Root => Must::Work("namespace", &[]),
        },
        guard: works,
    },
    Variant {
        name: "user.max_user_namespaces = 0",
        boot: &PLAIN,
        before: "echo 0 > /proc/sys/user/max_user_namespaces",
        after: "echo 15000 > /proc/sys/user/max_user_namespaces",
        rows: Rows::Selected,
        must: |abi, _| without_namespaces(abi, "user.max_user_namespaces is 0"),
        guard: hosted,
    },
    Variant {
        name: "kernel.unprivileged_userns_clone = 0",
        boot: &PLAIN,
        before: "echo 0 > /proc/sys/kernel/unprivileged_userns_clone",
        after: "echo 1 > /proc/sys/kernel/unprivileged_userns_clone",
        rows: Rows::These(&["FR01"]),
        must: |abi, who| match who {
            Who::User => without_namespaces(abi, "kernel.unprivileged_userns_clone is 0"),
            Who::Root => Must::Work("namespace", &[]),
        },
        guard: |abi, who| if who == Who::Root { Ok(()) } else { hosted(abi, who) },
    },
    Variant {
        name: "AppArmor restricts user namespaces",
        boot: &PLAIN,
        before: "apparmor_restrict",
        after: "apparmor_release",
        rows: Rows::These(&["FR01"]),
        must: |abi, who| match who {
            Who::User => without_namespaces(abi, "AppArmor"),
            Who::Root => Must::Work("namespace", &[]),
        },
        guard: |abi, who| if who == Who::Root { Ok(()) } else { hosted(abi, who) },
    },
    Variant {
        name: "AppArmor restricts them, with the profile that `doctor` prints",
        boot: &PLAIN,
        before: "apparmor_restrict && apparmor_profile",
        after: "apparmor_release",
        rows: Rows::These(&["FR01"]),
        must: |_, _| Must::Work("namespace", &[]),
        guard: works,
    },
    yama("Yama 0", "echo 0 > /proc/sys/kernel/yama/ptrace_scope", works),
    yama("Yama 1", "echo 1 > /proc/sys/kernel/yama/ptrace_scope", works),
    yama("Yama 2", "echo 2 > /proc/sys/kernel/yama/ptrace_scope", works),
    Variant {
        name: "no FUSE",
        boot: &PLAIN,
        before: "no_fuse",
        after: "with_fuse",
        // Nobody sees who looks: FR01 wants that seen.
        rows: Rows::These(&["FR11", "SE01"]),
        must: |_, _| Must::Work("namespace", &["void"]),
        guard: works,
    },
    Variant {
        name: "Yama 1, and user.max_user_namespaces = 0",
        boot: &PLAIN,
        before: "echo 1 > /proc/sys/kernel/yama/ptrace_scope; echo 0 > /proc/sys/user/max_user_namespaces",
        after: "echo 15000 > /proc/sys/user/max_user_namespaces",
        rows: Rows::These(&["EX07"]),
        must: |abi, _| without_namespaces(abi, "user.max_user_namespaces is 0"),
        guard: hosted,
    },
    Variant {
        name: "Yama 2, and user.max_user_namespaces = 0",
        boot: &PLAIN,
        before: "echo 2 > /proc/sys/kernel/yama/ptrace_scope; echo 0 > /proc/sys/user/max_user_namespaces",
        after: "echo 15000 > /proc/sys/user/max_user_namespaces",
        rows: Rows::None,
        must: |abi, _| Must::Refuse(if abi < 6 { "max_user_namespaces is 0" } else { "ptrace_scope is 2" }),
        guard: |_, _| Err("max_user_namespaces is 0"),
    },
    // The kernel lets nobody lower it again, so it is the last of this boot.
    Variant {
        name: "Yama 3",
        boot: &PLAIN,
        before: "echo 3 > /proc/sys/kernel/yama/ptrace_scope",
        after: "",
        // Of a path its first name alone is seen: FR01 wants all of it.
        rows: Rows::These(&["FR11", "SE01"]),
        must: |_, _| Must::Work("namespace", &["ptrace"]),
        guard: |_, _| Err("ptrace_scope is 3"),
    },
    Variant {
        name: "control groups v1",
        boot: &OLD,
        before: "",
        after: "",
        rows: Rows::Selected,
        // Debian's 6.12 has no memory controller of version 1.
        must: |abi, who| match who {
            Who::Root if abi < 6 => Must::Work("namespace", &[]),
            _ => Must::Work("namespace", &["polled"]),
        },
        guard: works,
    },
    Variant {
        name: "IPv6 off",
        boot: &NO_IPV6,
        before: "",
        after: "",
        rows: Rows::These(&["NW01", "NW18"]),
        must: |_, _| Must::Work("namespace", &[]),
        guard: works,
    },
    Variant {
        name: "no Landlock",
        boot: &NO_LANDLOCK,
        before: "",
        after: "",
        rows: Rows::These(&["FR01", "FW01", "PR02", "IP01"]),
        must: |_, _| Must::Work("namespace", &["landlock"]),
        guard: |_, _| Err("Landlock"),
    },
    Variant {
        name: "no Landlock, and user.max_user_namespaces = 0",
        boot: &NO_LANDLOCK,
        before: "echo 0 > /proc/sys/user/max_user_namespaces",
        after: "",
        rows: Rows::None,
        must: |_, _| without_namespaces(0, "user.max_user_namespaces is 0"),
        guard: |_, _| Err("user.max_user_namespaces is 0"),
    },
];

const fn yama(
    name: &'static str,
    before: &'static str,
    guard: fn(u32, Who) -> Result<(), &'static str>,
) -> Variant {
    Variant {
        name,
        boot: &PLAIN,
        before,
        after: "",
        rows: Rows::These(&["EX07"]),
        must: |_, _| Must::Work("namespace", &[]),
        guard,
    }
}

fn works(_: u32, _: Who) -> Result<(), &'static str> {
    Ok(())
}

/// Where that tier can be had, starts are judged there too.
fn hosted(abi: u32, _: Who) -> Result<(), &'static str> {
    if abi >= 6 { Ok(()) } else { Err("tier `landlock`") }
}

/// Tier `landlock` where its ABI is there; else a refusal that names both causes.
fn without_namespaces(abi: u32, cause: &'static str) -> Must {
    if abi >= 6 { Must::Work("landlock", &["tier", "void"]) } else { Must::Refuse(cause) }
}
