//! Text from outside, made fit for a terminal and a log line.

/// True for a character that a terminal obeys or that changes the order of others: controls (C0, C1), line and paragraph
/// separators, marks of writing direction, invisible tags.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` with spaces in place of unprintable characters, on one line, cut to `most` characters.
#[must_use]
pub fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// As [`printable`], for a text of several lines, of any length.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_marks_of_direction_become_spaces_and_long_text_is_cut() {
        assert_eq!(printable("a\u{1b}[2Jb\nc", 4), "a [2…");
        let marks = ['\u{9b}', '\u{7f}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{e0041}'];
        assert!(printable(&String::from_iter(marks), 80).chars().all(|c| c == ' '));
        assert_eq!(printable_lines("é: \u{1b}]0;x\u{7}\nzweite Zeile"), "é:  ]0;x \nzweite Zeile");
    }
}
