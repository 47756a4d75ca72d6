//! Who called, as a keyed hash: the same caller is told again, and nobody without the key can say
//! who it is, not even by trying every address there is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::Sha256;

use super::record::hex;
use crate::redaction::Sensitive;

const KEY_BYTES: usize = 32;
/// 64 bits would collide by chance among some billions of callers; 128 do not.
const SHOWN_BYTES: usize = 16;

/// A caller's keyed hash, as a request's extension; the access line shows it as `user_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId(pub Arc<str>);

/// The key that callers are hashed with. Cheap to clone; never printed.
#[derive(Clone, Debug)]
pub struct CallerKey(Arc<Sensitive<[u8; KEY_BYTES]>>);

impl CallerKey {
    /// A key from bytes.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Sensitive::new(key)))
    }

    /// Reads the key from a file of 32 bytes; makes one, readable by its owner alone, if there is
    /// none. Whoever loses the file can no longer tell old callers from new ones.
    ///
    /// # Errors
    /// When the file cannot be read or made, holds something else, or others may read it.
    pub fn open(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Self::make(file, path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error),
        }
    }

    fn make(mut file: File, path: &Path) -> io::Result<Self> {
        let mut key = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        let written = file.write_all(&key).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a key would stop every later start.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(Self::new(key))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(io::Error::other("the key of callers may be read by others; chmod 600 it"));
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let key = bytes.try_into().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "the key of callers is not of 32 bytes")
        })?;
        Ok(Self::new(key))
    }

    /// The hash of what identifies a caller. `kind` keeps, say, an address and a key that happen to
    /// have the same bytes apart.
    #[must_use]
    pub fn user_id(&self, kind: &str, identity: &[u8]) -> UserId {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose()) else {
            return UserId(Arc::from("unknown"));
        };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(identity);
        let hash = mac.finalize().into_bytes();
        UserId(hex(hash.get(..SHOWN_BYTES).unwrap_or_default()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_kept_for_its_owner_and_tells_callers_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caller.key");
        let made = CallerKey::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let read = CallerKey::open(&path).unwrap();
        assert_eq!(made.user_id("ip", b"10.0.0.1"), read.user_id("ip", b"10.0.0.1"));
        assert_ne!(made.user_id("ip", b"10.0.0.1"), made.user_id("ip", b"10.0.0.2"));
        assert_ne!(made.user_id("ip", b"10.0.0.1"), made.user_id("key", b"10.0.0.1"));
        let other = CallerKey::new([7; 32]);
        assert_ne!(made.user_id("ip", b"10.0.0.1"), other.user_id("ip", b"10.0.0.1"));
        assert_eq!(other.user_id("ip", b"x").0.len(), 32);
        assert!(!format!("{other:?}").contains('7'));
    }

    #[test]
    fn a_key_that_others_read_or_that_is_none_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caller.key");
        std::fs::write(&path, [1; 32]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(CallerKey::open(&path).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(CallerKey::open(&path).is_ok());
        std::fs::write(&path, [1; 33]).unwrap();
        assert!(CallerKey::open(&path).is_err());
    }

    /// RFC 4231, test case 2: key "Jefe", which HMAC pads with zeros to the same block.
    #[test]
    fn the_hash_is_hmac_sha_256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let whole = hex(&mac.finalize().into_bytes());
        assert!(whole.starts_with("5bdcc146bf60754e6a042426089575c7"));
    }
}
