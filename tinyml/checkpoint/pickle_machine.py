"""Reads a pickle as data: opcodes move plain values on a stack; nothing is imported, called or allocated on its word.

torch.load(weights_only=True) still calls constructors with the file's arguments (a storage of 2^40 elements) and raises
nine kinds of errors on damaged files. Here pickle_values describes what a call would give, tensors above all, and makes
none. Names outside pickle_names are collected, for one message that tells them all.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Final

from tinyml.checkpoint.pickle_names import is_inert
from tinyml.checkpoint.pickle_values import Left, Name, as_key, result_of
from tinyml.errors import CheckpointError

MAX_OPCODES: Final = 10_000_000
"""A checkpoint takes some 25 opcodes a tensor; more than this is an attack on the memory."""

PersistentLoad = Callable[[object], object]


class DamagedPickleError(Exception):
    """The opcodes make no sense. Callers turn it into a CheckpointError that names the file."""


class PickleMachine:
    """Runs one pickle after another from a stream; `unknown` gathers the names that are not allowed."""

    def __init__(self, persistent_load: PersistentLoad) -> None:
        self.persistent_load = persistent_load
        self.unknown: list[str] = []
        self._opcodes_left = MAX_OPCODES

    def run(self, stream: IO[bytes]) -> object:
        """Return the value of the next pickle; the stream is left behind it.

        Raises:
            DamagedPickleError: The pickle breaks off or makes no sense.
            CheckpointError: A tensor does not lie in its storage, or the pickle is made to exhaust the memory.
        """
        self._stack: list[object] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self._opcodes_left -= 1
                if self._opcodes_left < 0:
                    raise CheckpointError(f"it has more than {MAX_OPCODES} pickle opcodes, far more than weights need")
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except CheckpointError:
            raise
        except Exception as error:  # every way in which opcodes can contradict each other
            raise DamagedPickleError(str(error)) from error
        raise DamagedPickleError("it breaks off")

    def _step(self, name: str, argument: object) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _ARGUMENT_IS_VALUE:
            self._stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[int(argument)] = self._stack[-1]  # type: ignore[call-overload]  # genops gives an int here
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[int(argument)])  # type: ignore[call-overload]  # as above
        elif name in ("GLOBAL", "INST"):
            self._mention(*str(argument).partition(" ")[::2])
            if name == "INST":
                self._call(self._stack.pop(), self._pop_mark())
        elif name not in ("PROTO", "FRAME"):
            handler = _HANDLERS.get(name)
            if handler is None:
                raise DamagedPickleError(f"no checkpoint has the opcode {name}")
            handler(self)

    def _mention(self, module: object, attribute: object) -> None:
        path = f"{module}.{attribute}"
        if not is_inert(path):
            self.unknown.append(path)
        self._stack.append(Name(path=path))

    def _mention_from_stack(self) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise DamagedPickleError("a name is not text")
        self._mention(module, attribute)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[object]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _tuple(self, length: int) -> None:
        items = tuple(self._stack[len(self._stack) - length :])
        if len(items) != length:
            raise DamagedPickleError("the stack is too short")
        del self._stack[len(self._stack) - length :]
        self._stack.append(items)

    def _extend(self, items: list[object]) -> None:
        if isinstance(target := self._stack[-1], list):
            target.extend(items)

    def _update(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[as_key(key)] = value

    def _call(self, function: object, arguments: object) -> None:
        self._stack.append(result_of(function, arguments))

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        self._call(self._stack.pop(), arguments)

    def _new_object_with_keywords(self) -> None:
        self._stack.pop()
        self._reduce()

    def _object_from_mark(self) -> None:
        items = self._pop_mark()
        self._call(items[0], items[1:])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _persistent(self) -> None:
        self._stack.append(self.persistent_load(self._stack.pop()))

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]


_CONSTANTS: Final[dict[str, Callable[[], object]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Left(what="set"),
}

_ARGUMENT_IS_VALUE: Final = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    }
)

_HANDLERS: Final[dict[str, Callable[[PickleMachine], None]]] = {
    "MARK": PickleMachine._mark,
    "POP": PickleMachine._pop,
    "POP_MARK": lambda machine: _forget(machine._pop_mark()),
    "DUP": lambda machine: machine._push(machine._stack[-1]),
    "TUPLE": lambda machine: machine._push(tuple(machine._pop_mark())),
    "TUPLE1": lambda machine: machine._tuple(1),
    "TUPLE2": lambda machine: machine._tuple(2),
    "TUPLE3": lambda machine: machine._tuple(3),
    "LIST": lambda machine: machine._push(machine._pop_mark()),
    "DICT": lambda machine: _dict_from_mark(machine),
    "FROZENSET": lambda machine: _left_from_mark(machine, "frozenset"),
    "APPEND": lambda machine: machine._extend([machine._stack.pop()]),
    "APPENDS": lambda machine: machine._extend(machine._pop_mark()),
    "ADDITEMS": lambda machine: _forget(machine._pop_mark()),
    "SETITEM": PickleMachine._set_item,
    "SETITEMS": lambda machine: machine._update(machine._pop_mark()),
    "REDUCE": PickleMachine._reduce,
    "NEWOBJ": PickleMachine._reduce,
    "NEWOBJ_EX": PickleMachine._new_object_with_keywords,
    "OBJ": PickleMachine._object_from_mark,
    "BUILD": lambda machine: _forget(machine._stack.pop()),
    "STACK_GLOBAL": PickleMachine._mention_from_stack,
    "BINPERSID": PickleMachine._persistent,
    "MEMOIZE": PickleMachine._memoize,
}


def _forget(_: object) -> None:
    """Drop what an opcode would have put into an object that was not built."""


def _dict_from_mark(machine: PickleMachine) -> None:
    items = machine._pop_mark()
    machine._push({})
    machine._update(items)


def _left_from_mark(machine: PickleMachine, what: str) -> None:
    machine._pop_mark()
    machine._push(Left(what=what))
