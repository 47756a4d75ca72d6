//! A submission to the service's API: a form of several parts (RFC 7578), and a part to submit.

use crate::failure::Failure;
use microdiff_design::PhantomScan;
use microdiff_domain::Alloy;
use microdiff_imaging::io::write_tiff_u8;

/// A small part that costs a design next to nothing.
pub struct Part {
    pub alloy: Alloy,
    /// Its scan, a TIFF that tells its voxel size.
    pub scan: Vec<u8>,
}

impl Part {
    /// The phantom of the known-answer canary.
    pub fn phantom() -> Result<Self, Failure> {
        let phantom = PhantomScan::bundled().map_err(Failure::internal)?;
        let folder = tempfile::tempdir().map_err(Failure::internal)?;
        let file = folder.path().join("phantom.tif");
        write_tiff_u8(&file, &phantom.voxels, Some(phantom.voxel_size))
            .map_err(Failure::internal)?;
        let scan = std::fs::read(&file).map_err(Failure::internal)?;
        Ok(Self { alloy: phantom.alloy, scan })
    }
}

/// A form that is being filled in.
pub struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// An empty form. `boundary` is letters, digits and hyphens, and stands in no part.
    pub fn new(boundary: String) -> Self {
        Self { boundary, body: Vec::new() }
    }

    /// Adds a value.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.part(name, "", value.as_bytes());
        self
    }

    /// Adds the scan, under the name of a file.
    pub fn scan(mut self, file: &str, bytes: &[u8]) -> Self {
        let more = format!("; filename=\"{file}\"\r\ncontent-type: image/tiff");
        self.part("scan", &more, bytes);
        self
    }

    fn part(&mut self, name: &str, more: &str, value: &[u8]) {
        let head = format!("content-disposition: form-data; name=\"{name}\"{more}");
        self.body.extend(format!("--{}\r\n{head}\r\n\r\n", self.boundary).bytes());
        self.body.extend(value);
        self.body.extend(b"\r\n");
    }

    /// The value of `content-type`.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        [&self.body, format!("--{}--\r\n", self.boundary).as_bytes()].concat()
    }
}
