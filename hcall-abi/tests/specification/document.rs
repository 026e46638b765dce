// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads `docs/abi.md`: its tables and its lines, with as much of Markdown as it uses.

use std::path::Path;

/// The document.
pub(crate) struct Document {
    pub(crate) tables: Vec<Table>,
    /// Every line, with its number and that of the section it stands in.
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) number: usize,
    /// `9.1`, or the first word of a heading without number.
    pub(crate) section: String,
    pub(crate) text: String,
}

pub(crate) struct Table {
    /// The text of the nearest heading above, without its marks.
    pub(crate) heading: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    line: usize,
    cells: Vec<String>,
}

impl Document {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/abi.md");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self::parse(&text)
    }

    fn parse(source: &str) -> Self {
        let mut document = Self {
            tables: Vec::new(),
            lines: Vec::new(),
        };
        let mut heading = "";
        let mut in_table = false;
        for (number, text) in (1..).zip(source.lines()) {
            if text.starts_with('#') {
                heading = text.trim_start_matches('#').trim();
            }
            let is_row = text.starts_with('|');
            if is_row {
                document.add_row(number, text, heading, in_table);
            }
            in_table = is_row;
            document.lines.push(Line {
                number,
                section: heading.split(' ').next().unwrap_or_default().to_owned(),
                text: text.to_owned(),
            });
        }
        document
    }

    fn add_row(&mut self, line: usize, text: &str, heading: &str, in_table: bool) {
        let cells: Vec<String> = text
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        if !in_table {
            self.tables.push(Table {
                heading: heading.to_owned(),
                header: cells,
                rows: Vec::new(),
            });
            return;
        }
        let table = self.tables.last_mut().expect("a row follows a header");
        assert_eq!(
            cells.len(),
            table.header.len(),
            "docs/abi.md:{line}: the row has not as many cells as its header"
        );
        if cells
            .iter()
            .all(|cell| !cell.is_empty() && cell.trim_matches('-').is_empty())
        {
            return;
        }
        table.rows.push(Row { line, cells });
    }

    /// The rows of all tables with exactly this header; there is at least one.
    pub(crate) fn rows(&self, header: &[&str]) -> Vec<&Row> {
        self.tables(header)
            .into_iter()
            .flat_map(|table| &table.rows)
            .collect()
    }

    /// The tables with exactly this header; there is at least one.
    pub(crate) fn tables(&self, header: &[&str]) -> Vec<&Table> {
        let found: Vec<&Table> = self
            .tables
            .iter()
            .filter(|table| table.header == header)
            .collect();
        assert!(!found.is_empty(), "docs/abi.md has no table {header:?}");
        found
    }
}

impl Line {
    /// Whether the line belongs to a table.
    pub(crate) fn is_row(&self) -> bool {
        self.text.starts_with('|')
    }
}

impl Row {
    /// Where the row stands, for messages.
    pub(crate) fn place(&self) -> String {
        format!("docs/abi.md:{}", self.line)
    }

    /// The text of a cell.
    pub(crate) fn cell(&self, column: usize) -> &str {
        &self.cells[column]
    }

    /// The texts of a cell's code spans.
    pub(crate) fn codes(&self, column: usize) -> Vec<&str> {
        code_spans(self.cell(column))
    }

    /// The text of a cell that is one code span and nothing else.
    pub(crate) fn code(&self, column: usize) -> &str {
        let cell = self.cell(column);
        match self.codes(column)[..] {
            [code] if cell.len() == code.len() + 2 => code,
            _ => panic!("{}: {cell:?} is not one code span", self.place()),
        }
    }
}

/// What stands between backticks.
pub(crate) fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
