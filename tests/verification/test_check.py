import pytest

from tinyml.verification import Check, Verification


def check(outcome: str, name: str = "a") -> Check:
    return Check(name=name, value="1", bound="2", outcome=outcome, explanation="why")  # type: ignore[arg-type]  # a word


def test_a_verification_passes_when_no_check_failed() -> None:
    assert Verification(checks=(check("passed"), check("noted"))).passed


def test_the_failed_checks_are_named() -> None:
    verification = Verification(checks=(check("passed"), check("failed", "b")))
    assert not verification.passed
    assert [failed.name for failed in verification.failed] == ["b"]


def test_json_reads_back_as_equal() -> None:
    verification = Verification(checks=(check("passed"), check("failed", "b"), check("noted", "c")))
    assert Verification.from_json(verification.to_json()) == verification


def test_json_without_a_list_of_checks_is_refused() -> None:
    with pytest.raises(TypeError, match="checks must be a list"):
        Verification.from_json({"checks": "none"})
