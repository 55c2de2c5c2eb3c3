"""Modules that share a reason are told together."""

from tinyml.graph import capture
from tinyml.report.left_alone import by_reason, modules_text
from tinyml.report.report import LeftAlone


def left(module: str, reason: str, pass_name: str = "p") -> LeftAlone:
    return LeftAlone(module=module, reason=reason, pass_name=pass_name)


def test_pass_and_reason_make_a_group_in_the_order_in_which_they_come() -> None:
    found = by_reason([left("b", "x"), left("a", "y"), left("a", "x"), left("a", "x", "q")])
    assert [(why.pass_name, why.reason, names) for why, names in found.items()] == [
        ("p", "x", ["b", "a"]),
        ("p", "y", ["a"]),
        ("q", "x", ["a"]),
    ]


def test_what_no_pass_left_alone_is_grouped_alike() -> None:
    items = [capture.LeftAlone(module=name, reason="why") for name in ("a", "b")]
    assert list(by_reason(items).values()) == [["a", "b"]]


def test_of_many_modules_the_first_six_are_named() -> None:
    assert modules_text(["a", "b"]) == "'a', 'b'"
    assert modules_text(list("abcdefgh")) == "'a', 'b', 'c', 'd', 'e', 'f' and 2 more"
    assert modules_text([""]) == "the whole network"
