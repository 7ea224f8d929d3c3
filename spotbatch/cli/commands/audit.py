"""`spotbatch audit`: check AWS Batch resources against known problems."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch import __version__
from spotbatch.audit.audit import audit as findings_of
from spotbatch.audit.facts import Facts
from spotbatch.audit.finding import Finding, Level
from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_MARKS: Final = {Level.ERROR: ("✗", "red"), Level.WARNING: ("!", "yellow")}


@app.command()
def audit(
    template: Annotated[
        Path | None, typer.Argument(metavar="[TEMPLATE]", help="A CloudFormation template, JSON or YAML.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="A live job queue instead, with its environments.")] = None,
    definition: Annotated[str | None, typer.Option(help="With --queue: a job definition.")] = None,
    as_json: JsonOption = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="As SARIF 2.1.0, for code review.")] = False,
) -> None:
    """What of your AWS Batch resources costs money, loses work or cannot be updated; each with its fix and source.

    Only looks. Exit code 0 where nothing is found, 1 where something is.

    Examples:

    spotbatch audit template.yaml

    spotbatch audit --queue my-queue --definition my-job
    """
    if (template is None) == (queue is None):
        raise InvalidInput("give either a template's file or --queue NAME (with --definition NAME), not both or none")
    if definition is not None and queue is None:
        raise InvalidInput("--definition is of what lives: give --queue too; a template's definitions are all audited")
    if as_json and as_sarif:
        raise InvalidInput("--json and --sarif are two forms of one answer: choose one")
    facts, lines = _facts(template, queue, definition)
    found = findings_of(facts)
    if as_sarif:
        from spotbatch.audit.sarif import sarif_of

        json.write(sarif_of(found, file=str(template or queue), lines=lines, version=__version__))
    elif as_json:
        json.write({"findings": found, "could_not_see": list(facts.unseen)})
    else:
        _say(found, facts, str(template or queue), lines)
    if found:
        raise typer.Exit(1)


def _facts(template: Path | None, queue: str | None, definition: str | None) -> tuple[Facts, dict[str, int]]:
    """The facts, and the line of the template on which each resource begins."""
    if template is not None:
        from spotbatch.audit import read_template as of_template
        from spotbatch.local.template_file import read_template
        from spotbatch.pricing.catalogue import catalogue

        facts = of_template.facts_of(read_template(template), types=catalogue())
        return facts, of_template.lines_of(template.read_text(encoding="utf-8"), facts)
    from spotbatch.audit import live
    from spotbatch.aws.price_cache import current_catalogue

    return live.facts_of(queue=queue or "", definition=definition, types=current_catalogue()), {}


def _say(found: Sequence[Finding], facts: Facts, what: str, lines: dict[str, int]) -> None:
    for each in found:
        mark, style = _MARKS[each.level]
        line = f":{lines[each.resource]}" if each.resource in lines else ""
        text.say(f"{text.styled(mark, style)} {text.styled(f'{each.resource}.{each.path}', 'bold')}  {each.rule}{line}")
        text.say(f"    seen    {each.evidence}")
        text.say(f"    risk    {each.risk}")
        text.say(f"    fix     {each.fix}")
        text.say(f"    source  {each.source}")
    for line in facts.unseen:
        text.say(text.styled(f"not seen: {line}", "dim"))
    text.say(f"{text.count(len(found), 'finding')} in {what}" if found else f"nothing was found in {what}")
