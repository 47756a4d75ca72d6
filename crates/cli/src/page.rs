//! Sections of committed pages that a command writes: between its marks, and nowhere else.

use crate::failure::Failure;
use crate::output;
use std::path::Path;

/// Puts what `microdiff <command>` found into its section of a page.
pub fn replace(page: &Path, command: &str, section: &str) -> Result<(), Failure> {
    let begin = format!("<!-- begin: microdiff {command} -->");
    let end = format!("<!-- end: microdiff {command} -->");
    let shown = page.display();
    let text = std::fs::read_to_string(page)
        .map_err(|error| Failure::data(format!("cannot read {shown}: {error}")))?;
    let parts = text
        .split_once(&begin)
        .and_then(|(head, rest)| rest.split_once(&end).map(|(_, tail)| (head, tail)));
    let Some((head, tail)) = parts else {
        return Err(Failure::data(format!("{shown} lacks the lines {begin} and {end}")));
    };
    output::write_file(page, format!("{head}{begin}\n{section}{end}{tail}").as_bytes())
}
