//! Names of images, by the grammar and with the short forms of Docker.
//!
//! Invariant: a [`Reference`] is complete and valid. `alpine` has become `docker.io/library/alpine`; parsing
//! what it prints gives it again. The grammar is that of `distribution/reference`, checked byte by byte:
//! a regular expression for it takes 50 ms to build, and this is on the way of every `run`.

use crate::{Digest, DigestError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// The full name of an image: where it is from, its path there, and a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is empty.
    #[error("the name of an image is missing")]
    Empty,
    /// It breaks the grammar.
    #[error(
        "invalid image name {0:?}: it is NAME[:TAG], of lower-case letters and digits with single `.`, `_`, `-` \
         and `/` between them"
    )]
    Format(String),
    /// The part before the tag has upper-case letters.
    #[error("invalid image name {0:?}: the repository must be lower case")]
    Uppercase(String),
    /// It looks like the id of an image.
    #[error("invalid image name {0:?}: 64 hex digits are an id")]
    Id(String),
    /// The tag breaks the grammar.
    #[error(
        "invalid tag {0:?}: letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`"
    )]
    Tag(String),
    /// The path is longer than 255 bytes.
    #[error("the repository of an image may have {PATH_MAX} characters at most")]
    TooLong,
    /// The part after the `@` is no usable digest.
    #[error("invalid image name {text:?}")]
    Digest {
        /// The whole name.
        text: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

impl Reference {
    /// The registry: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The repository with its registry: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people write it: `alpine`, `user/image`, `localhost:5000/image`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it: `alpine:3.20`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same reference, with the tag `latest` if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let shown = || text.chars().take(300).collect::<String>();
        if Digest::from_hex(text).is_ok() {
            return Err(ReferenceError::Id(shown()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest, text)?)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(shown()));
        }
        if !is_domain(domain) || !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Format(shown()));
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag(tag.chars().take(300).collect()));
        }
        let official = domain == DEFAULT_DOMAIN && !path.contains('/');
        let path = if official { format!("{OFFICIAL_PREFIX}{path}") } else { path.to_owned() };
        if path.len() > PATH_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

fn parse_digest(digest: &str, text: &str) -> Result<Digest, ReferenceError> {
    digest.parse().map_err(|source| ReferenceError::Digest { text: text.chars().take(300).collect(), source })
}

/// Splits off the registry, if the first component is one: it has a dot, a port or capitals, or is `localhost`.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (if first == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// `host [":" port]`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            let is_address =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if !is_address {
                return false;
            }
            match after.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if after.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.is_none_or(|host| host.split('.').all(is_domain_component)) && port.is_none_or(is_digits)
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Lower-case letters and digits, in groups with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_word(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|byte| !is_word(byte)).count();
        let is_separator =
            matches!(&rest[..separator], b"." | b"_" | b"__") || rest[..separator].iter().all(|&b| b == b'-');
        if !is_separator {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff1";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The table of `distribution/reference`, `TestValidateReferenceName` and `TestParseReferenceWithTagAndDigest`.
    #[test]
    fn valid_names_are_taken_and_completed() {
        for (text, full) in [
            ("docker/docker", "docker.io/docker/docker"),
            ("library/debian", "docker.io/library/debian"),
            ("debian", "docker.io/library/debian"),
            ("docker.io/docker/docker", "docker.io/docker/docker"),
            ("docker.io/library/debian", "docker.io/library/debian"),
            ("docker.io/debian", "docker.io/library/debian"),
            ("index.docker.io/docker/docker", "docker.io/docker/docker"),
            ("index.docker.io/library/debian", "docker.io/library/debian"),
            ("index.docker.io/debian", "docker.io/library/debian"),
            ("127.0.0.1:5000/docker/docker", "127.0.0.1:5000/docker/docker"),
            ("127.0.0.1:5000/library/debian", "127.0.0.1:5000/library/debian"),
            ("127.0.0.1:5000/debian", "127.0.0.1:5000/debian"),
            ("192.168.0.1", "docker.io/library/192.168.0.1"),
            ("192.168.0.1:80", "docker.io/library/192.168.0.1:80"),
            ("192.168.0.1:8/debian", "192.168.0.1:8/debian"),
            ("192.168.0.2:25000/debian", "192.168.0.2:25000/debian"),
            (
                "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
                "docker.io/library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
            ),
            (
                "docker.io/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
                "docker.io/library/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
            ),
            ("DOCKER/docker", "DOCKER/docker"),
            ("Docker/docker", "Docker/docker"),
            ("DOCKER.IO/Docker", ""),
            ("localhost/foo", "localhost/foo"),
            ("localhost:8000/foo:tag", "localhost:8000/foo:tag"),
            ("test.com/repo:tag", "test.com/repo:tag"),
            ("test:5000/repo", "test:5000/repo"),
            ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
            ("a--a", "docker.io/library/a--a"),
            ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
            ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
            (
                "b.gcr.io/test.example.com/my-app:test.example.com",
                "b.gcr.io/test.example.com/my-app:test.example.com",
            ),
            ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
            ("[2001:db8::1]/repo", "[2001:db8::1]/repo"),
            ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]/repo:tag"),
            ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo"),
            ("a__b", "docker.io/library/a__b"),
            ("0/0", "docker.io/0/0"),
        ] {
            match text.parse::<Reference>() {
                Ok(reference) => assert_eq!(reference.to_string(), full, "{text}"),
                Err(error) => assert!(full.is_empty(), "{text}: {error}"),
            }
        }
        let both = format!("test:5000/repo:tag@{DIGEST}");
        assert_eq!(parse(&both).to_string(), both);
        assert_eq!(parse(&both).tag(), Some("tag"));
    }

    #[test]
    fn r25_invalid_names_are_refused() {
        let long = format!("{}a", "a/".repeat(128));
        let long_tag = format!("a:{}", "t".repeat(129));
        for text in [
            "",
            ":justtag",
            "@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "repo@sha256:ffffffffffffffffffffffffffffffffff",
            "validname@invaliddigest:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "Uppercase:tag",
            "test:5000/Uppercase/lowercase:tag",
            "aa/asdf$$^/aa",
            "https://github.com/docker/docker",
            "docker/Docker",
            "-docker",
            "-docker/docker",
            "-docker.io/docker/docker",
            "docker///docker",
            "docker.io/docker/Docker",
            "docker.io/docker///docker",
            "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a-/b",
            "a___b",
            "a._b",
            "a/../b",
            "..",
            ".",
            "a b",
            "a\n",
            "a:",
            "a:.tag",
            "a:-tag",
            "a:b:c/d",
            "a.b:port/c",
            "a@b@c",
            "[2001:db8::1]",
            "[fe80::1%eth0]/repo",
            "[fe80::1/repo",
            "ümlaut",
            &long,
            &long_tag,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} is taken");
        }
    }

    #[test]
    fn familiar_names_are_those_of_docker() {
        for (text, familiar) in [
            ("docker.io/library/alpine:3", "alpine:3"),
            ("docker.io/user/image", "user/image"),
            ("localhost:5000/library/x", "localhost:5000/library/x"),
            ("library/a/b", "library/a/b"),
        ] {
            assert_eq!(parse(text).familiar(), familiar);
        }
        assert_eq!(parse("alpine").or_latest().familiar(), "alpine:latest");
        assert_eq!(parse(&format!("alpine@{DIGEST}")).or_latest().tag(), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,80}") {
            let _answer: Result<Reference, ReferenceError> = text.parse();
        }
    }
}
