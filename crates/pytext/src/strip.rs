//! Python's `str.strip`.

/// `text` without the white space that Python's `str.strip` takes off; Rust's `trim` leaves the four separators
/// U+001C to U+001F.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_takes_off_what_python_takes_off() {
        assert_eq!(strip("\u{1c}\u{a0} 1\u{2028}\n"), "1");
        assert_eq!(strip("\u{200b}1"), "\u{200b}1");
    }
}
