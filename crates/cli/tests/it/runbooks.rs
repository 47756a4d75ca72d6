//! Every command that a runbook quotes is run against a service, as whoever is woken would run it.

use crate::binary::text;
use crate::kit::{busy_service, keep_busy};
use crate::serve::data_dir;
use crate::service::Service;
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};
use std::path::Path;
use std::process::{Command, Output};

/// Commands of one fence, and whether they need systems that are not here.
struct Block {
    page: String,
    commands: String,
    elsewhere: bool,
}

/// Runs here, or on a cluster: the languages a fence may name.
const HERE: &str = "sh";
const ELSEWHERE: &str = "sh cluster";

fn blocks() -> Vec<Block> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks");
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the runbooks are there") {
        let path = entry.expect("an entry").path();
        let page = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a page");
        for (number, part) in text.split("```").enumerate() {
            // Every second part is inside a fence.
            if number % 2 == 0 {
                continue;
            }
            let (language, commands) = part.split_once('\n').expect("a fence of lines");
            assert!([HERE, ELSEWHERE].contains(&language), "{page}: a fence of `{language}`");
            let (commands, elsewhere) = (commands.to_owned(), language == ELSEWHERE);
            blocks.push(Block { page: page.clone(), commands, elsewhere });
        }
    }
    blocks
}

/// The commands with the service's addresses in place of the default ones. A status of 400 and above
/// is an error here: on a service that is well none of them should meet one.
fn addressed(commands: &str, service: &Service) -> String {
    let mut commands = commands.replace("curl -sS ", "curl -fsS ");
    for (port, listener) in [(8080, "api"), (8000, "metrics"), (8001, "gpu"), (8002, "admin")] {
        let address = service.ready[listener].as_str().expect("an address");
        commands = commands.replace(&format!("localhost:{port}"), address);
    }
    assert!(!commands.contains("localhost:"), "a port that is no default: {commands}");
    commands
}

fn sh(folder: &Path, args: &[&str]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_microdiff")).parent().expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    Command::new("sh")
        .args(args)
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", text(binary)))
        .output()
        .expect("there is a shell")
}

#[test]
fn every_command_of_a_runbook_works() {
    let folder = data_dir();
    // Where an operator stands: the data directory has its default name, the scan is at hand.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    std::os::unix::fs::symlink(fixtures, folder.path().join("fixtures")).expect("a link");
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(&format!("{TWO_DEVICES}0.xid 79\n0.xid_serial 1\n")).expect("scripted");
    let service = busy_service(folder.path(), &stub);
    keep_busy(folder.path(), &service);
    service.until_shown("microdiff_model_accuracy{");
    service.until_shown("microdiff_descriptor_drift{");
    service.until_shown("microdiff_slo_objective_ratio{");

    let blocks = blocks();
    assert!(blocks.len() > 50, "{}", blocks.len());
    let mut faults = Vec::new();
    for block in &blocks {
        let commands = addressed(&block.commands, &service);
        let flags = if block.elsewhere { "-nc" } else { "-ec" };
        let each =
            if block.elsewhere { vec![commands.as_str()] } else { commands.lines().collect() };
        for command in each {
            let output = sh(folder.path(), &[flags, command]);
            let silent = output.stdout.is_empty() && !block.elsewhere;
            if !output.status.success() || silent {
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                faults.push(format!("{}: {command}: {} {told}", block.page, output.status));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
