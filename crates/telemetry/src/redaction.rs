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

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

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

/// Beginnings of well-known keys; from memory of the issuers' documentation, unverified.
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

    /// Free text as it may be shown.
    #[must_use]
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out: Option<String> = None;
        let mut secret_next = Next::Plain;
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or("");
            let word_length = word_length(text, at, rest);
            let (word, step) = if word_length == 0 {
                let step = rest.chars().next().map_or(1, char::len_utf8);
                (rest.get(..step).unwrap_or(""), step)
            } else {
                (rest.get(..word_length).unwrap_or(""), word_length)
            };
            let shown = if word_length == 0 {
                Cow::Borrowed(word)
            } else {
                let shown = self.word(word, secret_next);
                secret_next = self.after(word, secret_next);
                shown
            };
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

    fn after(&self, word: &str, now: Next) -> Next {
        let bare = word.trim_end_matches([':', '=']);
        let scheme = ["bearer", "basic", "digest", "negotiate"]
            .iter()
            .find(|scheme| bare.eq_ignore_ascii_case(scheme));
        match scheme {
            Some(&"bearer") => Next::Secret,
            Some(_) if now == Next::Secret => Next::Secret,
            Some(_) => Next::SecretIfRandom,
            None if matches!(bare, "") => now,
            None if bare.len() < word.len() && self.is_secret_key(bare) => Next::Secret,
            None => Next::Plain,
        }
    }

    fn word<'a>(&self, word: &'a str, expected: Next) -> Cow<'a, str> {
        let only_punctuation = word.chars().all(|c| c.is_ascii_punctuation());
        let hidden = match expected {
            Next::Plain => false,
            Next::Secret => !only_punctuation,
            Next::SecretIfRandom => looks_random(word),
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
        let key_shape = word.len() >= 16 && KEY_SHAPES.iter().any(|s| word.starts_with(s));
        let jwt = word.starts_with("eyJ") && word.len() >= 20 && word.contains('.');
        if key_shape || jwt {
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
}

fn same_key(extra: &str, plain: &str) -> bool {
    let extra = extra.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    extra.eq(plain.bytes())
}

/// The length of the word that starts here; 0 on a delimiter. A quoted path keeps its spaces.
fn word_length(text: &str, at: usize, rest: &str) -> usize {
    let quote = at
        .checked_sub(1)
        .and_then(|before| text.as_bytes().get(before))
        .filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    let absolute = rest.starts_with(['/', '~', '\\']) || rest.get(1..3) == Some(":\\");
    if let Some(quote) = quote
        && absolute
        && let Some(end) = rest.bytes().position(|b| b == *quote)
    {
        return end;
    }
    rest.find(is_delimiter).unwrap_or(rest.len())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::new(RedactionOptions {
            shown_dirs: vec![PathBuf::from("/srv/data")],
            public_paths: vec!["/v1/".to_owned()],
            secret_keys: vec!["Licence-Key".to_owned()],
        })
    }

    #[test]
    fn a_sensitive_value_has_no_text() {
        let secret = Sensitive::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(*secret.expose(), "hunter2");
    }

    #[test]
    fn secrets_in_free_text_are_replaced_and_the_rest_stays() {
        let cases = [
            ("Authorization: Bearer abc.def", "Authorization: [redacted] [redacted]"),
            ("sent Bearer abc, failed", "sent Bearer [redacted], failed"),
            ("password=hunter2 user=bob", "password=[redacted] user=bob"),
            ("GET /v1/designs?api_key=k1&x=2", "GET /v1/designs?api_key=[redacted]&x=2"),
            ("mail ada@example.org now", "mail [email] now"),
            ("postgres://u:p@db/x refused", "postgres://[redacted]@db/x refused"),
            ("open \"/home/ada b/scan.tif\": denied", "open \"[path]\": denied"),
            ("open /home/ada/scan.tif: denied", "open [path]: denied"),
            ("path=/srv/x.tif", "path=[path]"),
            ("in ~/scans today", "in ~[path] today"),
            ("C:\\Users\\ada\\x.tif", "[path]"),
            ("file:///etc/passwd", "[path]"),
            ("/srv/data/../../etc/passwd", "[path]"),
            ("key ghp_0123456789abcdef0123", "key [redacted]"),
            ("basic YWxhZGRpbjpvcGVu", "basic [redacted]"),
        ];
        for (given, expected) in cases {
            assert_eq!(scrubber().scrub(given), expected, "{given}");
        }
    }

    #[test]
    fn ordinary_text_is_not_touched() {
        for text in [
            "Model inference completed successfully",
            "density 4.43 g/cm3 at 1/2 load",
            "wrote /srv/data/job/1.json",
            "POST /v1/designs/{id} 202",
            "https://example.org/a/b",
            "basic checks passed",
            "the token is invalid",
            "2026-01-02T03:04:05.000006Z",
        ] {
            assert!(matches!(scrubber().scrub(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn keys_tell_secrets_whatever_their_spelling() {
        let scrubber = scrubber();
        for key in ["Authorization", "api_key", "X-API-Key", "access_token", "licence_key"] {
            assert_eq!(scrubber.scrub_field(key, "x"), REDACTED, "{key}");
        }
        let long = format!("{}_token", "a".repeat(60));
        assert_eq!(scrubber.scrub_field(&long, "x"), REDACTED);
        assert_eq!(scrubber.scrub_field("endpoint", "/x/y/z"), "/x/y/z");
        assert_eq!(scrubber.scrub_field("tokens_used", "12"), "12");
    }

    proptest! {
        #[test]
        fn no_text_panics_or_swells(text in "\\PC{0,80}") {
            let once = scrubber().scrub(&text).into_owned();
            prop_assert!(once.len() <= 12 * text.len().max(1));
        }

        #[test]
        fn a_planted_token_never_survives(
            before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", token in "[A-Za-z0-9]{12,30}",
        ) {
            for text in [
                format!("{before} token={token} {after}"),
                format!("{before} Bearer {token} {after}"),
                format!("{before} /home/{token}/x {after}"),
                format!("{before} {token}@example.org {after}"),
            ] {
                prop_assert!(!scrubber().scrub(&text).contains(&token), "{}", text);
            }
        }
    }
}
