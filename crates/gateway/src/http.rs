//! HTTP on a connection: every request is parsed, held against the name that was asked for, and written anew.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http1::Builder as Server;
use hyper::server::conn::http2::Builder as Server2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_leaks::Scanner;
use ringfence_policy::{HttpRequest, Leaks, Pass};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Gateway;
use crate::asked::{Asked, asked};
use crate::body::{self, Carried, Own, Seen};
use crate::connection::{Target, reset};
use crate::counted::{self, Cut};
use crate::credentials::{self, Denied, Used};
use crate::forward::Sender;
use crate::guard;
use crate::issued;
use crate::late::{method, refuse_late, tell_late};
use crate::overrides::{overrides, overrides_method};
use crate::resets::{Reset, Resets};
use crate::rewrite::{leave_connection, octets, rewritten};
use crate::search::{Search, Stop};
use crate::sigv4;
use crate::unpack::Unpacked;
use crate::upstream::NoWay;
use crate::websocket::{self, Tunnel};

/// Bytes of the head of one message, and fields in it.
pub(crate) const HEAD: usize = 64 << 10;
pub(crate) const FIELDS: usize = 200;
/// The same of HTTP/2, and requests at one time on one connection.
pub(crate) const HEAD_LIST: u32 = 64 << 10;
const STREAMS: u32 = 128;
/// How long a head may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long without a request a client may be waiting for a server that speaks first.
const QUIET: Duration = Duration::from_secs(5);

/// Serves requests until the client has no more, or says something that is no HTTP.
pub(crate) async fn serve(gateway: Rc<Gateway>, stream: TcpStream, target: Target, judged: bool) {
    let kind = Kind { judged, secure: false, multiplexed: false };
    let way = Rc::new(Way::new(gateway, target, kind));
    let own = Rc::clone(&way);
    let service = service_fn(move |request| {
        let way = Rc::clone(&own);
        async move { Ok::<_, Infallible>(way.answer(asked(request)).await) }
    });
    let server = server();
    let Ok(own) = rustix::io::fcntl_dupfd_cloexec(&stream, 3) else { return reset(&stream) };
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await
        && way.no_http(&error).await
    {
        let _ = rustix::net::sockopt::set_socket_linger(&own, Some(Duration::ZERO));
    }
    way.leave();
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
        async move { Ok::<_, Infallible>(way.answer(asked(request)).await) }
    });
    if http2 {
        let own = Rc::clone(&way);
        let stream = TokioIo::new(Resets::new(stream, move |reset| {
            let why = match reset {
                Reset::Malformed(code) => {
                    format!("a request by HTTP/2 is malformed, and was ended ({code})")
                }
                Reset::TooLarge => too_large("request"),
            };
            refuse_late((Rc::clone(&own.gateway), own.target.clone()), why);
        }));
        let mut server = Server2::new(Local);
        server.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEAD_LIST);
        let _ = server.serve_connection(stream, service).await;
    } else {
        let mut served = pin!(server().serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = match timeout(QUIET, &mut served).await {
            Ok(ended) => ended,
            Err(_) => {
                way.quiet().await;
                served.await
            }
        };
        if let Err(error) = ended {
            way.no_http(&error).await;
        }
    }
    way.leave();
    way.carry_tunnel().await;
}

/// Runs what hyper starts beside a connection.
#[derive(Clone, Copy)]
pub(crate) struct Local;

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
pub(crate) struct Kind {
    /// Rules bound what requests may be.
    pub(crate) judged: bool,
    /// It is TLS, and so is what goes on.
    pub(crate) secure: bool,
    /// HTTP/2: several requests at once.
    pub(crate) multiplexed: bool,
}

/// One connection of a client, and the one that its requests are sent on by.
pub(crate) struct Way {
    pub(crate) gateway: Rc<Gateway>,
    pub(crate) target: Target,
    pub(crate) kind: Kind,
    pub(crate) sender: Mutex<Option<Sender>>,
    /// What the connection has become.
    tunnel: RefCell<Option<Tunnel>>,
    /// Something was asked.
    heard: Cell<bool>,
    /// Another client may have the connection to the server after this one.
    pub(crate) lasting: Cell<bool>,
}

impl Way {
    fn new(gateway: Rc<Gateway>, target: Target, kind: Kind) -> Self {
        let (sender, tunnel) = (Mutex::new(None), RefCell::default());
        let held = gateway.credentials.as_ref().filter(|_| kind.secure);
        // One that was shown a certificate is its owner's.
        let lasting = Cell::new(held.is_none_or(|held| held.certified(&target).is_none()));
        Self { gateway, target, kind, sender, tunnel, heard: Cell::default(), lasting }
    }

    /// Tells of a client that has said nothing yet; those of HTTP's own port may only be early.
    async fn quiet(&self) {
        let target = &self.target;
        if !self.heard.get() && target.port != 443 {
            let why = "nothing is asked: where its server speaks first, it is no HTTP".to_owned();
            self.gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        }
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
        self.refused_as(StatusCode::FORBIDDEN, why).await
    }

    async fn refused_as(&self, status: StatusCode, why: &str) -> Response<Carried> {
        let target = &self.target;
        self.gateway.refusals.tell(&target.host(), target.port, why.to_owned(), target.source).await;
        problem(status, why)
    }

    /// Tells of a client that says something else; whether it does.
    async fn no_http(&self, error: &hyper::Error) -> bool {
        if error.is_parse() {
            let why = match error.is_parse_too_large() {
                true => too_large("request"),
                false => format!("what is said is no HTTP: {error}"),
            };
            let target = &self.target;
            self.gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        }
        error.is_parse()
    }

    async fn answer(&self, mut request: Request<Asked>) -> Response<Carried> {
        self.heard.set(true);
        // What is read at once may be longer than the bound of what reads it.
        let line = request.method().as_str().len() + request.uri().to_string().len();
        if line + octets(request.headers()) > HEAD || request.headers().len() > FIELDS {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return self.refused_as(status, &too_large("request")).await;
        }
        let (gateway, target) = (&self.gateway, &self.target);
        // What is refused is written down: not with a secret in it.
        let holds = match self.looked(&mut request).await {
            Ok(holds) => holds,
            Err(stop) => return self.stopped(stop, request.method().to_string()).await,
        };
        let judged = rewritten(request, target, self.kind.secure).and_then(|request| self.judge(request));
        let (mut request, pass) = match judged {
            Ok(judged) => judged,
            Err(_) if holds => {
                return self.refused("a rule that is not named here, for a secret is in the request").await;
            }
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
        if let Some((hit, action)) = seen.sent() {
            gateway.refusals.leak(&hit, target, line.clone(), action).await;
        }
        let cut = Cut::default();
        // What is sent twice would be counted once.
        if pass.as_ref().is_some_and(|pass| pass.budget.is_some()) {
            self.lasting.set(false);
        }
        let bounds = pass.clone().map(|pass| (Rc::clone(gateway), pass));
        let sent = self.send(request.map(|own| counted::bounded(own, bounds, &cut))).await;
        let large = |response: &Response<Incoming>| {
            octets(response.headers()) > HEAD || response.headers().len() > FIELDS
        };
        let sent = match sent {
            Ok(response) if large(&response) => Err(NoWay::Failed(too_large("server's answer"))),
            sent => sent,
        };
        let late = (Rc::clone(gateway), target.clone());
        if let Some((status, why)) = cut.take(move |(_, why)| refuse_late(late, why)) {
            return self.refused_as(status, &why).await;
        }
        let late = (Rc::clone(gateway), target.clone(), line.clone());
        // What must not leave ended the request.
        if let Some(stop) = seen.take(move |found| tell_late(late, found)) {
            return self.stopped(stop, line).await;
        }
        match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switched(response, task, pass, &used)
            }
            Ok(mut response) => {
                leave_connection(response.headers_mut());
                self.masked(response, used, line).await
            }
            Err(NoWay::Refused(why)) => self.refused(&why).await,
            Err(NoWay::Unverified(why)) => self.refused_as(StatusCode::BAD_GATEWAY, &why).await,
            Err(NoWay::Failed(why)) => {
                gateway.refusals.failed(target, why.clone()).await;
                problem(StatusCode::BAD_GATEWAY, &why)
            }
        }
    }

    /// The server speaks something else from here on: what was asked for, or nothing.
    fn switched(
        &self,
        mut response: Response<Incoming>,
        task: Option<OnUpgrade>,
        pass: Option<Pass>,
        used: &Used,
    ) -> Response<Carried> {
        let (Some(task), Some(pass), true) = (task, pass, websocket::wants(response.headers())) else {
            return problem(StatusCode::BAD_GATEWAY, "the server speaks another protocol");
        };
        let up = hyper::upgrade::on(&mut response);
        *self.tunnel.borrow_mut() = Some(Tunnel { task, up, pass });
        leave_connection(response.headers_mut());
        websocket::announce(response.headers_mut());
        let (mut head, own) = response.into_parts();
        used.mask.head(&mut head);
        Response::from_parts(head, body::plain(own))
    }

    /// The scanner, where what leaves is looked through.
    fn watch(&self) -> Result<Option<(Rc<Scanner>, Leaks)>, Stop> {
        let Some(guard) = &self.gateway.guard else { return Ok(None) };
        let scanner = guard.scanner(self.gateway.credentials.as_deref());
        Ok(Some((scanner.ok_or_else(|| Stop::Leak(guard::unable()))?, guard.action)))
    }

    /// The head of a request as it came: whether a secret is in it that is only told of; one that may not be there is an error.
    async fn looked(&self, request: &mut Request<Asked>) -> Result<bool, Stop> {
        let Some((scanner, action)) = self.watch()? else { return Ok(false) };
        let credentials = self.gateway.credentials.as_deref();
        if action == Leaks::Mask {
            if let Some(hit) = guard::mask(&scanner, credentials, request).map_err(Stop::Leak)? {
                let line = method(request.method().as_str());
                self.gateway.refusals.leak(&hit, &self.target, line, action).await;
            }
            return Ok(false);
        }
        match guard::head(&scanner, credentials, request) {
            Some((hit, _)) if action == Leaks::Block => Err(Stop::Leak(hit)),
            hit => Ok(hit.is_some()),
        }
    }

    /// The request with the secrets that belong on it, and nothing else of them in it.
    async fn with_secrets(
        &self,
        request: Request<Asked>,
        seen: &Seen,
    ) -> Result<(Request<Carried>, Used), Stop> {
        let (gateway, target) = (&self.gateway, &self.target);
        let credentials = gateway.credentials.as_deref();
        let watch = self.watch()?;
        if let Some((scanner, action)) = &watch
            && let Some((hit, path)) = guard::head(scanner, credentials, &request)
        {
            if *action != Leaks::Warn {
                return Err(Stop::Leak(hit));
            }
            let line = if path { method(request.method().as_str()) } else { credentials::line(&request) };
            gateway.refusals.leak(&hit, target, line, *action).await;
        }
        let (head, mut own) = request.into_parts();
        let mut head = Request::from_parts(head, ());
        if let Some(held) = credentials {
            if !own.is_end_stream()
                && let Err(denied) = held.bodied(head.method(), target)
                && !own.is_nothing().await
            {
                return Err(Stop::Credential(denied));
            }
            held.pushes(&head, &mut own, target).await.map_err(Stop::Credential)?;
        }
        let mut own = Own::Coming(own);
        let told = head.headers().get_all(header::CONTENT_ENCODING).iter();
        let told: Vec<&str> = told.map(|value| value.to_str().unwrap_or("?")).collect();
        let mut search = Search::new(credentials, watch, &told.join(","));
        let mut used = Used::default();
        if let Some(held) = credentials {
            let (mut payload, mut room) = (None, None);
            if let Some((place, name)) = held.body_first(&head, target).await {
                let denied = |rule| Stop::Credential(Denied { credential: name.to_owned(), rule });
                let mut whole = own.collected(credentials::LONGEST_BODY).await.map_err(denied)?;
                // What is signed is what is sent.
                if let Some(search) = search.take() {
                    whole = body::looked(whole, search, seen)?;
                }
                (payload, room) = (Some(sigv4::hash(&whole)), Some(place));
                own = Own::Whole(whole);
            }
            let applied = held.apply(gateway, &mut head, target, self.kind.secure, payload.as_deref()).await;
            used = applied.map_err(Stop::Credential)?.in_room(room);
        }
        let (head, ()) = head.into_parts();
        let own = match search {
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
                refusals.leak(&hit, &self.target, method(&line), Leaks::Block).await;
                format!(
                    "{}, {}, is in the request, and `[leaks]` of the policy lets it go nowhere",
                    hit.name, hit.way
                )
            }
        };
        problem(StatusCode::FORBIDDEN, &why)
    }

    /// The answer without the secrets that were on the request.
    async fn masked(&self, response: Response<Incoming>, used: Used, line: String) -> Response<Carried> {
        let Some(credentials) = self.gateway.credentials.as_ref() else {
            return response.map(body::plain);
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            used.refused(credentials);
            let realm = credentials.other_realm(&self.target, response.headers());
            if let Some(denied) = realm.filter(|_| self.kind.secure) {
                return self.stopped(Stop::Credential(denied), line).await;
            }
        }
        let (mut head, own) = response.into_parts();
        let told = |name| {
            let words = head.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?").trim());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            (!words.is_empty()).then(|| words.join(",").to_ascii_lowercase())
        };
        let encoding = told(header::CONTENT_ENCODING);
        if let Some(word) =
            told(header::TRANSFER_ENCODING).filter(|word| word != "chunked" && !used.is_empty())
        {
            let why = format!("the server answers by `Transfer-Encoding: {word}`, which was not asked for");
            return problem(StatusCode::BAD_GATEWAY, &why);
        }
        let mut packed = None;
        if let Some(word) =
            encoding.filter(|_| !used.is_empty()).filter(|word| !["", "identity"].contains(&word.as_str()))
        {
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
        used.mask.head(&mut head);
        if let Some(number) = used.issues.filter(|_| issued::looked_into(&head, &own)) {
            return match credentials.issued.answer(&credentials.vault, number, own, (used.mask, packed)).await
            {
                Ok(body) => {
                    head.headers.remove(header::CONTENT_LENGTH);
                    Response::from_parts(head, body)
                }
                Err(why) => problem(StatusCode::BAD_GATEWAY, &why),
            };
        }
        if used.mask.is_empty() {
            return Response::from_parts(head, body::plain(own));
        }
        Response::from_parts(head, body::masked(own, used.mask, packed))
    }

    /// Holds a request against the rules of its host, and sends on the very path that was judged; with what bounds its body.
    fn judge(&self, mut request: Request<Asked>) -> Result<(Request<Asked>, Option<Pass>), String> {
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
        if request.method() == Method::POST && request.uri().query().is_some_and(overrides_method) {
            return Err(
                "`_method` in the query asks for another method than the one that was judged".to_owned()
            );
        }
        // Fields behind the body would come after the judgement; only those that were announced are sent.
        request.headers_mut().remove(header::TRAILER);
        let headers = request.headers();
        let target = request.uri().to_string();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let of =
            HttpRequest { method: request.method().as_str(), target: target.as_bytes(), length, websocket };
        let pass = self.gateway.judge.borrow().request(&self.target.peer(), self.target.port, &of)?;
        // The head counts as it came, which is about what is sent.
        let head = of.method.len() + target.len() + octets(headers);
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
}

/// Of a request, or an answer.
pub(crate) fn too_large(whose: &str) -> String {
    format!("the head of the {whose} is larger than {HEAD} bytes, or has more than {FIELDS} fields")
}

/// An answer of the gateway's own (RFC 9457).
fn problem(status: StatusCode, why: &str) -> Response<Carried> {
    let (title, again) = match status {
        StatusCode::FORBIDDEN => (
            "refused by the policy of this sandbox",
            "asking again will not help, unless its owner changes something",
        ),
        StatusCode::BAD_GATEWAY => ("no answer from the server", "asking again may help"),
        _ => ("the request cannot be carried", "asking again in the same way will not help"),
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
