//! A log file that is rotated by size and by day and swept by age.
//!
//! It follows its path: a file that was moved or removed by somebody else is opened anew before the
//! next line, so no line goes into a file without a name. A file that cannot be rotated grows on;
//! lines that cannot be written are counted, never written by halves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock;

/// Where the log file lies and when it makes way for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The file being written, such as `microdiff.log`. Older ones lie beside it as
    /// `microdiff.2026-01-31.0001.log`.
    pub path: PathBuf,
    /// Rotated before it grows beyond this.
    pub max_bytes: u64,
    /// Whether it is also rotated at midnight UTC.
    pub daily: bool,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

impl LogFile {
    /// A file of at most 64 MiB, rotated also at midnight UTC, kept for 30 days.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let keep = Duration::from_secs(30 * 86_400);
        Self { path: path.into(), max_bytes: 64 << 20, daily: true, keep }
    }
}

/// What went wrong with a batch of lines.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Lines that are in no file.
    pub(super) lost: u64,
    pub(super) error: io::Error,
}

pub(super) struct RotatedFile {
    options: LogFile,
    file: File,
    size: u64,
    day: u64,
    /// The last line in the file has no end.
    torn: bool,
}

fn day_of(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

impl RotatedFile {
    /// Opens the file for appending; a file from an earlier day is rotated with the first line.
    pub(super) fn open(options: LogFile) -> io::Result<Self> {
        let file = open(&options.path)?;
        let metadata = file.metadata()?;
        let now = SystemTime::now();
        let day = day_of(metadata.modified().unwrap_or(now));
        let opened = Self { options, file, size: metadata.len(), day, torn: false };
        opened.sweep(now);
        Ok(opened)
    }

    /// Opens the path anew, as a tool that has moved the file away asks for.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.options.path)?;
        self.size = self.file.metadata()?.len();
        self.torn = false;
        Ok(())
    }

    /// Writes whole lines. `now` decides about the day.
    pub(super) fn write(&mut self, lines: &[u8], now: SystemTime) -> Result<(), Trouble> {
        let lost = |error, rest: &[u8]| Trouble { lost: count_lines(rest), error };
        self.follow().map_err(|error| lost(error, lines))?;
        let today = day_of(now);
        let mut rest = lines;
        let mut unrotated = None;
        while !rest.is_empty() {
            let room = self.options.max_bytes.saturating_sub(self.size);
            let fits = if unrotated.is_some() { rest.len() } else { whole_lines(rest, room) };
            let new_day = self.options.daily && today > self.day;
            if self.size > 0 && unrotated.is_none() && (fits == 0 || new_day) {
                unrotated = self.rotate(now).err();
                continue;
            }
            // A single line longer than the limit gets a file of its own.
            let take = if fits == 0 { first_line(rest) } else { fits };
            let (head, tail) = rest.split_at(take.min(rest.len()));
            if let Err((written, error)) = self.append(head) {
                let kept = self.mend(head, written);
                return Err(lost(error, rest.get(kept..).unwrap_or(&[])));
            }
            if unrotated.is_none() {
                self.day = today;
            }
            rest = tail;
        }
        unrotated.map_or(Ok(()), |error| Err(Trouble { lost: 0, error }))
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn {
            write_counted(&mut self.file, b"\n").map_err(|(_, error)| (0, error))?;
            self.size += 1;
            self.torn = false;
        }
        write_counted(&mut self.file, lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// After a write that broke off: takes the half line back and returns how many bytes of whole
    /// lines stay.
    fn mend(&mut self, lines: &[u8], written: usize) -> usize {
        let kept = ended(lines.get(..written).unwrap_or(lines));
        let torn = (written - kept) as u64;
        self.size += kept as u64;
        if torn > 0 {
            // Somebody else's lines behind ours must not be cut with it.
            let ours = self.file.metadata().is_ok_and(|m| m.len() == self.size + torn);
            if !(ours && self.file.set_len(self.size).is_ok()) {
                self.torn = true;
                self.size += torn;
            }
        }
        kept
    }

    /// Opens the path anew when it no longer leads to the open file; learns of a truncation.
    fn follow(&mut self) -> io::Result<()> {
        let open = self.file.metadata()?;
        let same = fs::metadata(&self.options.path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
        if !same {
            return self.reopen();
        }
        self.size = open.len();
        Ok(())
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let target = self.free_name()?;
        fs::rename(&self.options.path, target)?;
        self.day = day_of(now);
        self.reopen()?;
        self.sweep(now);
        Ok(())
    }

    /// What rotated files begin and end with.
    fn affixes(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = text(self.options.path.extension());
        let end = if extension.is_empty() { extension } else { format!(".{extension}") };
        (format!("{}.", text(self.options.path.file_stem())), end)
    }

    fn free_name(&self) -> io::Result<PathBuf> {
        let (begin, end) = self.affixes();
        let (year, month, day) = clock::civil(self.day);
        let folder = self.options.path.parent().unwrap_or(Path::new(""));
        (1..10_000_u32)
            .map(|n| folder.join(format!("{begin}{year:04}-{month:02}-{day:02}.{n:04}{end}")))
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other("9999 log files for one day"))
    }

    /// Removes rotated files that are too old. A file that cannot be removed is left for next time.
    fn sweep(&self, now: SystemTime) {
        let (begin, end) = self.affixes();
        let folder = self.options.path.parent().filter(|p| !p.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let dated = name
                .strip_prefix(&begin)
                .and_then(|rest| rest.strip_suffix(&end))
                .is_some_and(is_date_and_number);
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > self.options.keep));
            if dated && old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// `2026-01-31.0001`, and nothing else: no file of another owner is swept.
fn is_date_and_number(text: &str) -> bool {
    text.len() == 15
        && text.bytes().enumerate().all(|(i, byte)| match i {
            4 | 7 => byte == b'-',
            10 => byte == b'.',
            _ => byte.is_ascii_digit(),
        })
}

/// Writes all of it, or says how much went out before the error.
pub(super) fn write_counted(out: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

pub(super) fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1)
}

/// The length of the whole lines among these bytes.
fn ended(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The length of the longest run of whole lines that fits into `room`.
fn whole_lines(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    ended(lines.get(..room).unwrap_or(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn opened(path: &Path) -> RotatedFile {
        RotatedFile::open(LogFile::new(path)).unwrap()
    }

    #[test]
    fn a_file_is_rotated_by_size_between_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatedFile::open(LogFile { max_bytes: 10, ..LogFile::new(&path) }).unwrap();
        file.write(b"1234\n1234\n5678\n", SystemTime::now()).unwrap();
        file.write(b"a line that is too long\nx\n", SystemTime::now()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
        let all: Vec<_> = names(folder.path())
            .iter()
            .map(|n| fs::read_to_string(folder.path().join(n)).unwrap())
            .collect();
        assert_eq!(all, ["1234\n1234\n", "5678\n", "a line that is too long\n", "x\n"]);
    }

    #[test]
    fn a_new_day_rotates_and_old_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let keep = 10 * DAY;
        let mut file = RotatedFile::open(LogFile { keep, ..LogFile::new(&path) }).unwrap();
        fs::write(folder.path().join("a.mine.log"), "").unwrap();
        let now = SystemTime::now();
        file.write(b"one\n", now).unwrap();
        file.write(b"two\n", now + DAY).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        file.write(b"three\n", now + 30 * DAY).unwrap();
        assert_eq!(names(folder.path()), ["a.log", "a.mine.log"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_new_day_rotates_only_where_it_should() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain");
        let mut file = RotatedFile::open(LogFile { daily: false, ..LogFile::new(&path) }).unwrap();
        let now = SystemTime::now();
        file.write(b"one\n", now).unwrap();
        file.write(b"two\n", now + DAY).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let mut file = opened(&path);
        file.write(b"three\n", now + DAY).unwrap();
        let old = &names(folder.path())[1];
        assert!(is_date_and_number(old.strip_prefix("plain.").unwrap()), "{old}");
    }

    #[test]
    fn a_file_moved_or_removed_underneath_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/a.log");
        let moved = folder.path().join("moved.log");
        let mut file = opened(&path);
        let now = SystemTime::now();
        file.write(b"one\n", now).unwrap();
        fs::rename(&path, &moved).unwrap();
        file.write(b"two\n", now).unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        file.write(b"three\n", now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        file.write(b"four\n", now).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), file.size), ("four\n", 5));
    }

    #[test]
    fn a_full_disk_loses_counted_lines_and_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        // Every write to this device fails for want of space.
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut file = opened(&path);
        let now = SystemTime::now();
        let trouble = file.write(b"one\ntwo\n", now).unwrap_err();
        assert_eq!((trouble.lost, trouble.error.kind()), (2, io::ErrorKind::StorageFull));
        fs::remove_file(&path).unwrap();
        file.write(b"three\n", now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_line_written_by_half_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = opened(&path);
        file.write(b"one\n", SystemTime::now()).unwrap();
        let lines = b"two\nthree\nfour\n";
        file.file.write_all(&lines[..6]).unwrap();
        assert_eq!(file.mend(lines, 6), 4);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        // With somebody else's line behind it, it only gets an end.
        file.file.write_all(&lines[..6]).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"alien\n").unwrap();
        assert_eq!(file.mend(lines, 6), 4);
        file.write(b"five\n", SystemTime::now()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\ntwo\nthalien\n\nfive\n");
    }

    #[test]
    fn a_file_that_cannot_be_rotated_grows_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatedFile::open(LogFile { max_bytes: 6, ..LogFile::new(&path) }).unwrap();
        let now = SystemTime::now();
        file.write(b"one\n", now).unwrap();
        let (begin, end) = file.affixes();
        let (year, month, day) = clock::civil(file.day);
        for n in 1..10_000 {
            let taken = format!("{begin}{year:04}-{month:02}-{day:02}.{n:04}{end}");
            fs::write(folder.path().join(taken), "").unwrap();
        }
        let trouble = file.write(b"two\nthree\n", now).unwrap_err();
        assert_eq!(trouble.lost, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
