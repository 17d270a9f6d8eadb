//! Asking a server for a token, in the host's own world: what the keeper does for `source.oauth`. Nothing of a sandbox is here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::Builder;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the longest answer.
const LONGEST: usize = 64 << 10;

/// What is asked.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The host, its port and the path there.
    pub server: (&'a str, u16, &'a str),
    /// Whom to trust, as PEM.
    pub roots: &'a str,
    /// The value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// The form, as it is sent.
    pub form: String,
}

/// Sends a form and waits for the answer: its status and body.
///
/// # Errors
/// Why there is none, without anything that was sent.
pub fn ask(ask: &Ask<'_>) -> Result<(u16, Zeroizing<Vec<u8>>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let asked = async {
        match tokio::time::timeout(PATIENCE, post(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        }
    };
    let answer = runtime.block_on(asked);
    // A name that is still looked up is waited for by nobody.
    runtime.shutdown_background();
    answer
}

async fn post(ask: &Ask<'_>) -> Result<(u16, Zeroizing<Vec<u8>>), String> {
    let (host, port, path) = ask.server;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(ask.roots.as_bytes()).flatten());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| format!("`{host}:{port}`: {error}"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("`{host}:{port}`: {error}"))?;
    let failed = |error: hyper::Error| format!("`{host}:{port}`: {error}");
    let (mut sender, connection) = Builder::new().handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let authority = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "ringfence")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(text) = ask.authorization {
        let mut value = HeaderValue::from_str(text).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request =
        request.body(Full::new(Bytes::from(ask.form.clone()))).map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|_| format!("`{host}:{port}`: its answer is too long, or ends too soon"))?;
        Ok((status, Zeroizing::new(body.to_bytes().to_vec())))
    };
    tokio::pin!(answered);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut answered => answer,
        // The answer may have come with the end.
        _ = &mut connection => answered.await,
    }
}
