//! Commits that span several lines, as `hg log -Tjson` writes them: gathers the lines until they form a commit.

use crate::dataset::lines::MAX_LINE_BYTES;

/// The lines of an incomplete commit.
#[derive(Debug, Default)]
pub(super) struct Spread {
    text: String,
    first_line: u64,
}

impl Spread {
    /// Adds a line; returns false if it neither begins a commit nor continues one.
    pub(super) fn add(&mut self, line: &str, number: u64) -> bool {
        if self.text.is_empty() {
            if !matches!(line, "{" | "[{") {
                return false;
            }
            self.first_line = number;
        }
        self.text.push_str(line.strip_prefix('[').filter(|_| self.text.is_empty()).unwrap_or(line));
        self.text.push('\n');
        true
    }

    /// The text, if its last line may end a commit.
    pub(super) fn ended(&self) -> Option<&str> {
        let text = self.text.trim_end();
        let text = text.strip_suffix(']').unwrap_or(text);
        let text = text.strip_suffix(',').unwrap_or(text);
        text.ends_with('}').then_some(text)
    }

    /// True if the lines are longer than any commit.
    pub(super) fn is_too_long(&self) -> bool {
        self.text.len() > MAX_LINE_BYTES
    }

    /// Forgets the lines; returns the number of the first one, if there are any.
    pub(super) fn take(&mut self) -> Option<u64> {
        let is_open = !std::mem::take(&mut self.text).is_empty();
        is_open.then_some(self.first_line)
    }
}
