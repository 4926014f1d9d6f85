use proptest::prelude::*;
use rstest::rstest;

use super::*;

#[rstest]
#[case("", 1, 1, "ends")]
#[case("{", 1, 2, "key")]
#[case("{\"a\"", 1, 5, "colon")]
#[case("{\"a\":", 1, 6, "ends")]
#[case("{\"a\":1", 1, 7, "comma")]
#[case("{\"a\":1,}", 1, 8, "key")]
#[case("{\n \"a\": 1,\n \"a\": 2}", 3, 2, "twice")]
#[case("{\"a\":1,\"\\u0061\":2}", 1, 8, "twice")]
#[case("[1,]", 1, 4, "value")]
#[case("[1 2]", 1, 4, "comma")]
#[case("{} {}", 1, 4, "behind")]
#[case("{}x", 1, 3, "behind")]
#[case("01", 1, 2, "zeros")]
#[case("1.", 1, 3, "digit")]
#[case("-", 1, 2, "digit")]
#[case("1e", 1, 3, "digit")]
#[case("+1", 1, 1, "value")]
#[case("NaN", 1, 1, "value")]
#[case("nul", 1, 1, "value")]
#[case("'a'", 1, 1, "value")]
#[case("\"a", 1, 3, "ends")]
#[case("\"\t\"", 1, 2, "control")]
#[case("\"\\x\"", 1, 3, "escape")]
#[case("\"\\ud800\"", 1, 8, "surrogate")]
#[case("\"\\udc00\"", 1, 8, "surrogate")]
#[case("\"\\ud800\\u0041\"", 1, 14, "surrogate")]
#[case("\"\\u00g0\"", 1, 4, "hexadecimal")]
#[case("// a\n{}", 1, 1, "value")]
#[case("\u{feff}{}", 1, 1, "value")]
fn bad_syntax_is_refused_where_it_is(
    #[case] text: &str,
    #[case] line: usize,
    #[case] column: usize,
    #[case] words: &str,
) {
    let error = Json::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.reason, Reason::MalformedBody);
    assert_eq!(error.position, Some(Position { line, column }), "{error}");
    assert!(error.message.contains(words), "{error}");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_are() {
    let error = Json::parse(b"{\n\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(error.position, Some(Position { line: 2, column: 6 }));
}

#[test]
fn nesting_and_the_number_of_values_are_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Json::parse(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
    let error = Json::parse(nested(MAX_JSON_DEPTH + 1).as_bytes()).unwrap_err();
    assert_eq!(error.reason, Reason::MalformedBody);
    assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());

    let many = |values: usize| format!("[{}]", vec!["0"; values - 1].join(","));
    assert!(Json::parse(many(MAX_JSON_VALUES).as_bytes()).is_ok());
    let error = Json::parse(many(MAX_JSON_VALUES + 1).as_bytes()).unwrap_err();
    assert_eq!(error.reason, Reason::PayloadTooLarge);
}

#[test]
fn numbers_stay_as_written() {
    assert_eq!(
        Json::parse(b"[9007199254740993, 1e400, -0.0]").unwrap(),
        Json::Array(vec![
            Json::Number("9007199254740993"),
            Json::Number("1e400"),
            Json::Number("-0.0")
        ])
    );
}

#[test]
fn escapes_are_resolved() {
    let parsed = Json::parse(br#""a\n\u00e9\ud83d\ude00\/b""#).unwrap();
    assert_eq!(parsed, Json::String("a\né😀/b".into()));
}

/// The same tree as serde_json has it.
fn theirs(ours: &Json<'_>) -> serde_json::Value {
    match ours {
        Json::Null => serde_json::Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(text) => serde_json::from_str(text).unwrap(),
        Json::String(text) => text.as_ref().into(),
        Json::Array(elements) => elements.iter().map(theirs).collect(),
        Json::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.to_string(), theirs(value)))
            .collect(),
    }
}

fn some_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Json::parse(&bytes));
    }

    #[test]
    fn text_like_json_is_judged_as_serde_json_does(text in r#"([\[\]{}:,"0-9eE.+\-tfn \\u]|true|null|"a"){0,12}"#) {
        let theirs_says = serde_json::from_str::<serde_json::Value>(&text);
        let repeats = |error: &BadRequest| error.message.contains("twice");
        match Json::parse(text.as_bytes()) {
            // A number above the range of f64 is for the field to refuse.
            Ok(_) => prop_assert!(theirs_says.is_ok() || theirs_says.unwrap_err().to_string().contains("out of range")),
            Err(error) => prop_assert!(theirs_says.is_err() || repeats(&error), "{} {}", text, error),
        }
    }

    #[test]
    fn what_serde_json_writes_is_read_the_same(json in some_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
        // Not `json` itself: serde_json reads back some floats one step off.
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(theirs(&Json::parse(text.as_bytes()).unwrap()), expected);
    }

    #[test]
    fn a_text_cut_short_is_refused(json in some_json(), at in any::<prop::sample::Index>()) {
        let text = serde_json::json!({ "a": json }).to_string();
        let cut = &text.as_bytes()[..at.index(text.len())];
        prop_assert!(Json::parse(cut).is_err());
    }
}
