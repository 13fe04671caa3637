//! Digests of content, and the ids of layers that are made from them.
//!
//! Invariant: a [`Digest`] is a SHA-256 value and prints as `sha256:` and 64 lower-case hex digits, so it is
//! safe as a file name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 digest of some content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It isn't `algorithm:hex`.
    #[error("digest {0:?} is not `sha256:` and 64 lower-case hex digits")]
    Malformed(String),
    /// It is a digest, but of an algorithm that isn't used here.
    #[error("digest algorithm {0:?} is not supported, only sha256 is")]
    Algorithm(String),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest with this value, as a hasher returns it.
    pub const fn from_bytes(value: [u8; 32]) -> Self {
        Self(value)
    }

    /// The 64 hex digits, without the name of the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every text");
            text
        })
    }

    /// The digest with these 64 hex digits.
    ///
    /// # Errors
    /// [`DigestError::Malformed`] for everything else, upper case included.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        decode(hex.as_bytes()).map(Self).ok_or_else(|| DigestError::Malformed(hex.escape_debug().collect()))
    }
}

fn decode(hex: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = hex.try_into().ok()?;
    let mut value = [0; 32];
    for (byte, pair) in value.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(value)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(text.chars().take(100).collect());
        let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm != "sha256" {
            let is_word = !algorithm.is_empty()
                && algorithm.len() <= 32
                && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b));
            return Err(if is_word { DigestError::Algorithm(algorithm.to_owned()) } else { malformed() });
        }
        decode(hex.as_bytes()).map(Self).ok_or_else(malformed)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of one layer's uncompressed tar: what an image's `rootfs.diff_ids` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a layer on top of all layers below it.
///
/// `ChainId(L0) = DiffId(L0)`, and `ChainId(L0|…|Ln) = sha256(ChainId(L0|…|Ln-1) + " " + DiffId(Ln))`, as the
/// OCI image specification has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The id of the lowest layer.
    pub const fn first(diff_id: DiffId) -> Self {
        Self(diff_id.0)
    }

    /// The id of the layer `diff_id` on top of `self`.
    pub fn then(self, diff_id: DiffId) -> Self {
        Self(Digest::of(format!("{} {}", self.0, diff_id.0).as_bytes()))
    }

    /// The chain id of every layer, lowest first.
    pub fn chain(diff_ids: &[DiffId]) -> Vec<Self> {
        let mut below: Option<Self> = None;
        let next = |&diff_id: &DiffId| {
            let id = below.map_or(Self::first(diff_id), |below| below.then(diff_id));
            below = Some(id);
            id
        };
        diff_ids.iter().map(next).collect()
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_print_as_they_parse() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::from_hex(&EMPTY[7..]).unwrap(), Digest::of(b""));
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("{EMPTY:?}"));
    }

    #[test]
    fn r25_texts_that_are_no_digest_are_refused() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in ["", "sha256:", "sha256", &EMPTY[..70], &upper, &EMPTY[7..], "sha256:../../x", "a/b:00"] {
            assert!(matches!(text.parse::<Digest>(), Err(DigestError::Malformed(_))), "{text}");
        }
        assert!(matches!(format!("{EMPTY}0").parse::<Digest>(), Err(DigestError::Malformed(_))));
        assert_eq!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm("sha512".into())));
    }

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let layers = [DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b")), DiffId(Digest::of(b"c"))];
        let chain = ChainId::chain(&layers);
        assert_eq!(chain[0].0, layers[0].0);
        assert_eq!(chain[1].0, Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes()));
        assert_eq!(chain[2].0, Digest::of(format!("{} {}", chain[1], layers[2]).as_bytes()));
        assert!(ChainId::chain(&[]).is_empty());
    }
}
