//! The chain against crashes, clocks and tampering, with a clock that a test sets.

mod tamper;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::chain::Chain;
use super::*;

const DAY: u64 = 86_400;
/// 2026-01-01 in seconds since 1970.
const NEW_YEAR: u64 = 1_767_225_600;

/// A clock whose two hands are set by hand, in seconds.
#[derive(Default)]
struct Hands {
    now: AtomicU64,
    running: AtomicU64,
}

impl Hands {
    fn new() -> Arc<Self> {
        let hands = Self::default();
        hands.now.store(NEW_YEAR, Ordering::Relaxed);
        Arc::new(hands)
    }

    /// Time goes by.
    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
        self.running.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Somebody sets the time of day.
    fn set(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }
}

impl AuditClock for Hands {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.now.load(Ordering::Relaxed))
    }

    fn running(&self) -> Duration {
        Duration::from_secs(self.running.load(Ordering::Relaxed))
    }
}

fn options(dir: &Path, hands: &Arc<Hands>) -> AuditOptions {
    let clock: Arc<dyn AuditClock> = hands.clone();
    AuditOptions { retention: Duration::from_secs(365 * DAY), clock, ..AuditOptions::new(dir) }
}

fn add(chain: &mut Chain, from: u64, to: u64) {
    for number in from..=to {
        let Value::Object(fields) = json!({ "number": number }) else { unreachable!() };
        chain.append(&[("cake.baked", &fields)]).unwrap();
        chain.write_head().unwrap();
    }
}

/// Three segments: records 1 to 4, 5 to 8 and 9 to 12, of which 1, 5 and 9 open the segments.
/// Written once and copied, because each record is synced.
fn three_days(dir: &Path) {
    static MADE: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
        for day in 0..3 {
            add(&mut chain, day * 3 + 1, day * 3 + 3);
            hands.pass(DAY);
        }
        content(folder.path())
    });
    for (name, bytes) in MADE.iter() {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn segment(number: u64) -> String {
    super::scan::segment_name(number)
}

fn edit(dir: &Path, number: u64, change: impl FnOnce(&mut Vec<String>)) {
    let path = dir.join(segment(number));
    let mut lines: Vec<String> =
        fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn findings(dir: &Path) -> Vec<Finding> {
    verify(dir, None).unwrap().findings
}

#[test]
fn an_untouched_log_is_whole_and_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    let report = verify(folder.path(), None).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.records, report.segments), (12, 3));
    assert_eq!((report.first_seq, report.last_seq), (1, 12));
    assert_eq!(report.first_time, "2026-01-01T00:00:00.000000Z");
    assert_eq!(report.last_time, "2026-01-03T00:00:00.000000Z");
    assert_eq!(verify(folder.path(), Some(&report.head)).unwrap().findings, []);
    let other = "f".repeat(64);
    assert_eq!(verify(folder.path(), Some(&other)).unwrap().findings, [Finding::AnchorMissing]);
}

#[test]
fn a_flipped_byte_names_its_record() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    edit(folder.path(), 2, |lines| lines[1] = lines[1].replace("\"number\":4", "\"number\":5"));
    let altered = Finding::Altered { segment: segment(2), line: 2, seq: 6 };
    assert_eq!(findings(folder.path()), [altered]);
}

#[test]
fn a_record_rewritten_with_a_right_hash_of_its_own_is_altered_all_the_same() {
    for (number, seq) in [(2, 6), (3, 12)] {
        let folder = tempfile::tempdir().unwrap();
        three_days(folder.path());
        edit(folder.path(), number, |lines| {
            let at = if seq == 12 { 3 } else { 1 };
            let body = lines[at].split(",\"hash\"").next().unwrap().replace("cake", "tart");
            let hash = super::record::sha256_hex(body.as_bytes());
            lines[at] = format!("{body},\"hash\":\"{hash}\"}}");
        });
        let line = if seq == 12 { 4 } else { 2 };
        let altered = Finding::Altered { segment: segment(number), line, seq };
        assert_eq!(findings(folder.path()), [altered]);
    }
}

#[test]
fn removed_lines_are_told_by_their_numbers() {
    for (number, at, from, to) in [(1, 0..1, 1, 1), (2, 1..3, 6, 7), (3, 3..4, 12, 12)] {
        let folder = tempfile::tempdir().unwrap();
        three_days(folder.path());
        edit(folder.path(), number, |lines| drop(lines.drain(at)));
        let removed = Finding::Removed { segment: segment(number), from, to };
        assert_eq!(findings(folder.path()), [removed]);
    }
}

#[test]
fn a_removed_segment_is_named_be_it_first_middle_or_newest() {
    for number in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        three_days(folder.path());
        fs::remove_file(folder.path().join(segment(number))).unwrap();
        let found = findings(folder.path());
        assert_eq!(found[0], Finding::SegmentRemoved { segment: segment(number) }, "{found:?}");
        let Finding::Removed { from, to, .. } = found[1] else { panic!("{found:?}") };
        assert_eq!((from, to), (number * 4 - 3, number * 4));
        assert_eq!(found.len(), 2, "{found:?}");
    }
}

#[test]
fn swapped_repeated_and_foreign_lines_and_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    edit(folder.path(), 2, |lines| lines.swap(1, 2));
    let reordered = Finding::Reordered { segment: segment(2), line: 3, seq: 6, expected: 8 };
    assert_eq!(findings(folder.path()), [reordered]);
    edit(folder.path(), 2, |lines| lines.swap(1, 2));
    edit(folder.path(), 1, |lines| lines.push(lines[1].clone()));
    let repeated = Finding::Reordered { segment: segment(1), line: 5, seq: 2, expected: 5 };
    assert_eq!(findings(folder.path()), [repeated]);
    edit(folder.path(), 1, |lines| drop(lines.pop()));
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    assert_eq!(findings(folder.path()), [Finding::Foreign { name: "notes.txt".into() }]);
    fs::remove_file(folder.path().join("notes.txt")).unwrap();
    fs::remove_file(folder.path().join("head.json")).unwrap();
    assert_eq!(findings(folder.path()), [Finding::HeadLost]);
}

#[test]
fn a_torn_tail_is_told_then_cut_off_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    let path = folder.path().join(segment(3));
    let mut bytes = fs::read(&path).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"{\"seq\":13,\"time\":\"20");
    fs::write(&path, &bytes).unwrap();
    let torn = Finding::TornTail { segment: segment(3), bytes: 20, after: 12 };
    assert_eq!(findings(folder.path()), [torn]);
    let hands = Hands::new();
    hands.pass(2 * DAY);
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 10, 10);
    let report = verify(folder.path(), None).unwrap();
    assert_eq!((report.findings, report.records, report.recoveries), (vec![], 14, 1));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text[whole..].contains("\"reason\":\"torn_tail\""), "{text}");
    assert!(text[whole..].contains("\"bytes_dropped\":20"), "{text}");
}

#[test]
fn a_line_no_record_can_be_is_altered_and_nothing_is_cut_off_for_it() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    let path = folder.path().join(segment(3));
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes.splice(second..second, std::iter::repeat_n(b'x', 17 << 20));
    fs::write(&path, &bytes).unwrap();
    let altered = Finding::Altered { segment: segment(3), line: 2, seq: 10 };
    assert_eq!(findings(folder.path()), [altered]);
    let hands = Hands::new();
    hands.pass(2 * DAY);
    drop(Chain::open(&options(folder.path(), &hands)).unwrap());
    assert_eq!(fs::read(&path).unwrap().len(), bytes.len());
}

#[test]
fn an_end_cut_off_between_two_runs_stays_a_gap_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    edit(folder.path(), 3, |lines| lines.truncate(2));
    let hands = Hands::new();
    hands.pass(3 * DAY);
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 10, 11);
    let removed = Finding::Removed { segment: segment(4), from: 11, to: 12 };
    assert_eq!(findings(folder.path()), [removed]);
}

#[test]
fn a_lost_head_is_made_anew_and_that_stays_visible() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    fs::remove_file(folder.path().join(segment(3))).unwrap();
    fs::remove_file(folder.path().join("head.json")).unwrap();
    let hands = Hands::new();
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 10, 11);
    let found = findings(folder.path());
    assert!(matches!(found[..], [Finding::HeadRebuilt { .. }]), "{found:?}");
}

/// The first write of a segment fails because the directory is out of place; when it is back, what
/// the attempt left there does not stand in the way.
#[test]
fn a_segment_begun_in_vain_does_not_stand_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, away) = (folder.path().join("audit"), folder.path().join("away"));
    let hands = Hands::new();
    let mut chain = Chain::open(&options(&dir, &hands)).unwrap();
    fs::write(dir.join(segment(1)), "").unwrap();
    add(&mut chain, 1, 1);
    hands.pass(DAY);
    fs::write(dir.join(segment(2)), "not ours").unwrap();
    assert!(chain.append(&[("cake.baked", &Map::new())]).is_err());
    fs::rename(&dir, &away).unwrap();
    assert!(chain.write_head().is_err());
    fs::rename(&away, &dir).unwrap();
    fs::remove_file(dir.join(segment(2))).unwrap();
    add(&mut chain, 2, 2);
    assert_eq!(findings(&dir), []);
}

#[test]
fn two_writers_never_share_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let first = Chain::open(&options(folder.path(), &hands)).unwrap();
    assert!(Chain::open(&options(folder.path(), &hands)).is_err());
    first.release().unwrap();
    assert!(Chain::open(&options(folder.path(), &hands)).is_ok());
}

#[test]
fn segments_are_closed_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let options = AuditOptions { segment_bytes: 500, ..options(folder.path(), &hands) };
    let mut chain = Chain::open(&options).unwrap();
    add(&mut chain, 1, 10);
    assert!(names(folder.path()).len() > 4, "{:?}", names(folder.path()));
    assert_eq!(findings(folder.path()), []);
}

/// A segment goes when its newest record is past retention, not a second before, and the rest of
/// the log stays provably whole.
#[test]
fn retention_removes_whole_segments_when_due_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 1, 3);
    hands.pass(DAY);
    add(&mut chain, 4, 6);
    hands.pass(DAY);
    add(&mut chain, 7, 7);
    // The first segment was closed, and its successor opened, on the second day.
    hands.pass(364 * DAY);
    assert_eq!(chain.sweep().unwrap(), 0);
    hands.pass(1);
    assert_eq!(chain.sweep().unwrap(), 1);
    assert!(!names(folder.path()).contains(&segment(1)));
    assert!(names(folder.path()).contains(&segment(2)));
    let report = verify(folder.path(), None).unwrap();
    assert_eq!((report.findings, report.first_seq), (vec![], 5));
    // Taking one more away is no retention.
    fs::remove_file(folder.path().join(segment(2))).unwrap();
    let found = findings(folder.path());
    assert_eq!(found[0], Finding::SegmentRemoved { segment: segment(2) });
}

#[test]
fn a_removal_that_the_chain_does_not_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    three_days(folder.path());
    let super::scan::StoredHead::Read(mut head) = super::scan::read_head(folder.path()).unwrap()
    else {
        panic!("no head")
    };
    let second = super::scan::survey(&folder.path().join(segment(2))).unwrap().first.unwrap();
    (head.first_seq, head.first_prev, head.first_segment) = (5, second.prev, 2);
    fs::write(folder.path().join("head.json"), head.to_line()).unwrap();
    fs::remove_file(folder.path().join(segment(1))).unwrap();
    assert_eq!(findings(folder.path()), [Finding::RetentionUnrecorded { first: 5 }]);
}

/// Neither a clock set ahead while running, nor one set ahead between two runs, nor one that was
/// wrong when the records were written, makes a record old.
#[test]
fn no_clock_makes_a_record_old() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    // The records themselves carry a time long gone.
    hands.set(NEW_YEAR - 20 * 365 * DAY);
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 1, 2);
    hands.set(NEW_YEAR);
    add(&mut chain, 3, 4);
    assert_eq!(chain.sweep().unwrap(), 0, "written with a wrong clock");
    hands.set(NEW_YEAR + 900 * DAY);
    assert_eq!(chain.sweep().unwrap(), 0, "set ahead while running");
    chain.release().unwrap();
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    assert_eq!(chain.sweep().unwrap(), 0, "set ahead between two runs");
    add(&mut chain, 5, 5);
    hands.set(NEW_YEAR);
    hands.running.fetch_add(400 * DAY, Ordering::Relaxed);
    assert_eq!(chain.sweep().unwrap(), 0, "set back behind the newest record");
    hands.set(NEW_YEAR + 901 * DAY);
    assert!(chain.sweep().unwrap() > 0, "both clocks agree");
    assert_eq!(findings(folder.path()), []);
}

#[test]
fn a_removal_cut_short_is_finished_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 1, 2);
    let first = fs::read(folder.path().join(segment(1))).unwrap();
    hands.pass(DAY);
    add(&mut chain, 3, 3);
    hands.pass(400 * DAY);
    add(&mut chain, 4, 4);
    // The second was closed by the record just written: for it the time begins now.
    assert_eq!(chain.sweep().unwrap(), 1);
    chain.release().unwrap();
    // As if the process had ended between the head and the removal.
    fs::write(folder.path().join(segment(1)), first).unwrap();
    assert_eq!(findings(folder.path()), []);
    let _chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    assert!(!names(folder.path()).contains(&segment(1)));
}

#[test]
fn a_segment_with_damage_is_evidence_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let mut chain = Chain::open(&options(folder.path(), &hands)).unwrap();
    add(&mut chain, 1, 2);
    hands.pass(DAY);
    add(&mut chain, 3, 3);
    edit(folder.path(), 1, |lines| lines[1] = lines[1].replace("cake", "tart"));
    hands.pass(800 * DAY);
    assert_eq!(chain.sweep().unwrap(), 0);
}

#[test]
fn times_are_read_as_they_are_written() {
    for micros in [0, 951_782_400_000_007, 1_709_251_199_999_999, 4_102_444_800_000_000] {
        let text = crate::rfc3339(UNIX_EPOCH + Duration::from_micros(micros));
        assert_eq!(super::record::micros(&text), Some(micros), "{text}");
    }
    assert_eq!(super::record::micros("2026-01-01T00:00:00Z"), None);
}

fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}
