//! Certificates with their keys, by which the gateway says who asks where TLS with a server begins: read as PEM (RFC 7468).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

/// Letters in a line of PEM.
const COLUMNS: usize = 64;

/// A certificate, those that vouch for it and its key, of whatever else stands there: as PEM, the key last; and when it ends, in seconds
/// since 1970.
///
/// # Errors
/// What is missing, or does not fit together, in words.
pub fn read(text: &[u8]) -> Result<(Zeroizing<Vec<u8>>, i64), String> {
    let (chain, key) = parts(text)?;
    let first = chain.first().ok_or("it holds no certificate")?;
    let (_, leaf) = X509Certificate::from_der(first).map_err(|_| "its first certificate cannot be read")?;
    let ends = leaf.validity().not_after.timestamp();
    let ended = leaf.validity().time_to_expiration().is_none();
    certified(chain.clone(), key.clone_key())?;
    if ended {
        return Err("its certificate is not valid now".to_owned());
    }
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut out = Zeroizing::new(Vec::with_capacity(text.len().max(key.secret_der().len() * 2)));
    for certificate in &chain {
        write(&mut out, "CERTIFICATE", certificate);
    }
    write(&mut out, label, key.secret_der());
    Ok((out, ends))
}

/// The same from certificates in DER, one behind the other, and a key of PKCS#8 (X.509-SVID, as the Workload API gives it out).
pub(crate) fn pem(chain: &[u8], key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity((chain.len() + key.len()) * 2));
    let mut rest = chain;
    while !rest.is_empty() {
        let (behind, _) = X509Certificate::from_der(rest).ok()?;
        write(&mut out, "CERTIFICATE", rest.get(..rest.len() - behind.len())?);
        rest = behind;
    }
    write(&mut out, "PRIVATE KEY", key);
    Some(out)
}

/// What shows it to a server.
pub(crate) fn shown(text: &[u8]) -> Result<Arc<SingleCertAndKey>, String> {
    let (chain, key) = parts(text)?;
    Ok(Arc::new(certified(chain, key)?.into()))
}

/// Its key alone, in DER.
pub(crate) fn key(text: &[u8]) -> Option<Vec<u8>> {
    parts(text).ok().map(|(_, key)| key.secret_der().to_vec())
}

type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parts(text: &[u8]) -> Result<Parts, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|_| "it is no PEM")?;
    let mut keys = PrivateKeyDer::pem_slice_iter(text);
    match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => Ok((chain, key)),
        (Some(Ok(_)), Some(_)) => Err("it holds several keys".to_owned()),
        _ => Err("it holds no key as PEM (one behind a password cannot be used)".to_owned()),
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "its key is not that of its first certificate".to_owned(),
        rustls::Error::NoCertificatesPresented => "it holds no certificate".to_owned(),
        _ => "its key is of no kind that is known (RSA, ECDSA with P-256 or P-384, Ed25519)".to_owned(),
    })
}

fn write(out: &mut Vec<u8>, label: &str, der: &[u8]) {
    let mut text = STANDARD.encode(der);
    out.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in text.as_bytes().chunks(COLUMNS) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    text.zeroize();
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(days: i64) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::default();
        own.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(9);
        own.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        (own.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn a_certificate_comes_with_its_own_key_and_is_valid() {
        let (first, key) = made(9);
        let (second, other) = made(9);
        let (old, its) = made(-1);
        let (key, other, its) = (key.serialize_pem(), other.serialize_pem(), its.serialize_pem());
        let (text, ends) = read(format!("words\n{key}{first}{second}").as_bytes()).unwrap();
        let left = ends - time::OffsetDateTime::now_utc().unix_timestamp();
        assert!((8 * 86_400..=9 * 86_400).contains(&left), "{left}");
        let (again, _) = read(&text).unwrap();
        assert!(*again == *text && shown(&text).is_ok());
        let (chain, own) = parts(&text).unwrap();
        assert_eq!((chain.len(), self::key(&text).unwrap()), (2, own.secret_der().to_vec()));
        let joined: Vec<u8> = chain.iter().flat_map(|one| one.to_vec()).collect();
        assert_eq!(*pem(&joined, own.secret_der()).unwrap(), *text);
        for (wrong, why) in [
            (String::new(), "no key"),
            (first.clone(), "no key"),
            (key.clone(), "no certificate"),
            (format!("{first}{other}"), "not that of its first certificate"),
            (format!("{first}{key}{other}"), "several keys"),
            (format!("{old}{its}"), "not valid now"),
            (format!("{first}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")), "behind a password"),
        ] {
            let told = read(wrong.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }
}
