//! The kinds of findings. Their names are part of the interface: what accepts one by name goes on working.

use crate::finding::{Level, Rule};

macro_rules! rules {
    ($($name:ident, $id:literal, $level:ident, $about:literal;)*) => {
        $(pub(crate) static $name: Rule = Rule { id: $id, level: Level::$level, about: $about };)*
        /// All of them.
        pub(crate) static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    INVALID, "invalid-policy", High, "The policy contradicts itself, asks for what cannot be enforced, or opens more than any policy may.";
    WOULD_NOT_RUN, "would-not-run", High, "A path, a program or a source that the policy needs is not on this host: `run` refuses the policy.";
    SECRET_GRANTED, "secret-granted", High, "A grant names a known secret location, so that it is not hidden.";
    SECRET_IN_GRANT, "secret-in-grant", High, "A file below a grant holds something that looks like a secret.";
    SECRET_IN_WORKSPACE, "secret-in-workspace", Medium, "A file of the workspace that is not denied is, or holds, a secret.";
    SECRET_IN_HISTORY, "secret-in-history", Medium, "A denied file is tracked by git: its content is in the object store too.";
    SECRET_IN_POLICY, "secret-in-policy", High, "The policy itself holds a secret in the clear, and gives it to the task.";
    DECOY_COMMON, "decoy-common", Low, "A decoy at a file that ordinary tools open by themselves: each start of one is an incident.";
    RUNS_LATER, "runs-later", High, "What the task may write is run by something on the host later.";
    WRITTEN_DIRECTLY, "written-directly", Medium, "The task changes files of the host outside of the workspace, without review.";
    DIRECT_UNPROTECTED, "direct-unprotected", High, "In `direct` mode, the task may write what the host runs later, without review.";
    EGRESS_ANY, "egress-any", High, "A rule of `network.allow` covers a large part of all addresses.";
    EGRESS_METADATA, "egress-metadata", High, "The cloud's metadata service can be reached, which gives out the machine's credentials.";
    EGRESS_SHARED_DOMAIN, "egress-shared-domain", High, "A wildcard covers a domain below which anybody can have a name.";
    EGRESS_FILE_DROP, "egress-file-drop", High, "A host where anybody can leave and collect data: file drops, pastes, request catchers, tunnels.";
    EGRESS_ACCOUNTS, "egress-accounts", Medium, "A host where anybody can have an account takes any request: what is sent there may be somebody else's.";
    EGRESS_WILDCARD, "egress-wildcard", Low, "A wildcard covers every name below a domain.";
    EGRESS_PRIVATE, "egress-private", Medium, "A network of private addresses can be reached as a whole.";
    EGRESS_ENGINE, "egress-engine", High, "A port where an engine takes commands without asking who sends them.";
    EGRESS_LOOPBACK, "egress-loopback", Low, "A service on the host's loopback can be reached; such services often trust whoever reaches them.";
    EGRESS_NOT_INSPECTED, "egress-not-inspected", Note, "What is said on these connections is not looked into.";
    EGRESS_UNSCANNED, "egress-unscanned", Note, "What leaves is not searched for secrets.";
    SOCKET_GRANTED, "socket-granted", High, "A socket of the host: its server takes whoever connects for the user who started the sandbox.";
    COMMANDS_ANY, "commands-any", Note, "Any program in an executable tree may start.";
    COMMAND_INTERPRETER, "command-interpreter", Low, "A listed interpreter may run any code: the list bounds which programs start, and no more.";
    COMMAND_DEAD, "command-dead", Note, "A listed entry lets nothing start: `commands.shell = false` or `commands.deny` refuses it.";
    COMMAND_CHILDREN, "command-children", Medium, "Listed commands may start anything: the list bounds only what is started first.";
    COMMAND_BROUGHT, "command-brought", Note, "The task may run programs that it built, of any kind, beside the list.";
    COMMAND_SENDS, "command-sends", Low, "A client that sends files anywhere may be started with any arguments, and there is a network.";
    CREDENTIAL_READABLE, "credential-readable", High, "The task can read the source of a credential that the gateway should hold alone.";
    CREDENTIAL_WIDE, "credential-wide", Medium, "A credential serves any request to its hosts.";
    CREDENTIAL_WILDCARD, "credential-wildcard", High, "A credential goes to every name below a domain.";
    CREDENTIAL_UNPLACED, "credential-unplaced", Low, "Every request to its hosts gets the secret, whoever makes it.";
    GRANTABLE_WIDE, "grantable-wide", Low, "A question to the owner may open a large part of the home.";
    SWITCH, "switch", Medium, "A switch of `[runtime]` opens more of the kernel or of the terminal.";
}
