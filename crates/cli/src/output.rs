//! What commands print: tables, colours where a person reads, and text from outside made harmless.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::error::{CliError, Doing as _};

/// Prints `text` on stdout as the whole answer of a command.
pub fn show(text: &str) -> Result<ExitCode, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough (`skiff --help | head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).doing("write to stdout"),
    }
}

/// Prints one dim line on stderr: something that Skiff did without being asked for it.
pub fn aside(text: &str) {
    let line = format!("{}\n", Palette::stderr().dim(&format!("skiff: {text}")));
    // Nothing depends on this line; where stderr is closed there is no one to read it.
    drop(io::stderr().write_all(line.as_bytes()));
}

/// Colours for one stream: none unless it is a terminal, and none with `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    colours: bool,
}

impl Palette {
    /// The colours of stdout.
    pub fn stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    /// The colours of stderr.
    pub fn stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// No colours.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { colours: false }
    }

    fn of(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self { colours: terminal && !refused && !dumb }
    }

    /// For what went wrong.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// For advice.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// For what matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// The `index`-th of a few colours that are easy to tell apart, on light and dark terminals alike.
    pub fn distinct(self, index: usize, text: &str) -> String {
        const CODES: [&str; 10] = ["33", "36", "35", "32", "34", "93", "96", "95", "92", "94"];
        CODES.get(index % CODES.len()).map_or_else(|| text.to_owned(), |code| self.paint(code, text))
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Bytes from outside (a process name, an image's label) as they may be shown on a terminal: control characters
/// and what is no UTF-8 become `\x1b`-like escapes.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' | '\t' => fmt::Write::write_char(formatter, character)?,
                    control if control.is_control() || is_bidirectional(control) => {
                        write!(formatter, "\\x{:02x}", u32::from(control))?;
                    }
                    other => fmt::Write::write_char(formatter, other)?,
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Bytes from outside as part of one line: as [`Shown`], with newlines and tabs escaped too.
pub fn one_line(bytes: &[u8]) -> String {
    Shown(bytes).to_string().replace('\n', "\\x0a").replace('\t', "\\x09")
}

/// Whether the user's locale has characters for drawing lines.
pub fn has_unicode() -> bool {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let name = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(set);
    let value = name.and_then(|name| std::env::var(name).ok()).unwrap_or_default().to_ascii_lowercase();
    value.contains("utf-8") || value.contains("utf8")
}

/// How many characters fit on a line of the terminal that stdout is; none if it isn't one.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// `text` with every line cut to `width` characters. It must not be painted.
pub fn cut_lines(text: &str, width: usize) -> String {
    text.lines().map(|line| line.chars().take(width).collect::<String>() + "\n").collect()
}

/// Whether `character` changes the direction of the text after it, and so can make a line read as another.
const fn is_bidirectional(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// To which side of its column a cell is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One cell: what is read, and how it is painted. Its width is that of the text alone.
#[derive(Debug, Clone)]
struct Cell {
    text: String,
    painted: Option<String>,
}

/// Rows in columns that are as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    gap: usize,
    heading: Vec<String>,
    aligns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns, three spaces apart, as Docker prints them.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            gap: 3,
            heading: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            rows: Vec::new(),
        }
    }

    /// The same table with `gap` spaces between columns.
    pub fn with_gap(mut self, gap: usize) -> Self {
        self.gap = gap;
        self
    }

    /// The same table without its headings.
    pub fn without_heading(mut self) -> Self {
        self.heading.clear();
        self
    }

    /// Adds a row of plain text.
    pub fn row<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, cells: I) {
        self.rows.push(cells.into_iter().map(|text| Cell { text: text.into(), painted: None }).collect());
    }

    /// Adds a row of cells of which each is text and the same text painted.
    pub fn painted_row<I: IntoIterator<Item = (String, String)>>(&mut self, cells: I) {
        let cell = |(text, painted)| Cell { text, painted: Some(painted) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The table as text, a line a row, with no spaces at the ends of lines.
    pub fn render(&self) -> String {
        let heading: Vec<Cell> =
            self.heading.iter().map(|text| Cell { text: text.clone(), painted: None }).collect();
        let heading = (!heading.is_empty()).then_some(&heading);
        let rows: Vec<&Vec<Cell>> = heading.into_iter().chain(&self.rows).collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in rows.into_iter().flat_map(|row| lines_of(row)) {
            text.push_str(self.line(&line, &widths).trim_end());
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                line.push_str(&" ".repeat(self.gap));
            }
            let padding = " ".repeat(widths.get(column).copied().unwrap_or(0).saturating_sub(width(cell)));
            let shown = cell.painted.as_ref().unwrap_or(&cell.text);
            match self.aligns.get(column).copied().unwrap_or(Align::Left) {
                Align::Left => line.extend([shown.as_str(), padding.as_str()]),
                Align::Right => line.extend([padding.as_str(), shown.as_str()]),
            }
        }
        line
    }
}

/// The lines that a row takes: a plain cell with several has its first beside the other cells, the rest below.
fn lines_of(row: &[Cell]) -> Vec<Vec<Cell>> {
    let count = row.iter().map(|cell| cell.text.lines().count()).max().unwrap_or(0).max(1);
    let part = |cell: &Cell, line: usize| match (&cell.painted, line) {
        (Some(_), 0) => cell.clone(),
        (Some(_), _) => Cell { text: String::new(), painted: None },
        (None, _) => Cell { text: cell.text.lines().nth(line).unwrap_or_default().to_owned(), painted: None },
    };
    (0..count).map(|line| row.iter().map(|cell| part(cell, line)).collect()).collect()
}

/// How many characters a cell takes. Wide and combining characters are counted as one: names of processes and
/// containers that need more only lose their alignment.
fn width(cell: &Cell) -> usize {
    cell.text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Align::Left), ("PIDS", Align::Right)]).with_gap(1);
        table.row(["a", "1"]);
        table.painted_row([
            ("longer".to_owned(), "\x1b[1mlonger\x1b[0m".to_owned()),
            ("12".into(), "12".into()),
        ]);
        assert_eq!(table.render(), "NAME   PIDS\na         1\n\x1b[1mlonger\x1b[0m   12\n");
    }

    #[test]
    fn a_cell_of_several_lines_goes_down() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]).with_gap(1);
        table.row(["x\nyy", "1"]);
        assert_eq!(table.render(), "A  B\nx  1\nyy\n");
    }

    #[test]
    fn control_characters_and_broken_utf8_are_escaped() {
        assert_eq!(Shown(b"a\x1b[31m\xff\tz\xe2\x80\xae").to_string(), "a\\x1b[31m\\xff\tz\\x202e");
    }
}
