//! Timestamps as seconds and as dates, to the nanosecond.

use codomyrmex_events::{InvalidTimestamp, Timestamp};
use proptest::prelude::*;

#[test]
fn seconds_are_read_exactly() {
    use InvalidTimestamp::{NotANumber, OutOfRange};
    let cases: &[(&str, Result<i64, InvalidTimestamp>)] = &[
        ("0", Ok(0)),
        ("-0", Ok(0)),
        ("-0.0", Ok(0)),
        ("1750775785", Ok(1_750_775_785_000_000_000)),
        ("1763810000.137", Ok(1_763_810_000_137_000_000)),
        ("1763810000.137000001", Ok(1_763_810_000_137_000_001)),
        ("999999999.5", Ok(999_999_999_500_000_000)),
        ("1763810000.1234567894", Ok(1_763_810_000_123_456_789)),
        ("1763810000.1234567895", Ok(1_763_810_000_123_456_790)),
        ("0.0000000005", Ok(1)),
        ("0.00000000049999", Ok(0)),
        // Half up is towards the greater value.
        ("-0.0000000005", Ok(0)),
        ("-0.00000000050001", Ok(-1)),
        ("-1.5", Ok(-1_500_000_000)),
        ("1e3", Ok(1_000_000_000_000)),
        ("1.5E+2", Ok(150_000_000_000)),
        ("15e-1", Ok(1_500_000_000)),
        ("1763810000137e-3", Ok(1_763_810_000_137_000_000)),
        ("0e999999999999999999999", Ok(0)),
        ("1e-999999999999999999999", Ok(0)),
        ("9223372036.854775807", Ok(i64::MAX)),
        ("-9223372036.854775808", Ok(i64::MIN)),
        ("9223372036.854775808", Err(OutOfRange)),
        ("9223372036.8547758075", Err(OutOfRange)),
        ("9999999999.9", Err(OutOfRange)),
        ("-9223372036.8547758091", Err(OutOfRange)),
        ("1e999999999", Err(OutOfRange)),
        ("1e308", Err(OutOfRange)),
        ("", Err(NotANumber)),
        ("+1", Err(NotANumber)),
        ("01", Err(NotANumber)),
        ("0123456789.5", Err(NotANumber)),
        ("1.", Err(NotANumber)),
        ("1763810000.", Err(NotANumber)),
        (".5", Err(NotANumber)),
        ("1e", Err(NotANumber)),
        ("1e+", Err(NotANumber)),
        ("1e5.5", Err(NotANumber)),
        ("1.2.3", Err(NotANumber)),
        ("- 1", Err(NotANumber)),
        (" 1", Err(NotANumber)),
        ("1763810000.1x", Err(NotANumber)),
        ("NaN", Err(NotANumber)),
        ("\u{661}", Err(NotANumber)),
    ];
    for (text, expected) in cases {
        assert_eq!(Timestamp::parse_seconds(text).map(Timestamp::as_unix_nanos), *expected, "{text:?}");
    }
}

#[test]
fn hostile_numbers_cost_no_more_than_their_length() {
    let zeros = "0".repeat(1 << 20);
    assert_eq!(Timestamp::parse_seconds(&format!("0.{zeros}1")), Ok(Timestamp::from_unix_nanos(0)));
    assert_eq!(Timestamp::parse_seconds(&format!("1{zeros}")), Err(InvalidTimestamp::OutOfRange));
    assert_eq!(
        Timestamp::parse_seconds(&format!("1{zeros}e-1048576")).map(Timestamp::as_unix_nanos),
        Ok(1_000_000_000)
    );
    assert_eq!(Timestamp::parse_seconds(&format!("1e{zeros}3")).unwrap().as_unix_nanos(), 1_000_000_000_000);
}

#[test]
fn seconds_are_written_short() {
    let cases = [
        (0, "0.0"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (1_750_775_785_000_000_000, "1750775785.0"),
        (1_763_810_000_137_000_000, "1763810000.137"),
        (-1_500_000_000, "-1.5"),
        (i64::MAX, "9223372036.854775807"),
        (i64::MIN, "-9223372036.854775808"),
    ];
    for (nanos, text) in cases {
        assert_eq!(Timestamp::from_unix_nanos(nanos).to_string(), text);
    }
}

#[test]
fn dates() {
    use InvalidTimestamp::{NoSuchTime, NotRfc3339, OutOfRange};
    let cases: &[(&str, Result<&str, InvalidTimestamp>)] = &[
        ("1970-01-01T00:00:00Z", Ok("0.0")),
        ("2025-11-22T11:13:20.137Z", Ok("1763810000.137")),
        ("2025-11-22t11:13:20.137z", Ok("1763810000.137")),
        ("2025-11-22 12:13:20.137+01:00", Ok("1763810000.137")),
        ("2025-11-22T05:43:20.1370-05:30", Ok("1763810000.137")),
        ("2025-11-22T11:13:20.1234567899Z", Ok("1763810000.12345679")),
        ("2025-11-22T11:13:20.1234567894Z", Ok("1763810000.123456789")),
        ("2025-11-22T11:13:20.9999999999Z", Ok("1763810001.0")),
        ("2024-02-29T00:00:00Z", Ok("1709164800.0")),
        ("2000-02-29T23:59:59Z", Ok("951868799.0")),
        ("1969-12-31T23:59:59.5Z", Ok("-0.5")),
        ("1677-09-21T00:12:43.145224192Z", Ok("-9223372036.854775808")),
        ("2262-04-11T23:47:16.854775807Z", Ok("9223372036.854775807")),
        ("2016-12-31T23:59:60Z", Ok("1483228799.999999999")),
        ("2262-04-11T23:47:16.854775808Z", Err(OutOfRange)),
        ("0000-01-01T00:00:00Z", Err(OutOfRange)),
        ("9999-12-31T23:59:59Z", Err(OutOfRange)),
        ("2023-02-29T00:00:00Z", Err(NoSuchTime)),
        ("1900-02-29T00:00:00Z", Err(NoSuchTime)),
        ("2025-13-01T00:00:00Z", Err(NoSuchTime)),
        ("2025-00-01T00:00:00Z", Err(NoSuchTime)),
        ("2025-01-00T00:00:00Z", Err(NoSuchTime)),
        ("2025-04-31T00:00:00Z", Err(NoSuchTime)),
        ("2025-01-01T24:00:00Z", Err(NoSuchTime)),
        ("2025-01-01T00:60:00Z", Err(NoSuchTime)),
        ("2025-01-01T00:00:61Z", Err(NoSuchTime)),
        ("2025-01-01T00:00:00+24:00", Err(NoSuchTime)),
        ("", Err(NotRfc3339)),
        ("2025-01-01", Err(NotRfc3339)),
        ("2025-01-01T00:00:00", Err(NotRfc3339)),
        ("2025-01-01T00:00Z", Err(NotRfc3339)),
        ("2025-01-01T00:00:00.Z", Err(NotRfc3339)),
        ("2025-1-1T00:00:00Z", Err(NotRfc3339)),
        ("2025-01-01T00:00:00Zx", Err(NotRfc3339)),
        ("2025-01-01T00:00:00+0100", Err(NotRfc3339)),
        ("\u{664}025-01-01T00:00:00Z", Err(NotRfc3339)),
    ];
    for (text, expected) in cases {
        let seconds = Timestamp::parse_rfc3339(text).map(|timestamp| timestamp.to_string());
        assert_eq!(seconds.as_deref(), expected.as_ref().copied(), "{text:?}");
    }
}

#[test]
fn now_is_in_whole_microseconds() {
    let before = Timestamp::now();
    let nanos = Timestamp::now().as_unix_nanos();
    assert_eq!(nanos % 1_000, 0);
    assert!(nanos >= before.as_unix_nanos());
    // So an f64 of seconds, as Python and JavaScript have it, comes back to the same instant.
    let seconds: f64 = Timestamp::from_unix_nanos(nanos).to_string().parse().unwrap();
    assert_eq!(Timestamp::parse_seconds(&format!("{seconds:.6}")).unwrap().as_unix_nanos(), nanos);
}

proptest! {
    #[test]
    fn both_forms_come_back(nanos: i64) {
        let timestamp = Timestamp::from_unix_nanos(nanos);
        prop_assert_eq!(Timestamp::parse_seconds(&timestamp.to_string()), Ok(timestamp));
        prop_assert_eq!(Timestamp::parse_rfc3339(&timestamp.to_rfc3339()), Ok(timestamp));
    }

    /// The short way for the usual form and the general one agree.
    #[test]
    fn an_exponent_changes_nothing(nanos in 0..i64::MAX) {
        let plain = Timestamp::from_unix_nanos(nanos).to_string();
        prop_assert_eq!(Timestamp::parse_seconds(&format!("{plain}e0")), Timestamp::parse_seconds(&plain));
        prop_assert_eq!(Timestamp::parse_seconds(&format!("{nanos}e-9")), Timestamp::parse_seconds(&plain));
    }
}
