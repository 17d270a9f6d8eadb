//! The container engine that the task sees: each request is read, judged, written down and asked anew; the engine's own socket is not in the
//! sandbox.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_policy::{Asked, Body, EngineRequest, EngineRules, Subject, judge_container, judge_engine};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::Gateway;
use crate::body::{self, Carried};
use crate::rewrite::leave_connection;

/// Bytes of what describes a container, and of the answer to that.
const DESCRIBED: usize = 1 << 20;
/// Bytes and fields of a head, and how long it may take.
const HEAD: usize = 64 << 10;
const FIELDS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);
/// Containers and starts of programs that one sandbox makes.
const MOST: usize = 4096;
/// Digits of an id.
const ID: usize = 64;

/// What the sandbox has made there.
#[derive(Debug, Default)]
struct Made {
    containers: HashSet<String>,
    /// Their names, and whose they are.
    names: HashMap<String, String>,
    execs: HashSet<String>,
}

impl Made {
    /// The whole id of a container of the sandbox's own, by that, its beginning or its name.
    fn container(&self, name: &str) -> Option<&str> {
        if let Some(id) = self.names.get(name).or_else(|| self.containers.get(name)) {
            return Some(id);
        }
        let mut begins = self.containers.iter().filter(|id| name.len() >= 4 && id.starts_with(name));
        begins.next().filter(|_| begins.next().is_none()).map(String::as_str)
    }
}

struct Broker {
    gateway: Rc<Gateway>,
    rules: EngineRules,
    made: RefCell<Made>,
}

/// Takes connections to it.
pub(crate) async fn serve(rules: EngineRules, listener: OwnedFd, gateway: Rc<Gateway>, room: Arc<Semaphore>) {
    let Ok(listener) = UnixListener::from_std(StdListener::from(listener)) else { return };
    let broker = Rc::new(Broker { gateway, rules, made: RefCell::default() });
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let broker = Rc::clone(&broker);
                tokio::task::spawn_local(async move {
                    broker.converse(stream).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Why there is no answer of the engine's.
enum Unasked {
    /// The rules.
    Refused(String),
    /// It does not answer, or not so that this could be carried.
    Failed(String),
}

impl Broker {
    async fn converse(self: Rc<Self>, stream: UnixStream) {
        let own = Rc::clone(&self);
        let service = service_fn(move |request| {
            let broker = Rc::clone(&own);
            async move { Ok::<_, Infallible>(broker.answer(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD).max_headers(FIELDS);
        let served = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        if served.is_err_and(|error| error.is_parse()) {
            self.told("", "what is said is no HTTP".to_owned()).await;
        }
    }

    async fn told(&self, request: &str, rule: String) {
        self.gateway.refusals.engine(request.to_owned(), rule).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Carried> {
        let path = request.uri().path().chars().take(256).collect::<String>();
        let line = format!("{} {path}", request.method());
        match self.ask(request, &line).await {
            Ok(response) => response,
            Err(Unasked::Refused(why)) => {
                self.told(&line, why.clone()).await;
                problem(
                    StatusCode::FORBIDDEN,
                    &format!("refused by the policy of this sandbox: {line}: {why}"),
                )
            }
            Err(Unasked::Failed(why)) => problem(StatusCode::BAD_GATEWAY, &why),
        }
    }

    async fn ask(&self, mut request: Request<Incoming>, line: &str) -> Result<Response<Carried>, Unasked> {
        let target = request.uri().to_string();
        let asked = Asked { method: request.method().as_str(), target: &target };
        let owns = |name: &str| self.made.borrow().container(name).is_some();
        let judged = judge_engine(&self.rules, &asked, owns).map_err(Unasked::Refused)?;
        let target = self.target(&judged)?;
        let stream = judged.stream && upgrades(&request);
        let task = stream.then(|| hyper::upgrade::on(&mut request));
        let method = request.method().clone();
        let (body, about, kind) = self.body(&judged, request.into_body()).await?;
        // What begins or changes something is told as what it is about; on disk before it is done.
        self.told(&format!("{line}{about}"), String::new()).await;
        let mut asked = Request::builder().method(method).uri(target).header(header::HOST, "docker");
        asked = asked.header(header::USER_AGENT, "ringfence");
        if let Some(kind) = kind {
            asked = asked.header(header::CONTENT_TYPE, kind);
        }
        if stream {
            asked = asked.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        }
        let asked = asked.body(body).map_err(|error| Unasked::Failed(error.to_string()))?;
        let response = self.send(asked).await?;
        match (response.status(), task) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(task)) => Ok(switched(response, task)),
            (StatusCode::SWITCHING_PROTOCOLS, None) => {
                Err(Unasked::Failed("the engine speaks another protocol".to_owned()))
            }
            (StatusCode::CREATED, _) if matches!(judged.body, Body::Create | Body::Exec) => {
                self.keep(&judged, response).await
            }
            _ => {
                let mut response = response;
                leave_connection(response.headers_mut());
                Ok(response.map(body::plain))
            }
        }
    }

    /// Where it goes: ids in full, parameters written anew.
    fn target(&self, judged: &EngineRequest) -> Result<String, Unasked> {
        let made = self.made.borrow();
        let id = match &judged.subject {
            Subject::None => "",
            Subject::Container(name) => made.container(name).unwrap_or_default(),
            Subject::Exec(id) => made.execs.get(id).map(String::as_str).ok_or_else(|| {
                Unasked::Refused("it is about a program that this sandbox did not start".to_owned())
            })?,
        };
        let mut target = format!("{}{}{id}{}", judged.version, judged.path.0, judged.path.1);
        for (number, (name, value)) in judged.query.iter().enumerate() {
            target.push(if number == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            for byte in value.bytes() {
                match byte {
                    byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                        target.push(char::from(byte));
                    }
                    byte => target.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        Ok(target)
    }

    /// What it carries, what that is about, and its kind.
    async fn body(
        &self,
        judged: &EngineRequest,
        own: Incoming,
    ) -> Result<(Carried, String, Option<&'static str>), Unasked> {
        match judged.body {
            // Whatever came is not sent: an engine might take it for parameters.
            Body::None => Ok((body::whole(Bytes::new()), about(judged), None)),
            Body::Archive => Ok((body::plain(own), about(judged), Some("application/x-tar"))),
            Body::Create | Body::Exec | Body::Start => {
                let whole = Limited::new(own, DESCRIBED).collect().await;
                let whole =
                    whole.map_err(|_| Unasked::Refused("its body is too long, or was cut".to_owned()))?;
                let (text, more) =
                    judge_container(&self.rules, judged.body, &whole.to_bytes()).map_err(Unasked::Refused)?;
                let made = self.made.borrow();
                if made.containers.len().max(made.execs.len()) >= MOST {
                    return Err(Unasked::Refused(format!("one sandbox makes no more than {MOST} of them")));
                }
                Ok((body::whole(Bytes::from(text)), about(judged) + &more, Some("application/json")))
            }
        }
    }

    async fn send(&self, request: Request<Carried>) -> Result<Response<Incoming>, Unasked> {
        let failed = |why: String| {
            Unasked::Failed(format!("the container engine at `{}`: {why}", self.rules.engine.display()))
        };
        let stream =
            UnixStream::connect(&self.rules.engine).await.map_err(|error| failed(error.to_string()))?;
        let mut client = hyper::client::conn::http1::Builder::new();
        client.max_buf_size(HEAD).max_headers(FIELDS);
        let (mut sender, connection) =
            client.handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        tokio::task::spawn_local(connection.with_upgrades());
        sender.send_request(request).await.map_err(|error| failed(error.to_string()))
    }

    /// Remembers what was made.
    async fn keep(
        &self,
        judged: &EngineRequest,
        response: Response<Incoming>,
    ) -> Result<Response<Carried>, Unasked> {
        let (mut head, own) = response.into_parts();
        let strange = || Unasked::Failed("the engine does not say what it made".to_owned());
        let whole = Limited::new(own, DESCRIBED).collect().await.map_err(|_| strange())?.to_bytes();
        let said: serde_json::Value = serde_json::from_slice(&whole).map_err(|_| strange())?;
        let id = said.get("Id").and_then(serde_json::Value::as_str).ok_or_else(strange)?;
        if id.len() != ID || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(strange());
        }
        let kept = self.gateway.credentials.as_ref().map(|held| held.vault.container(id));
        let mut made = self.made.borrow_mut();
        if judged.body == Body::Exec {
            made.execs.insert(id.to_owned());
        } else if !matches!(kept, Some(Ok(()))) {
            // It was never started, and cannot be.
            return Err(Unasked::Failed("nobody would end the container with this sandbox".to_owned()));
        } else {
            made.containers.insert(id.to_owned());
            if let Some((_, name)) = judged.query.iter().find(|(name, _)| name == "name") {
                made.names.insert(name.trim_start_matches('/').to_owned(), id.to_owned());
            }
        }
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers.remove(header::CONTENT_LENGTH);
        leave_connection(&mut head.headers);
        Ok(Response::from_parts(head, body::whole(whole)))
    }
}

/// For a record: the image that is fetched, the names that are given.
fn about(judged: &EngineRequest) -> String {
    let shown = |(name, value): &(String, String)| {
        let name = match name.as_str() {
            "fromImage" => "image",
            "t" | "name" => name,
            _ => return None,
        };
        Some(format!(" {name}={}", value.chars().take(256).collect::<String>()))
    };
    judged.query.iter().filter_map(shown).collect()
}

/// Does the client want the connection for a stream?
fn upgrades(request: &Request<Incoming>) -> bool {
    request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"tcp"))
}

/// From here on the connection is a stream.
fn switched(mut response: Response<Incoming>, task: OnUpgrade) -> Response<Carried> {
    let up = hyper::upgrade::on(&mut response);
    tokio::task::spawn_local(async move {
        if let (Ok(task), Ok(up)) = tokio::join!(task, up) {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(task), &mut TokioIo::new(up)).await;
        }
    });
    let mut own = Response::new(body::whole(Bytes::new()));
    *own.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("tcp")),
    ];
    own.headers_mut().extend(headers);
    own.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    own
}

/// As engines say it, so that clients show it.
fn problem(status: StatusCode, why: &str) -> Response<Carried> {
    let text = serde_json::json!({ "message": why });
    let mut response = Response::new(body::whole(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
