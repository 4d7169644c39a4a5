//! Converts JSON text of Python's `json.dumps` to the server's form: no spaces between tokens, and characters instead of
//! escapes where the server has them.

/// Converts `python` to the server's form. Text that is not JSON gives other text that is not JSON.
pub(super) fn compact(python: &str) -> String {
    let mut out = String::with_capacity(python.len());
    let mut rest = python;
    loop {
        // Between strings.
        let end = rest.find('"').unwrap_or(rest.len());
        out.extend(rest[..end].split([' ', '\t', '\r', '\n']));
        let Some(string) = rest.get(end + 1..) else { return out };
        out.push('"');
        rest = copy_string(string, &mut out);
    }
}

/// Copies a string's content with its closing quote; returns the text after it.
fn copy_string<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    loop {
        let Some(end) = rest.find(['"', '\\']) else {
            out.push_str(rest);
            return "";
        };
        out.push_str(&rest[..end]);
        if rest.as_bytes()[end] == b'"' {
            out.push('"');
            return &rest[end + 1..];
        }
        rest = copy_escape(&rest[end..], out);
    }
}

/// Copies the escape at the beginning of `rest`; returns the text after it.
fn copy_escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let unit_at = |at: usize| {
        let hex = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        hex.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
    };
    let Some(unit) = unit_at(0) else {
        if let Some(behind) = rest.strip_prefix("\\/") {
            out.push('/');
            return behind;
        }
        // A backslash with its character, or by itself at the end of a torn text.
        let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[..len]);
        return &rest[len..];
    };
    let (code, len) = match unit_at(6) {
        Some(low @ 0xdc00..=0xdfff) if (0xd800..0xdc00).contains(&unit) => {
            (0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        _ => (unit, 6),
    };
    match char::from_u32(code) {
        Some('"') => out.push_str("\\\""),
        Some('\\') => out.push_str("\\\\"),
        Some('\u{8}') => out.push_str("\\b"),
        Some('\u{c}') => out.push_str("\\f"),
        Some('\n') => out.push_str("\\n"),
        Some('\r') => out.push_str("\\r"),
        Some('\t') => out.push_str("\\t"),
        // The server escapes these two, which are line ends in JavaScript.
        Some(char) if char >= ' ' && !matches!(char, '\u{2028}' | '\u{2029}') => out.push(char),
        _ => out.push_str(&rest[..len].to_ascii_lowercase()),
    }
    &rest[len..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::write::json::{AsciiMode, dumps};

    #[test]
    fn pythons_text_becomes_the_servers() {
        for (python, server) in [
            (r#"{"a": 1, "b": [2.0, null], "c": {}}"#, r#"{"a":1,"b":[2.0,null],"c":{}}"#),
            (r#"{"k: v, x": "a: b, c"}"#, r#"{"k: v, x":"a: b, c"}"#),
            (r#""\u00e9 \ud83d\ude00 \u2028 \u0007 \n \" \\ \u007f""#, "\"é 😀 \\u2028 \\u0007 \\n \\\" \\\\ \u{7f}\""),
            (r#""\ud83d x \/""#, r#""\ud83d x /""#),
            (r#""torn \"#, r#""torn \"#),
            (r#""torn \u00"#, r#""torn \u00"#),
        ] {
            assert_eq!(compact(python), server);
        }
    }

    proptest! {
        #[test]
        fn what_is_dumped_from_the_servers_text_comes_back(text in ".{0,60}", number in any::<f64>()) {
            prop_assume!(!text.contains(['\u{2028}', '\u{2029}']) && number.is_finite());
            let server = serde_json::to_string(&serde_json::json!({"text": text, "list": [1, text, null], "number": 1.5})).unwrap();
            let mut python = Vec::new();
            dumps(&server, &mut python, AsciiMode::Escape).unwrap();
            prop_assert_eq!(compact(std::str::from_utf8(&python).unwrap()), server);
        }

        #[test]
        fn no_text_panics(text in "[\"\\\\u0d8ceé :,]{0,40}") {
            compact(&text);
        }
    }
}
