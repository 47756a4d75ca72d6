//! `docs/reference/alerts.md`: every alert in one table, from the rule files.

use microdiff_kit::{files, rules};
use std::fmt::Write as _;
use std::path::Path;

fn page() -> String {
    let mut text = "# Alerts\n\nGenerated from the rule files of `deploy/prometheus/rules`; a test holds \
        the two equal. `for` is how long the condition must hold. Runbooks are linked by the name.\n"
        .to_owned();
    let mut group = String::new();
    for rule in rules(&files()).unwrap().iter().filter(|rule| rule.alert.is_some()) {
        if rule.group != group {
            group.clone_from(&rule.group);
            let file = rule.file.rsplit('/').next().unwrap();
            write!(text, "\n## {group} ({file})\n\n").unwrap();
            text += "| alert | severity | team | for | what it says |\n|---|---|---|---|---|\n";
        }
        let name = rule.name();
        writeln!(
            text,
            "| [{name}](../runbooks/{name}.md) | {} | {} | {} | {} |",
            rule.labels["severity"],
            rule.labels["team"],
            rule.wait.as_deref().unwrap(),
            rule.annotations["description"].trim().replace('|', "\\|"),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_page_lists_every_alert() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/alerts.md");
    let text = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let held = std::fs::read_to_string(&path).expect("docs/reference/alerts.md is there");
    assert_eq!(held, text, "docs/reference/alerts.md is old; UPDATE_GOLDEN=1 writes it anew");
}
