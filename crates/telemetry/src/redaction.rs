//! What must not leave the process, and what replaces it.
//!
//! [`Sensitive`] holds a value that cannot be formatted. [`Scrubber`] looks at text on its way to a
//! log line or span: values under secret keys, bearer tokens, well-known key shapes, e-mail
//! addresses, credentials in URLs, and absolute paths outside the declared directories.
//!
//! It cannot recognise a secret that looks like nothing in particular (a bare hexadecimal string):
//! such values belong in [`Sensitive`].

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// What stands for something that was replaced; never replaced again.
const MARKS: [&str; 3] = [REDACTED, "[email]", "[path]"];

/// What may stand between a key and its value; the backslash is that of escaped quotes.
const SEPARATORS: [char; 4] = [':', '=', '>', '\\'];

/// Text that is not settled by so many passes is replaced as a whole.
const MAX_PASSES: u32 = 8;

/// A value that is never printed: `Debug` and `Display` give `[redacted]`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// What is no secret here, and what is one besides the usual.
#[derive(Clone, Debug, Default)]
pub struct RedactionOptions {
    /// Directories whose paths may be shown.
    pub shown_dirs: Vec<PathBuf>,
    /// Beginnings of URL paths that look like file paths and are none, such as `/v1/`.
    pub public_paths: Vec<String>,
    /// Further keys whose values are secret, compared without case, `-` and `_`.
    pub secret_keys: Vec<String>,
}

/// Finds and replaces what must not be shown. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scrubber {
    options: Arc<RedactionOptions>,
}

/// Fields that hold a route or URL path by their meaning, never a path of the host.
const ROUTE_KEYS: &[&str] = &["endpoint", "http.route", "url.path"];

/// Whether values under this key are routes or URL paths by their meaning.
pub(crate) fn is_route_key(key: &str) -> bool {
    ROUTE_KEYS.contains(&key)
}

/// Whole keys, without `-`, `_` and `.`.
const SECRET_KEYS: &[&str] = &[
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "apikey",
    "xapikey",
    "sig",
    "signature",
];

/// Ends of keys, such as `access_token`.
const SECRET_ENDINGS: &[&str] =
    &["token", "password", "secret", "apikey", "accesskey", "privatekey", "secretkey"];

/// Beginnings by which OpenAI, GitHub, GitLab, Slack, AWS and Google mark their keys.
const KEY_SHAPES: &[&str] =
    &["sk-", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "AIza"];

impl Scrubber {
    /// A scrubber with these options.
    #[must_use]
    pub fn new(options: RedactionOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// Whether the value under this key is a secret whatever it looks like.
    #[must_use]
    pub fn is_secret_key(&self, key: &str) -> bool {
        let mut buffer = [0_u8; 32];
        let mut length = 0;
        for byte in key.bytes().filter(u8::is_ascii_alphanumeric) {
            if length == buffer.len() {
                // Longer than any key we know: only its end can tell.
                buffer.rotate_left(1);
                length -= 1;
            }
            buffer[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        let plain = buffer.get(..length).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("");
        SECRET_KEYS.contains(&plain)
            || SECRET_ENDINGS.iter().any(|end| plain.ends_with(end))
            || self.options.secret_keys.iter().any(|extra| same_key(extra, plain))
    }

    /// The text of a field as it may be shown.
    #[must_use]
    pub fn scrub_field<'a>(&self, key: &str, value: &'a str) -> Cow<'a, str> {
        if self.is_secret_key(key) {
            Cow::Borrowed(REDACTED)
        } else if ROUTE_KEYS.contains(&key) {
            Cow::Borrowed(value)
        } else {
            self.scrub(value)
        }
    }

    /// A JSON value under this key as it may be shown: every text at any depth, and numbers under
    /// secret keys.
    pub(crate) fn scrub_json(&self, key: &str, value: Value) -> Value {
        match value {
            Value::String(text) => self.scrub_field(key, &text).into_owned().into(),
            Value::Array(items) => {
                items.into_iter().map(|item| self.scrub_json(key, item)).collect()
            }
            Value::Object(fields) => self.scrub_map(fields).into(),
            Value::Number(_) if self.is_secret_key(key) => REDACTED.into(),
            other => other,
        }
    }

    /// [`Scrubber::scrub_json`] of every field.
    pub(crate) fn scrub_map(&self, fields: Map<String, Value>) -> Map<String, Value> {
        let shown = |(key, value): (String, Value)| {
            let value = self.scrub_json(&key, value);
            (key, value)
        };
        fields.into_iter().map(shown).collect()
    }

    /// Free text as it may be shown. What it returns it would return unchanged.
    #[must_use]
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if is_plain(text) {
            return Cow::Borrowed(text);
        }
        let Cow::Owned(mut shown) = self.pass(text) else { return Cow::Borrowed(text) };
        // What stood around a replaced word may now read as something to replace.
        for _ in 0..MAX_PASSES {
            match self.pass(&shown) {
                Cow::Borrowed(_) => return Cow::Owned(shown),
                Cow::Owned(again) => shown = again,
            }
        }
        Cow::Owned(REDACTED.to_owned())
    }

    fn pass<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out: Option<String> = None;
        let mut state = Next::Plain;
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or("");
            let (step, shown) = self.piece(text, at, rest, &mut state);
            if let Some(out) = &mut out {
                out.push_str(&shown);
            } else if let Cow::Owned(shown) = shown {
                let mut start = text.get(..at).unwrap_or("").to_owned();
                start.push_str(&shown);
                out = Some(start);
            }
            at += step;
        }
        out.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The next mark, word or delimiter: its length and what is shown for it.
    fn piece<'a>(
        &self,
        text: &str,
        at: usize,
        rest: &'a str,
        state: &mut Next,
    ) -> (usize, Cow<'a, str>) {
        if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            let after = rest.get(mark.len()..).unwrap_or("");
            // Text that hangs on a mark still belongs to what the mark stands for.
            if after.chars().next().is_none_or(is_delimiter) && *state != Next::SecretLine {
                *state = Next::Plain;
            }
            return (mark.len(), Cow::Borrowed(mark));
        }
        let quoted = self.quoted(text, at, rest, *state);
        let length = quoted.unwrap_or_else(|| rest.find(is_delimiter).unwrap_or(rest.len()));
        if length == 0 {
            let step = rest.chars().next().map_or(1, char::len_utf8);
            let delimiter = rest.get(..step).unwrap_or("");
            if *state == Next::SecretLine && delimiter == "\n" {
                *state = Next::Plain;
            }
            return (step, Cow::Borrowed(delimiter));
        }
        let word = rest.get(..length).unwrap_or("");
        let shown = match *state {
            Next::Secret | Next::SecretLine => self.word(word, *state),
            // A path by its quotes, whatever stands inside reads like.
            _ if quoted.is_some() => Cow::Owned("[path]".to_owned()),
            state => self.word(word, state),
        };
        let wraps = rest.get(length..).is_some_and(|after| after.starts_with('('));
        *state = self.after(word, *state, wraps);
        (length, shown)
    }

    /// The length of what stands here in quotes and must not be shown, spaces and all: a path, as
    /// far as it is on one line, or a secret.
    fn quoted(&self, text: &str, at: usize, rest: &str, state: Next) -> Option<usize> {
        let before = text.as_bytes().get(at.checked_sub(1)?)?;
        let quote = [b'"', b'\'', b'`'].into_iter().find(|quote| quote == before)?;
        let quoted = rest.get(..rest.bytes().position(|byte| byte == quote)?)?;
        let is_path = || !quoted.contains('\n') && self.path_start(quoted) == Some(0);
        (!quoted.is_empty() && (state == Next::Secret || is_path())).then_some(quoted.len())
    }

    /// What a word says about the next one; `wraps`: the next one is inside its brackets.
    fn after(&self, word: &str, now: Next, wraps: bool) -> Next {
        let bare = word.trim_end_matches(SEPARATORS);
        let scheme = ["bearer", "basic", "digest", "negotiate"]
            .iter()
            .find(|scheme| bare.eq_ignore_ascii_case(scheme));
        match scheme {
            _ if now == Next::SecretLine => now,
            Some(&"bearer") => Next::Secret,
            Some(_) if now == Next::Secret => Next::Secret,
            Some(_) => Next::SecretIfRandom,
            None if bare.is_empty() => match now {
                // `"password": "x"`: the separator stands apart from the key.
                Next::SecretIfSeparated if word.contains([':', '=']) => Next::Secret,
                now => now,
            },
            None if self.is_secret_key(bare) => {
                let cookie = bare.to_ascii_lowercase().ends_with("cookie");
                match word.get(bare.len()..).is_some_and(|rest| rest.contains([':', '='])) {
                    true if cookie => Next::SecretLine,
                    true => Next::Secret,
                    false => Next::SecretIfSeparated,
                }
            }
            None if now == Next::Secret && wraps => Next::Secret,
            None => Next::Plain,
        }
    }

    fn word<'a>(&self, word: &'a str, expected: Next) -> Cow<'a, str> {
        let only_punctuation = word.chars().all(|c| c.is_ascii_punctuation());
        let hidden = match expected {
            Next::Plain => false,
            Next::Secret | Next::SecretLine => !only_punctuation,
            Next::SecretIfRandom => looks_random(word),
            Next::SecretIfSeparated => word.starts_with([':', '=']) && !only_punctuation,
        };
        if hidden {
            return Cow::Owned(REDACTED.to_owned());
        }
        if let Some((key, value)) = word.split_once(['=', ':'])
            && !value.is_empty()
            && self.is_secret_key(key)
        {
            let separator = word.get(key.len()..=key.len()).unwrap_or("=");
            return Cow::Owned(format!("{key}{separator}{REDACTED}"));
        }
        if word.bytes().any(|b| b == b'=')
            && let Some((key, value)) = word.split_once('=')
            && let Cow::Owned(shown) = self.value(value)
        {
            return Cow::Owned(format!("{key}={shown}"));
        }
        self.value(word)
    }

    fn value<'a>(&self, word: &'a str) -> Cow<'a, str> {
        if word.split('/').any(has_secret_shape) {
            return Cow::Owned(REDACTED.to_owned());
        }
        if let Some((scheme, rest)) = word.split_once("://") {
            return self.url(word, scheme, rest);
        }
        if is_email(word) {
            return Cow::Owned("[email]".to_owned());
        }
        match self.path_start(word) {
            Some(start) => {
                let head = word.get(..start).unwrap_or("");
                let path = word.get(start..).unwrap_or("");
                let tail = path.get(path.trim_end_matches([':', '.', '!']).len()..).unwrap_or("");
                Cow::Owned(format!("{head}[path]{tail}"))
            }
            None => Cow::Borrowed(word),
        }
    }

    fn url<'a>(&self, word: &'a str, scheme: &str, rest: &'a str) -> Cow<'a, str> {
        if scheme.ends_with("file") {
            return Cow::Owned("[path]".to_owned());
        }
        let authority = rest.split('/').next().unwrap_or("");
        match authority.rsplit_once('@') {
            Some((user, _)) => {
                let host = rest.get(user.len()..).unwrap_or("");
                Cow::Owned(format!("{scheme}://{REDACTED}{host}"))
            }
            None if is_email(rest) => Cow::Owned(format!("{scheme}://{authority}/[email]")),
            None => Cow::Borrowed(word),
        }
    }

    /// Where in the word an absolute path of the host begins.
    fn path_start(&self, word: &str) -> Option<usize> {
        let bytes = word.as_bytes();
        let windows = bytes.windows(3).position(|w| {
            w[0].is_ascii_alphabetic() && w[1] == b':' && (w[2] == b'\\' || w[2] == b'/')
        });
        if windows.is_some() || word.starts_with("\\\\") {
            return windows.or(Some(0));
        }
        let start = bytes.iter().enumerate().position(|(i, byte)| {
            let before = i.checked_sub(1).and_then(|j| bytes.get(j)).copied();
            let opens = before
                .is_none_or(|b| b == b'~' || (b.is_ascii_punctuation() && !b"._-/%".contains(&b)));
            *byte == b'/' && opens
        })?;
        let path = word.get(start..)?;
        let shown = self.options.public_paths.iter().any(|p| path.starts_with(p.as_str()))
            || self.options.shown_dirs.iter().any(|dir| {
                let no_climb = !path.split('/').any(|part| part == "..");
                no_climb && std::path::Path::new(path).starts_with(dir)
            });
        let segments = path.split('/').filter(|part| !part.is_empty()).count();
        let has_extension = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let from_home = start > 0 && bytes.get(start - 1) == Some(&b'~');
        let is_path = segments >= 2 || (segments == 1 && (has_extension || from_home));
        (is_path && !shown).then_some(start)
    }
}

/// What the words before say about the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Plain,
    Secret,
    SecretIfRandom,
    /// The word before was the key of a secret, without a separator yet.
    SecretIfSeparated,
    /// A cookie: all that follows on the line.
    SecretLine,
}

fn same_key(extra: &str, plain: &str) -> bool {
    let extra = extra.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    extra.eq(plain.bytes())
}

/// Whether one look at the bytes settles that there is nothing to find: one word without anything
/// that a key, an address or a path has.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| PLAIN[usize::from(byte)]) && !has_secret_shape(text)
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
        byte += 1;
    }
    plain
};

/// A well-known key, or a signed token (RFC 7519).
fn has_secret_shape(word: &str) -> bool {
    (word.len() >= 16 && KEY_SHAPES.iter().any(|shape| word.starts_with(shape)))
        || (word.len() >= 20 && word.starts_with("eyJ") && word.contains('.'))
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`,;()[]{}<>|?&".contains(c)
}

fn looks_random(word: &str) -> bool {
    word.len() >= 8
        && word.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'=')
}

fn is_email(word: &str) -> bool {
    let Some((local, domain)) = word.split_once('@') else { return false };
    let domain_ok = domain.split('.').filter(|part| !part.is_empty()).count() >= 2;
    !local.is_empty() && domain_ok
}

#[cfg(test)]
mod tests;
