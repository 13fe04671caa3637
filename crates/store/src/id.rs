//! Ids of containers.
//!
//! Invariant: a [`ContainerId`] is 64 lower-case hex digits, so it is safe as a file name.

use crate::Error;
use rustix::rand::GetRandomFlags;
use skiff_sys::Errno;
use std::fmt::{self, Write as _};
use std::str::FromStr;

const LENGTH: usize = 64;
const SHORT: usize = 12;

/// The id of a container: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// A new id.
    ///
    /// # Errors
    /// [`Error::File`] when the kernel has no random bytes.
    pub fn random() -> Result<Self, Error> {
        loop {
            let id = Self(random_hex::<32>()?);
            // The short id becomes the host name, and resolvers take a name of digits for an address.
            if id.short().bytes().any(|digit| !digit.is_ascii_digit()) {
                return Ok(id);
            }
        }
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as people use them.
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == LENGTH && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::IdSyntax(text.chars().take(100).collect()))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `N` random bytes as 2·`N` hex digits.
///
/// # Errors
/// [`Error::File`] when the kernel has none to give.
pub fn random_hex<const N: usize>() -> Result<String, Error> {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::file("read", "random bytes")(errno)),
        }
    }
    let mut text = String::with_capacity(2 * N);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every text");
    }
    Ok(text)
}
