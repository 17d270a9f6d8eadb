//! Whom programs trust where TLS is looked into: files of the sandbox's own, and those that they read without being told.

use std::path::Path;

use crate::mounts::Builder;
use crate::{AUTHORITIES, AUTHORITIES_OF_JAVA, AUTHORITY, Request, Step};

impl Builder {
    /// Files that variables lead to.
    pub(crate) fn authorities(&mut self, request: &Request) {
        let Some(trust) = &request.trust else { return };
        self.file(Path::new(AUTHORITY), &trust.own);
        self.file(Path::new(AUTHORITIES), &trust.all);
        self.file(Path::new(AUTHORITIES_OF_JAVA), &trust.java);
    }

    /// The stores of the system (GnuTLS, programs that are told nothing) and of Java, so far as the sandbox shows them.
    pub(crate) fn stores(&mut self, request: &Request) {
        let Some(trust) = &request.trust else { return };
        for (files, with) in [(&trust.bundles, AUTHORITIES), (&trust.stores, AUTHORITIES_OF_JAVA)] {
            for path in files {
                if self.shows_host_file(path) {
                    self.push(Step::Cover { path: path.clone(), with: with.into() });
                }
            }
        }
    }
}
