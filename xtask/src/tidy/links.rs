//! Links between the pages of the repository lead somewhere.
//!
//! Looks at inline links, images and reference definitions outside of code; what goes to another
//! site is not followed.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::repository::File;

/// Every relative link in a Markdown page resolves to a file, a folder or a heading.
pub fn resolve(files: &[File]) -> Vec<Finding> {
    let places = places(files);
    let mut findings = Vec::new();
    for page in files.iter().filter(|file| file.has_extension(&["md"])) {
        for (line, target) in links(page) {
            if let Some(message) = broken(page, target, &places, files) {
                findings.push(Finding::at(&page.path, line, message));
            }
        }
    }
    findings
}

/// Every file and every folder above one.
fn places(files: &[File]) -> BTreeSet<&str> {
    let mut places = BTreeSet::from([""]);
    for file in files {
        places.insert(&file.path);
        places.extend(file.path.match_indices('/').map(|(end, _)| &file.path[..end]));
    }
    places
}

/// What is wrong with a link, if anything.
fn broken(page: &File, target: &str, places: &BTreeSet<&str>, files: &[File]) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    if target.starts_with('/') {
        return Some(format!("link to {target}: write it relative to this page"));
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { Some(page.path.clone()) } else { join(&page.path, path) };
    let Some(full) = full.filter(|full| places.contains(full.as_str())) else {
        return Some(format!("link to {target}: no such file"));
    };
    let linked = files.iter().find(|file| file.path == full && file.has_extension(&["md"]));
    let found = heading.is_empty() || linked.is_none_or(|file| headings(file).contains(heading));
    (!found).then(|| format!("link to {target}: no such heading"))
}

/// The path that `link` means on the page at `from`; nothing when it leaves the repository.
fn join(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a page outside of fenced code.
fn prose(page: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of a page's links with their lines.
fn links(page: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(page) {
        // Even pieces between backticks are outside of inline code.
        let mut code = false;
        let mut offset = 0;
        for piece in line.split('`') {
            for (start, _) in piece.match_indices("](").filter(|_| !code) {
                found.extend(target(&line[offset + start + 2..]).map(|target| (number, target)));
            }
            offset += piece.len() + 1;
            code = !code;
        }
        if let Some((label, rest)) = line.split_once("]: ")
            && label.starts_with('[')
            && !label.starts_with("[^")
        {
            found.extend(rest.split_whitespace().next().map(|target| (number, target)));
        }
    }
    found
}

/// The target at the beginning of what follows `](`, without its title.
fn target(rest: &str) -> Option<&str> {
    let inside = rest.split(')').next()?;
    let target = inside.split_whitespace().next()?;
    Some(target.trim_start_matches('<').trim_end_matches('>'))
}

/// The anchors of a page's headings, as the usual code hosts form them.
fn headings(page: &File) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(page).filter(|(_, line)| line.starts_with('#')) {
        let anchor = anchor(line.trim_start_matches('#').trim());
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|a| !anchors.contains(a));
        anchors.extend(free);
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<Finding> {
        resolve(&[
            File::text("docs/guide/start.md", text),
            File::text("docs/adr/README.md", "# Decisions, and why\n## Old\n## Old\n"),
            File::text("README.md", "# x"),
        ])
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for text in [
            "[up](../../README.md) and ![image](../adr/README.md \"title\")",
            "[folder](../adr) [other](../adr/) [root](../../)",
            "[out](https://example.org/none.md) [mail](mailto:a@b.c)",
            "[why](../adr/README.md#decisions-and-why) [2](../adr/README.md#old-1)",
            "# Here\n[here](#here)",
            "`[code](none.md)` and\n```\n[fenced](none.md)\n```",
            "[reference][r]\n\n[r]: ../../README.md\n[^1]: a footnote",
        ] {
            assert_eq!(check(text), [], "{text}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_told_with_their_line() {
        for (text, line) in [
            ("fine\n[gone](gone.md)", 2),
            ("`code` [gone](gone.md)", 1),
            ("[out](../../../README.md)", 1),
            ("[absolute](/README.md)", 1),
            ("[heading](../adr/README.md#none)", 1),
            ("[third](../adr/README.md#old-2)", 1),
            ("[r]: gone.md", 1),
            ("[good](../../README.md) [gone](gone.md)", 1),
        ] {
            let found = check(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].line, line, "{text}");
        }
    }
}
