//! Rows as text: a table with the lines of a tree, raw fields, or JSON.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::columns::{Column, Value};
use super::tree::Row;
use crate::output::{Table, cut_lines, has_unicode};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For scripts: one space between fields.
    Raw,
    /// For programs.
    Json,
}

/// How the rows are laid out.
#[derive(Debug)]
pub struct Layout {
    /// In which form.
    pub format: Format,
    /// Where the lines of the tree are drawn.
    pub tree_column: Option<usize>,
    /// Whether headings are printed.
    pub headings: bool,
    /// Whether a cell of several values stays on one line.
    pub one_line: bool,
    /// Where lines are cut, if they are.
    pub width: Option<usize>,
}

/// The lines of a tree.
struct Glyphs {
    branch: &'static str,
    last: &'static str,
    through: &'static str,
}

const UNICODE: Glyphs = Glyphs { branch: "├─", last: "└─", through: "│ " };
const ASCII: Glyphs = Glyphs { branch: "|-", last: "`-", through: "| " };

/// The whole text.
pub fn render(columns: &[Column], rows: &[Row], layout: &Layout) -> String {
    match layout.format {
        Format::Json => json(columns, rows),
        _ if rows.is_empty() => String::new(),
        Format::Raw => raw(columns, rows, layout),
        Format::Table => table(columns, rows, layout),
    }
}

fn table(columns: &[Column], rows: &[Row], layout: &Layout) -> String {
    let headings: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let align =
                if layout.tree_column == Some(index) { crate::output::Align::Left } else { column.align() };
            (column.name(), align)
        })
        .collect();
    let mut table = Table::new(&headings).with_gap(1);
    if !layout.headings {
        table = table.without_heading();
    }
    let glyphs = if has_unicode() { &UNICODE } else { &ASCII };
    for (prefix, row) in drawn(rows, glyphs) {
        let cells = row.cells.iter().enumerate().map(|(index, value)| {
            let text = text(value, if layout.one_line { "," } else { "\n" });
            if layout.tree_column == Some(index) { format!("{prefix}{text}") } else { text }
        });
        table.row(cells);
    }
    let text = table.render();
    layout.width.map_or_else(|| text.clone(), |width| cut_lines(&text, width))
}

/// All rows from the top down, each with the lines before it.
fn drawn<'a>(rows: &'a [Row], glyphs: &Glyphs) -> Vec<(String, &'a Row)> {
    let mut all = Vec::new();
    for row in rows {
        all.push((String::new(), row));
        draw_below(row, "", glyphs, &mut all);
    }
    all
}

fn draw_below<'a>(parent: &'a Row, indent: &str, glyphs: &Glyphs, all: &mut Vec<(String, &'a Row)>) {
    let count = parent.children.len();
    for (index, row) in parent.children.iter().enumerate() {
        let is_last = index + 1 == count;
        all.push((format!("{indent}{}", if is_last { glyphs.last } else { glyphs.branch }), row));
        draw_below(row, &format!("{indent}{}", if is_last { "  " } else { glyphs.through }), glyphs, all);
    }
}

fn text(value: &Value, separator: &str) -> String {
    match value {
        Value::None => String::new(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Lines(lines) => lines.join(separator),
    }
}

fn raw(columns: &[Column], rows: &[Row], layout: &Layout) -> String {
    let headings = columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>();
    let mut lines = if layout.headings { vec![headings.join(" ")] } else { Vec::new() };
    for (_, row) in drawn(rows, &ASCII) {
        let fields: Vec<String> =
            row.cells.iter().map(|value| text(value, ",").replace(' ', "\\x20")).collect();
        lines.push(fields.join(" "));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn json(columns: &[Column], rows: &[Row]) -> String {
    let whole = std::collections::BTreeMap::from([("namespaces", List { columns, rows })]);
    // Text, numbers and maps with text as keys: there is nothing in it that JSON can't hold.
    serde_json::to_string_pretty(&whole).map(|text| text + "\n").unwrap_or_default()
}

/// Rows as a list of JSON objects, whose fields are in the order of the columns.
struct List<'a> {
    columns: &'a [Column],
    rows: &'a [Row],
}

/// One of them.
struct Object<'a> {
    columns: &'a [Column],
    row: &'a Row,
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in self.rows {
            list.serialize_element(&Object { columns: self.columns, row })?;
        }
        list.end()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (column, value) in self.columns.iter().zip(&self.row.cells) {
            let name = column.name().to_ascii_lowercase();
            match value {
                Value::None => object.serialize_entry(&name, &())?,
                Value::Number(number) => object.serialize_entry(&name, number)?,
                Value::Text(_) | Value::Lines(_) => object.serialize_entry(&name, &text(value, ","))?,
            }
        }
        if !self.row.children.is_empty() {
            object.serialize_entry("children", &List { columns: self.columns, rows: &self.row.children })?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, command: &str, children: Vec<Row>) -> Row {
        Row { cells: vec![Value::Number(number), Value::Text(command.to_owned())], children }
    }

    fn forest() -> Vec<Row> {
        let inner = row(3, "c", vec![row(4, "d e", vec![])]);
        vec![row(1, "a", vec![row(22, "b", vec![]), inner]), row(5, "f", vec![])]
    }

    fn rendered(format: Format, tree_column: Option<usize>) -> String {
        let layout = Layout { format, tree_column, headings: true, one_line: false, width: None };
        render(&[Column::Ns, Column::Command], &forest(), &layout)
    }

    #[test]
    fn lines_lead_from_a_row_to_those_below() {
        let lines: Vec<String> = drawn(&forest(), &ASCII)
            .into_iter()
            .map(|(prefix, row)| prefix + &text(&row.cells[1], ""))
            .collect();
        assert_eq!(lines, ["a", "|-b", "`-c", "  `-d e", "f"]);
    }

    #[test]
    fn a_list_is_the_same_without_lines() {
        assert_eq!(rendered(Format::Table, None), "NS COMMAND\n 1 a\n22 b\n 3 c\n 4 d e\n 5 f\n");
    }

    #[test]
    fn raw_fields_have_no_blanks() {
        assert!(rendered(Format::Raw, None).ends_with("4 d\\x20e\n5 f\n"));
    }

    #[test]
    fn json_keeps_numbers_and_nests_children() {
        let text = rendered(Format::Json, None);
        assert!(text.find("ns") < text.find("command"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["namespaces"][0]["ns"], 1);
        assert_eq!(json["namespaces"][0]["children"][1]["children"][0]["command"], "d e");
    }
}
