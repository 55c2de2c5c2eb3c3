import click
import pytest

from tinyml.cli.options import Device, JsonObject, Shape


@pytest.mark.parametrize(("text", "value"), [("3,32,32", (3, 32, 32)), ("7", (7,)), ("1,8,8", (1, 8, 8))])
def test_a_shape_is_whole_numbers(text: str, value: tuple[int, ...]) -> None:
    assert Shape().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["", "3x32", "0,3", "-1", "3,,3", "3,32,", "1.5", "3, 32"])
def test_a_wrong_shape_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 3,32,32"):
        Shape().convert(text, None, None)


@pytest.mark.parametrize("text", ["cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_is_cpu_or_cuda(text: str) -> None:
    assert Device().convert(text, None, None) == text


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "CPU", "", "cpu:0"])
def test_another_device_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(click.BadParameter, match="allowed: cpu, cuda"):
        Device().convert(text, None, None)


def test_model_arguments_are_a_json_object() -> None:
    assert JsonObject().convert('{"classes": 6}', None, None) == {"classes": 6}


@pytest.mark.parametrize("text", ["classes=6", "[6]", "", "{'classes': 6}"])
def test_other_model_arguments_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="classes"):
        JsonObject().convert(text, None, None)
