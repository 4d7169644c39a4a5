//! The names of a server's repositories, and those nearest to a mistyped one.

use serde::Deserialize;

use super::error::SourceError;
use super::wire::Shape;

/// Names that are less similar than this are not suggested; 1 is equal.
const LEAST_SIMILARITY: f64 = 0.75;

const MOST_SUGGESTIONS: usize = 3;

/// Reads the names in a reply from `repository/`.
pub(super) fn names(text: &str) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct View {
        name: String,
    }
    let views: Vec<View> = Shape("repository").read(text)?;
    Ok(views.into_iter().map(|view| view.name).collect())
}

/// The names most similar to `unknown`, the nearest first.
pub(super) fn nearest(unknown: &str, names: Vec<String>) -> Vec<String> {
    let similarity = |name: &str| strsim::jaro_winkler(&unknown.to_lowercase(), &name.to_lowercase());
    let mut scored: Vec<(f64, String)> = names.into_iter().map(|name| (similarity(&name), name)).collect();
    scored.retain(|(score, _)| *score >= LEAST_SIMILARITY);
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.into_iter().map(|(_, name)| name).take(MOST_SUGGESTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_suggested_and_others_are_not() {
        let text = r#"[{"id":1,"name":"mozilla-central"},{"id":77,"name":"autoland","x":[]},{"id":4,"name":"try"},{"id":6,"name":"mozilla-beta"}]"#;
        let of = |unknown: &str| nearest(unknown, names(text).unwrap());
        assert_eq!(of("autolamd"), ["autoland"]);
        assert_eq!(of("Autoland"), ["autoland"]);
        assert_eq!(of("mozilla-centrl")[0], "mozilla-central");
        assert_eq!(of("xyz"), [""; 0]);
        assert!(names("{}").is_err());
    }
}
