//! Columns that line up.

/// Two spaces stand between two columns.
const GAP: &str = "  ";

/// Returns the rows with every column as wide as its widest cell and nothing after the last one;
/// each line begins with `indent` spaces.
///
/// Cells are one safe line each. A column that is empty throughout is left out.
pub fn aligned<const N: usize>(rows: &[[String; N]], indent: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    rows.iter().map(|row| one(row, &widths, indent)).collect()
}

/// Like [`aligned`], under a row of headings. A column of which only the heading would be seen is
/// left out.
pub fn headed<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let empty = |column: usize| rows.iter().all(|row| row[column].is_empty());
    let heading: [String; N] = std::array::from_fn(|column| match empty(column) {
        true => String::new(),
        false => headings[column].to_owned(),
    });
    let all: Vec<_> = std::iter::once(heading).chain(rows).collect();
    aligned(&all, 0)
}

fn one<const N: usize>(row: &[String; N], widths: &[usize; N], indent: usize) -> String {
    let mut line = " ".repeat(indent);
    for (cell, width) in row.iter().zip(widths).filter(|(_, width)| **width > 0) {
        line.push_str(cell);
        line.push_str(&" ".repeat(width - cell.chars().count()));
        line.push_str(GAP);
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<const N: usize>(row: [&str; N]) -> [String; N] {
        row.map(str::to_owned)
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [cells(["a", "", "ccc"]), cells(["äö", "", ""]), cells(["", "", "d"])];
        assert_eq!(aligned(&rows, 2), "  a   ccc\n  äö\n      d\n");
    }

    #[test]
    fn a_heading_without_cells_is_left_out() {
        let rows = vec![cells(["1", "", "x"])];
        assert_eq!(headed(["ID", "WHY", "WHAT"], rows), "ID  WHAT\n1   x\n");
    }
}
