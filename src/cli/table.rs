//! Answers as a table for people or as CSV for programs.

use std::io::{self, Write};

use serde_json::Value;

/// Rows under named columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    /// Writes aligned columns, numbers to the right, and how many rows there are.
    pub(super) fn write_aligned(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let width_of = |idx: usize, name: &str| {
            let cells = rows.iter().map(|row| row[idx].chars().count());
            cells.chain([name.chars().count()]).max().unwrap_or(0)
        };
        let columns = self.columns.iter().enumerate();
        let widths: Vec<usize> = columns.map(|(idx, name)| width_of(idx, name)).collect();
        let is_number: Vec<bool> = (0..widths.len()).map(|idx| self.is_number(idx)).collect();
        write_line(out, &self.columns, &widths, &is_number)?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        write_line(out, &rules, &widths, &is_number)?;
        for row in &rows {
            write_line(out, row, &widths, &is_number)?;
        }
        let n_rows = rows.len();
        writeln!(out, "({n_rows} row{})", if n_rows == 1 { "" } else { "s" })
    }

    fn is_number(&self, column_idx: usize) -> bool {
        let mut cells = self.rows.iter().map(|row| &row[column_idx]).filter(|cell| !cell.is_null());
        !self.rows.is_empty() && cells.all(Value::is_number)
    }

    /// Writes CSV as in RFC 4180, with a header.
    pub(super) fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let header: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        write!(out, "{}\r\n", header.join(","))?;
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| quoted(&plain(cell))).collect();
            write!(out, "{}\r\n", cells.join(","))?;
        }
        Ok(())
    }
}

fn write_line(
    out: &mut dyn Write,
    cells: &[String],
    widths: &[usize],
    is_number: &[bool],
) -> io::Result<()> {
    let mut line = String::new();
    for ((cell, width), is_number) in cells.iter().zip(widths).zip(is_number) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(&if *is_number {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        });
    }
    writeln!(out, "{}", line.trim_end())
}

fn plain(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns a cell for a terminal: what a sender put into a label must not move the cursor.
fn shown(cell: &Value) -> String {
    let text = plain(cell);
    if !text.chars().any(char::is_control) {
        return text;
    }
    let escape =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
