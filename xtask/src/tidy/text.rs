//! What may stand in a file, and how much of it.

use crate::finding::Finding;
use crate::repository::File;

/// Longest hand-written source file, in lines.
const LONGEST_SOURCE: usize = 500;
/// Largest file of any kind, in bytes.
const LARGEST_FILE: u64 = 8_000_000;
/// Sources held to the length limit.
const SOURCES: [&str; 4] = ["rs", "js", "py", "sh"];
/// Everything else in which a gap could be left behind a comment.
const CONFIGURATIONS: [&str; 8] = ["toml", "yml", "yaml", "conf", "sql", "css", "html", "rego"];

// The words are put together here, so that this file does not hold them itself.
const GAP_WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const GAP_MACROS: [&str; 2] = [concat!("to", "do!"), concat!("unimple", "mented!")];
const IGNORED: &str = concat!("#[", "ignore");
const BARE_ALLOW: [&str; 2] = [concat!("#[", "allow("), concat!("#![", "allow(")];

/// A source file fits into a reader's head.
pub fn short_source(file: &File) -> Option<Finding> {
    let lines = file.lines().count();
    (file.has_extension(&SOURCES) && lines > LONGEST_SOURCE).then(|| {
        Finding::at(
            &file.path,
            LONGEST_SOURCE + 1,
            format!("{lines} lines, at most {LONGEST_SOURCE}: split it by concern"),
        )
    })
}

/// No file makes every clone heavy.
pub fn small_file(file: &File) -> Option<Finding> {
    (file.bytes > LARGEST_FILE).then(|| {
        Finding::in_file(&file.path, format!("{} bytes, at most {LARGEST_FILE}", file.bytes))
    })
}

/// Nothing is left for later in a comment or behind a macro that panics.
pub fn finished(file: &File) -> Vec<Finding> {
    let script = file.path.starts_with(".ci/") || file.name() == "justfile";
    if !script && !file.has_extension(&SOURCES) && !file.has_extension(&CONFIGURATIONS) {
        return Vec::new();
    }
    let marks = GAP_WORDS.iter().chain(&GAP_MACROS);
    file.lines()
        .flat_map(|(number, line)| marks.clone().map(move |mark| (number, line, *mark)))
        .filter(|(_, line, mark)| has_word(line, mark))
        .map(|(number, _, mark)| Finding::at(&file.path, number, format!("`{mark}`: finish it")))
        .collect()
}

/// Every test runs.
pub fn no_ignored_test(file: &File) -> Vec<Finding> {
    rust_lines_with(file, &[IGNORED], "a test that is never run; mend or delete it")
}

/// An exception to a lint carries its reason and complains once it is not needed any more.
pub fn no_bare_allow(file: &File) -> Vec<Finding> {
    rust_lines_with(file, &BARE_ALLOW, "use `expect` with a `reason`")
}

fn rust_lines_with(file: &File, marks: &[&str], message: &str) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    file.lines()
        .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
        .map(|(number, _)| Finding::at(&file.path, number, message))
        .collect()
}

/// Whether the word occurs with no letter, digit or underscore directly before or after it.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(part_of_a_word) && !after.is_some_and(part_of_a_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_lines_and_no_more() {
        let of = |path: &str, lines: usize| short_source(&File::text(path, &"x\n".repeat(lines)));
        assert_eq!(of("a.rs", 500), None);
        assert_eq!(of("a.rs", 501).map(|finding| finding.line), Some(501));
        assert_eq!(of("openapi.json", 4000), None);
    }

    #[test]
    fn eight_megabytes_and_no_more() {
        let of = |bytes| small_file(&File { path: "m.bin".into(), bytes, text: None });
        assert_eq!(of(8_000_000), None);
        assert!(of(8_000_001).is_some());
    }

    #[test]
    fn gaps_are_told_with_their_line() {
        for mark in GAP_WORDS.iter().chain(&GAP_MACROS) {
            let found = finished(&File::text("a.rs", &format!("fine\n// {mark} later\n")));
            assert_eq!(found.first().map(|finding| finding.line), Some(2), "{mark}");
            assert_eq!(finished(&File::text("a.rs", &format!("a{mark}b"))), []);
            assert_eq!(finished(&File::text("a.md", &format!("no {mark} here"))), []);
            assert_eq!(finished(&File::text(".ci/run", &format!("# {mark}"))).len(), 1);
        }
    }

    #[test]
    fn ignored_tests_are_told() {
        let source = format!("{}]\n{} = \"slow\"]\n#[test]\n", IGNORED, IGNORED);
        assert_eq!(no_ignored_test(&File::text("a.rs", &source)).len(), 2);
        assert_eq!(no_ignored_test(&File::text("a.md", &source)), []);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let bare = format!("{}dead_code)]", BARE_ALLOW[0]);
        assert_eq!(no_bare_allow(&File::text("a.rs", &bare)).len(), 1);
        let inner = format!("{}dead_code)]", BARE_ALLOW[1]);
        assert_eq!(no_bare_allow(&File::text("a.rs", &inner)).len(), 1);
        let reasoned = "#[expect(dead_code, reason = \"only on Windows\")]";
        assert_eq!(no_bare_allow(&File::text("a.rs", reasoned)), []);
    }
}
