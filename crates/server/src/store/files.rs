use super::record::JobId;
use crate::ServerError;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

const PARTIAL: &str = "part";
const STORED: &str = "scan";

/// The data directory: its lock, the scans in it, the place of the database.
#[derive(Debug, Clone)]
pub struct ScanFiles {
    root: PathBuf,
    scans: PathBuf,
    // Held until released or until no clone lives; the system lets go of it when the process dies.
    lock: Arc<File>,
}

impl ScanFiles {
    /// Creates the directory if missing and takes its lock.
    ///
    /// # Errors
    /// When it cannot be created or written, or another process owns it.
    pub fn open(root: &Path) -> Result<Self, ServerError> {
        let fault =
            |reason: String| ServerError::DataDir { path: root.display().to_string(), reason };
        let scans = root.join("scans");
        std::fs::create_dir_all(&scans).map_err(|error| fault(error.to_string()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .map_err(|error| fault(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(fault("is in use by another microdiff process".into()));
            }
            Err(TryLockError::Error(error)) => return Err(fault(error.to_string())),
        }
        Ok(Self { root: root.to_owned(), scans, lock: Arc::new(lock) })
    }

    /// Lets go of the directory's lock, for all clones: a design that outlasted the drain may still
    /// hold one.
    pub(crate) fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(error = %error, "cannot release the lock of the data directory");
        }
    }

    /// Place of the job database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("jobs.sqlite3")
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a stored scan. `name` comes from a job's record.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scans.join(name)
    }

    /// Begins to store the scan of a job.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub async fn create(&self, id: JobId) -> io::Result<ScanWriter> {
        let partial = self.scans.join(format!("{id}.{PARTIAL}"));
        let file =
            tokio::fs::OpenOptions::new().create_new(true).write(true).open(&partial).await?;
        let name = format!("{id}.{STORED}");
        Ok(ScanWriter {
            file,
            scans: self.scans.clone(),
            name,
            partial: Some(partial),
            bytes: 0,
            hash: Sha256::new(),
        })
    }

    /// Removes a stored scan; a missing one is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes uploads that never completed and scans that are not in `keep`. Returns how many.
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed.
    pub fn sweep(&self, keep: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.scans)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_none_or(|name| !keep.contains(name)) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Bytes that an unprivileged process may still write to the file system.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Writes a small file, syncs it, reads it back, compares and deletes it.
    ///
    /// # Errors
    /// When any step fails or what is read is not what was written.
    pub fn prove_writable(&self) -> io::Result<()> {
        let path = self.root.join(format!("canary.{}", std::process::id()));
        let written = super::now_ms().to_le_bytes();
        let proof = || {
            std::fs::write(&path, written)?;
            File::open(&path)?.sync_all()?;
            if std::fs::read(&path)? != written {
                return Err(io::Error::other("read back something else than was written"));
            }
            Ok(())
        };
        let result = proof();
        let removed = std::fs::remove_file(&path);
        result.and(removed)
    }
}

/// A scan being stored: goes to a partial file, which disappears unless [`ScanWriter::commit`]ted.
#[derive(Debug)]
pub struct ScanWriter {
    file: tokio::fs::File,
    scans: PathBuf,
    name: String,
    partial: Option<PathBuf>,
    bytes: u64,
    hash: Sha256,
}

impl ScanWriter {
    /// Appends a piece.
    ///
    /// # Errors
    /// When the file system refuses it.
    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of the bytes so far, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        microdiff_domain::hex(&self.hash.clone().finalize())
    }

    /// Puts the whole scan on disk under its name; returns the name. After this it is durable.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn commit(mut self) -> io::Result<String> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        if let Some(partial) = &self.partial {
            tokio::fs::rename(partial, self.scans.join(&self.name)).await?;
        }
        self.partial = None;
        // The rename itself is durable only once the directory is synced.
        tokio::fs::File::open(&self.scans).await?.sync_all().await?;
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for ScanWriter {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // Nothing can be done about a failure here; the sweep at the next start removes it.
            let _ = std::fs::remove_file(partial);
        }
    }
}
