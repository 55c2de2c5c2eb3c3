from tinyml.graph.name_patterns import pattern_fault


def test_a_pattern_that_matches_has_no_fault() -> None:
    assert pattern_fault("block.*", ["stem", "block.0"], kind="layer") == ""


def test_a_pattern_that_matches_nothing_is_told_with_the_nearest_name() -> None:
    said = "pattern 'stm' matches no layer. Did you mean 'stem'? There are stem, head"
    assert pattern_fault("stm", ["stem", "head"], kind="layer") == said


def test_of_many_names_the_first_eight_are_shown() -> None:
    fault = pattern_fault("x", [str(index) for index in range(11)], kind="layer")
    assert fault.endswith("There are 0, 1, 2, 3, 4, 5, 6, 7 and 3 more")


def test_without_names_it_says_so() -> None:
    assert pattern_fault("*", [], kind="module with parameters").endswith("There are none")
