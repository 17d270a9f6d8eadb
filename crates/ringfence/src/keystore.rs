//! Certificates as Java reads them: a key store of the type JKS (its layout is in OpenJDK's `JavaKeyStore.java`).

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_plan::Invoker;
use sha1::{Digest, Sha1};

/// What every store of authorities is sealed with: it keeps nothing secret.
const PASSWORD: &str = "changeit";
/// What is hashed besides.
const SALT: &[u8] = b"Mighty Aphrodite";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;

/// The certificates of PEM text; what is no certificate there is left out.
pub(crate) fn of(pem: &str) -> Vec<u8> {
    let certificates: Vec<Vec<u8>> = pem
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| {
            let text: String = part.split("-----END").next()?.split_whitespace().collect();
            STANDARD.decode(text).ok()
        })
        .collect();
    let mut store = Vec::new();
    let count = u32::try_from(certificates.len()).unwrap_or(0);
    for number in [MAGIC, VERSION, count] {
        store.extend(number.to_be_bytes());
    }
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("authority{number}"));
        // When it was added, in milliseconds.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(u32::try_from(certificate.len()).unwrap_or(0).to_be_bytes());
        store.extend(certificate);
    }
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let seal = Sha1::new().chain_update(password).chain_update(SALT).chain_update(&store).finalize();
    store.extend(seal);
    store
}

fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    store.extend(text.bytes());
}

/// Where a Java may have its own: the system's, each installed one's, that of `JAVA_HOME`.
pub(crate) fn places(invoker: &Invoker) -> impl Iterator<Item = PathBuf> {
    let own = invoker.variables.get(std::ffi::OsStr::new("JAVA_HOME")).map(PathBuf::from);
    let installed = ["/usr/lib/jvm".into(), "/opt/java".into(), invoker.home.join(".sdkman/candidates/java")];
    let below = |directory: &PathBuf| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let homes: Vec<PathBuf> = installed.iter().flat_map(below).chain(own).collect();
    let stores = homes
        .into_iter()
        .flat_map(|home| [home.join("lib/security/cacerts"), home.join("jre/lib/security/cacerts")]);
    stores.chain(["/etc/ssl/certs/java/cacerts".into(), "/etc/pki/java/cacerts".into()])
}
