//! Files of /etc that are made for the sandbox.

use ringfence_policy::Policy;

use crate::{Ids, Request};

/// Names are asked of the gateway, at an address outside of 127.0.0.0/8, which stays the sandbox's own. The host's `search` is not
/// taken along: it names the host's domain, and each name that is refused would be asked, told and offered a line a second time.
fn resolver(policy: &Policy) -> String {
    let (network, later) = (&policy.network, &policy.approvals.hosts);
    if network.allow.is_empty() && network.unix.is_empty() && later.is_empty() {
        return "# no network: policy grants none\n".into();
    }
    format!("# the gateway, which answers names that the policy allows\nnameserver {}\n", crate::RESOLVER)
}

/// Files of /etc that would name the host or its users.
pub(crate) fn synthetic(policy: &Policy, request: &Request, ids: &Ids) -> [(&'static str, String); 7] {
    let Ids { inside_uid: uid, inside_gid: gid, .. } = ids;
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\ntask:x:{uid}:{gid}:task:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\ntask:x:{gid}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost ringfence\n::1 localhost ringfence\n".into()),
        ("hostname", "ringfence\n".into()),
        ("machine-id", format!("{}\n", request.machine_id)),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".into(),
        ),
        ("resolv.conf", resolver(policy)),
    ]
}
