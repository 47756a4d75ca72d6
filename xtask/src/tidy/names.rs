//! Files and folders are named after what is in them.

use crate::finding::Finding;
use crate::repository::File;

/// Names that say nothing: anything ends up in such a place, nobody finds it again.
const SAY_NOTHING: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

/// No file or folder has a name that says nothing.
pub fn telling(file: &File) -> Option<Finding> {
    let said_nothing = file
        .path
        .split('/')
        .map(|part| part.split('.').next().unwrap_or(part))
        .find(|stem| SAY_NOTHING.contains(stem))?;
    Some(Finding::in_file(
        &file.path,
        format!("`{said_nothing}` says nothing; name the thing that is inside"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_told() {
        let told = |path: &str| telling(&File::text(path, "")).is_some();
        assert!(told("crates/a/src/utils.rs"));
        assert!(told("crates/a/tests/common/mod.rs"));
        assert!(told("console/helpers.test.js"));
        assert!(!told("crates/a/src/threshold.rs"));
        assert!(!told("crates/a/src/commonality.rs"));
    }
}
