//! Variables and labels from flags and files.

/// Why a file of variables or labels can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A line without a name.
    #[error("line {0} has no name before the `=`")]
    NoName(usize),
    /// A name with a blank in it.
    #[error("line {0}: the name `{1}` contains a blank")]
    Blank(usize, String),
    /// Not text.
    #[error("line {0} isn't UTF-8")]
    NotText(usize),
}

/// The variables or labels of a file, as Docker reads it: a line each, `#` for comments, and a name alone takes
/// the value that `caller` has for it, if any.
///
/// # Errors
/// For the first line that is wrong.
pub fn file(content: &[u8], caller: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, FileError> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
        let line = std::str::from_utf8(line).map_err(|_| FileError::NotText(number))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        if name.is_empty() {
            return Err(FileError::NoName(number));
        }
        if name.contains(char::is_whitespace) {
            return Err(FileError::Blank(number, name.to_owned()));
        }
        entries.extend(value.or_else(|| caller(name)).map(|value| format!("{name}={value}")));
    }
    Ok(entries)
}

/// The variable of `-e`: a name alone takes the caller's value; where it has none, the image's is taken away.
pub fn flag(entry: &str, caller: impl Fn(&str) -> Option<String>) -> String {
    match caller(entry) {
        Some(value) if !entry.contains('=') => format!("{entry}={value}"),
        _ => entry.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/me".to_owned())
    }

    #[test]
    fn files_have_comments_blanks_and_the_callers_values() {
        let content = b"\xef\xbb\xbfA=1\n# no\n\n  B= two words \r\nHOME\nUNSET\nC=x=y\nD=";
        assert_eq!(file(content, caller).unwrap(), ["A=1", "B= two words ", "HOME=/home/me", "C=x=y", "D="]);
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(file(b"A=1\n=x", caller), Err(FileError::NoName(2)));
        assert_eq!(file(b"A B=1", caller), Err(FileError::Blank(1, "A B".to_owned())));
        assert_eq!(file(b"A=\xff", caller), Err(FileError::NotText(1)));
    }

    #[test]
    fn a_bare_flag_takes_the_callers_value_or_the_images_away() {
        assert_eq!(flag("HOME", caller), "HOME=/home/me");
        assert_eq!(flag("UNSET", caller), "UNSET");
        assert_eq!(flag("HOME=/x", caller), "HOME=/x");
    }
}
