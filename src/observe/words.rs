//! Singular and plural.

/// `1 request`, `12 requests`, `0 requests`
#[must_use]
pub fn counted(num: u64, singular: &str, plural: &str) -> String {
    format!("{num} {}", form(num, singular, plural))
}

/// The form that goes with `num`: `form(1, "it is", "they are")`.
#[must_use]
pub fn form<'a>(num: u64, singular: &'a str, plural: &'a str) -> &'a str {
    if num == 1 { singular } else { plural }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let said = [0, 1, 2].map(|num| counted(num, "request is", "requests are"));
        assert_eq!(said, ["0 requests are", "1 request is", "2 requests are"]);
    }
}
