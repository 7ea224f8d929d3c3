"""Names of `typing` for the container's start path, which type checkers read as the real ones.

Importing the standard library's `typing` also imports `re` and `contextlib`, and takes 5 ms of the processor time of
each start. Nothing there asks an annotation what it means, so at run time most of these names stand for nothing.
`TYPE_CHECKING` is known to type checkers by its name.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, BinaryIO, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar, cast, dataclass_transform

else:
    from collections import namedtuple

    class Any:
        """Stands for every form: it may be subscripted, combined by `|`, and inherited from."""

        def __class_getitem__(cls, _):
            return cls

    BinaryIO = ClassVar = Final = Generic = Protocol = Any

    def TypeVar(_name):  # noqa: N802 - its name in typing
        return Any

    def cast(_kind, value):
        return value

    def dataclass_transform(**_):
        return lambda function: function

    class _Named(type):
        """Makes a named tuple of a class's annotated names, their defaults, and its methods."""

        def __new__(meta, name, bases, body):
            cls = super().__new__(meta, name, bases, body)
            if not bases:
                return cls
            names = list(cls.__annotations__)
            given = [body[each] for each in names if each in body]
            base = namedtuple(  # noqa: PYI024 - as that one does
                name, names, defaults=given, module=body["__module__"]
            )
            skipped = {*names, "__dict__", "__weakref__", "__annotate__", "__annotate_func__"}
            own = {key: value for key, value in body.items() if key not in skipped}
            return type(name, (base,), {"__slots__": (), **own, "__annotations__": dict(cls.__annotations__)})

    class NamedTuple(metaclass=_Named):
        """As `typing.NamedTuple`."""


__all__ = [
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "ClassVar",
    "Final",
    "Generic",
    "NamedTuple",
    "Protocol",
    "TypeVar",
    "cast",
    "dataclass_transform",
]
