"""Values of options that need no validation library: Typer's own way imports pydantic, a quarter of a read's time.

Texts, lists of texts, whole numbers within their bounds and what was not given are decided here; everything else
(choices, paths, wrong values and their messages) is left to Typer, which then imports what it needs.
"""

import re
from typing import Any, Final, get_args, get_origin

import typer.core
from typer._coercion import build_runtime_param

_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")


class PlainFirst:
    """Typer's RuntimeParam of one parameter, built only once a value needs it."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor
        self._typers: Any = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value for the command. Raises Typer's BadParameter."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        settings = self._descriptor.parameter_info
        if settings.parser is None and not settings.clamp:
            taken = _taken(value, self._descriptor.annotation, settings)
            if taken is not None:
                return taken
        if self._typers is None:
            self._typers = build_runtime_param(self._descriptor)
        return self._typers.coerce(value, param=param, ctx=ctx)


def use_plain_values() -> None:
    """Have Typer decide plain values this way, in this process; it looks this function up whenever it needs one."""
    typer.core.build_runtime_param = PlainFirst  # type: ignore[attr-defined, assignment]  # only `coerce` is called


def _taken(value: Any, annotation: Any, settings: Any) -> Any:
    """A plain value as the command gets it; None if it is for Typer to judge."""
    if get_origin(annotation) is list and isinstance(value, list | tuple) and len(get_args(annotation)) == 1:
        items = [_taken(each, get_args(annotation)[0], settings) for each in value]
        return items if None not in items else None
    if annotation is str:
        return value if isinstance(value, str) else None
    if annotation is not int:
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    is_low = settings.min is not None and value < settings.min
    return None if is_low or (settings.max is not None and value > settings.max) else value
