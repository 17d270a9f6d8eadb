//! The first thing that a client says in a few protocols, so that a port that is granted for one is not used for another.
//!
//! Sources: RFC 4253, section 4.2 (ssh); "Message Formats" of PostgreSQL's frontend/backend protocol; the handshake response of
//! MySQL's client/server protocol; the specification of RESP (redis); RFC 5321, section 4.1.1.1 (SMTP).

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// SSH 2.
    Ssh,
    /// PostgreSQL, protocol 3.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// Redis and Valkey.
    Redis,
    /// SMTP, as it is submitted.
    Smtp,
}

/// What the beginning of a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Too little yet.
    More,
    /// It is that protocol.
    Fits,
    /// It is not.
    Differs,
}

/// After so many bytes it must be known.
const LONGEST: usize = 1024;

impl Spoken {
    /// Judges what a client said so far, from the first byte on.
    #[must_use]
    pub fn shows(self, said: &[u8]) -> Shows {
        let shows = match self {
            Self::Ssh => begins(said, b"SSH-2.0-"),
            Self::Postgres => postgres(said),
            Self::Mysql => mysql(said),
            Self::Redis => redis(said),
            Self::Smtp => {
                let upper = said.to_ascii_uppercase();
                let greets = [&b"EHLO "[..], b"HELO "].map(|word| begins(&upper, word));
                if greets.contains(&Shows::Fits) {
                    Shows::Fits
                } else if greets.contains(&Shows::More) {
                    Shows::More
                } else {
                    Shows::Differs
                }
            }
        };
        if shows == Shows::More && said.len() >= LONGEST { Shows::Differs } else { shows }
    }
}

fn begins(said: &[u8], word: &[u8]) -> Shows {
    if said.starts_with(word) {
        Shows::Fits
    } else if word.starts_with(said) {
        Shows::More
    } else {
        Shows::Differs
    }
}

/// A length, then a request for TLS, for GSSAPI, to cancel, or version 3.
fn postgres(said: &[u8]) -> Shows {
    const LARGEST: u32 = 10_000;
    let number = |at: usize| Some(u32::from_be_bytes(said.get(at..at + 4)?.try_into().ok()?));
    let (Some(length), Some(code)) = (number(0), number(4)) else {
        return begins(said.get(..2).unwrap_or(said), &[0, 0]);
    };
    let fits = match code {
        80_877_103 | 80_877_104 => length == 8,
        80_877_102 => (16..=LARGEST).contains(&length),
        code => code >> 16 == 3 && (8..=LARGEST).contains(&length),
    };
    if fits { Shows::Fits } else { Shows::Differs }
}

/// The answer to the server's greeting: its length, the number 1, flags of which CLIENT_PROTOCOL_41 is set.
fn mysql(said: &[u8]) -> Shows {
    let Some([low, middle, high, number, _, flags]) = said.first_chunk() else { return Shows::More };
    let length = u32::from_le_bytes([*low, *middle, *high, 0]);
    let fits = *number == 1 && (32..=1 << 16).contains(&length) && flags & 2 != 0;
    if fits { Shows::Fits } else { Shows::Differs }
}

/// An array of strings: `*2\r\n$4\r\n`.
fn redis(said: &[u8]) -> Shows {
    let mut rest = said;
    for sign in [b'*', b'$'] {
        let Some((first, behind)) = rest.split_first() else { return Shows::More };
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if *first != sign || digits > 9 {
            return Shows::Differs;
        }
        let end = behind.get(digits..).unwrap_or_default();
        match begins(end, b"\r\n") {
            Shows::Fits if digits > 0 => rest = end.get(2..).unwrap_or_default(),
            Shows::More if digits > 0 || end.is_empty() => return Shows::More,
            _ => return Shows::Differs,
        }
    }
    Shows::Fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_known_by_its_beginning_alone() {
        let startup = [&24_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), b"user\0x\0"].concat();
        let tls = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
        let hello = [&[40, 0, 0, 1, 0x85, 0xa6][..], &[0; 36]].concat();
        let all: [(Spoken, &[u8]); 7] = [
            (Spoken::Ssh, b"SSH-2.0-OpenSSH_9.2\r\n"),
            (Spoken::Postgres, &startup),
            (Spoken::Postgres, &tls),
            (Spoken::Mysql, &hello),
            (Spoken::Redis, b"*1\r\n$4\r\nPING\r\n"),
            (Spoken::Smtp, b"ehlo mail.example\r\n"),
            (Spoken::Smtp, b"HELO x\r\n"),
        ];
        for (spoken, said) in all {
            let known = (0..=said.len()).find(|end| spoken.shows(&said[..*end]) != Shows::More);
            assert_eq!(known.map(|end| spoken.shows(&said[..end])), Some(Shows::Fits), "{spoken:?}");
            for (other, _) in all.iter().filter(|(other, _)| *other != spoken) {
                assert_ne!(other.shows(said), Shows::Fits, "{spoken:?} as {other:?}");
            }
            for wrong in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", &[0xff; 64]] {
                assert_eq!(spoken.shows(wrong), Shows::Differs, "{spoken:?}");
            }
            assert_eq!(spoken.shows(b""), Shows::More);
        }
        assert_eq!(Spoken::Redis.shows(b"PING\r\n"), Shows::Differs);
        assert_eq!(Spoken::Redis.shows(b"*\r\n$4"), Shows::Differs);
    }
}
