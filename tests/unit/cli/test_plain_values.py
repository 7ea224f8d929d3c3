"""Values of options are what Typer makes of them, without the library that Typer validates with."""

from typing import Annotated, Any

import pytest
import typer
import typer.core
from typer._coercion import build_runtime_param

from spotbatch.cli.plain_values import PlainFirst

Count = Annotated[int | None, typer.Option(min=1, max=10)]
_app = typer.Typer(add_completion=False)


@_app.command()
def _taken(
    text: str | None = None,
    texts: Annotated[list[str] | None, typer.Option()] = None,
    count: Count = None,
    counts: Annotated[list[int] | None, typer.Option()] = None,
    clamped: Annotated[int | None, typer.Option(min=1, max=10, clamp=True)] = None,
    share: float | None = None,
) -> None:
    """Has one option of each kind."""


_PARAMETERS: dict[str, Any] = {each.name or "": each for each in typer.main.get_command(_app).params}


def _outcome(made: Any, parameter: Any, value: Any) -> Any:
    try:
        return made.coerce(value, param=parameter, ctx=None)
    except typer.BadParameter as error:
        return f"refused: {error.message}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("text", value) for value in (None, "", "words", " 7 ", "é")],
        *[("texts", value) for value in (None, (), ("a",), ("a", "b"), ["a"])],
        *[("count", value) for value in (None, "7", 7, "+7", " 7", "7.0", "seven", "0", "11", "-3", 0, True, "1" * 30)],
        *[("counts", value) for value in ((), ("1", "2"), ("1", "x"))],
        *[("clamped", value) for value in ("0", "5", "99")],
        *[("share", value) for value in (None, "0.5", "half", 1)],
    ],
)
def test_a_value_is_what_typer_makes_of_it(name: str, value: object) -> None:
    parameter = _PARAMETERS[name]
    typers = build_runtime_param(parameter.type_descriptor)
    ours = _outcome(PlainFirst(parameter.type_descriptor), parameter, value)
    theirs = _outcome(typers, parameter, value)
    assert (ours, type(ours)) == (theirs, type(theirs))
