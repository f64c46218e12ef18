//! What must not compile, each beside a twin that does.

#[test]
fn a_payload_type_needs_a_valid_event_name() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/payload_name_good.rs");
    cases.compile_fail("tests/compile/payload_name_bad.rs");
}
