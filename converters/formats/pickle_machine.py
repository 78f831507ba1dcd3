"""The opcodes of pickles, as far as torch.save writes them, for a machine that executes nothing.

https://github.com/python/cpython/blob/main/Lib/pickletools.py describes the opcodes.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias

from converters.errors import CheckpointError
from converters.formats import numpy_pickle, torch_pickle
from converters.formats.numpy_pickle import PickledArray, PickledType
from converters.formats.torch_pickle import INERT, Opaque, Storage, check_key, is_hostile

MAX_BYTES = 2**28  # of a pickle in a file that is smaller
MAX_STEPS = 10_000_000  # some 40 for each tensor; each makes an object of some 100 bytes at most
FROM_TYPE, FROM_BYTES = "torch._tensor._rebuild_from_type_v2", "torch.storage._load_from_bytes"
CALLS = {**torch_pickle.CALLS, **numpy_pickle.CALLS}
TAKE_ANYTHING = {*numpy_pickle.CALLS, "collections.defaultdict"}
ReadStorage: TypeAlias = Callable[[bytes], Storage]
CUT_OFF = "the pickle is cut off; download the file again"


class PickleMachine:
    """Builds plain values and descriptions of tensors; calls nothing that a pickle names.

    Attributes:
        storages: Every storage that the pickle refers to, by key.
        hostile: The names of the globals that attacks use.

    Args:
        file: The pickle, at its position.
        size: Bytes of the file that it is in, which bounds the arrays that stand in the pickle itself.
        read_storage: Reads the storages that Python's own pickle writes as files of torch.save within it.
    """

    def __init__(self, file: BinaryIO, size: int = 0, read_storage: ReadStorage | None = None) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.push = self.stack.append
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.room = max(MAX_BYTES, size)
        self.steps = 0
        self.storages: dict[str, Storage] = {}
        self.hostile: dict[str, None] = {}  # in order
        self.read_storage = read_storage

    def run(self) -> Any:
        while self.steps < MAX_STEPS:
            self.steps += 1
            opcode = self.file.read(1)
            action = OPCODES.get(opcode)
            if action:
                action(self)
            elif opcode == b".":
                return self.stack.pop()
            elif not opcode:
                raise CheckpointError(CUT_OFF)
            else:
                raise CheckpointError(
                    f"the pickle is damaged: no opcode {opcode!r} in what torch.save writes"
                )
        raise CheckpointError(f"the pickle takes more than {MAX_STEPS:,} steps, no state dict does")

    def take(self, count: int) -> bytes:
        self.room -= count
        if self.room < 0:
            raise CheckpointError(f"the pickle is longer than {MAX_BYTES:,} bytes, no state dict is")
        data = self.file.read(count)
        if len(data) < count:
            raise CheckpointError(CUT_OFF)
        return data

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        line = self.file.readline(1000)
        if not line.endswith(b"\n"):
            raise CheckpointError("the pickle is damaged: a name has no end")
        self.room -= len(line)
        return line[:-1].decode()

    def pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def find(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in INERT or full in CALLS or full in (FROM_TYPE, FROM_BYTES):
            return full
        if is_hostile(full):
            self.hostile[full] = None
        return Opaque(full)

    def call(self, function: Any, arguments: Any) -> Any:
        """Describes what a call would return, without making it."""
        if type(arguments) is not tuple:
            raise TypeError("a call has no tuple of arguments")
        # What a call copies counts, or a short pickle could ask for one long copy after another.
        self.steps += len(arguments) + sum(
            len(argument) for argument in arguments if isinstance(argument, tuple | list | dict)
        )
        if isinstance(function, Opaque):
            return Opaque(function.name)
        if function == FROM_TYPE:  # a tensor with attributes of its own, which are no weights
            return self.call(arguments[0], arguments[2])
        unknown = next((each for each in arguments if isinstance(each, Opaque)), None)
        if unknown is not None and function not in TAKE_ANYTHING:
            return Opaque(unknown.name)
        if function == FROM_BYTES:
            return self.read_storage(*arguments) if self.read_storage else Opaque(FROM_BYTES)
        if not isinstance(function, str) or function not in CALLS:
            raise CheckpointError("the pickle is damaged: it calls what is no function")
        return CALLS[function](*arguments)

    def build(self) -> None:
        """Takes the state of an array; of other objects, sees whether it is a module's."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, PickledArray | PickledType):
            target.set_state(state)
        elif isinstance(target, Opaque) and isinstance(state, dict):
            target.is_module = "_modules" in state

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in _pairs(items):
            (target.items if isinstance(target, Opaque) else target)[key] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], Opaque):
            self.stack[-1].extend(items)


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(map(check_key, items[::2]), items[1::2], strict=True)


def _text(size: int) -> Callable[[PickleMachine], None]:
    return lambda self: self.push(self.take(self.integer(size)).decode("utf-8", "surrogatepass"))


def _old_text(size: int) -> Callable[[PickleMachine], None]:
    """Python 2 did not tell text from bytes."""
    return lambda self: self.push(self.take(self.integer(size)).decode("utf-8", "surrogateescape"))


def _bytes(size: int) -> Callable[[PickleMachine], None]:
    return lambda self: self.push(self.take(self.integer(size)))


def _tuple(count: int) -> Callable[[PickleMachine], None]:
    def opcode(self: PickleMachine) -> None:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    return opcode


def _remember(size: int) -> Callable[[PickleMachine], None]:
    def opcode(self: PickleMachine) -> None:
        self.memo[self.integer(size) if size else len(self.memo)] = self.stack[-1]

    return opcode


def _reduce(self: PickleMachine) -> None:
    arguments, function = self.stack.pop(), self.stack.pop()
    self.push(self.call(function, arguments))


def _reduce_with_keywords(self: PickleMachine) -> None:
    self.stack.pop()
    _reduce(self)


def _instance(self: PickleMachine) -> None:
    self.push(self.call(self.find(self.line(), self.line()), tuple(self.pop_mark())))


def _instance_of_popped(self: PickleMachine) -> None:
    function, *arguments = self.pop_mark()
    self.push(self.call(function, tuple(arguments)))


def _stack_global(self: PickleMachine) -> None:
    name, module = self.stack.pop(), self.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str) or len(module) + len(name) > 1000:
        raise TypeError("a global has no name")
    self.push(self.find(module, name))


def _persistent(self: PickleMachine) -> None:
    """A storage, or a class with its source, which old files have for every class of a pickled module."""
    identity = self.stack.pop()
    if type(identity) is tuple and identity[:1] == ("module",):
        self.push(identity[1] if len(identity) > 1 else None)
        return
    storage = torch_pickle.storage(identity)
    if isinstance(storage, Opaque):
        self.push(storage)
        return
    if self.storages.setdefault(storage.key, storage).kind != storage.kind:
        raise CheckpointError(f"the pickle is damaged: storage {storage.key!r} has two element types")
    self.push(storage)


OPCODES: dict[bytes, Callable[[PickleMachine], Any]] = {
    b"\x80": lambda self: self.take(1),  # protocol
    b"\x95": lambda self: self.take(8),  # frame
    b"N": lambda self: self.push(None),
    b"\x88": lambda self: self.stack.append(True),
    b"\x89": lambda self: self.stack.append(False),
    b"K": lambda self: self.push(self.integer(1)),
    b"M": lambda self: self.push(self.integer(2)),
    b"J": lambda self: self.push(struct.unpack("<i", self.take(4))[0]),
    b"\x8a": lambda self: self.push(int.from_bytes(self.take(self.integer(1)), "little", signed=True)),
    b"G": lambda self: self.push(struct.unpack(">d", self.take(8))[0]),
    b"\x8c": _text(1),
    b"X": _text(4),
    b"\x8d": _text(8),
    b"U": _old_text(1),
    b"T": _old_text(4),
    b"C": _bytes(1),
    b"B": _bytes(4),
    b"\x8e": _bytes(8),
    b"\x96": _bytes(8),
    b")": lambda self: self.push(()),
    b"]": lambda self: self.push([]),
    b"}": lambda self: self.push({}),
    b"\x8f": lambda self: self.push([]),  # a set
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"(": lambda self: self.marks.append(len(self.stack)),
    b"t": lambda self: self.push(tuple(self.pop_mark())),
    b"l": lambda self: self.push(self.pop_mark()),
    b"\x91": lambda self: self.push(self.pop_mark()),  # a frozen set
    b"d": lambda self: self.push(dict(_pairs(self.pop_mark()))),
    b"a": lambda self: self.extend([self.stack.pop()]),
    b"e": lambda self: self.extend(self.pop_mark()),
    b"\x90": lambda self: self.extend(self.pop_mark()),
    b"s": lambda self: self.set_items([self.stack.pop(-2), self.stack.pop()]),
    b"u": lambda self: self.set_items(self.pop_mark()),
    b"0": lambda self: self.stack.pop(),
    b"1": lambda self: self.pop_mark(),
    b"2": lambda self: self.push(self.stack[-1]),
    b"q": _remember(1),
    b"r": _remember(4),
    b"\x94": _remember(0),
    b"h": lambda self: self.push(self.memo[self.integer(1)]),
    b"j": lambda self: self.push(self.memo[self.integer(4)]),
    b"c": lambda self: self.push(self.find(self.line(), self.line())),
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _reduce,
    b"\x92": _reduce_with_keywords,
    b"i": _instance,
    b"o": _instance_of_popped,
    b"b": lambda self: self.build(),
    b"Q": _persistent,
}
