use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn accepted(text: &str) -> (String, bool) {
    let Accepted { raw, corrected } = accept(text.as_bytes()).unwrap();
    (raw.as_str().to_owned(), corrected)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn a_regular_text_is_taken_as_it_is() {
    for text in [
        r#"{"z":1e+16,"a": 4.36e-05,"new":[3.0,-0.0],"u":"\u2028é\ud83d\ude00","NaN":"NaN \\ud83d","i":18446744073709551615}"#,
        "7",
        r#"{"e":1e-400,"long":0.1000000000000000055511151231257827021181583404541015625}"#,
        &nested(usize::from(MAX_RECORD_DEPTH)),
    ] {
        assert_eq!(accepted(text), (text.to_owned(), false));
    }
}

#[test]
fn deviations_that_python_reads_are_corrected() {
    for (text, expected) in [
        (r#"{"a":NaN,"b":[Infinity,-Infinity,-1],"c":"NaN"}"#, r#"{"a":null,"b":[null,null,-1],"c":"NaN"}"#),
        (r#"{"a":"\ud83d","b":"\ude00x\ud83d\ude00"}"#, r#"{"a":"\ufffd","b":"\ufffdx\ud83d\ude00"}"#),
        (r#"{"a":"\ud83d\ud83d\ude00\\ud83d"}"#, r#"{"a":"\ufffd\ud83d\ude00\\ud83d"}"#),
        (r#"{"a":1,"b":{"c":1,"c":[]},"a":2.0}"#, r#"{"a":2.0,"b":{"c":[]}}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
        (r#"{"\ud800":1,"\udc00":2}"#, "{\"\u{fffd}\":2}"),
    ] {
        assert_eq!(accepted(text), (expected.to_owned(), true), "{text}");
    }
    let Accepted { raw, corrected } = accept(b"{\"a\":\"x\xffy\"}").unwrap();
    assert_eq!((raw.as_str(), corrected), ("{\"a\":\"x\u{fffd}y\"}", true));
}

#[test]
fn values_that_readers_cannot_take_are_refused_and_broken_text_is_told_from_them() {
    for text in [
        r#"{"a":1e400}"#.to_owned(),
        format!("[{}]", "7".repeat(400)),
        nested(usize::from(MAX_RECORD_DEPTH) + 1),
        nested(100_000),
        format!("[NaN,{},\"\\ud800\"]", nested(100_000)),
    ] {
        assert!(matches!(accept(text.as_bytes()), Err(Refusal::Unreadable(_))), "{text}");
    }
    for text in
        ["", "{", "{\"a\":tru}", "{} {}", "{\"a\":\"\\ud8\"}", "[NaN", "\"\u{1}\"", "{'a':1}", &"[".repeat(100_000)]
    {
        assert!(matches!(accept(text.as_bytes()), Err(Refusal::NotJson(_))), "{text}");
    }
}

#[test]
fn an_integer_may_be_written_in_other_ways_where_it_is_exact() {
    for (raw, expected) in [
        ("7", Some(7)),
        ("-7", Some(-7)),
        ("560000271.0", Some(560_000_271)),
        ("\"7\"", Some(7)),
        ("\"7.0\"", Some(7)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("1e15", Some(1_000_000_000_000_000)),
        ("1e16", None),
        ("1.5", None),
        ("\"\"", None),
        ("\"\"7\"\"", None),
        ("true", None),
        ("null", None),
        ("[7]", None),
        ("1e400", None),
    ] {
        assert_eq!(exact_integer(raw), expected, "{raw}");
    }
    assert_eq!([exact_id("0"), exact_id("-1"), exact_id("1.0")], [None, None, Some(1)]);
}

#[test]
fn a_stand_in_is_no_id_and_stays_the_same() {
    assert_eq!(stand_in(b"7"), stand_in(b"7"));
    assert_ne!(stand_in(b"7"), stand_in(b"8"));
    assert!(exact_id(&stand_in(b"7").to_string()).is_none());
}

/// JSON with the deviations of Python's writers, and worse.
fn any_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,4})?",
        "[1-9][0-9]{300,320}",
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        r#""([a-z]|\\u[dD][89a-fA-F][0-9]{2}|\\n|\\\\|é){0,6}""#,
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let key = || prop_oneof!["\"[ab]\"", r#""\\ud8[0-9]{2}""#];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((key(), inner), 0..5).prop_map(|entries| {
                let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_accepted_can_be_read_and_stays_as_it_is(text in any_text()) {
        match accept(text.as_bytes()) {
            Ok(Accepted { raw, corrected }) => {
                prop_assert_eq!(corrected, raw.as_str() != text);
                prop_assert!(serde_json::from_str::<Value>(raw.as_str()).is_ok());
                prop_assert_eq!(accepted(raw.as_str()), (raw.as_str().to_owned(), false));
            }
            Err(Refusal::Unreadable(_)) => prop_assert!(serde_json::from_str::<Value>(&text).is_err()),
            Err(refusal) => prop_assert!(false, "{}: {}", text, refusal),
        }
    }

    #[test]
    fn no_text_makes_the_test_panic(text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'),
        Just(b'd'), Just(b'8'), Just(b'N'), Just(b'{'), Just(b'['), any::<u8>()], 0..60)) {
        if let Ok(Accepted { raw, .. }) = accept(&text) {
            prop_assert!(serde_json::from_str::<Value>(raw.as_str()).is_ok());
        }
    }
}
