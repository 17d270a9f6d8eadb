//! Commands, switches and questions that are wider than they look.

use ringfence_policy::{
    Children, CommandPattern, Origin, PathPattern, Policy, Rule, dead_entry, denied_entry, runs_code,
};

use crate::finding::{Found, Level};
use crate::rules;

/// Clients that send files to where their arguments say.
const SENDERS: &[&str] = &[
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "nc.openbsd",
    "nc.traditional",
    "socat",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "ftp",
    "lftp",
    "rclone",
    "aws",
    "gsutil",
    "gcloud",
    "az",
    "azcopy",
    "kubectl",
    "telnet",
    "openssl",
    "websocat",
    "http",
    "https",
    "xh",
    "aria2c",
    "smbclient",
    "mail",
    "sendmail",
    "msmtp",
    "git",
    "gh",
    "glab",
    "docker",
    "podman",
    "skopeo",
];

pub(crate) fn look(policy: &Policy, found: &mut Found) {
    let origin = |key: &str| policy.origins.get(key);
    match &policy.commands {
        None => found.add(
            &rules::COMMANDS_ANY,
            None,
            "any program in an executable tree may start",
            "files and the network are bounded, commands are not",
            "list what the task needs: `[commands] allow = [..]`; `ringfence ps --tree RUN` tells what a run started",
        ),
        Some(commands) => {
            let free = policy.guard.children == Children::Free;
            if free {
                found.add(
                    &rules::COMMAND_CHILDREN,
                    origin("commands.children"),
                    "what a listed command starts may be any program",
                    "a list whose members may start others bounds nothing once one of them can be told what to start",
                    "write `children = \"same\"`, or list what the commands start",
                );
            }
            for entry in &commands.allow {
                listed(entry, policy, found);
            }
            let listed = commands.allow.iter().chain(policy.guard.children.programs());
            for entry in listed.chain(&policy.approvals.commands) {
                dead(entry, policy, found);
            }
            if policy.from_workspace && !commands.allow.is_empty() {
                found.add(
                    &rules::COMMAND_BROUGHT,
                    origin("commands.from_workspace"),
                    "the task may run programs that it built or copied, whatever the list says",
                    "an interpreter of its own is among them; what such a program reaches is bounded by files and network alone",
                    "write `from_workspace = false` where the task builds nothing that it runs",
                );
            }
        }
    }
    switches(policy, found);
    for pattern in &policy.approvals.read {
        grantable(pattern, policy, found);
    }
}

fn listed(entry: &Rule<String>, policy: &Policy, found: &mut Found) {
    let Ok(pattern) = CommandPattern::parse(&entry.value, "/") else { return };
    let name = pattern.program.rsplit('/').next().unwrap_or_default();
    let at = Some(&entry.origin);
    if policy.guard.shell()
        && let Some(shell) = runs_code(name)
        && (pattern.any_arguments() || pattern.first_word().is_some_and(|word| word.starts_with(b"-")))
    {
        // What a shell starts is judged as well; what an interpreter does by itself is not.
        let judged = shell && policy.guard.children != Children::Free;
        let (level, why) = if judged {
            (
                Level::Note,
                "each program that it starts is judged; what it reads and writes by itself is bounded by `[files]` alone",
            )
        } else {
            (
                rules::COMMAND_INTERPRETER.level,
                "whoever writes its code has no need of other programs: sockets, files and system calls are at hand",
            )
        };
        found.add_as(
            &rules::COMMAND_INTERPRETER,
            level,
            at,
            format!("`{name}` runs any code that it is handed"),
            why,
            format!("name the scripts that are meant (`{name} ./tools/**`), or write `shell = false`"),
        );
    }
    let reached = !policy.network.allow.is_empty();
    if reached && SENDERS.contains(&name) && pattern.any_arguments() {
        found.add(
            &rules::COMMAND_SENDS,
            at,
            format!("`{name}` may be started with any arguments, and there is a network"),
            "it sends any file that the task reads to any host that is allowed",
            format!("say which arguments: `{name} (-s|-f) https://HOST/**`"),
        );
    }
}

/// An entry that `commands.shell = false` or `commands.deny` makes void.
fn dead(entry: &Rule<String>, policy: &Policy, found: &mut Found) {
    let shell = policy.guard.shell.as_ref().map(|rule| &rule.origin);
    let Ok(pattern) = CommandPattern::parse(&entry.value, "/") else { return };
    let by_shell = if policy.guard.shell() { None } else { dead_entry(&pattern, shell) };
    if let Some(why) = by_shell {
        found.add(
            &rules::COMMAND_DEAD,
            Some(&entry.origin),
            format!("the entry `{}` lets nothing start", entry.value),
            why,
            "remove the entry, or name what is meant without it: the programs that it would start",
        );
    } else if let Some(denial) = denied_entry(&pattern, &policy.guard.deny) {
        found.add(
            &rules::COMMAND_DEAD,
            Some(&entry.origin),
            format!("the entry `{}` lets nothing start", entry.value),
            format!(
                "`{}` in `commands.deny` ({}) stands above it, and above every grant",
                denial.value, denial.origin
            ),
            "remove the entry, or say less in the denial",
        );
    }
}

fn switches(policy: &Policy, found: &mut Found) {
    let runtime = &policy.runtime;
    let mut add = |on: bool, level: Level, key: &str, why: &str| {
        if on {
            found.add_as(
                &rules::SWITCH,
                level,
                policy.origins.get(key),
                format!("`{key}` is set"),
                why,
                "remove it unless the task cannot do without",
            );
        }
    };
    let medium = Level::Medium;
    add(
        runtime.user_namespaces,
        medium,
        "runtime.user_namespaces",
        "most holes in the kernel that let a sandbox be left were in code that only these reach",
    );
    add(
        runtime.io_uring,
        medium,
        "runtime.io_uring",
        "its requests pass no filter, and holes in it were many",
    );
    add(
        runtime.terminal_raw,
        medium,
        "runtime.terminal",
        "what the task prints acts on the terminal: titles, clipboard, answers typed as if by the user",
    );
    add(
        runtime.debug,
        Level::Low,
        "runtime.debug",
        "programs that are traced are judged when they start, and not looked at again",
    );
    add(runtime.tmp_exec, Level::Note, "runtime.tmp_exec", "what was downloaded or written there can be run");
}

/// Does it cover most of a home, or what is in it?
fn grantable(pattern: &Rule<PathPattern>, policy: &Policy, found: &mut Found) {
    let base = pattern.value.base(&policy.home);
    if !policy.home.starts_with(&base) {
        return;
    }
    let origin: &Origin = &pattern.origin;
    found.add(
        &rules::GRANTABLE_WIDE,
        Some(origin),
        format!("`{}` lets one answer open anything in the home", pattern.value.text()),
        "a tired owner says yes; known secrets stay hidden, all else is shown",
        "name the directories that a task may ask for",
    );
}
