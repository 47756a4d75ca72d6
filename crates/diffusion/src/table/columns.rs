//! Numbers under names, as a table's reader gives them.

/// Chosen columns of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows of finite numbers, in the order of `columns`.
    pub rows: Vec<Vec<f64>>,
}

impl Table {
    /// The columns from the given one on as a table of their own.
    #[must_use]
    pub fn split_off(&mut self, column: usize) -> Self {
        let at = column.min(self.columns.len());
        let rows = self.rows.iter_mut().map(|row| row.split_off(at)).collect();
        Self { columns: self.columns.split_off(at), rows }
    }
}

/// Rows of latent parameters and scaled observables, each row-major.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) latent: &'a [f32],
    pub(super) scaled: &'a [f32],
}
