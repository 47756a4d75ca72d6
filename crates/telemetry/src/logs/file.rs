//! A log file that is rotated by size and by day and swept by age.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock;

/// Where the log file lies and when it makes way for the next one.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The file being written, such as `microdiff.log`. Older ones lie beside it as
    /// `microdiff.2026-01-31.0001.log`.
    pub path: PathBuf,
    /// Rotated before it grows beyond this.
    pub max_bytes: u64,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

impl LogFile {
    /// A file of at most 64 MiB, rotated also at midnight UTC, kept for 30 days.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: 64 << 20, keep: Duration::from_secs(30 * 86_400) }
    }
}

pub(super) struct RotatedFile {
    options: LogFile,
    file: File,
    size: u64,
    day: u64,
}

fn day_of(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400
}

impl RotatedFile {
    /// Opens the file for appending; a file from an earlier day is rotated with the first line.
    pub(super) fn open(options: LogFile) -> io::Result<Self> {
        if let Some(parent) = options.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&options.path)?;
        let metadata = file.metadata()?;
        let day = day_of(metadata.modified().unwrap_or_else(|_| SystemTime::now()));
        Ok(Self { options, file, size: metadata.len(), day })
    }

    /// Writes whole lines. `now` decides about the day.
    pub(super) fn write(&mut self, lines: &[u8], now: SystemTime) -> io::Result<()> {
        let today = day_of(now);
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.options.max_bytes.saturating_sub(self.size);
            let fits = whole_lines(rest, room);
            if self.size > 0 && (fits == 0 || today > self.day) {
                self.rotate(now)?;
                continue;
            }
            // A single line longer than the limit gets a file of its own.
            let take = if fits == 0 { first_line(rest) } else { fits };
            let (head, tail) = rest.split_at(take.min(rest.len()));
            self.file.write_all(head)?;
            self.size += head.len() as u64;
            self.day = today;
            rest = tail;
        }
        Ok(())
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let target = self.free_name()?;
        fs::rename(&self.options.path, target)?;
        self.file = OpenOptions::new().create(true).append(true).open(&self.options.path)?;
        self.size = self.file.metadata()?.len();
        self.day = day_of(now);
        self.sweep(now);
        Ok(())
    }

    fn stem(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
        };
        (text(self.options.path.file_stem()), text(self.options.path.extension()))
    }

    fn free_name(&self) -> io::Result<PathBuf> {
        let (stem, extension) = self.stem();
        let (year, month, day) = clock::civil(self.day);
        let folder = self.options.path.parent().unwrap_or(Path::new(""));
        (1..10_000_u32)
            .map(|n| {
                folder.join(format!("{stem}.{year:04}-{month:02}-{day:02}.{n:04}.{extension}"))
            })
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other("9999 log files for one day"))
    }

    /// Removes rotated files that are too old. A file that cannot be removed is left for next time.
    fn sweep(&self, now: SystemTime) {
        let (stem, extension) = self.stem();
        let folder = self.options.path.parent().filter(|p| !p.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let dated = name
                .strip_prefix(&format!("{stem}."))
                .and_then(|rest| rest.strip_suffix(&format!(".{extension}")))
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

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1)
}

/// The length of the longest run of whole lines that fits into `room`.
fn whole_lines(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    let fitting = lines.get(..room).unwrap_or(lines);
    fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
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
}
