//! What to type, or to write into a file, for each cause.

use std::path::Path;

use crate::surroundings::{Around, Surroundings};

const DOCKER: &str = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
                      --security-opt systempaths=unconfined ...
# instead of unconfined: seccomp=FILE, a profile that allows clone3, unshare, mount and the new mount API";

const PODMAN: &str = "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL ...";

const KUBERNETES: &str = "# in the pod's specification
spec:
  hostUsers: false                  # procMount needs it
  containers:
  - securityContext:
      procMount: Unmasked
      seccompProfile: { type: Unconfined }
      appArmorProfile: { type: Unconfined }";

const BUBBLEWRAP: &str = "start ringfence outside of bwrap; or bwrap without --disable-userns and --seccomp, and with \
                          `--dev-bind /proc /proc` for `--proc /proc`";

/// Nothing inside another sandbox can undo it.
const RINGFENCE: &str = "run the command without a second ringfence: the boundary around it holds already";

/// What would loosen the innermost container or sandbox around this process.
pub(crate) fn surroundings(around: &Surroundings) -> Vec<String> {
    let text = match around.confining() {
        Some(Around::Ringfence) => RINGFENCE,
        Some(Around::Bubblewrap) => BUBBLEWRAP,
        Some(Around::Firejail) => {
            "start it outside of firejail, which filters what makes namespaces (`firejail --noprofile` does not)"
        }
        Some(Around::GVisor) => "run it outside of gVisor (`docker run --runtime=runc ...`)",
        Some(Around::Kubernetes) => KUBERNETES,
        Some(Around::Podman) => PODMAN,
        Some(Around::Docker) => DOCKER,
        Some(Around::Container) => "let the container nest: lxc config set NAME security.nesting=true",
        Some(Around::Wsl) | None => {
            "start ringfence outside of what confines this process; in a systemd unit: RestrictNamespaces=no"
        }
    };
    vec![text.to_owned()]
}

/// Sets a sysctl now and for later boots.
pub(crate) fn sysctl(setting: &str) -> Vec<String> {
    vec![
        format!("sudo sysctl {setting}"),
        format!("echo {setting} | sudo tee /etc/sysctl.d/60-ringfence.conf   # for later boots"),
    ]
}

/// The profile by which Ubuntu lets this one program make user namespaces. It names the program where it lies.
pub(crate) fn apparmor(binary: &Path) -> Vec<String> {
    let path = binary.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    vec![
        format!(
            "sudo tee /etc/apparmor.d/ringfence <<'END'
abi <abi/4.0>,
include <tunables/global>

profile ringfence \"{path}\" flags=(unconfined) {{
  userns,

  include if exists <local/ringfence>
}}
END"
        ),
        "sudo apparmor_parser --replace /etc/apparmor.d/ringfence".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_the_program_where_it_lies() {
        let lines = apparmor(Path::new("/opt/my tools/ringfence")).join("\n");
        assert!(lines.contains("profile ringfence \"/opt/my tools/ringfence\" flags=(unconfined) {"));
        assert!(lines.contains("  userns,\n") && lines.contains("apparmor_parser --replace"));
    }
}
