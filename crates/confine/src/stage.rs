//! The stages of the construction, by which a failure names itself.

use ringfence_plan::Plan;

/// Steps of the construction that are not in the plan's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stage {
    Identity = 1,
    Namespaces = 2,
    Guard = 3,
    Root = 4,
    Pivot = 5,
    Names = 6,
    Network = 7,
    Limits = 8,
    Privileges = 9,
    Fork = 10,
    Directory = 11,
    Landlock = 12,
    Filter = 13,
    Descriptors = 14,
    Orders = 15,
    Terminal = 16,
    Void = 17,
    Mounter = 18,
    Divert = 19,
    Gateway = 20,
}

/// Where steps of the plan begin in [`Message::Failed`](crate::Message::Failed).
pub(crate) const STEPS: u32 = 100;
/// Where trees of the plan begin.
pub(crate) const TREES: u32 = 100_000;

/// What a failed stage was about, for a message.
#[must_use]
pub fn stage(plan: &Plan, stage: u32) -> String {
    if stage >= TREES {
        let tree = plan.trees.get((stage - TREES) as usize);
        return tree
            .map_or_else(|| "a tree of the plan".into(), |tree| format!("opening {}", tree.host.display()));
    }
    if stage >= STEPS {
        return plan.describe((stage - STEPS) as usize);
    }
    stage_of_job(stage).into()
}

/// The same for what is not in a plan's lists: a command's own start.
#[must_use]
pub fn stage_of_job(stage: u32) -> &'static str {
    match stage {
        1 => "taking the sandbox's ids",
        2 => "making the sandbox's namespaces",
        3 => "tying the sandbox's life to this process",
        4 => "making the root",
        5 => "changing the root",
        6 => "setting the host name",
        7 => "raising the loopback interface",
        8 => "setting limits",
        9 => "dropping privileges",
        10 => "starting the task",
        11 => "changing to the working directory",
        12 => "entering the Landlock domain",
        13 => "installing the system call filter",
        15 => "reading the plan",
        16 => "making a terminal",
        17 => "serving the root",
        18 => "showing more of the host",
        19 => "leading the network to the gateway (nf_tables with NAT)",
        20 => "starting the gateway",
        _ => "passing the descriptors",
    }
}
