//! The decision records: numbered, short, of one form, and listed in their index.

use crate::finding::Finding;
use crate::repository::File;

const FOLDER: &str = "docs/adr/";
const INDEX: &str = "docs/adr/README.md";
/// Longest record, in lines.
const LONGEST: usize = 60;
/// What every record has.
const SECTIONS: [&str; 3] = ["## Context", "## Decision", "## Consequences"];

fn records(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| {
        file.path.starts_with(FOLDER) && file.has_extension(&["md"]) && file.path != INDEX
    })
}

/// The index links every record.
pub fn listed(files: &[File]) -> Vec<Finding> {
    let index = files.iter().find(|file| file.path == INDEX);
    let text = index.and_then(|file| file.text.as_deref()).unwrap_or_default();
    records(files)
        .filter(|record| !text.contains(&format!("({})", record.name())))
        .map(|record| Finding::in_file(INDEX, format!("does not link {}", record.name())))
        .collect()
}

/// A record is named `NNNN-title.md`, short, and has the three sections.
pub fn well_formed(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers = Vec::new();
    for record in records(files) {
        let mut say = |message| findings.push(Finding::in_file(&record.path, message));
        match number(record.name()) {
            None => say("name it NNNN-title.md".to_owned()),
            Some(number) if numbers.contains(&number) => say(format!("a second number {number}")),
            Some(number) => numbers.push(number),
        }
        let lines = record.lines().count();
        if lines > LONGEST {
            say(format!("{lines} lines, at most {LONGEST}"));
        }
        for section in SECTIONS {
            if !record.lines().any(|(_, line)| line.trim_end() == section) {
                say(format!("has no section `{section}`"));
            }
        }
    }
    findings
}

fn number(name: &str) -> Option<u32> {
    let (digits, title) = name.split_once('-')?;
    let right = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()) && title != ".md";
    if right { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "# t\n## Context\nc\n## Decision\nd\n## Consequences\ne\n";

    #[test]
    fn a_record_that_the_index_forgets_is_told() {
        let record = File::text("docs/adr/0001-layout.md", RIGHT);
        let index = File::text(INDEX, "- [Layout](0001-layout.md)\n");
        assert_eq!(listed(&[record.clone(), index]), []);
        assert_eq!(listed(std::slice::from_ref(&record)).len(), 1);
        let forgetful = File::text(INDEX, "0001-layout.md is not a link\n");
        assert_eq!(
            listed(&[record, forgetful]),
            [Finding::in_file(INDEX, "does not link 0001-layout.md")]
        );
    }

    #[test]
    fn a_record_has_a_number_and_three_sections() {
        let check = |path: &str, text: &str| well_formed(&[File::text(path, text)]);
        assert_eq!(check("docs/adr/0001-layout.md", RIGHT), []);
        assert_eq!(check("docs/adr/layout.md", RIGHT).len(), 1);
        assert_eq!(check("docs/adr/01-layout.md", RIGHT).len(), 1);
        assert_eq!(check("docs/adr/0001-layout.md", "## Context\n").len(), 2);
        assert_eq!(
            check("docs/adr/0001-layout.md", &format!("{RIGHT}{}", "x\n".repeat(60))).len(),
            1
        );
        let twice =
            [File::text("docs/adr/0001-a.md", RIGHT), File::text("docs/adr/0001-b.md", RIGHT)];
        assert_eq!(
            well_formed(&twice),
            [Finding::in_file("docs/adr/0001-b.md", "a second number 1")]
        );
    }
}
