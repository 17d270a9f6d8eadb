//! The kernel's version.

use ringfence_plan::Host;

use crate::Check;

const NAME: &str = "kernel";

/// mount_setattr(2).
const NEEDED: (u32, u32) = (5, 12);
/// The oldest one that is tested.
const TESTED: (u32, u32) = (6, 1);

pub(crate) fn check(host: &Host) -> Check {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let remedy = vec!["boot Linux 6.1 or later".to_owned()];
    if host.kernel >= TESTED {
        Check::good(NAME, format!("Linux {release}"))
    } else if host.kernel >= NEEDED {
        let found = format!("Linux {release}; the oldest that is tested is 6.1");
        Check::degraded(NAME, found, "parts that came later are missing, as listed").with_remedy(remedy)
    } else {
        Check::missing(NAME, format!("Linux {release} lacks mount_setattr (5.12)")).with_remedy(remedy)
    }
}
