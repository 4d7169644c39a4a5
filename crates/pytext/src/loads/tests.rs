//! Compares reading and writing with what Python 3.13 does.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::JsonTextError;
use crate::json::AsciiMode;

fn dumped(text: &str, mode: AsciiMode, notation: Notation) -> (String, Replaced) {
    let (mut document, mut out, mut replaced) = (Document::default(), Vec::new(), Replaced::default());
    document.load(text).unwrap().dumps(&mut out, mode, notation, &mut replaced);
    (String::from_utf8(out).unwrap(), replaced)
}

fn python(text: &str) -> String {
    dumped(text, AsciiMode::Escape, Notation::Python).0
}

// Each expectation is what Python 3.13 prints for json.dumps(json.loads(text)).
#[rstest]
#[case(r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#)]
#[case(r#"{"a":{"x":1},"b":[1,{"c":2,"c":[3,4]}],"a":[5,[6]]}"#, r#"{"a": [5, [6]], "b": [1, {"c": [3, 4]}]}"#)]
#[case(
    r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"c":[10],"j":{"k":1,"k":2}}"#,
    r#"{"a": 1, "b": 2, "c": [10], "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9, "j": {"k": 2}}"#
)]
#[case("[NaN,Infinity,-Infinity,1e400,-1e400]", "[NaN, Infinity, -Infinity, Infinity, -Infinity]")]
#[case(
    "[1E5,1.50,1e22,-0,-0.0,1e16,0.00001,123456789012345678901234567890,1e-400, 5E-324]",
    "[100000.0, 1.5, 1e+22, 0, -0.0, 1e+16, 1e-05, 123456789012345678901234567890, 0.0, 5e-324]"
)]
#[case(r#""\ud83d\ude00 \udfff\ud800x\ud800\ud83d\ude00""#, r#""\ud83d\ude00 \udfff\ud800x\ud800\ud83d\ude00""#)]
#[case(r#"{"\ud800":1,"\udfff":2,"\ud800":3}"#, r#"{"\ud800": 3, "\udfff": 2}"#)]
#[case(" [ true , null , [ ] , { } , false ] ", "[true, null, [], {}, false]")]
#[case(r#"{"":{"":{}}}"#, r#"{"": {"": {}}}"#)]
#[case(r#"[[],[[]],[{}],{"a":[]}]"#, r#"[[], [[]], [{}], {"a": []}]"#)]
#[case(r#""\/\u0007\u007f\u2028\b\f""#, r#""/\u0007\u007f\u2028\b\f""#)]
#[case("-7", "-7")]
fn values_are_read_and_written_as_by_python(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(python(text), expected);
}

#[test]
fn text_beyond_ascii_is_kept_if_asked_for() {
    let text = r#"{"é\u00e9":"\ud83d\ude00\ud800\n"}"#;
    let (kept, replaced) = dumped(text, AsciiMode::Keep, Notation::Python);
    assert_eq!((kept.as_str(), replaced), ("{\"éé\": \"😀\\ud800\\n\"}", Replaced { numbers: 0, surrogates: 1 }));
}

#[test]
fn the_standard_notation_has_neither_nan_nor_halves_of_pairs_and_counts_them() {
    let text = r#"{"\ud800":[NaN,1e400,-Infinity,1.0],"a":"\udfff\ud83d\ude00\ud83d"}"#;
    let (standard, replaced) = dumped(text, AsciiMode::Keep, Notation::Standard);
    assert_eq!(standard, "{\"\u{fffd}\": [null, null, null, 1.0], \"a\": \"\u{fffd}😀\u{fffd}\"}");
    assert_eq!(replaced, Replaced { numbers: 3, surrogates: 3 });
    assert!(serde_json::from_str::<serde_json::Value>(&standard).is_ok());
}

#[rstest]
fn text_that_python_refuses_is_refused(
    #[values(
        "",
        "  ",
        "nan",
        "NAN",
        "-NaN",
        "+Infinity",
        "Inf",
        "infinity",
        "-Infinit",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{1:2}",
        "{NaN:1}",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "--1",
        "+1",
        "1_0",
        "0x1",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800\\u12\"",
        "1 2",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "[1}",
        "{\"a\":1]",
        "[",
        "{",
        "\"",
        "\"\\\"",
        "tru",
        "nulll",
        "\u{feff}1",
        "\u{b}1",
        "\u{a0}1",
        "['a']",
        "]",
        "}",
        "[]]"
    )]
    text: &str,
) {
    let refused = Document::default().load(text).map(|_| ());
    assert!(matches!(refused, Err(JsonTextError::Malformed { .. })), "{refused:?}");
}

#[test]
fn nesting_ends_where_python_ends_it() {
    let nested = |levels: u32, open: &str, close: &str| open.repeat(levels as usize) + &close.repeat(levels as usize);
    for levels in [1, 500, MAX_NESTING] {
        assert_eq!(python(&nested(levels, "[", "]")), nested(levels, "[", "]"));
    }
    let objects = nested(500, "{\"a\":", "}").replace(":}", ":1}");
    assert_eq!(python(&objects), objects.replace(':', ": "));
    let refused = Document::default().load(&nested(MAX_NESTING + 1, "[", "]")).map(|_| ());
    assert_eq!(refused, Err(JsonTextError::TooDeep { at: MAX_NESTING as usize, levels: MAX_NESTING }));
    assert!(Document::default().load(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn integers_end_where_python_ends_them() {
    let digits = "7".repeat(4300);
    assert_eq!(python(&format!("-{digits}")), format!("-{digits}"));
    let refused = Document::default().load(&format!("[{digits}7]")).map(|_| ());
    assert_eq!(refused, Err(JsonTextError::IntegerTooLong { at: 1, digits: 4301 }));
}

#[rstest]
#[case("[null,false,0,-0,0.0,-0.0,\"\",[],{}]", false)]
#[case("[true,1,-1,0.1,NaN,Infinity,\" \",\"\\ud800\",[0],{\"\":0}]", true)]
fn truth_is_that_of_python(#[case] list: &str, #[case] expected: bool) {
    let mut document = Document::default();
    let Kind::Array(elements) = document.load(list).unwrap().kind() else { unreachable!() };
    for value in elements {
        assert_eq!(value.is_truthy(), expected, "{:?}", value.kind());
    }
}

#[test]
fn a_document_is_read_anew_each_time() {
    let mut document = Document::default();
    assert!(document.load("[1, {\"a\": ").is_err());
    let value = document.load(r#"{"a": {"b": "text", "c": "\ud800"}, "d": [1.5, true]}"#).unwrap();
    let a = value.get("a").unwrap();
    assert!(matches!(a.get("b").unwrap().kind(), Kind::Str(text) if text.to_str() == Some("text")));
    assert!(
        matches!(a.get("c").unwrap().kind(), Kind::Str(text) if text.to_str().is_none() && text.to_lossy() == "\u{fffd}")
    );
    assert!(value.get("b").is_none() && a.get("b").unwrap().get("b").is_none());
    let Kind::Object(entries) = value.kind() else { unreachable!() };
    assert_eq!(entries.map(|(key, _)| key.to_lossy().into_owned()).collect::<Vec<_>>(), ["a", "d"]);
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_as_serde_json_reads_it(raw in "[\\[\\]{}\",:0-9a-fu\\\\ .eE+tn-]{0,24}") {
        let mut document = Document::default();
        let ours = document.load(&raw).is_ok();
        if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&raw) {
            prop_assert!(ours);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&python(&raw)).unwrap(), theirs);
        }
        if ours {
            let once = python(&raw);
            prop_assert_eq!(python(&once), once);
        }
    }
}
