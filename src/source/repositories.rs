//! The names of a server's repositories.

use serde::Deserialize;

use super::error::SourceError;
use super::wire::Shape;

/// Reads the names in a reply from `repository/`.
pub(super) fn names(text: &str) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct View {
        name: String,
    }
    let views: Vec<View> = Shape("repository").read(text)?;
    Ok(views.into_iter().map(|view| view.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_beside_unknown_fields() {
        let text = r#"[{"id":1,"name":"mozilla-central"},{"id":77,"name":"autoland","x":[]},{"id":4,"name":"try"},{"id":6,"name":"mozilla-beta"}]"#;
        assert_eq!(names(text).unwrap(), ["mozilla-central", "autoland", "try", "mozilla-beta"]);
        assert!(names("{}").is_err());
    }
}
