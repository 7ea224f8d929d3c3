"""Fast-loading dataclasses for the container's start path: keyword-only, compared and shown by their fields.

The standard library's `dataclasses` imports `inspect`, `ast` and `dis`, and compiles text for each class: more than a
third of the time that `spotrun -- true` took. Type checkers read these in the same way (PEP 681), and so do `asdict`,
`fields`, `replace` and `is_dataclass` of the standard library, for code that has imported it.
"""

from collections.abc import Callable

from spotbatch.batch.light_types import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")
_REQUIRED = object()


class _Fields:
    """What `dataclasses` looks for, built on demand."""

    def __init__(self, names: tuple[str, ...], given: dict[str, object]) -> None:
        self._names = names
        self._given = given

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        import dataclasses

        listed: list[tuple[str, Any, Any]] = []
        for name in self._names:
            value = self._given[name]
            if isinstance(value, _Made):
                made = dataclasses.field(default_factory=value.make)
            else:
                made = dataclasses.field() if value is _REQUIRED else dataclasses.field(default=value)
            listed.append((name, owner.__annotations__[name], made))
        model = dataclasses.make_dataclass(owner.__name__, listed, kw_only=True)
        return {each.name: each for each in dataclasses.fields(model)}


class _Made:
    """A default that is created anew for each instance."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def made_by(*, default_factory: Callable[[], T]) -> T:
    """Like `dataclasses.field(default_factory=...)`."""
    return cast("T", _Made(default_factory))


@dataclass_transform(kw_only_default=True, field_specifiers=(made_by,))
def dataclass(*, frozen: bool = False, kw_only: bool = True) -> Callable[[type[T]], type[T]]:
    """Like `dataclasses.dataclass`, for a class without such bases. Names that begin with `_` are not fields."""
    assert kw_only  # noqa: S101 - said for the reader; there is no other kind

    def decorate(cls: type[T]) -> type[T]:
        found = vars(cls)
        names = tuple(name for name in cls.__annotations__ if not name.startswith("_"))
        given = {name: found.get(name, _REQUIRED) for name in names}
        methods: dict[str, object] = {"__init__": _init(given), "__eq__": _equal, "__repr__": _shown, "__hash__": None}
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse, "__hash__": _hash}
        for name, method in methods.items():
            if name == "__hash__" or name not in found:
                setattr(cls, name, method)
        for name, value in given.items():
            if isinstance(value, _Made):
                delattr(cls, name)
        cls.__dataclass_fields__ = _Fields(names, given)  # type: ignore[attr-defined]
        return cls

    return decorate


def as_dict(instance: object) -> dict[str, Any]:
    """The fields and their values, in class order."""
    return {name: value for name, value in vars(instance).items() if not name.startswith("_")}


def _init(given: dict[str, object]) -> Callable[..., None]:
    required = {name for name, value in given.items() if value is _REQUIRED}
    makers = {name: value.make for name, value in given.items() if isinstance(value, _Made)}
    start = {name: None if name in required or name in makers else value for name, value in given.items()}

    def init(self: object, **values: object) -> None:
        if not required <= values.keys() <= start.keys():
            wrong = sorted((required - values.keys()) | (values.keys() - start.keys()))
            raise TypeError(f"{type(self).__name__}(): missing or unknown: {', '.join(wrong)}")
        fields = self.__dict__
        fields.update(start)
        for name, make in makers.items():
            if name not in values:
                fields[name] = make()
        fields.update(values)

    return init


def _equal(self: object, other: object) -> bool:
    if type(self) is not type(other):
        return NotImplemented  # type: ignore[no-any-return]  # Python tries the other side
    return as_dict(self) == as_dict(other)


def _hash(self: object) -> int:
    return hash(tuple(as_dict(self).values()))


def _shown(self: object) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in as_dict(self).items())})"


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")
