//! The `Pixels` elements of OME-XML, as far as a volume needs them: a walk over the tags of a text
//! that may be anything. Not an XML parser: no names are resolved, no structure is checked.

use std::borrow::Cow;

/// The start tags of all `Pixels` elements, from behind `<` to before `>`.
pub(super) fn pixels(text: &str) -> impl Iterator<Item = &str> {
    Tags { rest: text }.filter(|tag| {
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("");
        name.rsplit(':').next() == Some("Pixels")
    })
}

/// The value of an attribute of a start tag.
pub(super) fn attribute<'a>(tag: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = tag.split_once(char::is_whitespace)?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(plain(value));
        }
        rest = next;
    }
}

/// Start tags one after the other; comments, declarations and closing tags are passed over.
struct Tags<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let inside = self.rest.split_once('<')?.1;
            let skipped =
                [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>"), ("/", ">"), ("!", ">")]
                    .iter()
                    .find_map(|(begin, end)| Some((inside.strip_prefix(begin)?, *end)));
            if let Some((inside, end)) = skipped {
                self.rest = inside.split_once(end)?.1;
                continue;
            }
            let mut quote = None;
            let end = inside.find(|c| match quote {
                Some(open) => {
                    quote = quote.filter(|_| c != open);
                    false
                }
                None => {
                    quote = Some(c).filter(|c| matches!(c, '"' | '\''));
                    c == '>'
                }
            })?;
            self.rest = &inside[end..];
            return Some(&inside[..end]);
        }
    }
}

/// A value with its character references resolved; one that is not understood stays.
fn plain(value: &str) -> Cow<'_, str> {
    if !value.contains('&') {
        return value.into();
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let resolved = after.split_once(';').and_then(|(name, next)| Some((referred(name)?, next)));
        match resolved {
            Some((character, next)) => {
                text.push(character);
                rest = next;
            }
            None => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text.into()
}

fn referred(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        },
        None => {
            return Some(match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => return None,
            });
        }
    };
    char::from_u32(number.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
        attribute(pixels(text).next()?, name)
    }

    #[test]
    fn attributes_are_read_whatever_stands_around_them() {
        let text = "<?xml version=\"1.0\"?><!-- <Pixels SizeZ=\"9\"> --><OME:OME Creator='a>b'>\
                    <OME:Pixels\n ID = \"Pixels:0\" SizeZ\t=\t'3' PhysicalSizeXUnit=\"&#181;m\"\
                    Name=\"a=&quot;b&quot;\"/></OME:OME>";
        assert_eq!(first(text, "SizeZ").as_deref(), Some("3"));
        assert_eq!(first(text, "PhysicalSizeXUnit").as_deref(), Some("µm"));
        assert_eq!(first(text, "Name").as_deref(), Some("a=\"b\""));
        assert_eq!(first(text, "Size"), None);
        assert_eq!(pixels(text).count(), 1);
        assert_eq!(plain("&#xB5;m & &none; &#x110000;"), "µm & &none; &#x110000;");
    }

    #[test]
    fn torn_text_has_no_attributes() {
        for text in
            ["", "<", "<Pixels", "<Pixels >", "<Pixels a>", "<Pixels a=\"1>", "<!-- <Pixels"]
        {
            assert_eq!(first(text, "a"), None, "{text}");
        }
    }
}
