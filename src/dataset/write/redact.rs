//! Replaces e-mail addresses, for datasets to be published.

/// The replacement of an address.
const REDACTED: &str = "redacted";

/// Replaces every string value that is an e-mail address in the JSON text `raw`. Keys and all other text stay unchanged.
#[must_use]
pub fn redact_emails(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let bytes = raw.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        while at < bytes.len() && bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        at = (at + 1).min(bytes.len());
        let is_key = bytes[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if !is_key && is_email(&raw[start + 1..at - 1]) {
            out.push_str(&raw[copied..start]);
            out.push('"');
            out.push_str(REDACTED);
            out.push('"');
            copied = at;
        }
    }
    out.push_str(&raw[copied..]);
    out
}

/// True for one `@` between a name and a domain with a dot, without blanks.
fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    !name.is_empty()
        && !text.contains(char::is_whitespace)
        && !domain.contains('@')
        && domain.split('.').count() > 1
        && domain.split('.').all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_and_everything_else_stays() {
        let raw =
            r#"{"a@b.org":"dev@example.org","n":"x \"y\" @z","w":["a.b+c@d.e.f", 1e+16],"u":"@","t":"see a@b.c now"}"#;
        assert_eq!(
            redact_emails(raw),
            r#"{"a@b.org":"redacted","n":"x \"y\" @z","w":["redacted", 1e+16],"u":"@","t":"see a@b.c now"}"#
        );
    }
}
