//! The body of an answer as bytes in memory: decompressed where it has to be, and never too large.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::Error;

/// Takes the pieces of a body.
pub(super) enum Body {
    Plain(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

/// Bytes up to a limit: a small answer that grows when it is decompressed stops there.
pub(super) struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body {
    /// For a body of the given `Content-Encoding`.
    pub(super) fn new(url: &str, encoding: Option<&str>, limit: usize) -> Result<Self, Error> {
        let capped = Capped { bytes: Vec::new(), limit, full: false };
        match encoding.unwrap_or("identity").trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain(capped)),
            "gzip" | "x-gzip" => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(capped)))),
            other => Err(Error::Encoding {
                url: url.to_owned(),
                reason: format!(
                    "it comes as `{}`, which was not asked for",
                    other.chars().take(40).collect::<String>()
                ),
            }),
        }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, url: &str, piece: &[u8]) -> Result<(), Error> {
        let done = match self {
            Self::Plain(capped) => capped.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        };
        done.map_err(|error| self.failed(url, &error))
    }

    /// The whole.
    pub(super) fn finish(mut self, url: &str) -> Result<Vec<u8>, Error> {
        if let Self::Gzip(decoder) = &mut self
            && let Err(error) = decoder.try_finish()
        {
            return Err(self.failed(url, &error));
        }
        Ok(match self {
            Self::Plain(capped) => capped.bytes,
            Self::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        })
    }

    fn failed(&self, url: &str, error: &io::Error) -> Error {
        let capped = match self {
            Self::Plain(capped) => capped,
            Self::Gzip(decoder) => decoder.get_ref(),
        };
        let url = url.to_owned();
        if capped.full {
            Error::TooBig { url, limit: capped.limit as u64, claims: None }
        } else {
            Error::Encoding { url, reason: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(encoding: Option<&str>, limit: usize, sent: &[u8]) -> Result<Vec<u8>, Error> {
        let mut body = Body::new("x", encoding, limit)?;
        for piece in sent.chunks(7) {
            body.push("x", piece)?;
        }
        body.finish("x")
    }

    #[test]
    fn bodies_are_unpacked_up_to_a_limit() {
        let text = b"torch ".repeat(1000);
        assert_eq!(read(None, 6000, &text).expect("a body"), text);
        assert_eq!(read(Some("GZIP"), 6000, &gzip(&text)).expect("a body"), text);
        // Members one after the other are one text.
        let two = [gzip(b"a"), gzip(b"b")].concat();
        assert_eq!(read(Some("gzip"), 9, &two).expect("a body"), b"ab");
        for (encoding, sent) in [(None, text.clone()), (Some("gzip"), gzip(&text))] {
            assert!(matches!(read(encoding, 5999, &sent), Err(Error::TooBig { limit: 5999, .. })));
        }
        let packed = gzip(&text);
        assert!(matches!(read(Some("gzip"), 6000, &packed[..20]), Err(Error::Encoding { .. })));
        assert!(matches!(read(Some("gzip"), 6000, b"no gzip"), Err(Error::Encoding { .. })));
        assert!(matches!(read(Some("br"), 6000, b""), Err(Error::Encoding { .. })));
    }
}
