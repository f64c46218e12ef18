//! Payloads: what is accepted, what is read, Rust values.

use std::collections::BTreeMap;

use codomyrmex_events::{Event, EventPayload, EventType, Payload, PublishErrorKind, TypedPayload};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// A text is accepted when, and only when, `serde_json` makes a tree of it; and then the trees are the same.
fn check_acceptance(text: &str) -> Result<(), TestCaseError> {
    let tree = serde_json::from_str::<Value>(text);
    let payload = Payload::from_json(text);
    prop_assert_eq!(payload.is_ok(), tree.is_ok(), "{:?}: {:?}", text, payload);
    if let (Ok(payload), Ok(tree)) = (payload, tree) {
        let tree = if tree.is_null() { json!({}) } else { tree };
        // The texts tell -0.0 from 0, which comparing numbers would not.
        prop_assert_eq!(payload.value().unwrap().to_string(), tree.to_string());
        let again: Value = serde_json::from_str(payload.json().unwrap()).unwrap();
        prop_assert_eq!(again, tree);
    }
    Ok(())
}

#[test]
fn acceptance_is_that_of_a_tree() {
    let depths = [126, 127, 128, 129, 5_000].map(nested);
    let objects = |depth: usize| format!("{}0{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let long_number = "9".repeat(309);
    let texts = [
        r#"{"a":1}"#,
        "[]",
        "{}",
        "null",
        "true",
        "\"\"",
        " \t\r\n[ 1 , 2 ] \n",
        "",
        " ",
        "nul",
        "nulll",
        "tru",
        "True",
        "{",
        "}",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "[1 2]",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{,}"#,
        r#"{a:1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1}}"#,
        "[1]]",
        "[1] x",
        "[}",
        "{]",
        r#"{"a":1]"#,
        r#"[{"a":[{}]}]"#,
        // Numbers.
        "0",
        "-0",
        "-0.0",
        "0.0",
        "-",
        "-a",
        "01",
        "-01",
        "1.",
        ".1",
        "1.e1",
        "1e",
        "1e+",
        "1E5",
        "1e-5",
        "1e308",
        "1e309",
        "-1e309",
        "1e999",
        "-1e999",
        "1e-999",
        "0e999",
        "0.0e99999999999999999999",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "17976931348623159e292",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1",
        "0.30000000000000004",
        "5e-324",
        "2e-324",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "0x10",
        "1_000",
        long_number.as_str(),
        "[-0, -0, 1]",
        r#"{"a":-0}"#,
        r#"{"date":"2025-06-24","z":-0}"#,
        r#"["-0"]"#,
        // Strings.
        r#""\ud83e\udd80""#,
        r#""\uD83E\uDD80""#,
        r#""\ud83e""#,
        r#""\udd80""#,
        r#""\udd80\ud83e""#,
        r#""\ud83e\ud83e""#,
        r#""\ud83ex""#,
        r#""\ud83e\n""#,
        r#""\ud83e\u0041""#,
        r#"{"\ud800":1}"#,
        r#"[["\udfff"]]"#,
        r#""\u0000""#,
        r#""\u""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\x41""#,
        r#""\"#,
        r#"""#,
        r#""abc"#,
        r#""\/\b\f\n\r\t\"\\""#,
        "\"\u{7f}\u{80}\u{2028}\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\0\"",
        "\"1234567\"",
        "\"12345678\"",
        "\"123456789\u{1}\"",
        "\"1234567\\n9\"",
        // Structure.
        r#"{"a":1,"a":2}"#,
        "\u{feff}{}",
        "// c\n1",
        "[1]\0",
        &depths[0],
        &depths[1],
        &depths[2],
        &depths[3],
        &depths[4],
        &objects(127),
        &objects(128),
    ];
    for text in texts {
        check_acceptance(text).unwrap();
    }
}

/// Texts made of what readers disagree about.
fn hostile_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "d800",
        "dc00",
        "\\ud83e\\udd80",
        "\"a\"",
        "\"a\":",
        "1",
        "-",
        "0",
        ".",
        "e",
        "E",
        "+",
        "99",
        "999",
        "-0",
        "1e308",
        "true",
        "false",
        "null",
        " ",
        "\n",
        "\t",
        "é",
        "\u{1f980}",
        "\u{1}",
        "18446744073709551616",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// Well-formed values, with what the two parsers might read differently.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(-0.0)),
        any::<String>().prop_map(Value::from),
        "[-0-9a-z\"\\\\]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn acceptance_of_hostile_texts(text in hostile_text()) {
        check_acceptance(&text)?;
        check_acceptance(&format!("[{text}]"))?;
        check_acceptance(&format!("{{\"k\":{text}}}"))?;
    }

    #[test]
    fn acceptance_of_any_text(text: String) {
        check_acceptance(&text)?;
        check_acceptance(&serde_json::to_string(&text).unwrap())?;
    }

    #[test]
    fn trees_come_back(tree in tree()) {
        check_acceptance(&tree.to_string())?;
        check_acceptance(&serde_json::to_string_pretty(&tree).unwrap())?;
    }

    /// Numbers in every notation read as `serde_json` reads them, to the last bit.
    #[test]
    fn numbers_read_alike(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?") {
        check_acceptance(&text)?;
    }

    /// One damaged byte is noticed as `serde_json` notices it.
    #[test]
    fn damaged_texts(tree in tree(), at: prop::sample::Index, char: char) {
        let mut chars: Vec<char> = tree.to_string().chars().collect();
        let at = at.index(chars.len());
        chars[at] = char;
        check_acceptance(&chars.iter().collect::<String>())?;
    }
}

#[test]
fn long_texts_take_the_other_parser_and_read_the_same() {
    let fields: BTreeMap<String, Value> = (0..2_000)
        .map(|n| {
            (
                format!("field {n} \u{e9}"),
                json!([n, -n, f64::from(n) / 7.0, {"t": "a\"b\\c\u{1f980}", "z": null}]),
            )
        })
        .collect();
    let text = serde_json::to_string(&fields).unwrap();
    check_acceptance(&text).unwrap();
    check_acceptance(&text.replace("null", "-0")).unwrap();
    check_acceptance(&text.replace("null", "18446744073709551616")).unwrap();
}

#[test]
fn errors_say_where() {
    let cases = [
        ("{\"a\": tru}", 1, 7, "true, false or null"),
        ("{\n  \"a\": 1e999\n}", 2, 8, "range of a 64-bit float"),
        ("[\"\\ud800\"]", 1, 3, "lone surrogate"),
        ("[1] 2", 1, 5, "nothing may follow"),
        ("[1", 1, 3, "ends too early"),
        (&nested(128), 1, 128, "nested deeper than 128"),
    ];
    for (text, line, column, message) in cases {
        let error = Payload::from_json(text).unwrap_err();
        assert_eq!((error.line(), error.column()), (Some(line), Some(column)), "{text}: {error}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(
            text.as_bytes()[..error.byte_offset().unwrap()].iter().filter(|&&b| b == b'\n').count(),
            line - 1
        );
    }
}

#[test]
fn absent_reads_as_an_empty_object() {
    for absent in [
        Payload::absent(),
        Payload::default(),
        Payload::from(Value::Null),
        Payload::from_json(" null ").unwrap(),
    ] {
        assert!(absent.is_absent());
        assert_eq!(absent.value().unwrap(), &json!({}));
        assert_eq!(absent.json().unwrap(), "{}");
        assert_eq!(absent.get("a"), None);
        assert_eq!(absent.deserialize::<BTreeMap<String, u8>>().unwrap(), BTreeMap::new());
    }
}

#[test]
fn a_text_stays_as_it_was_on_one_line() {
    assert_eq!(
        Payload::from_json(r#"{"b": 1,  "a": 1.50}"#).unwrap().json().unwrap(),
        r#"{"b": 1,  "a": 1.50}"#
    );
    assert_eq!(Payload::from_json("{\n\"a\":\r\n\"b\\n\"}\n").unwrap().json().unwrap(), "{\"a\":\"b\\n\"}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Finished {
    name: String,
    seconds: f64,
}

impl EventPayload for Finished {
    const EVENT_TYPE: &'static str = "job.finished";
}

#[derive(Serialize, Deserialize)]
struct Started {}

impl EventPayload for Started {
    const EVENT_TYPE: &'static str = "build.start";
}

#[test]
fn a_rust_value_is_handed_over_and_converted() {
    let finished = || Finished { name: "a".into(), seconds: 1.5 };
    let event = Event::typed("jobs", finished()).build().unwrap();
    assert_eq!(event.event_type(), &"job.finished");
    assert_eq!(event.data().downcast_ref::<Finished>(), Some(&finished()));
    assert!(event.data().downcast_ref::<Started>().is_none());
    assert!(matches!(event.payload_as::<Finished>().unwrap(), TypedPayload::Borrowed(_)));
    assert_eq!(event.data().json().unwrap(), r#"{"name":"a","seconds":1.5}"#);
    assert_eq!(event.data().value().unwrap(), &json!({"name": "a", "seconds": 1.5}));
    assert_eq!(event.data().deserialize::<Finished>().unwrap(), finished());

    let read = Event::from_json(&event.to_json().unwrap()).unwrap();
    let payload = read.payload_as::<Finished>().unwrap();
    assert!(matches!(payload, TypedPayload::Owned(_)));
    assert_eq!(*payload, finished());

    let other = Event::builder("job.finished", "jobs").data(json!({"name": 1})).build().unwrap();
    assert!(other.payload_as::<Finished>().unwrap_err().to_string().contains("expected a string"));
    assert_eq!(Event::typed("ci", Started {}).build().unwrap().event_type(), &EventType::BuildStart);
}

/// What JSON cannot hold is an error with its place, in the text and in the tree, and is remembered.
#[test]
fn rust_values_that_are_no_json() {
    #[derive(Serialize)]
    enum Shape {
        Circle(f64),
        Square { side: f32 },
        Pair(f64, f64),
    }
    struct Faulty;
    impl Serialize for Faulty {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no wish to"))
        }
    }
    let levels = |depth| (0..depth).fold(json!(0), |inner, _| json!([inner]));
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let cases = [
        (Payload::typed(f64::NAN), "", "NaN is not a JSON number"),
        (Payload::typed(f32::NEG_INFINITY), "", "-inf is not a JSON number"),
        (Payload::typed(vec![1.0, f64::INFINITY]), "/1", "inf is not"),
        (Payload::typed(BTreeMap::from([("a/b~c", vec![Some(f64::NAN)])])), "/a~1b~0c/0", "NaN"),
        (Payload::typed(Finished { name: "a".into(), seconds: f64::NAN }), "/seconds", "NaN"),
        (Payload::typed(Shape::Circle(f64::NAN)), "/Circle", "NaN"),
        (Payload::typed(Shape::Square { side: f32::NAN }), "/side", "NaN"),
        (Payload::typed(Shape::Pair(0.0, f64::NAN)), "/1", "NaN"),
        (Payload::typed(BTreeMap::from([(vec![1], 1)])), "", "key must be a string"),
        (Payload::typed(BTreeMap::from([((1, 2), 1)])), "", "key must be a string"),
        (Payload::typed(u128::MAX), "", "64 bits"),
        (Payload::typed(i128::MIN), "", "64 bits"),
        (Payload::typed(levels(128)), "", "nested deeper"),
        (Payload::typed(Faulty), "", "no wish to"),
        (Payload::typed([raw(r#""\ud800""#)]), "", ""),
        (Payload::typed([raw("1e999")]), "", ""),
    ];
    for (payload, pointer, message) in cases {
        for _ in 0..2 {
            let errors = [payload.json().unwrap_err(), payload.value().unwrap_err()];
            assert!(errors.iter().all(|error| error.to_string().contains(message)), "{errors:?}");
            if !pointer.is_empty() {
                assert!(errors.iter().all(|error| error.pointer().unwrap().ends_with(pointer)), "{errors:?}");
            }
        }
        let event = Event::builder("a", "b").data(&payload).build().unwrap();
        assert!(event.to_json().is_err() && event.to_dict().is_err());
        let mut out = String::from("before");
        assert!(event.write_json(&mut out).is_err());
        assert_eq!(out, "before");
    }
    assert!(Payload::typed(levels(127)).json().is_ok());
    assert!(Payload::typed(levels(127)).value().is_ok());
}

#[test]
fn rust_values_mean_the_same_in_both_forms() {
    #[derive(Serialize)]
    struct All {
        short: f32,
        long: f64,
        wide: i128,
        keys: BTreeMap<u8, bool>,
        unit: (),
        variant: Result<u8, String>,
        char: char,
        bytes: (u8, i8),
    }
    let all = All {
        short: 0.1,
        long: 0.1,
        wide: -7,
        keys: BTreeMap::from([(3, true)]),
        unit: (),
        variant: Err("e".into()),
        char: '\u{1f980}',
        bytes: (1, -1),
    };
    let payload = Payload::typed(all);
    let text: Value = serde_json::from_str(payload.json().unwrap()).unwrap();
    assert_eq!(&text, payload.value().unwrap());
    assert_eq!(text["short"], json!(0.1));
}

#[test]
fn a_tree_too_deep_is_refused_and_dropped_safely() {
    // Not by the `json!` macro, which goes through the tree at each step.
    let deep = |depth| (0..depth).fold(json!(0), |inner, _| Value::Array(vec![inner]));
    assert!(Event::builder("a", "b").data(deep(127)).build().is_ok());
    assert!(Event::builder("a", "b").metadata_entry("m", deep(126)).build().is_ok());
    for depth in [128, 200_000] {
        let error = Event::builder("a", "b").data(deep(depth)).build().unwrap_err();
        assert!(matches!(error.kind(), PublishErrorKind::Payload(_)), "{error}");
        assert!(Payload::from(deep(depth)).json().unwrap_err().to_string().contains("nested deeper"));
        let error = Event::builder("a", "b").metadata_entry("m", deep(depth - 1)).build().unwrap_err();
        assert!(error.to_string().contains("metadata"), "{error}");
        for field in ["data", "unknown"] {
            let mut dict = super::object(json!({"event_type": "a", "source": "b"}));
            dict.insert(field.to_owned(), deep(depth));
            assert!(Event::from_dict(dict).unwrap_err().to_string().contains("nested deeper"));
        }
    }
}

#[test]
fn threads_may_race_to_convert() {
    let payload = Payload::from_json(r#"{"a": [1, 2, 3]}"#).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(payload.value().unwrap(), &json!({"a": [1, 2, 3]})));
        }
    });
    assert!(std::ptr::eq(payload.value().unwrap(), payload.value().unwrap()));
}
