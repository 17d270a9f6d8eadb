//! The body of a ClientHello (RFC 8446, section 4.1.2) and what is looked at in it.

use std::fmt;

/// What a client says first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server (RFC 6066), lower case, without a dot at its end.
    pub sni: Option<String>,
    /// The protocols that the client offers (RFC 7301), in its order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether it holds an encrypted hello (ECH, or its predecessor ESNI), which may name another server. Clients that
    /// send one without a configuration (GREASE) cannot be told apart, by design of ECH.
    pub encrypted: bool,
}

/// Why the start of a connection is not a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Another protocol.
    NotTls,
    /// Records that TLS does not allow at this place.
    Record,
    /// A ClientHello whose lengths or fields contradict themselves.
    Hello,
    /// An extension that occurs twice: which of them counts is the server's choice.
    Twice,
    /// A name that is no host name.
    Name,
    /// Larger than [`LARGEST_HELLO`](crate::LARGEST_HELLO).
    TooLarge,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotTls => "the connection does not start with a TLS ClientHello",
            Self::Record => "the first TLS record is not as TLS allows",
            Self::Hello => "the TLS ClientHello is malformed",
            Self::Twice => "the TLS ClientHello holds an extension twice",
            Self::Name => "the TLS ClientHello names a server that is no host name",
            Self::TooLarge => "the TLS ClientHello is larger than 16 KiB",
        })
    }
}

/// Why a connection may not be passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Without a name the server chooses who answers.
    NoName,
    /// Another name than the one whose address was asked for.
    Other(String),
    /// An encrypted hello, whose name cannot be read.
    Encrypted,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => formatter.write_str("the TLS ClientHello names no server (SNI)"),
            Self::Other(name) => {
                write!(formatter, "the TLS ClientHello names another server, `{name}` (SNI)")
            }
            Self::Encrypted => formatter.write_str("the TLS ClientHello is encrypted (ECH)"),
        }
    }
}

impl ClientHello {
    /// May it go on to the server `asked`, the name that the task looked up?
    pub fn judge(&self, asked: &str) -> Result<(), Mismatch> {
        if self.encrypted {
            return Err(Mismatch::Encrypted);
        }
        match &self.sni {
            None => Err(Mismatch::NoName),
            Some(name) if name.eq_ignore_ascii_case(asked.strip_suffix('.').unwrap_or(asked)) => Ok(()),
            Some(name) => Err(Mismatch::Other(name.clone())),
        }
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut body = Bytes(body);
        let _version_and_random = body.take(34)?;
        if body.vector8()?.0.len() > 32 {
            return Err(Malformed::Hello);
        }
        let ciphers = body.vector16()?.0.len();
        let compression = body.vector8()?.0.len();
        if ciphers == 0 || !ciphers.is_multiple_of(2) || compression == 0 {
            return Err(Malformed::Hello);
        }
        let mut read = Self::default();
        if body.0.is_empty() {
            // TLS 1.2 and older allow it; it has no name then.
            return Ok(read);
        }
        let mut extensions = body.vector16()?;
        body.end()?;
        let mut seen = Vec::new();
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut content = extensions.vector16()?;
            if seen.contains(&kind) {
                return Err(Malformed::Twice);
            }
            seen.push(kind);
            match kind {
                0 => read.sni = Some(server_name(&mut content)?),
                16 => read.alpn = protocols(&mut content)?,
                // encrypted_client_hello, outer_extensions (RFC 9849), and ESNI of the drafts.
                0xfe0d | 0xfd00 | 0xffce => read.encrypted = true,
                _ => {}
            }
        }
        Ok(read)
    }
}

/// One name of a host, as every client sends it. RFC 6066 allows lists with other kinds of names: nobody sends them,
/// and servers disagree about them.
fn server_name(content: &mut Bytes<'_>) -> Result<String, Malformed> {
    let mut list = content.vector16()?;
    content.end()?;
    let [0] = list.take(1)? else { return Err(Malformed::Name) };
    let name = list.vector16()?.0;
    list.end()?;
    let name = str::from_utf8(name).map_err(|_| Malformed::Name)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // RFC 6066 forbids addresses; the last label of one is a number.
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if name.len() > 253 || !name.split('.').all(label) || name.rsplit('.').next().is_none_or(number) {
        return Err(Malformed::Name);
    }
    Ok(name.to_ascii_lowercase())
}

fn protocols(content: &mut Bytes<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut list = content.vector16()?;
    content.end()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?.0;
        if name.is_empty() {
            return Err(Malformed::Hello);
        }
        protocols.push(name.to_vec());
    }
    if protocols.is_empty() { Err(Malformed::Hello) } else { Ok(protocols) }
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Hello)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed::Hello)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*number))
    }

    /// A vector whose length stands in one byte.
    fn vector8(&mut self) -> Result<Self, Malformed> {
        let [length] = *self.take(1)? else { return Err(Malformed::Hello) };
        self.take(usize::from(length)).map(Self)
    }

    /// A vector whose length stands in two bytes.
    fn vector16(&mut self) -> Result<Self, Malformed> {
        let length = self.number()?;
        self.take(usize::from(length)).map(Self)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Hello) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn vector(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(content)].concat()
    }

    /// The extension that names a server.
    pub(crate) fn sni(name: &str) -> Vec<u8> {
        extension(0, &vector(&[&[0][..], &vector(name.as_bytes())].concat()))
    }

    fn body(extensions: &[u8]) -> Vec<u8> {
        let head = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
        [head, vector(extensions)].concat()
    }

    /// A ClientHello with its handshake header.
    pub(crate) fn hello(extensions: &[u8]) -> Vec<u8> {
        let body = body(extensions);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    /// One TLS record.
    pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
        [&[22, 3, 1][..], &vector(fragment)].concat()
    }

    fn parsed(extensions: &[&[u8]]) -> Result<ClientHello, Malformed> {
        ClientHello::parse(&body(&extensions.concat()))
    }

    #[test]
    fn the_name_and_the_protocols_are_read() {
        let alpn = extension(16, &vector(b"\x02h2\x08http/1.1"));
        let read = parsed(&[&extension(10, &[0, 2, 0, 29]), &sni("API.Example.org."), &alpn]).unwrap();
        assert_eq!(read.sni.as_deref(), Some("api.example.org"));
        assert_eq!(read.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(!read.encrypted);
        assert_eq!(read.judge("api.example.org"), Ok(()));
        assert_eq!(read.judge("API.EXAMPLE.ORG."), Ok(()));
    }

    #[test]
    fn only_the_name_that_was_asked_for_goes_through() {
        let other = Mismatch::Other("evil.example".to_owned());
        assert_eq!(parsed(&[&sni("evil.example")]).unwrap().judge("api.example.org"), Err(other));
        assert_eq!(parsed(&[]).unwrap().judge("api.example.org"), Err(Mismatch::NoName));
        for kind in [0xfe0d, 0xfd00, 0xffce] {
            let read = parsed(&[&sni("api.example.org"), &extension(kind, &[0; 8])]).unwrap();
            assert_eq!(read.judge("api.example.org"), Err(Mismatch::Encrypted), "{kind:x}");
        }
    }

    #[test]
    fn names_that_servers_read_in_different_ways_are_refused() {
        for name in
            ["", ".", "a..b", "a b.org", "a.org\0.evil", "1.2.3.4", "::1", "0x7f.1", "b\u{fc}cher.de", "a/b"]
        {
            assert_eq!(parsed(&[&sni(name)]), Err(Malformed::Name), "{name:?}");
        }
        assert_eq!(parsed(&[&sni("a.org"), &sni("b.org")]), Err(Malformed::Twice));
        let two = [&[0][..], &vector(b"a.org"), &[0], &vector(b"b.org")].concat();
        assert_eq!(parsed(&[&extension(0, &vector(&two))]), Err(Malformed::Hello));
        let behind = [vector(&[&[0][..], &vector(b"a.org")].concat()), vec![0]].concat();
        assert_eq!(parsed(&[&extension(0, &behind)]), Err(Malformed::Hello));
    }

    #[test]
    fn every_cut_is_malformed() {
        let whole = body(&sni("api.example.org"));
        // Without any extensions a ClientHello is whole too; it ends where their length would stand.
        let bare = body(&[]).len() - 2;
        for length in (0..whole.len()).filter(|length| *length != bare) {
            assert_eq!(ClientHello::parse(&whole[..length]), Err(Malformed::Hello), "{length}");
        }
    }
}
