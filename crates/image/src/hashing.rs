//! Readers that know the digest of what went through them.

use sha2::{Digest as _, Sha256};
use skiff_oci::Digest;
use std::io::{self, BufRead, Read};

/// A reader that hashes and counts what is read.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R> Hashing<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// The digest and the number of the bytes that were read.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_bytes(self.hasher.finalize().into()), self.size)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.hasher.update(&into[..length]);
        self.size += length as u64;
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed is at the front of the buffer, which `fill_buf` returns again without reading.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hasher.update(&buffer[..amount]);
            self.size += amount as u64;
        }
        self.inner.consume(amount);
    }
}
