//! HTTP on a connection: every request is parsed, held against the name that was asked for, and written anew.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder as Client, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1::Builder as Server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_policy::HttpRequest;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Gateway;
use crate::connection::{Target, reset};
use crate::upstream::{self, NoWay};

/// Bytes of the head of one message, and fields in it.
const HEAD: usize = 64 << 10;
const FIELDS: usize = 200;
/// How long a head may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fields about one connection, which are not sent on (RFC 9110, section 7.6.1).
static OF_ONE_CONNECTION: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// Fields that make some servers take a request for one of another method.
static OVERRIDES: &[&str] = &["x-http-method", "x-http-method-override", "x-method-override"];

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Serves requests until the client has no more, or says something that is no HTTP.
pub(crate) async fn serve(gateway: Rc<Gateway>, stream: TcpStream, target: Target, judged: bool) {
    let way = Rc::new(Way { gateway, target, judged, sender: Mutex::new(None) });
    let own = Rc::clone(&way);
    let service = service_fn(move |request| {
        let way = Rc::clone(&own);
        async move { Ok::<_, Infallible>(way.answer(request).await) }
    });
    let mut server = Server::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD).max_headers(FIELDS);
    server.preserve_header_case(true).auto_date_header(false).half_close(true);
    let Ok(own) = rustix::io::fcntl_dupfd_cloexec(&stream, 3) else { return reset(&stream) };
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await
        && error.is_parse()
    {
        let why = format!("what is said is no HTTP: {error}");
        let target = &way.target;
        way.gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        let _ = rustix::net::sockopt::set_socket_linger(&own, Some(Duration::ZERO));
    }
}

/// One connection of a client, and the one that its requests are sent on by.
struct Way {
    gateway: Rc<Gateway>,
    target: Target,
    /// Rules bound what requests may be.
    judged: bool,
    sender: Mutex<Option<SendRequest<Incoming>>>,
}

impl Way {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (gateway, target) = (&self.gateway, &self.target);
        let rewritten = rewritten(request, target).and_then(|request| self.judge(request));
        let request = match rewritten {
            Ok(request) => request,
            Err(why) => {
                gateway.refusals.tell(&target.host(), target.port, why.clone(), target.source).await;
                return problem(StatusCode::FORBIDDEN, &why);
            }
        };
        let mut sender = self.sender.lock().await;
        if let Some(open) = sender.as_mut()
            && open.ready().await.is_err()
        {
            *sender = None;
        }
        if sender.is_none() {
            match self.connect().await {
                Ok(open) => *sender = Some(open),
                Err(NoWay::Refused(why)) => {
                    gateway.refusals.tell(&target.host(), target.port, why.clone(), target.source).await;
                    return problem(StatusCode::FORBIDDEN, &why);
                }
                Err(NoWay::Failed) => {
                    return problem(StatusCode::BAD_GATEWAY, "the server cannot be reached");
                }
            }
        }
        let Some(open) = sender.as_mut() else {
            return problem(StatusCode::BAD_GATEWAY, "the server cannot be reached");
        };
        match open.send_request(request).await {
            Ok(mut response) => {
                leave_connection(response.headers_mut());
                response.map(BodyExt::boxed_unsync)
            }
            Err(_) => {
                *sender = None;
                problem(StatusCode::BAD_GATEWAY, "the server ended the connection without an answer")
            }
        }
    }

    /// Holds a request against the rules of its host, and sends on the very path that was judged.
    fn judge(&self, mut request: Request<Incoming>) -> Result<Request<Incoming>, String> {
        if !self.judged {
            return Ok(request);
        }
        let headers = request.headers();
        if let Some(name) = OVERRIDES.iter().find(|name| headers.contains_key(**name)) {
            return Err(format!("the header `{name}` asks for another method than the one that was judged"));
        }
        let target = request.uri().to_string();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = HttpRequest {
            method: request.method().as_str(),
            target: target.as_bytes(),
            length,
            websocket: false,
        };
        let path = self.gateway.judge.request(&self.target.peer(), self.target.port, &asked)?;
        *request.uri_mut() = path
            .target()
            .parse::<Uri>()
            .map_err(|_| "the target of the request cannot be read".to_owned())?;
        Ok(request)
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, NoWay> {
        let stream = upstream::connect(&self.gateway, &self.target.peer(), self.target.port).await?;
        let mut client = Client::new();
        client.max_buf_size(HEAD).max_headers(FIELDS).preserve_header_case(true);
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(|_| NoWay::Failed)?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }
}

/// The request as it is sent on, or why it is not.
fn rewritten(mut request: Request<Incoming>, target: &Target) -> Result<Request<Incoming>, String> {
    if request.method() == Method::CONNECT {
        return Err("a tunnel within a connection is never allowed".to_owned());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes(),
        (None, _) => return Err("the request names no host".to_owned()),
        (Some(_), Some(_)) => return Err("the request names several hosts".to_owned()),
    };
    let named = |text: &[u8]| same(text, target);
    if !named(host) {
        let host = String::from_utf8_lossy(host).into_owned();
        return Err(format!("the request names another host, `{host}`"));
    }
    if let Some(authority) = request.uri().authority()
        && !named(authority.as_str().as_bytes())
    {
        return Err(format!("the request names another host, `{authority}`"));
    }
    if request.uri().scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err("the request is for another scheme than `http`".to_owned());
    }
    let mut upgrade = request.headers().get_all(header::UPGRADE).iter();
    if upgrade.any(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err("a WebSocket is not carried without TLS by this build".to_owned());
    }
    // From here on it is for the server alone: in origin form, without what was said to the gateway.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() =
        path.parse::<Uri>().map_err(|_| "the target of the request cannot be read".to_owned())?;
    leave_connection(request.headers_mut());
    *request.version_mut() = hyper::Version::HTTP_11;
    Ok(request)
}

/// Is it the target's own name, or address, with its port or without one?
fn same(text: &[u8], target: &Target) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let text = match text.strip_suffix(&format!(":{}", target.port)) {
        Some(host) => host,
        None if target.port == 80 => text,
        None => return false,
    };
    match &target.name {
        Some(name) => text.strip_suffix('.').unwrap_or(text).eq_ignore_ascii_case(name),
        None => text.trim_matches(['[', ']']).parse() == Ok(target.address),
    }
}

/// Removes what is about one connection, and what the sender says is.
fn leave_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // Whoever lists these wants to hide them from the server.
        .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION].contains(name))
        .collect();
    let trailers = headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(*name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// An answer of the gateway's own (RFC 9457).
fn problem(status: StatusCode, why: &str) -> Response<Body> {
    let (title, again) = match status {
        StatusCode::FORBIDDEN => ("refused by the policy of this sandbox", "asking again will not help"),
        _ => ("no answer from the server", "asking again may help"),
    };
    let text = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": why, "again": again,
    });
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: Option<&str>, port: u16) -> Target {
        Target { name: name.map(str::to_owned), address: "203.0.113.5".parse().unwrap(), port, source: 0 }
    }

    #[test]
    fn hosts_are_the_same_in_every_spelling() {
        let named = target(Some("a.example"), 80);
        for host in ["a.example", "A.Example", "a.example:80", "a.example."] {
            assert!(same(host.as_bytes(), &named), "{host}");
        }
        for host in
            ["b.example", "a.example:8080", "xa.example", "a.example ", "", "a.example\0", "user@a.example"]
        {
            assert!(!same(host.as_bytes(), &named), "{host}");
        }
        assert!(same(b"a.example:8080", &target(Some("a.example"), 8080)));
        assert!(!same(b"a.example", &target(Some("a.example"), 8080)));
        assert!(same(b"203.0.113.5", &target(None, 80)) && !same(b"a.example", &target(None, 80)));
    }

    #[test]
    fn what_is_about_a_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own, Host"),
            ("x-own", "1"),
            ("host", "a"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("accept", "y"),
        ] {
            headers
                .append(HeaderName::from_static(name.to_lowercase().leak()), HeaderValue::from_static(value));
        }
        leave_connection(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host", "te"]);
    }
}
