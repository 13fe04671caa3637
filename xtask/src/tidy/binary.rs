//! What the built binary must and must not contain.

use std::path::Path;
use std::process::Command;

/// The design's limit for the static, stripped release binary.
const SIZE_MAX: usize = 12 * 1024 * 1024;

/// Calls that make a static glibc load the host's NSS libraries, which crashes on other distributions
/// (`getgroups` and `dlopen` are always there and harmless).
const NSS: &[&str] = &[
    "getaddrinfo",
    "getnameinfo",
    "getpwnam",
    "getpwuid",
    "getpwent",
    "getgrnam",
    "getgrgid",
    "getgrent",
    "getgrouplist",
    "gethostby",
];

/// Static functions of glibc's `nss_dns`. The standard library is one object file that names `getaddrinfo`, so the
/// linker takes this module in; it drops `getaddrinfo` as nobody calls it, and keeps the module's table, which the
/// C library's own clean-up names. Nobody but `getaddrinfo` and its like could call them.
const UNREACHABLE: &[&str] = &["gethostbyname3_context", "gethostbyname3_multi"];

/// Size, dynamic loader and fail points of the release binary.
pub(super) fn release_problems(path: &Path) -> Vec<String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return vec![format!("{}: {error}", path.display())],
    };
    let mut found = Vec::new();
    if bytes.len() > SIZE_MAX {
        found.push(format!("{}: {} bytes, at most {SIZE_MAX}", path.display(), bytes.len()));
    }
    match has_interpreter(&bytes) {
        Some(false) => {}
        Some(true) => found.push(format!("{}: has a PT_INTERP: it isn't static", path.display())),
        None => found.push(format!("{}: isn't a 64-bit ELF program", path.display())),
    }
    let marker = b"SKIFF_FAIL";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        found.push(format!("{}: fail points are compiled in", path.display()));
    }
    found
}

/// NSS entry points in an unstripped build of the same code.
pub(super) fn symbol_problems(path: &Path) -> Vec<String> {
    let output = match Command::new("nm").arg("--defined-only").arg(path).output() {
        Ok(output) => output,
        Err(error) => return vec![format!("run nm: {error}")],
    };
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    if !names.contains(&"main") {
        // Without this, a stripped binary would pass.
        return vec![format!("{}: nm shows no symbols", path.display())];
    }
    let forbidden = names
        .iter()
        .filter(|name| NSS.iter().any(|call| name.starts_with(call)) && !UNREACHABLE.contains(name));
    forbidden.map(|name| format!("{}: `{name}` loads the host's NSS libraries", path.display())).collect()
}

/// Whether an ELF program asks for a dynamic loader; none for what isn't a 64-bit little-endian ELF file.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (half(54)?, half(56)?);
    for index in 0..count {
        let at = table + index * size;
        if u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_recognised() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert_eq!(has_interpreter(&shell), Some(true));
        let ourselves = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(has_interpreter(&ourselves), Some(false), "tests are built static as the product is");
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
    }

    #[test]
    fn a_binary_without_symbols_does_not_pass() {
        assert_eq!(symbol_problems(Path::new("/bin/sh")).len(), 1);
    }
}
