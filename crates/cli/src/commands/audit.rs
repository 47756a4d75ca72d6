//! `microdiff audit`: proves the audit log whole and takes records out of it. Only reads, so it may
//! look at the log of a running service.

use crate::args::{AuditCommand, AuditExportArgs, AuditVerifyArgs, ExportAs};
use crate::failure::Failure;
use crate::output;
use microdiff_telemetry::audit::{AuditError, ExportFilter, ExportFormat, Report, export, verify};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

pub fn run(command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => run_verify(args),
        AuditCommand::Export(args) => run_export(args),
    }
}

/// Prints what the log holds, then a line for each finding; any finding is exit code 3.
fn run_verify(args: &AuditVerifyArgs) -> Result<(), Failure> {
    must_be_there(&args.dir)?;
    let report = verify(&args.dir, args.expect_head.as_deref()).map_err(unreadable)?;
    output::print(&summary(&report))?;
    if report.findings.is_empty() {
        return output::print("the log is whole\n");
    }
    for finding in &report.findings {
        output::print(&format!("{finding}\n"))?;
    }
    let count = report.findings.len();
    Err(Failure::data(format!(
        "the audit log in {} is not whole: findings {count}",
        args.dir.display()
    )))
}

fn summary(report: &Report) -> String {
    if report.records == 0 {
        return "records 0\n".to_owned();
    }
    format!(
        "records {} ({} to {}) in segments {}\nfirst {}\nlast {}\nhead {}\ncrashes put right {}\n",
        report.records,
        report.first_seq,
        report.last_seq,
        report.segments,
        report.first_time,
        report.last_time,
        report.head,
        report.recoveries,
    )
}

fn run_export(args: &AuditExportArgs) -> Result<(), Failure> {
    must_be_there(&args.dir)?;
    let filter = ExportFilter {
        from: args.from.clone(),
        to: args.to.clone(),
        event: args.event.clone(),
        field: args.caller.clone().map(|caller| ("caller".to_owned(), caller)),
    };
    let format = match args.format {
        ExportAs::Jsonl => ExportFormat::Jsonl,
        ExportAs::Csv => ExportFormat::Csv,
    };
    let mut out = Quiet(BufWriter::new(std::io::stdout().lock()));
    export(&args.dir, &filter, format, &mut out).map(drop).map_err(unreadable)
}

/// A directory that is not there holds no log, which is not the same as an empty one.
fn must_be_there(dir: &Path) -> Result<(), Failure> {
    if dir.is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is not a directory; --dir names that of the log",
        dir.display()
    )))
}

fn unreadable(error: AuditError) -> Failure {
    Failure::internal(error)
}

/// A reader that went away (`| head`) is an end, not an error.
struct Quiet<W: Write>(W);

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            other => other,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}
