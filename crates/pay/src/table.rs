//! Columns of bills, found by their names: providers add columns, and move them.

use std::collections::HashMap;

/// Where the columns of a table are.
#[derive(Debug)]
pub(crate) struct Columns<'a>(HashMap<&'a str, usize>);

/// A row of a table.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    columns: &'a Columns<'a>,
    fields: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    pub(crate) fn new(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.enumerate().map(|(index, name)| (name, index)).collect())
    }

    /// Checks that a row has a field for every column; the error says how many it has.
    pub(crate) fn row(&'a self, fields: Vec<&'a str>) -> Result<Row<'a>, String> {
        if fields.len() != self.0.len() {
            return Err(format!(
                "a line has {} fields instead of {}",
                fields.len(),
                self.0.len()
            ));
        }
        Ok(Row {
            columns: self,
            fields,
        })
    }
}

impl<'a> Row<'a> {
    /// Returns a field.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, String> {
        let index = self.columns.0.get(name);
        index
            .map(|index| self.fields[*index])
            .ok_or_else(|| format!("there is no column {name}"))
    }

    /// Returns a field, read by `parse`.
    pub(crate) fn read<T>(&self, name: &str, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, String> {
        parse(self.text(name)?).ok_or_else(|| format!("a value of column {name} cannot be read"))
    }
}
