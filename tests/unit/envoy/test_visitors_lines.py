from portico.envoy.visitors_lines import VisitorsLines


def test_a_flood_is_counted_not_written() -> None:
    now = [0.0]
    lines = VisitorsLines(lambda: now[0])
    written = [lines.admitted({"visitor": "192.0.2.1"}) for _ in range(250)]
    assert [line for line in written if line is not None] == [{"visitor": "192.0.2.1"}] * 100
    now[0] = 1.0
    assert lines.admitted({"visitor": "192.0.2.2"}) == {"visitor": "192.0.2.2", "unwritten": 150}
    assert lines.admitted({}) == {}


def test_what_the_visitor_did_not_say_is_left_out_and_what_he_said_is_cut() -> None:
    facts = {"subject": "CN=" + "a" * 1_000, "issuer": None, "server_name": "-", "chain": ""}
    assert VisitorsLines().admitted(facts) == {"subject": "CN=" + "a" * 297}


def test_the_reason_is_in_words() -> None:
    envoy = (
        "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_"
        "X509_verify_cert:_certificate_verification_error_at_depth_0:_certificate_has_expired:TLS_error_end"
    )
    line = VisitorsLines().admitted({"reason": envoy})
    assert line is not None
    assert line["reason"].startswith("CERTIFICATE VERIFY FAILED:")
    assert line["reason"].endswith("certificate has expired")


def test_facts_that_are_none_leave_the_line() -> None:
    assert VisitorsLines().admitted("no object") == {}
