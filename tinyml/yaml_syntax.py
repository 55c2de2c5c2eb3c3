"""YAML text to plain values, with the place of every key and value and every fault of the text.

YAML 1.2 (`1e-3` is a number, `yes` is a word). Refused, because they surprise or harm: duplicate keys, tabs, anchors
and aliases (a few lines of them expand to gigabytes), tags, directives, keys that are not text, infinite numbers.
"""

import math
import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tinyml.errors import first_line

TAG_PREFIX = "tag:yaml.org,2002:"

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None
KeyPath = tuple[str | int, ...]

MAX_CHARACTERS = 1_000_000
PLAIN_KINDS = ("map", "seq", "str", "null", "bool", "int", "float", "timestamp", "value", "merge")
PLAIN_TAGS = {TAG_PREFIX + kind for kind in PLAIN_KINDS}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong, at `place` ("file:line:column"), said in `text`."""

    place: str
    text: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.place}: {self.text}"


@dataclass(kw_only=True)
class YamlReader:
    """Walks the nodes of one text; gathers values, places ("file:line:column" by path of keys) and faults.

    With `whole` every place is `source` itself: the text is one short value, whose lines and columns tell nothing.
    """

    source: str
    whole: bool = False
    places: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def read(self, text: str) -> JSON:
        """Return the plain value of `text`; None where it is empty or does not parse (`faults` then says why)."""
        self.places[()] = self._place(1, 1)
        if len(text) > MAX_CHARACTERS:
            return self._refuse((), f"{len(text):,} characters long; at most {MAX_CHARACTERS:,} are read")
        if self._refuses_lines(text):
            return None
        try:
            node = YAML(typ="safe", pure=True).compose(text)
            return None if node is None else self._value(node, ())
        except MarkedYAMLError as error:
            mark = error.problem_mark
            place = self._place(mark.line + 1, mark.column + 1) if mark else self.places[()]
            self.faults.append(Fault(place=place, text=f"not YAML: {error.problem or error.context}"))
        except YAMLError as error:
            self._refuse((), f"not YAML: {first_line(error)}")
        except RecursionError:
            self._refuse((), "nested too deeply")
        return None

    def _refuses_lines(self, text: str) -> bool:
        """Report the tabs and directives, of which the parser would name one at most; return whether there are any."""
        before = len(self.faults)
        for number, line in enumerate(text.splitlines(), start=1):
            tab = re.match(r"[^#'\"]*?\t(?=\s*[^\s#])", line)
            if tab:
                place = self._place(number, tab.end())
                self.faults.append(Fault(place=place, text="a tab; YAML wants spaces"))
            elif line.startswith("%"):
                place = self._place(number, 1)
                self.faults.append(Fault(place=place, text=f"the directive {line[:40]!r}; none are read here"))
        return len(self.faults) > before

    def _refuse(self, path: KeyPath, text: str) -> JSON:
        """Note the fault and return None, which stands for the value."""
        key = ".".join(str(part) for part in path)
        self.faults.append(Fault(place=self.places[path], text=f"{key}: {text}" if key else text))
        return None

    def _value(self, node: Node, path: KeyPath) -> JSON:
        self.places.setdefault(path, self._start(node))
        if node.anchor or id(node) in self._seen:
            return self._refuse(path, "an anchor or an alias (& or *); write the value out in each place")
        self._seen.add(id(node))
        if str(node.tag) not in PLAIN_TAGS:
            return self._refuse(path, f"the tag {str(node.tag).replace(TAG_PREFIX, '!!')!r}; tags are not read here")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(str(node.value), str(node.tag).removeprefix(TAG_PREFIX), path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, JSON]:
        values: dict[str, JSON] = {}
        first: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or str(key_node.tag) not in PLAIN_TAGS:
                self.faults.append(Fault(place=self._start(key_node), text="a key must be plain text"))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in first:
                dotted = ".".join(str(part) for part in here)
                text = f"{dotted}: the key is there twice, first at line {first[key].start_mark.line + 1}; keep one"
                self.faults.append(Fault(place=self._start(key_node), text=text))
                continue
            first[key] = key_node
            self.places[here] = self._start(key_node)
            values[key] = self._value(value_node, here)
        return values

    def _scalar(self, text: str, kind: str, path: KeyPath) -> JSON:
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        return self._number(text, kind, path) if kind in ("int", "float") else text

    def _number(self, text: str, kind: str, path: KeyPath) -> JSON:
        digits = text.replace("_", "")
        try:
            if kind == "int":
                return int(digits, 0 if re.match(r"[+-]?0[xob]", digits) else 10)
            number = float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return self._refuse(path, f"{text[:40]} is not a number that can be read")
        return number if math.isfinite(number) else self._refuse(path, f"{text} is not a finite number")

    def _start(self, node: Node) -> str:
        return self._place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _place(self, line: int, column: int) -> str:
        return self.source if self.whole else f"{self.source}:{line}:{column}"
