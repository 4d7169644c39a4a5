//! Replaces e-mail addresses, for datasets to be published.

use std::borrow::Cow;
use std::ops::Range;

/// Value of the option `redact_emails` among the inputs of an output; another one than that of the first rule, which knew only
/// values that are addresses as a whole.
pub const REDACTION: &str = "in texts";

/// Key of the counts of an output: addresses that were replaced in it.
pub const ADDRESSES_REDACTED: &str = "addresses_redacted";

/// The replacement of an address.
const REDACTED: &str = "redacted";

/// Replaces addresses in the records of one output, if they are to be replaced, and counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redaction {
    is_on: bool,
    num_addresses: u64,
}

impl Redaction {
    /// A redaction that changes nothing unless `is_on`.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, num_addresses: 0 }
    }

    /// The JSON text `raw` without addresses, or as it is.
    pub fn apply<'r>(&mut self, raw: &'r str) -> Cow<'r, str> {
        if !self.is_on || !may_hold_address(raw) {
            return Cow::Borrowed(raw);
        }
        let (text, num_addresses) = redact_emails(raw);
        self.num_addresses += num_addresses;
        Cow::Owned(text)
    }

    /// The number of replaced addresses by its key, for the counts of the output; nothing if addresses stay.
    #[must_use]
    pub fn counts(self) -> Option<(String, u64)> {
        self.is_on.then(|| (ADDRESSES_REDACTED.to_owned(), self.num_addresses))
    }
}

/// Replaces every e-mail address in the string values of the JSON text `raw`, whether it is the whole value or stands in a
/// longer text, and counts them. Keys and all other text stay unchanged, byte for byte.
fn redact_emails(raw: &str) -> (String, u64) {
    let (mut text, mut num_addresses) = (String::with_capacity(raw.len()), 0);
    let bytes = raw.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at + 1;
        at = start;
        while at < bytes.len() && bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let end = at.min(bytes.len());
        at = (end + 1).min(bytes.len());
        let is_key = bytes[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if is_key || !raw.is_char_boundary(end) || !may_hold_address(&raw[start..end]) {
            continue;
        }
        for address in addresses(&units(&raw[start..end])) {
            text.push_str(&raw[copied..start + address.start]);
            text.push_str(REDACTED);
            num_addresses += 1;
            copied = start + address.end;
        }
    }
    text.push_str(&raw[copied..]);
    (text, num_addresses)
}

/// True if JSON text has an `@`, as such or escaped.
fn may_hold_address(raw: &str) -> bool {
    raw.contains('@') || raw.contains("\\u0040")
}

/// A character of a JSON string, and its place in the text of the string.
#[derive(Clone, Debug)]
struct Unit {
    place: Range<usize>,
    /// Half a surrogate pair is U+FFFD, which no address has.
    is: char,
}

/// The characters inside a JSON string: an escape such as `\n` is one, and no part of an address.
fn units(inside: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(inside.len());
    let mut rest = inside.char_indices();
    while let Some((start, is)) = rest.next() {
        let is = match is {
            '\\' => match rest.next() {
                Some((_, 'u')) => {
                    let code: String = rest.by_ref().take(4).map(|(_, digit)| digit).collect();
                    u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                Some((_, '"' | '\\')) => '\\',
                Some((_, '/')) => '/',
                _ => ' ',
            },
            other => other,
        };
        units.push(Unit { place: start..rest.offset(), is });
    }
    units
}

/// The places of the addresses: the whole string, if it is one; otherwise those that stand in the text.
fn addresses(units: &[Unit]) -> Vec<Range<usize>> {
    let place = |of: Range<usize>| units[of.start].place.start..units[of.end - 1].place.end;
    if is_address(units) {
        return vec![place(0..units.len())];
    }
    let mut found = Vec::new();
    let mut from = 0;
    for at in (0..units.len()).filter(|at| units[*at].is == '@') {
        if at < from {
            continue; // within the one before
        }
        let name = units[from..at].iter().rev().take_while(|unit| is_of_name(unit.is)).count();
        let domain = at + 1 + units[at + 1..].iter().take_while(|unit| is_of_domain(unit.is)).count();
        // A sentence may go on after the address.
        let after = units[at + 1..domain].iter().rev().take_while(|unit| !unit.is.is_alphanumeric()).count();
        let domain = domain - after;
        if name > 0 && is_domain(&units[at + 1..domain]) {
            found.push(place(at - name..domain));
            from = domain;
        }
    }
    found
}

/// Parts that only a longer text has, such as a list of addresses, or JSON within the string.
const SEPARATORS: &str = "\\{}[]()<>,;";

/// True for one `@` between a name and a domain with a dot, without blanks.
fn is_address(units: &[Unit]) -> bool {
    let Some(at) = units.iter().position(|unit| unit.is == '@') else { return false };
    let (name, domain) = (&units[..at], &units[at + 1..]);
    let mut labels = domain.split(|unit| unit.is == '.');
    !name.is_empty()
        && !units.iter().any(|unit| unit.is.is_whitespace() || SEPARATORS.contains(unit.is))
        && !domain.iter().any(|unit| unit.is == '@')
        && domain.iter().any(|unit| unit.is == '.')
        && labels.all(|label| !label.is_empty())
}

/// In a text, names are made of fewer characters than the standard allows, so that quotes and brackets stay.
fn is_of_name(is: char) -> bool {
    is.is_alphanumeric() || matches!(is, '.' | '_' | '%' | '+' | '-' | '\'')
}

fn is_of_domain(is: char) -> bool {
    is.is_alphanumeric() || matches!(is, '.' | '-')
}

/// True for labels with dots between them, the last of which is not a number: `package@1.2.3` is not an address.
fn is_domain(units: &[Unit]) -> bool {
    let labels: Vec<&[Unit]> = units.split(|unit| unit.is == '.').collect();
    let last = labels.last().copied().unwrap_or_default();
    labels.len() > 1
        && labels.iter().all(|label| !label.is_empty())
        && last.len() > 1
        && last.first().is_some_and(|unit| unit.is.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_go_and_everything_else_stays() {
        let raw =
            r#"{"a@b.org":"dev@example.org","n":"x \"y\" @z","w":["a.b+c@d.e.f", 1e+16],"u":"@","t":"see a@b.c now"}"#;
        assert_eq!(
            redact_emails(raw).0,
            r#"{"a@b.org":"redacted","n":"x \"y\" @z","w":["redacted", 1e+16],"u":"@","t":"see a@b.c now"}"#
        );
        assert_eq!(redact_emails(raw).1, 2);
    }

    #[test]
    fn addresses_within_a_text_go_alone() {
        for (text, expected) in [
            (r#""ask dev@example.org, or a.b@c-d.co.uk.""#, r#""ask redacted, or redacted.""#),
            (r#""Dev <dev@example.org>\nnext""#, r#""Dev <redacted>\nnext""#),
            (r#""first\ndev@example.org\tlast""#, r#""first\nredacted\tlast""#),
            (r#""dev\u0040example.org wrote""#, r#""redacted wrote""#),
            (r#""{\"by\":\"dev@example.org\"}""#, r#""{\"by\":\"redacted\"}""#),
            (r#""\u00fcber@example.org and @you""#, r#""redacted and @you""#),
            (r#""package@1.2.3 a@b @decorated.with x@.y""#, r#""package@1.2.3 a@b @decorated.with x@.y""#),
            (r#""a@b.org@c.org d@e.org""#, r#""redacted@c.org redacted""#),
            (r#""half \ud800 a@b.org""#, r#""half \ud800 redacted""#),
            (r#""unfinished@example.org \"#, r#""redacted \"#),
        ] {
            assert_eq!(redact_emails(text).0, expected);
        }
    }

    proptest! {
        #[test]
        fn json_stays_json_with_the_same_keys_and_no_address(
            before in any::<String>(), after in any::<String>(), key in any::<String>(),
        ) {
            let text = format!("{before} dev.one@mail.example.org {after}");
            let raw = serde_json::json!({ key.clone(): [text, 1.5] }).to_string();
            let (redacted, num_addresses) = redact_emails(&raw);
            prop_assert!(num_addresses >= 1);
            let read: serde_json::Value = serde_json::from_str(&redacted).unwrap();
            prop_assert!(!read[&key][0].as_str().unwrap().contains("dev.one@mail.example.org"));
            prop_assert_eq!(&read[&key][1], 1.5);
        }
    }
}
