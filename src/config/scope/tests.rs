use std::io::Write as _;

use super::*;

fn config(text: &str) -> ScopeConfig {
    toml::from_str(text).unwrap()
}

fn file_of(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn scope(text: &str) -> Scope {
    config(text).over(&Scope::default()).unwrap()
}

#[test]
fn a_pinned_scope_comes_back_from_its_json_and_all_is_the_default() {
    let file = file_of("# of a study\n9\n5\n\n7 # one\n8\n7\n");
    let path = file.path();
    let by_id = scope(&format!("signatures = {path:?}\nframeworks = [13, \"awsy\"]\nsuites = [\"tp*\", \"a\"]"));
    let text = serde_json::to_string(&by_id).unwrap();
    assert!(text.contains("\"5,7-9\"") && text.contains("[\"13\",\"awsy\"]"), "{text}");
    assert_eq!(serde_json::from_str::<Scope>(&text).unwrap(), by_id);
    assert_eq!(by_id.to_string(), "signatures: 4 by id; frameworks: 13, awsy; suites: a, tp*");
    assert_eq!(scope("frameworks = 13\nsuites = \"a\""), scope("frameworks = [\"13\"]\nsuites = [\"a\"]"));
    assert!(scope("").is_all() && scope("platforms = [\"a\", \"*\"]").is_all() && !by_id.is_all());
}

#[test]
fn a_scope_includes_another_only_if_that_is_certain() {
    for (wide, narrow, includes) in [
        ("", "signatures = \"alerted\"\nsuites = [\"a\"]", true),
        ("signatures = \"alerted\"", "", false),
        ("signatures = \"alerted\"", "signatures = \"alerted\"", true),
        ("signatures = \"alerted\"", "signatures = \"alerted\"\nplatforms = [\"linux*\"]", true),
        ("platforms = [\"linux*\", \"win*\"]", "platforms = [\"win*\"]", true),
        ("platforms = [\"linux*\"]", "platforms = [\"linux64\"]", false),
        ("platforms = [\"linux*\"]", "platforms = [\"win*\"]", false),
        ("frameworks = [1, 2]\nsuites = [\"b\"]", "frameworks = [1]\nsuites = [\"b\", \"c\"]", false),
        ("suites = [\"b\"]", "", false),
    ] {
        assert_eq!(scope(wide).includes(&scope(narrow)), includes, "{wide} / {narrow}");
    }
    let ids =
        |ids: &[u64]| Scope { signatures: SignatureScope::Ids(ids.iter().copied().collect()), ..Scope::default() };
    assert!(ids(&[1, 2, 3]).includes(&ids(&[3, 1])) && !ids(&[1, 2]).includes(&ids(&[3])));
    assert!(!ids(&[1]).includes(&scope("signatures = \"alerted\"")));
    let rows = ids(&[1, 5]).differences(&ids(&[1, 2]));
    let asked = "2 by id, without 1 of the stored ones, such as 5";
    assert_eq!(rows, [("scope.signatures", "2 by id".to_owned(), asked.to_owned())]);
}

#[test]
fn unset_keys_keep_the_pinned_scope() {
    let pinned = scope("signatures = \"alerted\"\nplatforms = [\"linux*\"]");
    assert_eq!(ScopeConfig::default().over(&pinned).unwrap(), pinned);
    let wider = config("platforms = [\"*\"]").over(&pinned).unwrap();
    assert_eq!(wider, scope("signatures = \"alerted\""));
    assert!(wider.includes(&pinned));
}

#[test]
fn an_unusable_scope_is_refused_with_its_key_and_the_way_on() {
    let file = file_of("5\nsignature 7\n");
    let path = file.path();
    for (text, said) in [
        ("signatures = \"alertd\"".to_owned(), "did you mean `alerted`?"),
        ("signatures = \"my/ids.txt\"".to_owned(), "cannot read the file `my/ids.txt`; give `all`"),
        (format!("signatures = {path:?}"), ":2: `signature 7` is not the id"),
        ("suites = []".to_owned(), "scope.suites is empty"),
    ] {
        let error = config(&text).over(&Scope::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(toml::from_str::<ScopeConfig>("suites = [\"[a\"]").unwrap_err().to_string().contains("`[a`"));
}
