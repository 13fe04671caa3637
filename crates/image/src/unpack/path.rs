//! Paths of entries, brought into one form.

use super::refused;
use crate::Error;
use std::ffi::CString;

/// A path below the root: components with single slashes between them, none of them `.`, `..` or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath {
    bytes: Vec<u8>,
}

impl EntryPath {
    /// The root itself.
    pub const fn root() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Reads the path of an entry; nothing for the root. An absolute path begins at the root, as everywhere in a
    /// container.
    ///
    /// # Errors
    /// `..` is refused wherever it stands: no honest archive has it, and readers differ in what it means.
    pub fn parse(path: &[u8]) -> Result<Option<Self>, Error> {
        if path.is_empty() {
            return Err(refused(path, "an empty path"));
        }
        if path.contains(&0) {
            return Err(refused(path, "a NUL in the path"));
        }
        let mut bytes = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(refused(path, "`..` in the path")),
                name => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name);
                }
            }
        }
        Ok(if bytes.is_empty() { None } else { Some(Self { bytes }) })
    }

    /// The whole path.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The directories above the last component; empty for the root.
    pub fn parent(&self) -> &[u8] {
        match self.bytes.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.bytes[..slash],
            None => b"",
        }
    }

    /// The last component.
    pub fn last(&self) -> &[u8] {
        match self.bytes.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.bytes[slash + 1..],
            None => &self.bytes,
        }
    }

    /// The last component, for the kernel.
    pub fn name(&self) -> Result<CString, Error> {
        c_string(self.last())
    }

    /// The whole path for the kernel; `.` for the root.
    pub fn to_c(&self) -> Result<CString, Error> {
        c_string(if self.bytes.is_empty() { b"." } else { &self.bytes })
    }
}

/// `bytes` with a NUL at the end.
pub(super) fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| refused(bytes, "a NUL in the path"))
}
