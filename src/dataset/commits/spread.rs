//! Commits that spread over several lines, as `hg log -Tjson` writes them: their lines are gathered until they are a commit.

use crate::dataset::lines::MAX_LINE_BYTES;

/// The lines of a commit that is not complete.
#[derive(Debug, Default)]
pub(super) struct Spread {
    text: String,
    first_line: u64,
}

impl Spread {
    /// Adds a line that is no commit by itself; returns false if it neither begins a commit nor belongs to one.
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

    /// True if no commit is so long.
    pub(super) fn is_too_long(&self) -> bool {
        self.text.len() > MAX_LINE_BYTES
    }

    /// Forgets the lines; returns the number of the first one, if there are any.
    pub(super) fn take(&mut self) -> Option<u64> {
        let is_open = !std::mem::take(&mut self.text).is_empty();
        is_open.then_some(self.first_line)
    }
}
