//! What a real service writes, and what the Collector makes of it.

use crate::binary::{microdiff, text};
use crate::collector::{Collector, Record};
use crate::service::Service;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// The log and audit lines of a service that answered a design, failed at one, and stopped.
pub struct Written {
    pub folder: tempfile::TempDir,
    pub log: Vec<String>,
    pub audit: Vec<String>,
    pub ready: Value,
}

pub fn written() -> Written {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, data) = (folder.path().join("microdiff.log"), folder.path().join("data"));
    let config = folder.path().join("microdiff.toml");
    let levels = "info,microdiff.imaging=debug,microdiff.optimization=debug";
    let settings = format!("[log]\nfile = \"{}\"\nlevel = \"{levels}\"\n", text(&log));
    std::fs::write(&config, settings).expect("written");
    let mut service = Service::start_by(microdiff(), &data, &["--config", text(&config)]);
    let answer = service.design("/v1/designs?wait=60", "", &[("alloy", "Ti-6Al-4V")]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let fields = [("alloy", "316L"), ("voxel_size_um", "5")];
    let answer = service.post_scan("/v1/designs?wait=60", "", b"no scan", &fields);
    assert_eq!(answer.status, 422, "{}", answer.body);
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let audit = lines(&data.join("audit/audit-000001.jsonl"));
    Written { log: lines(&log), audit, ready: service.ready.clone(), folder }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the file is there");
    text.lines().map(str::to_owned).collect()
}

impl Written {
    /// The same lines as a container runtime keeps them: every fifth in two parts, one that the
    /// runtime library wrote, and the ready line. Returns a pattern for the file.
    pub fn as_pod(&self) -> String {
        let folder = self.folder.path().join("pods/print_microdiff-7f_0a1b-2c/microdiff");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut out = format!("2026-01-01T00:00:00.5Z stdout F {}\n", self.ready);
        for (index, line) in self.log.iter().enumerate() {
            let moment = format!("2026-01-02T00:00:00.{index:09}Z");
            let at = line.char_indices().nth(40).map_or(0, |(at, _)| at);
            let (first, rest) = line.split_at(if index % 5 == 0 { at } else { 0 });
            if !first.is_empty() {
                let _ = writeln!(out, "{moment} stdout P {first}");
            }
            let _ = writeln!(out, "{moment} stdout F {rest}");
        }
        out.push_str("2026-01-03T04:05:06.000007Z stderr F thread caused stack overflow\n");
        std::fs::write(folder.join("0.log"), out).expect("written");
        format!("{}/pods/*_microdiff-*_*/microdiff/*.log", text(self.folder.path()))
    }

    /// Runs the Collector over all of it: records of the file, of the pod, of the audit log.
    pub fn collected(&self) -> [Vec<Record>; 3] {
        let folder = self.folder.path();
        let pods = self.as_pod();
        let variables = [
            ("MICRODIFF_LOG_FILES", text(&folder.join("microdiff*.log")).to_owned()),
            ("MICRODIFF_POD_LOGS", pods),
            ("MICRODIFF_AUDIT_FILES", text(&folder.join("data/audit/audit-*.jsonl")).to_owned()),
        ];
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut collector = Collector::start(&folder.join("otelcol"), &variables);
        let audit = collector.records("audit.jsonl", self.audit.len());
        let lines = collector.records("app.jsonl", 2 * self.log.len() + 1);
        let (pod, file) = lines.into_iter().partition(|line| line.body["k8s.pod.name"].is_string());
        [file, pod, audit]
    }
}
