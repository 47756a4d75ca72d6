//! A submission to the service's API: a form of several parts (RFC 7578).

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
