//! Asking SPIFFE's Workload API for an SVID over its unix socket, in the host's own world: what the keeper does for `source.spiffe`. Messages
//! of gRPC, written and read by hand (SPIFFE Workload API, sections 4 and 6; gRPC over HTTP/2; Protocol Buffers, encoding).

use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::handshake;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the longest answer.
const LONGEST: usize = 256 << 10;
/// Where answers come from; the host is none.
const JWT: &str = "http://localhost/SpiffeWorkloadAPI/FetchJWTSVID";
const X509: &str = "http://localhost/SpiffeWorkloadAPI/FetchX509SVID";

/// A JWT-SVID for these audiences: the one of this SPIFFE ID, or the first that there is.
///
/// # Errors
/// Why there is none.
pub fn jwt_svid(socket: &Path, audience: &[String], id: Option<&str>) -> Result<Zeroizing<Vec<u8>>, String> {
    let answer = asks(socket, JWT, &asked(audience, id))?;
    svid(&answer, id).ok_or_else(|| format!("`{}` gives no JWT-SVID of that SPIFFE ID", socket.display()))
}

/// An X.509-SVID, as PEM: its certificates and its key; of this SPIFFE ID, or the first that there is.
///
/// # Errors
/// Why there is none.
pub fn x509_svid(socket: &Path, id: Option<&str>) -> Result<Zeroizing<Vec<u8>>, String> {
    let answer = asks(socket, X509, &[])?;
    certificate(&answer, id)
        .ok_or_else(|| format!("`{}` gives no X.509-SVID of that SPIFFE ID", socket.display()))
}

/// The first message of the answer, behind the five bytes that gRPC has before it.
fn asks(socket: &Path, method: &str, question: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, fetch(socket, method, question)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        }
    })
}

async fn fetch(socket: &Path, method: &str, question: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("`{shown}`: {error}"))?;
    let failed = |error: hyper::Error| format!("`{shown}` speaks no gRPC: {error}");
    let (mut sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(method)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        // Without it, it might be a request that somebody else had this program make.
        .header("workload.spiffe.io", HeaderValue::from_static("true"))
        .body(Full::new(Bytes::from(framed(question))))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(failed)?;
    told(response.headers())?;
    if response.status() != 200 {
        return Err(format!("`{shown}` answers {}", response.status().as_u16()));
    }
    let mut own = Limited::new(response.into_body(), LONGEST);
    // Of certificates the API tells each that is new, and never ends: the first message is the answer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    while message(&bytes).is_none() {
        let frame = own.frame().await.transpose();
        let frame = frame.map_err(|_| format!("`{shown}`: its answer is too long, or breaks off"))?;
        match frame.map(hyper::body::Frame::into_data) {
            Some(Ok(data)) => bytes.extend_from_slice(&data),
            Some(Err(frame)) => frame.trailers_ref().map_or(Ok(()), told)?,
            None => return Err(format!("`{shown}`: its answer ends too soon")),
        }
    }
    connection.abort();
    Ok(bytes)
}

/// How the call ended (gRPC, status codes). The words that come with it are not repeated.
fn told(headers: &HeaderMap) -> Result<(), String> {
    let Some(status) = headers.get("grpc-status").and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    let why = match status {
        "0" => return Ok(()),
        "3" => "the question is not understood",
        "4" => "it took too long",
        "7" => "no identity is registered for ringfence, which asks",
        "12" => "it knows no SVIDs of this kind",
        "14" => "it is not ready",
        _ => return Err(format!("the Workload API refuses: status {status} of gRPC")),
    };
    Err(format!("the Workload API refuses: {why}"))
}

/// JWTSVIDRequest: `audience = 1`, `spiffe_id = 2`.
fn asked(audience: &[String], id: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = audience.iter().map(|text| (1_u8, text.as_str())).chain(id.map(|id| (2, id)));
    for (number, text) in fields {
        out.push(number << 3 | 2);
        let mut length = text.len();
        while length > 0x7f {
            out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// Not compressed, and how long.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// JWTSVIDResponse: `svids = 1`, each with `spiffe_id = 1`, `svid = 2`.
fn svid(answer: &[u8], id: Option<&str>) -> Option<Zeroizing<Vec<u8>>> {
    let token = field(own(answer, id)?, 2).next().filter(|token| !token.is_empty())?;
    Some(Zeroizing::new(token.to_vec()))
}

/// X509SVIDResponse: `svids = 1`, each with `spiffe_id = 1`, `x509_svid = 2`, `x509_svid_key = 3`.
fn certificate(answer: &[u8], id: Option<&str>) -> Option<Zeroizing<Vec<u8>>> {
    let own = own(answer, id)?;
    let chain = field(own, 2).next().filter(|chain| !chain.is_empty())?;
    crate::certificate::pem(chain, field(own, 3).next()?)
}

/// The identity that is meant.
fn own<'a>(answer: &'a [u8], id: Option<&str>) -> Option<&'a [u8]> {
    let of = |svid: &&[u8]| id.is_none_or(|id| field(svid, 1).next() == Some(id.as_bytes()));
    field(message(answer)?, 1).find(of)
}

/// The first message, once it is whole.
fn message(mut frame: &[u8]) -> Option<&[u8]> {
    if frame.len() < 5 || frame.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(frame.get_u32()).ok()?;
    frame.get(..length)
}

/// The fields of this number that have a length; none behind what cannot be read.
fn field(mut rest: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut rest)?;
            let value = match key & 7 {
                0 => {
                    varint(&mut rest)?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (own, behind) = rest.split_at_checked(value)?;
            rest = behind;
            if key == number << 3 | 2 {
                return Some(own);
            }
        }
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(first & 0x7f) << (7 * at).min(63);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read_as_the_standard_has_them() {
        let long = "a".repeat(300);
        let message = asked(&["x".to_owned(), long.clone()], Some("spiffe://a/b"));
        assert_eq!(&message[..3], b"\x0a\x01x");
        assert_eq!(&message[3..6], b"\x0a\xac\x02");
        let read: Vec<&[u8]> = field(&message, 1).collect();
        assert_eq!(read, [b"x", long.as_bytes()]);
        assert_eq!(field(&message, 2).next(), Some(&b"spiffe://a/b"[..]));

        let one = |id: &str, token: &str| {
            let own = [
                &[0x0a, u8::try_from(id.len()).unwrap()][..],
                id.as_bytes(),
                &[0x12, u8::try_from(token.len()).unwrap()],
                token.as_bytes(),
                b"\x1a\x01h",
            ]
            .concat();
            [&[0x0a, u8::try_from(own.len()).unwrap()], &own[..]].concat()
        };
        let answer = framed(
            &[one("spiffe://a/b", "first"), b"\x10\x05".to_vec(), one("spiffe://a/c", "second")].concat(),
        );
        let read = |id| svid(&answer, id).map(|token| String::from_utf8(token.to_vec()).unwrap());
        assert_eq!(read(None).unwrap(), "first");
        assert_eq!(read(Some("spiffe://a/c")).unwrap(), "second");
        assert_eq!(read(Some("spiffe://a/d")), None);
        // Whatever is cut off or changed is nothing, or another text.
        for length in 0..answer.len() {
            assert!(svid(&answer[..length], None).is_none(), "{length}");
            let mut other = answer.clone();
            other[length] ^= 0xff;
            let _ = svid(&other, Some("spiffe://a/c"));
        }
        assert!(varint(&mut &[0xff; 11][..]).is_none());
    }
}
