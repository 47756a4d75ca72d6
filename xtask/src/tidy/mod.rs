//! The rules, each a small function from what it looks at to its findings.
//!
//! A rule takes files or packages and answers findings; nothing here reads a disk, so every test
//! shows on a literal how the rule passes and how it fails.

use crate::finding::Finding;
use crate::repository::File;
use crate::workspace::Package;

mod decisions;
mod edges;
mod layout;
mod links;
mod manifests;
mod names;
mod text;

/// Every rule over the whole repository, sorted by place.
pub fn check(files: &[File], packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(edges::direction(packages));
    findings.extend(edges::training_stays_optional(packages));
    findings.extend(manifests::described(packages));
    findings.extend(manifests::inherits_from_the_root(files));
    findings.extend(layout::few_root_entries(files));
    findings.extend(layout::short_pages(files));
    findings.extend(layout::every_crate_on_the_map(files, packages));
    findings.extend(decisions::listed(files));
    findings.extend(decisions::well_formed(files));
    findings.extend(links::resolve(files));
    for file in files {
        findings.extend(names::telling(file));
        findings.extend(text::short_source(file));
        findings.extend(text::small_file(file));
        findings.extend(text::finished(file));
        findings.extend(text::no_ignored_test(file));
        findings.extend(text::no_bare_allow(file));
    }
    findings.sort();
    findings
}
