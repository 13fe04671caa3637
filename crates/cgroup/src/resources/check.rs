//! What texts and numbers must be before they become a limit, or part of a file's name.

use crate::error::Error;

/// Checks a list such as `0-3,6`.
///
/// # Errors
/// [`Error::Invalid`] says what it must be.
pub fn cpu_list(what: &'static str, list: &str) -> Result<String, Error> {
    let is_range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => first <= last,
            _ => false,
        }
    };
    if list.split(',').all(is_range) {
        Ok(list.to_owned())
    } else {
        Err(invalid(what, list, "it is numbers and ranges such as `0-3,6`"))
    }
}

/// Checks a block I/O weight.
///
/// # Errors
/// [`Error::Invalid`] says what it must be.
pub fn io_weight(weight: u16) -> Result<u16, Error> {
    if (10..=1000).contains(&weight) {
        Ok(weight)
    } else {
        Err(invalid("block I/O weight", weight, "it is 10 to 1000"))
    }
}

/// Checks a huge page size such as `2MB`; it becomes part of a file's name.
///
/// # Errors
/// [`Error::Invalid`] says what it must be.
pub fn page_size(size: &str) -> Result<String, Error> {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    match digits.map(str::parse::<u32>) {
        Some(Ok(number)) if number > 0 && digits == Some(&number.to_string()) => Ok(size.to_owned()),
        _ => Err(invalid("huge page size", size, "it is a number and KB, MB or GB, such as `2MB`")),
    }
}

/// Checks the name of a v2 file: `controller.words`, letters, digits, dots, dashes and underscores.
///
/// # Errors
/// [`Error::Invalid`] says what it must be.
pub fn unified_file(file: &str) -> Result<String, Error> {
    let well_formed = file.len() <= 128
        && file.contains('.')
        && file.starts_with(|character: char| character.is_ascii_lowercase())
        && file.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
    if well_formed {
        Ok(file.to_owned())
    } else {
        Err(invalid("cgroup file", file, "it is a controller, a dot and a name, such as `memory.high`"))
    }
}

/// Checks a name that stands in a line of words.
///
/// # Errors
/// [`Error::Invalid`] says what it must be.
pub fn one_word(what: &'static str, word: &str) -> Result<String, Error> {
    if !word.is_empty() && word.len() <= 64 && word.chars().all(|character| character.is_ascii_graphic()) {
        Ok(word.to_owned())
    } else {
        Err(invalid(what, word, "it is one word of printable characters"))
    }
}

/// The error for `value`.
pub(crate) fn invalid(what: &'static str, value: impl ToString, why: &'static str) -> Error {
    Error::Invalid { what, value: value.to_string(), why }
}
