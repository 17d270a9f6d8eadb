//! TLS that is looked into: ended here with a certificate of the sandbox's own authority, and begun anew to the server.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Gateway;
use crate::connection::Target;
use crate::http;
use crate::upstream::NoWay;

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves a connection whose first message, `said`, was judged.
pub(crate) async fn serve(gateway: Rc<Gateway>, stream: TcpStream, said: Vec<u8>, target: Target) {
    let server = gateway.authority.as_ref().and_then(|authority| authority.server(&target.host()).ok());
    let Some(server) = server else { return };
    let replayed = Replayed { said, at: 0, stream };
    // A client that does not trust the authority ends it here.
    let Ok(Ok(stream)) = timeout(PATIENCE, TlsAcceptor::from(server).accept(replayed)).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    http::serve_inspected(gateway, stream, target, http2).await;
}

/// TLS to the server itself, verified; whether HTTP/2 is spoken there.
pub(crate) async fn connect(
    gateway: &Gateway,
    stream: TcpStream,
    target: &Target,
    http2: bool,
) -> Result<(ClientStream<TcpStream>, bool), NoWay> {
    let failed = |why: &str| NoWay::Failed(why.to_owned());
    let authority = gateway.authority.as_ref().ok_or_else(|| failed("there is no authority"))?;
    let name = ServerName::try_from(target.host()).map_err(|_| failed("the host has no name for TLS"))?;
    let shown = match gateway.credentials.as_ref() {
        Some(held) => held.shown(target).await.map_err(|why| failed(&format!("the certificate: {why}")))?,
        None => None,
    };
    let (number, shown) = shown.unzip();
    let client = TlsConnector::from(authority.client(http2, shown));
    let connected = timeout(PATIENCE, client.connect(name, stream)).await;
    let stream = match connected.map_err(|_| failed("the server does not end its handshake in time"))? {
        Ok(stream) => stream,
        Err(error) => {
            let why = format!("TLS with the server failed: {error}");
            if let (Some(held), Some(number)) = (&gateway.credentials, number) {
                held.vault.doubt(number);
            }
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            let unverified = matches!(cause, Some(rustls::Error::InvalidCertificate(_)));
            return Err(if unverified { NoWay::Unverified(why) } else { NoWay::Failed(why) });
        }
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((stream, http2))
}

/// A stream of which something was read already.
struct Replayed {
    said: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let own = &mut *self;
        let left = own.said.get(own.at..).unwrap_or_default();
        if left.is_empty() {
            own.said = Vec::new();
            return Pin::new(&mut own.stream).poll_read(context, buffer);
        }
        let length = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..length).unwrap_or_default());
        own.at += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
