use crate::binary::succeed;
use std::path::Path;

/// `--help` of every command is a promise to scripts and readers: it changes only on purpose.
/// `UPDATE_GOLDEN=1` rewrites the goldens.
#[test]
fn help_matches_its_golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for command in [
        "",
        "design",
        "predict",
        "map",
        "analyze",
        "simulate",
        "evaluate",
        "validate-physics",
        "record",
        "train",
        "models",
        "models list",
        "models show",
        "models verify",
        "replay",
        "serve",
        "audit",
        "audit verify",
        "audit export",
        "observability",
        "observability export",
        "observability check",
        "observability verify",
        "drill",
        "healthcheck",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = succeed(&args);
        let name =
            if command.is_empty() { "microdiff".to_owned() } else { command.replace(' ', "-") };
        let golden = folder.join(format!("help-{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &help).expect("the golden is written");
        }
        let expected = std::fs::read_to_string(&golden).expect("the golden is there");
        assert_eq!(help, expected, "help of {name} changed; UPDATE_GOLDEN=1 if on purpose");
    }
}

#[test]
fn version_is_the_crate_version() {
    assert_eq!(succeed(&["--version"]), format!("microdiff {}\n", env!("CARGO_PKG_VERSION")));
}
