//! What clients of S3 send by `Content-Encoding: aws-chunked`: data in parts, each behind a line with its size. Source: AWS, "Signature
//! calculations for the Authorization header: transferring payload in multiple chunks".

use std::collections::VecDeque;

/// The name of it.
pub(crate) const NAME: &str = "aws-chunked";
/// Bytes of the longest line, with a signature on it.
const LONGEST: usize = 512;
/// Of so many parts it is known where they began.
const MOST_KNOWN: usize = 1024;

/// Where in it one is.
#[derive(Default)]
pub(crate) struct Chunks {
    at: At,
    /// Bytes that came, and how many of them were data.
    came: u64,
    data: u64,
    /// The same where the last parts began.
    begun: VecDeque<(u64, u64)>,
}

enum At {
    /// In a line that says a size.
    Line(Vec<u8>),
    /// In data of which so many bytes are to come.
    Data(u64),
    /// In the end of a line behind data, of which so many bytes are to come.
    End(u8),
    /// Behind the last of them: fields, which are a matter of their own.
    Fields,
}

impl Default for At {
    fn default() -> Self {
        Self::Line(Vec::new())
    }
}

impl Chunks {
    /// The next part: what of it is data goes to `sink`. `None`: it is something else.
    pub(crate) fn push(&mut self, mut part: &[u8], mut sink: impl FnMut(&[u8])) -> Option<()> {
        let all = self.came + part.len() as u64;
        while !part.is_empty() {
            self.came = all - part.len() as u64;
            self.at = match &mut self.at {
                At::Fields => break,
                At::Data(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(part.len());
                    let (data, rest) = part.split_at_checked(length)?;
                    sink(data);
                    part = rest;
                    self.data += length as u64;
                    match left.checked_sub(length as u64)? {
                        0 => At::End(2),
                        left => At::Data(left),
                    }
                }
                At::End(left) => {
                    let (first, rest) = part.split_first()?;
                    if *first != if *left == 2 { b'\r' } else { b'\n' } {
                        return None;
                    }
                    part = rest;
                    if *left == 2 { At::End(1) } else { At::default() }
                }
                At::Line(line) => {
                    let (first, rest) = part.split_first()?;
                    part = rest;
                    if *first == b'\n' {
                        match size(line.strip_suffix(b"\r")?)? {
                            0 => At::Fields,
                            size => {
                                self.begun.push_back((self.came + 1, self.data));
                                self.begun.drain(..self.begun.len().saturating_sub(MOST_KNOWN));
                                At::Data(size)
                            }
                        }
                    } else if line.len() < LONGEST {
                        line.push(*first);
                        continue;
                    } else {
                        return None;
                    }
                }
            };
        }
        self.came = all;
        Some(())
    }

    /// How many bytes came since the last so many bytes of data began.
    pub(crate) fn behind(&self, data: usize) -> usize {
        let from = self.data.saturating_sub(data as u64);
        let part = self.begun.iter().rev().find(|(_, data)| *data <= from).or(self.begun.front());
        let came = part.map_or(self.came, |(came, data)| came + from.saturating_sub(*data));
        let behind = if data == 0 { 0 } else { self.came.saturating_sub(came) };
        usize::try_from(behind).unwrap_or(usize::MAX)
    }

    /// Whether the last of them has come.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.at, At::Fields)
    }
}

/// `SIZE` in hexadecimal digits, or `SIZE;chunk-signature=...`.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], size: usize) -> Option<(Vec<u8>, bool)> {
        let (mut chunks, mut out) = (Chunks::default(), Vec::new());
        for part in text.chunks(size) {
            chunks.push(part, |data| out.extend_from_slice(data))?;
        }
        Some((out, chunks.ended()))
    }

    #[test]
    fn parts_are_put_together_wherever_they_are_cut() {
        let text =
            b"5\r\nhello\r\nA;chunk-signature=ab\r\n, wor\r\nld!\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n";
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(read(text, size), Some((b"hello, wor\r\nld!".to_vec(), true)), "{size}");
        }
        assert_eq!(read(b"5\r\nhel", 2), Some((b"hel".to_vec(), false)));
    }

    #[test]
    fn where_data_began_is_known_over_parts() {
        for size in [1, 4, 1000] {
            let mut chunks = Chunks::default();
            let text = b"5\r\nhello\r\n3\r\nabc\r\n4\r\nxy";
            text.chunks(size).for_each(|part| chunks.push(part, |_| ()).unwrap());
            let behind = [0, 1, 2, 3, 5, 6, 10].map(|data| chunks.behind(data));
            assert_eq!(behind, [0, 1, 2, 8, 10, 16, 20], "{size}");
        }
    }

    #[test]
    fn what_is_none_is_not_guessed() {
        for text in [
            &b"plain text\r\n"[..],
            b"5\nhello",
            b"5\r\nhelloX\r\n",
            b"+5\r\nhello",
            b"\r\n",
            b"ffffffffffffffffff\r\n",
        ] {
            assert_eq!(read(text, 3), None, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(read(&[b'0'; 1000], 100), None);
    }
}
