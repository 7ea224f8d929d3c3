"""`spotbatch dashboard`: a page in the browser on this machine, live or as one file."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, SpotbatchError
from spotbatch.cli.options import QueueOption, StackOption
from spotbatch.cli.output import text
from spotbatch.runs.destination import queue_of
from spotbatch.web.export import export as page_of
from spotbatch.web.render import page_url
from spotbatch.web.scope import Scope
from spotbatch.web.serve import prepare
from spotbatch.web.target import jobs_named, target_of

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def dashboard(
    run: Annotated[
        str | None, typer.Option("--run", metavar="JOB", help="Begin with this run, job or array (id, name, run id).")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page of --run into one file, and serve nothing.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port (default: 8427, or any if that is taken).", min=0, max=65535)
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    actions: Annotated[bool, typer.Option("--actions", help="With buttons to cancel and retry.")] = False,
    queue: QueueOption = None,
    stack: StackOption = None,
) -> None:
    """Serve a page about runs on 127.0.0.1: live progress, children, hosts, money, logs. Read-only by default.

    The link that is printed has a key: without it nobody else on this machine sees the page. Ctrl-C ends it.
    """
    if export is not None:
        if run is None:
            raise InvalidInput("--export writes the page of one run: name it with --run JOB")
        return _export(run, export, queue, stack)
    scope = Scope(queue=_queue(queue, stack, needs_one=run is None), stack=stack)
    target = target_of(jobs_named(run, Jobs(), scope)) if run is not None else None
    served = prepare(scope, port=port, may_act=actions, home=page_url(target) if target is not None else "")
    text.say(served.url)
    text.hint("read-only; --actions adds cancel and retry" if not actions else "with cancel and retry")
    text.hint("Ctrl-C ends it; jobs go on")
    if open_browser:
        import webbrowser

        webbrowser.open(served.url)
    try:
        served.run()
    except KeyboardInterrupt:
        text.hint("the dashboard has ended")
    return None


def _queue(queue: str | None, stack: str | None, *, needs_one: bool) -> str | None:
    """The queue whose runs are listed. A named run can be shown without a stack."""
    try:
        return queue_of(stack=stack, queue=queue)
    except SpotbatchError:
        if needs_one:
            raise
        return None


def _export(run: str, path: Path, queue: str | None, stack: str | None) -> None:
    jobs, scope = Jobs(), Scope(queue=queue, stack=stack)
    members = jobs_named(run, jobs, scope)
    open_ones = [job.id for job in members if not job.status.is_terminal]
    if open_ones:
        text.hint(f"{open_ones[0]} has not ended yet: the file has it as it stands now")
    page = page_of(scope, jobs, target_of(members), members, time.time())
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"--export {path}: it cannot be written there ({error.strerror})") from error
    text.say(str(path))
