//! The sandbox's own authority: certificates for the hosts whose TLS is looked into, and TLS to those hosts, verified against
//! the host's own roots. Everything about TLS that is not the first message is here and in `inspect`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use ringfence_policy::HostPattern;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};

/// Certificates that are remembered; with more names, those are made again.
const MOST: usize = 256;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// One key for all hosts: whoever has it has the gateway.
    key: KeyPair,
    /// The certificate that the sandbox trusts.
    pub(crate) pem: String,
    provider: Arc<CryptoProvider>,
    /// To servers: HTTP/1.1 alone, and with HTTP/2.
    clients: [Arc<ClientConfig>; 2],
    servers: RefCell<HashMap<String, Arc<ServerConfig>>>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Failed;

impl Authority {
    /// Makes one for these hosts; `roots` as PEM.
    pub(crate) fn new(hosts: &[HostPattern], roots: &str) -> Result<Self, Failed> {
        let key = KeyPair::generate().map_err(|_| Failed)?;
        let mut own = CertificateParams::default();
        own.distinguished_name.push(DnType::CommonName, "ringfence: the authority of one sandbox");
        own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut own);
        // It speaks for no other host, whoever should trust it.
        let permitted_subtrees = hosts.iter().map(subtree).collect();
        own.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        let pem = own.self_signed(&key).map_err(|_| Failed)?.pem();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(roots.as_bytes()).flatten());
        if store.is_empty() {
            return Err(Failed);
        }
        let client = |protocols: &[&[u8]]| {
            let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|_| Failed)?
                .with_root_certificates(store.clone())
                .with_no_client_auth();
            client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Ok(Arc::new(client))
        };
        let clients = [client(&[b"http/1.1"])?, client(&[b"h2", b"http/1.1"])?];
        Ok(Self {
            issuer: Issuer::new(own, key),
            key: KeyPair::generate().map_err(|_| Failed)?,
            pem,
            provider,
            clients,
            servers: RefCell::default(),
        })
    }

    /// How a connection to a server begins, which may be shown a certificate.
    pub(crate) fn client(&self, http2: bool, shown: Option<Arc<SingleCertAndKey>>) -> Arc<ClientConfig> {
        let [one, two] = &self.clients;
        let client = if http2 { two } else { one };
        let Some(shown) = shown else { return Arc::clone(client) };
        let mut own = ClientConfig::clone(client);
        own.client_auth_cert_resolver = shown;
        // A session that is taken up again would be that of the certificate before.
        own.resumption = Resumption::disabled();
        Arc::new(own)
    }

    /// How this host is stood in for.
    pub(crate) fn server(&self, host: &str) -> Result<Arc<ServerConfig>, Failed> {
        if let Some(server) = self.servers.borrow().get(host) {
            return Ok(Arc::clone(server));
        }
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, "ringfence: a host that is looked into");
        leaf.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(|_| Failed)?),
        }];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        valid(&mut leaf);
        let certificate = leaf.signed_by(&self.key, &self.issuer).map_err(|_| Failed)?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(|_| Failed)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|_| Failed)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|_| Failed)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = Arc::new(server);
        let mut servers = self.servers.borrow_mut();
        if servers.len() >= MOST {
            servers.clear();
        }
        servers.insert(host.to_owned(), Arc::clone(&server));
        Ok(server)
    }
}

/// From yesterday, for clocks that differ, and for as long as a sandbox may live.
fn valid(certificate: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    certificate.not_before = now - Duration::days(1);
    certificate.not_after = now + Duration::days(90);
}

fn subtree(host: &HostPattern) -> GeneralSubtree {
    match host {
        // A name stands for what is below it too (RFC 5280, section 4.2.1.10).
        HostPattern::Name(name) | HostPattern::Below(name) => GeneralSubtree::DnsName(name.clone()),
        HostPattern::Address(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
        }
        HostPattern::Network(first, bits) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*first, *bits))
        }
    }
}
