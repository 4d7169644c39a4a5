//! The names that a mistyped one probably meant. One rule, so that no message suggests a name that has nothing in common.

/// Names that are less similar than this are not suggested; 1 is equal.
const LEAST_SIMILARITY: f64 = 0.6;

const MOST_SUGGESTIONS: usize = 3;

/// Characters from which on the beginning of a name is similar to it, and how similar it must be itself.
const LEAST_BEGINNING: usize = 3;
const LEAST_SIMILARITY_OF_BEGINNING: f64 = 0.8;

/// The names that are similar to `unknown`, the most similar first; none if none is.
pub(crate) fn nearest_names<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let unknown = unknown.trim().to_lowercase();
    let mut scored: Vec<(f64, &str)> = names.into_iter().map(|name| (similarity(&unknown, name), name)).collect();
    scored.retain(|(score, _)| *score >= LEAST_SIMILARITY);
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one)); // stable: of equals, the first stays first
    scored.into_iter().map(|(_, name)| name).take(MOST_SUGGESTIONS).collect()
}

/// The question that ends a message about an unknown name, with the most similar one; empty if none is.
pub(crate) fn did_you_mean<'a>(unknown: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match nearest_names(unknown, names).first() {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

/// The share of characters that need no edit; the beginning of a name, also a mistyped one, is just similar enough.
fn similarity(unknown: &str, name: &str) -> f64 {
    let name = name.to_lowercase();
    let edited = strsim::normalized_damerau_levenshtein(unknown, &name);
    let length = unknown.chars().count();
    let begins = length >= LEAST_BEGINNING
        && (length - 1..=length + 1).any(|length| {
            let beginning: String = name.chars().take(length).collect();
            strsim::normalized_damerau_levenshtein(unknown, &beginning) >= LEAST_SIMILARITY_OF_BEGINNING
        });
    if begins { edited.max(LEAST_SIMILARITY) } else { edited }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = ["autoland", "mozilla-central", "mozilla-beta", "try", "burst", "requests_per_second"];

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        for (unknown, meant) in [
            ("autolamd", "autoland"),
            ("Autoland", "autoland"),
            ("mozilla-centrl", "mozilla-central"),
            ("brust", "burst"),
            ("request_per_second", "requests_per_second"),
            ("requests", "requests_per_second"),
            ("reqests", "requests_per_second"),
        ] {
            assert_eq!(nearest_names(unknown, NAMES)[0], meant, "{unknown}");
        }
        assert_eq!(nearest_names("mozilla", NAMES), ["mozilla-central", "mozilla-beta"]);
        assert_eq!(did_you_mean("brust", NAMES), "; did you mean `burst`?");
    }

    #[test]
    fn a_name_like_no_other_is_answered_with_none() {
        for unknown in ["", "zzz", "t", "land", "qqqqqqqq", "per"] {
            assert!(nearest_names(unknown, NAMES).is_empty(), "{unknown}");
            assert_eq!(did_you_mean(unknown, NAMES), "");
        }
    }
}
