//! What PowerShell's `>` writes: UTF-16 with a byte order mark, read as UTF-8 without memory of its size.

use std::io::{self, BufRead, Read};

/// A text that begins with a byte order mark of UTF-16, or any other as it is.
pub(super) enum Decoded<R> {
    Plain(R),
    Utf16 { from: R, big: bool, odd: Option<u8>, high: Option<u16>, out: Vec<u8>, at: usize },
}

impl<R: BufRead> Decoded<R> {
    pub fn new(mut from: R) -> io::Result<Self> {
        let head = from.fill_buf()?;
        let big = match head.get(..2) {
            Some([0xff, 0xfe]) => false,
            Some([0xfe, 0xff]) => true,
            _ => return Ok(Self::Plain(from)),
        };
        from.consume(2);
        Ok(Self::Utf16 { from, big, odd: None, high: None, out: Vec::new(), at: 0 })
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(from) => from.fill_buf(),
            Self::Utf16 { from, big, odd, high, out, at } => {
                while *at == out.len() {
                    out.clear();
                    *at = 0;
                    let bytes = from.fill_buf()?;
                    if bytes.is_empty() {
                        break;
                    }
                    let mut units = Vec::with_capacity(bytes.len() / 2 + 2);
                    units.extend(high.take());
                    for &byte in bytes {
                        match odd.take() {
                            None => *odd = Some(byte),
                            Some(first) if *big => units.push(u16::from_be_bytes([first, byte])),
                            Some(first) => units.push(u16::from_le_bytes([first, byte])),
                        }
                    }
                    let count = bytes.len();
                    from.consume(count);
                    // The second half of a pair may stand in the next buffer.
                    if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
                        *high = units.pop();
                    }
                    let text: String = char::decode_utf16(units)
                        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                        .collect();
                    *out = text.into_bytes();
                }
                Ok(&out[*at..])
            }
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(from) => from.consume(count),
            Self::Utf16 { at, .. } => *at += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_are_read_whatever_the_buffer_cuts() {
        let text = "no kernel\r\nimage \u{1f600} ü\n";
        for big in [false, true] {
            let mut bytes = if big { vec![0xfe, 0xff] } else { vec![0xff, 0xfe] };
            for unit in text.encode_utf16() {
                bytes.extend(if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
            }
            for size in [2, 3, 5, 64] {
                let reader = io::BufReader::with_capacity(size, bytes.as_slice());
                let mut read = String::new();
                Decoded::new(reader).expect("memory").read_to_string(&mut read).expect("memory");
                assert_eq!(read, text, "{big} {size}");
            }
        }
        let mut read = String::new();
        Decoded::new(text.as_bytes()).expect("memory").read_to_string(&mut read).expect("memory");
        assert_eq!(read, text);
    }
}
