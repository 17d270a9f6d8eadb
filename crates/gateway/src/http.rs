//! HTTP on a connection: every request is parsed, held against the name that was asked for, and written anew.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder as Client, SendRequest};
use hyper::client::conn::http2::{Builder as Client2, SendRequest as SendRequest2};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http1::Builder as Server;
use hyper::server::conn::http2::Builder as Server2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_policy::{HttpRequest, Leaks, Pass};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Gateway;
use crate::body::{self, Carried, Own, Seen};
use crate::connection::{Target, reset};
use crate::counted::{self, Cut};
use crate::credentials::{self, Denied, Used};
use crate::guard;
use crate::inspect;
use crate::late::{refuse_late, tell_late};
use crate::overrides::overrides;
use crate::search::{Search, Stop};
use crate::sigv4;
use crate::unpack::Unpacked;
use crate::upstream::{self, NoWay};
use crate::websocket::{self, Tunnel};

/// Bytes of the head of one message, and fields in it.
const HEAD: usize = 64 << 10;
const FIELDS: usize = 200;
/// The same of HTTP/2, and requests at one time on one connection.
const HEAD_LIST: u32 = 64 << 10;
const STREAMS: u32 = 128;
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

/// Serves requests until the client has no more, or says something that is no HTTP.
pub(crate) async fn serve(gateway: Rc<Gateway>, stream: TcpStream, target: Target, judged: bool) {
    let kind = Kind { judged, secure: false, multiplexed: false };
    let way = Rc::new(Way::new(gateway, target, kind));
    let own = Rc::clone(&way);
    let service = service_fn(move |request| {
        let way = Rc::clone(&own);
        async move { Ok::<_, Infallible>(way.answer(request).await) }
    });
    let server = server();
    let Ok(own) = rustix::io::fcntl_dupfd_cloexec(&stream, 3) else { return reset(&stream) };
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await
        && way.no_http(&error).await
    {
        let _ = rustix::net::sockopt::set_socket_linger(&own, Some(Duration::ZERO));
    }
    way.carry_tunnel().await;
}

fn server() -> Server {
    let mut server = Server::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD).max_headers(FIELDS);
    server.preserve_header_case(true).auto_date_header(false).half_close(true);
    server
}

/// The same within TLS that was ended here.
pub(crate) async fn serve_inspected<S>(gateway: Rc<Gateway>, stream: S, target: Target, http2: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let kind = Kind { judged: true, secure: true, multiplexed: http2 };
    let way = Rc::new(Way::new(gateway, target, kind));
    let own = Rc::clone(&way);
    let service = service_fn(move |request| {
        let way = Rc::clone(&own);
        async move { Ok::<_, Infallible>(way.answer(request).await) }
    });
    let stream = TokioIo::new(stream);
    if http2 {
        let mut server = Server2::new(Local);
        server.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEAD_LIST);
        let _ = server.serve_connection(stream, service).await;
    } else if let Err(error) = server().serve_connection(stream, service).with_upgrades().await {
        way.no_http(&error).await;
    }
    way.carry_tunnel().await;
}

/// Runs what hyper starts beside a connection.
#[derive(Clone, Copy)]
struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// How a client's connection is.
#[derive(Clone, Copy)]
struct Kind {
    /// Rules bound what requests may be.
    judged: bool,
    /// It is TLS, and so is what goes on.
    secure: bool,
    /// HTTP/2: several requests at once.
    multiplexed: bool,
}

/// A connection to the server.
enum Sender {
    One(SendRequest<Carried>),
    Two(SendRequest2<Carried>),
}

/// One connection of a client, and the one that its requests are sent on by.
struct Way {
    gateway: Rc<Gateway>,
    target: Target,
    kind: Kind,
    sender: Mutex<Option<Sender>>,
    /// What the connection has become.
    tunnel: RefCell<Option<Tunnel>>,
}

impl Way {
    fn new(gateway: Rc<Gateway>, target: Target, kind: Kind) -> Self {
        Self { gateway, target, kind, sender: Mutex::new(None), tunnel: RefCell::default() }
    }

    /// To its end, if it has become one.
    async fn carry_tunnel(&self) {
        let tunnel = self.tunnel.borrow_mut().take();
        let Some(tunnel) = tunnel else { return };
        if let Some(why) = tunnel.carry(&self.gateway).await {
            let target = &self.target;
            self.gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        }
    }

    /// Written down, and answered so.
    async fn refused(&self, why: &str) -> Response<Carried> {
        let target = &self.target;
        self.gateway.refusals.tell(&target.host(), target.port, why.to_owned(), target.source).await;
        problem(StatusCode::FORBIDDEN, why)
    }

    /// Tells of a client that says something else; whether it does.
    async fn no_http(&self, error: &hyper::Error) -> bool {
        if error.is_parse() {
            let why = format!("what is said is no HTTP: {error}");
            let target = &self.target;
            self.gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        }
        error.is_parse()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Carried> {
        let (gateway, target) = (&self.gateway, &self.target);
        let judged = rewritten(request, target, self.kind.secure).and_then(|request| self.judge(request));
        let (mut request, pass) = match judged {
            Ok(judged) => judged,
            Err(why) => return self.refused(&why).await,
        };
        let task = websocket::wants(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let (line, seen) = (credentials::line(&request), Seen::default());
        let (request, used) = match self.with_secrets(request, &seen).await {
            Ok(request) => request,
            Err(stop) => return self.stopped(stop, line).await,
        };
        if task.is_some() && (!used.is_empty() || gateway.guard.is_some()) {
            // What passes on it could not be looked through for secrets.
            let why = "a WebSocket is not carried where a secret is put on its request, or what leaves is looked through";
            return self.refused(why).await;
        }
        if let Some(hit) = seen.warned() {
            gateway.refusals.leak(&hit, target, line.clone(), true).await;
        }
        let cut = Cut::default();
        let bounds = pass.clone().map(|pass| (Rc::clone(gateway), pass));
        let sent = self.send(request.map(|own| counted::bounded(own, bounds, &cut))).await;
        let late = (Rc::clone(gateway), target.clone());
        if let Some(why) = cut.take(move |why| refuse_late(late, why)) {
            return self.refused(&why).await;
        }
        let late = (Rc::clone(gateway), target.clone(), line.clone());
        // What must not leave ended the request.
        if let Some(stop) = seen.take(move |found| tell_late(late, found)) {
            return self.stopped(stop, line).await;
        }
        match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switched(response, task, pass)
            }
            Ok(mut response) => {
                leave_connection(response.headers_mut());
                self.masked(response, used)
            }
            Err(NoWay::Refused(why)) => self.refused(&why).await,
            Err(NoWay::Failed(why)) => problem(StatusCode::BAD_GATEWAY, &why),
        }
    }

    /// The server speaks something else from here on: what was asked for, or nothing.
    fn switched(
        &self,
        mut response: Response<Incoming>,
        task: Option<OnUpgrade>,
        pass: Option<Pass>,
    ) -> Response<Carried> {
        let (Some(task), Some(pass), true) = (task, pass, websocket::wants(response.headers())) else {
            return problem(StatusCode::BAD_GATEWAY, "the server speaks another protocol");
        };
        let up = hyper::upgrade::on(&mut response);
        *self.tunnel.borrow_mut() = Some(Tunnel { task, up, pass });
        leave_connection(response.headers_mut());
        websocket::announce(response.headers_mut());
        response.map(body::plain)
    }

    /// The request with the secrets that belong on it, and nothing else of them in it.
    async fn with_secrets(
        &self,
        request: Request<Incoming>,
        seen: &Seen,
    ) -> Result<(Request<Carried>, Used), Stop> {
        let (gateway, target) = (&self.gateway, &self.target);
        let credentials = gateway.credentials.as_deref();
        let watch =
            gateway.guard.as_ref().and_then(|guard| Some((guard.scanner(credentials)?, guard.action)));
        if let Some((scanner, action)) = &watch
            && let Some((hit, path)) = guard::head(scanner, credentials, &request)
        {
            if *action == Leaks::Block {
                return Err(Stop::Leak(hit));
            }
            let line = if path { request.method().to_string() } else { credentials::line(&request) };
            gateway.refusals.leak(&hit, target, line, true).await;
        }
        let (head, own) = request.into_parts();
        let (mut head, mut own) = (Request::from_parts(head, ()), Own::Coming(own));
        let mut used = Used::default();
        if let Some(held) = credentials {
            let (mut payload, mut room) = (None, None);
            if let Some((place, name)) = held.body_first(&head, target).await {
                let denied = |rule| Stop::Credential(Denied { credential: name.to_owned(), rule });
                let whole = own.collected(credentials::LONGEST_BODY).await.map_err(denied)?;
                (payload, room) = (Some(sigv4::hash(&whole)), Some(place));
                own = Own::Whole(whole);
            }
            let applied = held.apply(gateway, &mut head, target, self.kind.secure, payload.as_deref()).await;
            used = applied.map_err(Stop::Credential)?.in_room(room);
        }
        let (head, ()) = head.into_parts();
        let encoding = head.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let own = match Search::new(credentials, watch, encoding) {
            Some(search) => body::searched(own, search, seen).await?,
            None => own.plain(),
        };
        Ok((Request::from_parts(head, own), used))
    }

    async fn stopped(&self, stop: Stop, line: String) -> Response<Carried> {
        let refusals = &self.gateway.refusals;
        let why = match stop {
            Stop::Credential(Denied { credential, rule }) => {
                let why = format!("{line}: the credential `{credential}`: {rule}");
                refusals.credential(&credential, &self.target, line, rule, 1).await;
                why
            }
            Stop::Leak(hit) => {
                // The path may hold it.
                let method = line.split(' ').next().unwrap_or_default().to_owned();
                refusals.leak(&hit, &self.target, method, false).await;
                format!(
                    "{}, {}, is in the request, and `[leaks]` of the policy lets it go nowhere",
                    hit.name, hit.way
                )
            }
        };
        problem(StatusCode::FORBIDDEN, &why)
    }

    /// The answer without the secrets that were on the request.
    fn masked(&self, response: Response<Incoming>, used: Used) -> Response<Carried> {
        let Some(credentials) = self.gateway.credentials.as_ref().filter(|_| !used.is_empty()) else {
            return response.map(body::plain);
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            used.refused(credentials);
        }
        let (mut head, own) = response.into_parts();
        let encoding = head.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let encoding = encoding.map(|word| word.trim().to_ascii_lowercase());
        let mut packed = None;
        if let Some(word) = encoding.filter(|word| !["", "identity"].contains(&word.as_str())) {
            packed = Unpacked::of(&word);
            if packed.is_none() {
                let why = format!(
                    "the server answers by `Content-Encoding: {word}`, which was not asked for: a secret in it could not be masked"
                );
                return problem(StatusCode::BAD_GATEWAY, &why);
            }
            head.headers.remove(header::CONTENT_ENCODING);
            head.headers.remove(header::CONTENT_LENGTH);
        }
        used.mask.headers(&mut head.headers);
        Response::from_parts(head, body::masked(own, used.mask, packed))
    }

    async fn send(&self, mut request: Request<Carried>) -> Result<Response<Incoming>, NoWay> {
        let ended = |_| NoWay::Failed("the server ended the connection without an answer".to_owned());
        let mut kept = self.sender.lock().await;
        let open = match kept.as_mut() {
            Some(Sender::One(open)) => open.ready().await.is_ok(),
            Some(Sender::Two(open)) => open.ready().await.is_ok(),
            None => false,
        };
        if !open {
            *kept = Some(self.connect().await?);
        }
        match kept.take() {
            Some(Sender::Two(open)) => {
                let mut own = open.clone();
                *kept = Some(Sender::Two(open));
                drop(kept);
                absolute(&mut request, &self.target);
                own.send_request(request).await.map_err(ended)
            }
            // Others of the same client do not wait for its answer: they get connections of their own.
            Some(Sender::One(mut open)) if self.kind.multiplexed => {
                drop(kept);
                open.send_request(request).await.map_err(ended)
            }
            Some(Sender::One(mut open)) => {
                let answer = open.send_request(request).await.map_err(ended)?;
                *kept = Some(Sender::One(open));
                Ok(answer)
            }
            None => Err(NoWay::Failed("the server cannot be reached".to_owned())),
        }
    }

    /// Holds a request against the rules of its host, and sends on the very path that was judged; with what bounds its body.
    fn judge(&self, mut request: Request<Incoming>) -> Result<(Request<Incoming>, Option<Pass>), String> {
        let websocket = websocket::wants(request.headers());
        if !self.kind.judged {
            return match websocket {
                true => Err("a WebSocket needs a rule with `websocket = true`".to_owned()),
                false => Ok((request, None)),
            };
        }
        if let Some((name, what)) = request.headers().keys().find_map(overrides) {
            return Err(format!("the header `{name}` asks for another {what} than the one that was judged"));
        }
        // Fields behind the body would come after the judgement; only those that were announced are sent.
        request.headers_mut().remove(header::TRAILER);
        let headers = request.headers();
        let target = request.uri().to_string();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked =
            HttpRequest { method: request.method().as_str(), target: target.as_bytes(), length, websocket };
        let pass = self.gateway.judge.borrow().request(&self.target.peer(), self.target.port, &asked)?;
        // The head counts as it came, which is about what is sent.
        let head = asked.method.len() + target.len() + octets(headers);
        if let Some(budget) = pass.budget.as_ref().filter(|budget| !self.gateway.spend(budget, head)) {
            return Err(budget.exceeded());
        }
        *request.uri_mut() = pass
            .path
            .target()
            .parse::<Uri>()
            .map_err(|_| "the target of the request cannot be read".to_owned())?;
        Ok((request, Some(pass)))
    }

    async fn connect(&self) -> Result<Sender, NoWay> {
        let failed = |_| NoWay::Failed("the server speaks no HTTP".to_owned());
        let stream = upstream::connect(&self.gateway, &self.target.peer(), self.target.port).await?;
        if !self.kind.secure {
            let (sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::task::spawn_local(connection.with_upgrades());
            return Ok(Sender::One(sender));
        }
        let (stream, http2) =
            inspect::connect(&self.gateway, stream, &self.target, self.kind.multiplexed).await?;
        if http2 {
            let mut client = Client2::new(Local);
            client.timer(TokioTimer::new()).max_header_list_size(HEAD_LIST);
            let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::task::spawn_local(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::task::spawn_local(connection.with_upgrades());
        Ok(Sender::One(sender))
    }
}

fn client() -> Client {
    let mut client = Client::new();
    client.max_buf_size(HEAD).max_headers(FIELDS).preserve_header_case(true);
    client
}

/// For HTTP/2 the host is part of the target (RFC 9113, section 8.3.1).
fn absolute(request: &mut Request<Carried>, target: &Target) {
    let host = match (target.name.as_deref(), target.address) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
        (None, address) => address.to_string(),
    };
    let port = if target.port == 443 { String::new() } else { format!(":{}", target.port) };
    request.headers_mut().remove(header::HOST);
    if let Ok(uri) = format!("https://{host}{port}{}", request.uri()).parse() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// The request as it is sent on, or why it is not.
fn rewritten(
    mut request: Request<Incoming>,
    target: &Target,
    secure: bool,
) -> Result<Request<Incoming>, String> {
    if request.method() == Method::CONNECT {
        return Err("a tunnel within a connection is never allowed".to_owned());
    }
    let own = if secure { 443 } else { 80 };
    let named = |text: &[u8]| same(text, target, own);
    let other = |text: &[u8]| format!("the request names another host, `{}`", String::from_utf8_lossy(text));
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if named(host.as_bytes()) => {}
        (Some(host), None) => return Err(other(host.as_bytes())),
        // HTTP/2 has it in the target.
        (None, _) if authority.is_some() && request.version() == Version::HTTP_2 => {}
        (None, _) => return Err("the request names no host".to_owned()),
        (Some(_), Some(_)) => return Err("the request names several hosts".to_owned()),
    }
    if let Some(authority) = authority.as_ref().filter(|authority| !named(authority.as_bytes())) {
        return Err(other(authority.as_bytes()));
    }
    let scheme = if secure { "https" } else { "http" };
    if request.uri().scheme_str().is_some_and(|written| written != scheme) {
        return Err(format!("the request is for another scheme than `{scheme}`"));
    }
    let websocket = websocket::wants(request.headers());
    if websocket && (request.version() != Version::HTTP_11 || request.method() != Method::GET) {
        return Err("a WebSocket begins with GET by HTTP/1.1".to_owned());
    }
    // From here on it is for the server alone: in origin form, without what was said to the gateway.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() =
        path.parse::<Uri>().map_err(|_| "the target of the request cannot be read".to_owned())?;
    leave_connection(request.headers_mut());
    if websocket {
        websocket::announce(request.headers_mut());
    }
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

/// Is it the target's own name, or address, with its port or without one?
fn same(text: &[u8], target: &Target, usual: u16) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let text = match text.strip_suffix(&format!(":{}", target.port)) {
        Some(host) => host,
        None if target.port == usual => text,
        None => return false,
    };
    match &target.name {
        Some(name) => text.strip_suffix('.').unwrap_or(text).eq_ignore_ascii_case(name),
        None => text.trim_matches(['[', ']']).parse() == Ok(target.address),
    }
}

/// Bytes of fields, as HTTP/1.1 writes them.
pub(crate) fn octets(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
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
fn problem(status: StatusCode, why: &str) -> Response<Carried> {
    let (title, again) = match status {
        StatusCode::FORBIDDEN => ("refused by the policy of this sandbox", "asking again will not help"),
        _ => ("no answer from the server", "asking again may help"),
    };
    let text = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": why, "again": again,
    });
    let mut response = Response::new(body::whole(Bytes::from(format!("{text}\n"))));
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
            assert!(same(host.as_bytes(), &named, 80), "{host}");
        }
        for host in
            ["b.example", "a.example:8080", "xa.example", "a.example ", "", "a.example\0", "user@a.example"]
        {
            assert!(!same(host.as_bytes(), &named, 80), "{host}");
        }
        assert!(same(b"a.example:8080", &target(Some("a.example"), 8080), 80));
        assert!(!same(b"a.example", &target(Some("a.example"), 8080), 80));
        assert!(same(b"203.0.113.5", &target(None, 80), 80) && !same(b"a.example", &target(None, 80), 80));
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
