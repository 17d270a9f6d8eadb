//! Groups of the invoker that give the host away.

use ringfence_plan::Invoker;

use crate::Check;
use crate::surroundings::read;

const NAME: &str = "groups";

/// Groups whose members own the host, or see all of it.
const DANGEROUS: &[&str] = &[
    "docker", // its socket starts containers that own the host
    "lxd",    // likewise
    "incus-admin",
    "libvirt", // machines with the host's disks
    "disk",    // raw block devices
    "kvm",     // virtual machines
    "sudo",    // root by a password
    "wheel",
    "admin",
    "shadow", // hashes of passwords
    "adm",    // logs
    "systemd-journal",
];

pub(crate) fn check(invoker: &Invoker) -> Check {
    if invoker.root {
        return Check::good(NAME, "a sandbox started by root has none");
    }
    let found = dangerous(&read("/etc/group"), invoker);
    if found.is_empty() {
        return Check::good(NAME, "none that gives the host away");
    }
    let names = found.join(", ");
    let one = found.first().cloned().unwrap_or_default();
    Check::degraded(
        NAME,
        format!("you are in {names}"),
        "without root no group can be dropped: what these may open in a granted tree, the task may open",
    )
    .with_remedy(vec![
        "grant no tree with files of these groups, or run as a user of its own".into(),
        format!(
            "sudo gpasswd --delete \"$USER\" {one}   # for each, where you can do without; then log in again"
        ),
    ])
}

fn dangerous(database: &str, invoker: &Invoker) -> Vec<String> {
    let named = database.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
    });
    let mut found: Vec<String> = named
        .filter(|(name, id)| DANGEROUS.contains(name) && (invoker.groups.contains(id) || invoker.gid == *id))
        .map(|(name, _)| name.to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_docker_are_told() {
        let mut invoker = ringfence_confine::probe::invoker("/".into(), "/".into(), "/".into(), [].into());
        (invoker.gid, invoker.groups) = (1000, vec![4, 998, 1000]);
        let database = "adm:x:4:me\ndocker:x:998:me\nsudo:x:27:\nme:x:1000:\n";
        assert_eq!(dangerous(database, &invoker), ["adm", "docker"]);
    }
}
