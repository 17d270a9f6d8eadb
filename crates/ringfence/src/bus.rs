//! A client of the D-Bus session bus, as much of one as asking a keyring needs (D-Bus Specification 0.42: wire format, SASL EXTERNAL).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the longest message that is read.
const LONGEST: usize = 1 << 20;
/// Messages that are nobody's answer, before the right one.
const OTHERS: usize = 64;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const ERROR_NAME: u8 = 4;

/// Where the session bus listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket in the file system.
    Path(PathBuf),
    /// A name that network namespaces have.
    Abstract(Vec<u8>),
}

/// Where the variables of the invoker say that it is: `DBUS_SESSION_BUS_ADDRESS`, or `bus` below `XDG_RUNTIME_DIR`.
pub(crate) fn address(variables: &BTreeMap<OsString, OsString>) -> Result<Address, String> {
    let get = |name: &str| variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
    if let Some(text) = get("DBUS_SESSION_BUS_ADDRESS") {
        let mut known = text.as_bytes().split(|byte| *byte == b';').filter_map(unix);
        return known.next().ok_or_else(|| {
            "`DBUS_SESSION_BUS_ADDRESS` names no unix socket, and ringfence asks at those alone".to_owned()
        });
    }
    let directory = get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    directory.map(|directory| Address::Path(directory.join("bus"))).ok_or_else(|| {
        "no session bus: neither `DBUS_SESSION_BUS_ADDRESS` nor `XDG_RUNTIME_DIR` is set; start ringfence in the desktop's session, or by `dbus-run-session`"
            .to_owned()
    })
}

/// `unix:path=..` or `unix:abstract=..`, with `%2f` for a byte.
fn unix(text: &[u8]) -> Option<Address> {
    let pairs = text.strip_prefix(b"unix:")?.split(|byte| *byte == b',');
    pairs.into_iter().find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at(at);
        let value = plain(value.get(1..)?)?;
        match name {
            b"path" => Some(Address::Path(PathBuf::from(OsString::from_vec(value)))).filter(absolute),
            b"abstract" => Some(Address::Abstract(value)),
            _ => None,
        }
    })
}

fn absolute(address: &Address) -> bool {
    matches!(address, Address::Path(path) if path.is_absolute())
}

fn plain(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        out.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = others;
    }
    Some(out)
}

/// A connection to it.
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
}

/// What a method is called on.
#[derive(Clone, Copy)]
pub(crate) struct Method<'a> {
    /// A name on the bus.
    pub(crate) service: &'a str,
    pub(crate) object: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) name: &'a str,
}

/// Why a call has no answer.
pub(crate) enum Failed {
    /// The service says so: the name of an error.
    Told(String),
    /// The bus is gone, or answers what is no D-Bus.
    Broken(String),
}

impl Bus {
    /// Connects as the user that this process is.
    pub(crate) fn reach(address: &Address) -> Result<Self, String> {
        let shown = match address {
            Address::Path(path) => path.display().to_string(),
            Address::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
        };
        let failed = |error: std::io::Error| format!("the session bus at `{shown}`: {error}");
        let stream = match address {
            Address::Path(path) => UnixStream::connect(path),
            Address::Abstract(name) => {
                SocketAddr::from_abstract_name(name).and_then(|at| UnixStream::connect_addr(&at))
            }
        };
        let stream = stream.map_err(failed)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(failed)?;
        let mut bus = Self { stream, serial: 0 };
        bus.introduce().map_err(failed)?.then_some(()).ok_or_else(|| {
            format!("the session bus at `{shown}` is another user's: start ringfence as whoever is logged in")
        })?;
        let hello = Method {
            service: "org.freedesktop.DBus",
            object: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "Hello",
        };
        bus.call(hello, "", &Out::default()).map_err(|failed| match failed {
            Failed::Told(name) => format!("the session bus at `{shown}`: {name}"),
            Failed::Broken(why) => why,
        })?;
        Ok(bus)
    }

    /// Says who asks; `false`: it is not believed.
    fn introduce(&mut self) -> std::io::Result<bool> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let digits: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > 512 {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
        }
        if !line.starts_with(b"OK ") {
            return Ok(false);
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        Ok(true)
    }

    /// Calls a method with these arguments, and waits for what it returns.
    pub(crate) fn call(
        &mut self,
        method: Method<'_>,
        signature: &str,
        arguments: &Out,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = written(self.serial, method, signature, arguments);
        let broken = |error: std::io::Error| {
            let late = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            Failed::Broken(match late {
                true => format!("it did not answer within {} s", PATIENCE.as_secs()),
                false => format!("the session bus: {error}"),
            })
        };
        self.stream.write_all(&message).map_err(broken)?;
        for _ in 0..OTHERS {
            let (kind, head, body) = self.message().map_err(broken)?;
            if !matches!(kind, RETURN | ERROR) || head.answers != self.serial {
                continue;
            }
            return match kind {
                RETURN => Ok(body),
                _ => Err(Failed::Told(head.error)),
            };
        }
        Err(Failed::Broken("the session bus tells everything but the answer".to_owned()))
    }

    fn message(&mut self) -> std::io::Result<(u8, Head, Zeroizing<Vec<u8>>)> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed)?;
        let mut reader = In::new(&fixed);
        // Whoever is on this machine writes numbers as this machine does.
        let read = || {
            let (order, kind, _, version) = (reader.byte()?, reader.byte()?, reader.byte()?, reader.byte()?);
            let (body, _, fields) = (reader.number()?, reader.number()?, reader.number()?);
            (order == b'l' && version == 1).then_some((kind, body, fields))
        };
        let mut read = read;
        let (kind, body, fields) = read().ok_or_else(invalid)?;
        let (body, fields) = (usize::try_from(body), usize::try_from(fields));
        let (Ok(body), Ok(fields)) = (body, fields) else { return Err(invalid()) };
        if body > LONGEST || fields > LONGEST {
            return Err(invalid());
        }
        let mut head = vec![0; fields.next_multiple_of(8)];
        self.stream.read_exact(&mut head)?;
        let mut bytes = Zeroizing::new(vec![0; body]);
        self.stream.read_exact(&mut bytes)?;
        let head = Head::read(head.get(..fields).unwrap_or_default()).ok_or_else(invalid)?;
        Ok((kind, head, bytes))
    }
}

/// What the fields of a header say.
#[derive(Default)]
struct Head {
    answers: u32,
    error: String,
}

impl Head {
    fn read(fields: &[u8]) -> Option<Self> {
        let (mut reader, mut head) = (In::new(fields), Self::default());
        while !reader.ended() {
            reader.align(8)?;
            let field = reader.byte()?;
            match (field, reader.signature()?) {
                (REPLY_SERIAL, "u") => head.answers = reader.number()?,
                (ERROR_NAME, "s") => head.error = reader.text()?.to_owned(),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return None,
            }
        }
        Some(head)
    }
}

fn written(serial: u32, method: Method<'_>, signature: &str, arguments: &Out) -> Vec<u8> {
    let mut fields = Out::default();
    let texts = [
        (1, "o", method.object),
        (2, "s", method.interface),
        (3, "s", method.name),
        (6, "s", method.service),
    ];
    for (field, kind, text) in texts {
        fields.align(8);
        fields.0.push(field);
        fields.signature(kind);
        fields.text(text);
    }
    if !signature.is_empty() {
        fields.align(8);
        fields.0.push(8);
        fields.signature("g");
        fields.signature(signature);
    }
    let mut out = Out(vec![b'l', CALL, 0, 1]);
    out.number(arguments.0.len());
    out.0.extend_from_slice(&serial.to_le_bytes());
    out.number(fields.0.len());
    out.0.extend_from_slice(&fields.0);
    out.align(8);
    out.0.extend_from_slice(&arguments.0);
    out.0
}

/// Arguments, as they are written: what is of several bytes stands at a multiple of its own size.
#[derive(Default)]
pub(crate) struct Out(Vec<u8>);

impl Out {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: usize) {
        self.align(4);
        self.0.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// A string or the path of an object.
    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// The types of what follows, if that can be any.
    pub(crate) fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// `a{ss}`.
    pub(crate) fn pairs(&mut self, pairs: &BTreeMap<String, String>) {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(8);
        let start = self.0.len();
        for (name, value) in pairs {
            self.align(8);
            self.text(name);
            self.text(value);
        }
        let written = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.0.get_mut(length..length + 4) {
            place.copy_from_slice(&written);
        }
    }
}

/// What was returned, read from its front.
pub(crate) struct In<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> In<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn ended(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    pub(crate) fn align(&mut self, to: usize) -> Option<()> {
        let skipped = self.at.next_multiple_of(to) - self.at;
        self.take(skipped).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        let text = str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    pub(crate) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    /// `ay`.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// `ao` or `as`.
    pub(crate) fn texts(&mut self) -> Option<Vec<&'a str>> {
        let end = self.length()?.checked_add(self.at)?;
        let mut texts = Vec::new();
        while self.at < end {
            texts.push(self.text()?);
        }
        (self.at == end).then_some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_is_where_the_variables_say() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
            address(&pairs.collect())
        };
        let bus = |text: &str| of(&[("DBUS_SESSION_BUS_ADDRESS", text), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        for text in ["unix:path=/a%20b,guid=1", "tcp:host=x;unix:guid=2,path=/a b"] {
            assert_eq!(bus(text), Ok(Address::Path("/a b".into())), "{text}");
        }
        assert_eq!(bus("unix:abstract=/tmp/x,guid=1"), Ok(Address::Abstract(b"/tmp/x".to_vec())));
        assert_eq!(bus(""), Ok(Address::Path("/run/user/1/bus".into())));
        for text in
            ["unix:path=a", "unix:path=/a%2", "tcp:host=x", "autolaunch:", "x", "unixexec:path=/bin/sh"]
        {
            assert!(bus(text).is_err(), "{text}");
        }
        assert!(of(&[]).is_err_and(|why| why.contains("dbus-run-session")));
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_cut_is_not() {
        let mut out = Out::default();
        out.text("plain");
        out.signature("s");
        out.text("");
        out.pairs(&BTreeMap::from([("a".to_owned(), "b".to_owned()), ("cc".to_owned(), "d".to_owned())]));
        let read = |bytes: &[u8]| {
            let mut reader = In::new(bytes);
            let first = (reader.text()?.to_owned(), reader.signature()?.to_owned(), reader.text()?.len());
            let _ = reader.number()?;
            let mut pairs = Vec::new();
            for _ in 0..2 {
                reader.align(8)?;
                pairs.push(format!("{}={}", reader.text()?, reader.text()?));
            }
            reader.ended().then_some((first, pairs.join(" ")))
        };
        assert_eq!(read(&out.0), Some((("plain".to_owned(), "s".to_owned(), 0), "a=b cc=d".to_owned())));
        for length in 0..out.0.len() {
            assert_eq!(read(&out.0[..length]), None, "{length}");
        }
        assert!(In::new(&[255; 4]).texts().is_none() && In::new(&[8, 0, 0, 0, 1]).bytes().is_none());
    }
}
