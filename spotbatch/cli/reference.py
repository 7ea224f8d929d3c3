"""docs/cli.md, generated from the commands themselves: `python -m spotbatch.cli.reference > docs/cli.md`."""

import sys
from collections.abc import Iterator
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.cli.commands import COMMANDS, Entry
from spotbatch.cli.main import load
from spotbatch.runs import job_file

_COMMON: Final = frozenset({"--local", "--profile", "--region", "--verbose"})  # described once, at the top
_HEAD: Final = """\
# The command line

Made from the code by `python -m spotbatch.cli.reference > docs/cli.md`; a test compares the two.

`spotbatch COMMAND --help` says the same. Every command that reads takes `--json`. Answers go to standard output, hints
and errors to standard error. A job is named by its id, or the first digits of it while no other begins so, and a child
by `id:index`. A name, or a run's id, means a run: the newest of that name, with all arrays that its inputs took and all
that was run again.

## Where a command acts

The commands talk to AWS Batch through boto3 and AWS's own settings (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
`~/.aws/config`). `--local`, or `SPOTBATCH_LOCAL=1`, means the local region that runs in `$SPOTBATCH_HOME`: the same
code, another endpoint. For other tools: `eval "$(spotbatch local env)"`.

| variable | meaning |
|---|---|
| `SPOTBATCH_LOCAL` | 1: as `--local` with every command |
| `SPOTBATCH_HOME` | the local region's folder (default: `spotbatch` in `$XDG_STATE_HOME` or `~/.local/state`) |
| `SPOTBATCH_VERBOSE` | 1: as `-v` |
| `NO_COLOR` | any value: no colours |

Every command on jobs takes `--local`, `--profile`, `--region`, and every command `-v` (on an error, show where it comes
from).

## Exit codes

| code | meaning |
|---|---|
| 0 | done; for `watch`: the job SUCCEEDED |
| 1 | the work was done and some of it FAILED |
| 2 | wrong input: the message names the value and the fix; nothing was changed |
| 3 | a job, queue, stack or file is not there |
| 4 | AWS, the local region or the artifact store does not answer, or refuses |
| 70 | a bug of spotbatch |
| 130 | interrupted by Ctrl-C; jobs go on |

## Events

`watch --json` and `submit --watch --json` write one JSON object a line, each with `event`: `submitted`, `progress`
(when something changed), `failure` (a unit FAILED: its exit code and reasons), `note`, and last `ended`. `progress` and
`ended` carry `counts` by status, `total`, `interruptions`, `retries`, `units_seen`, `units_per_second` and
`seconds_left`.

## Job files

`spotbatch submit -f job.toml` and `spotbatch rehearse -f job.toml` take what their options take; options win. An error
points at the line.

```toml
{example}```

Keys: {keys}.
"""


def reference() -> str:
    """The whole page."""
    keys = ", ".join(f"`{key}`" for key in job_file.KEYS)
    parts = [_HEAD.format(example=job_file.EXAMPLE, keys=keys)]
    for section in dict.fromkeys(entry.section for entry in COMMANDS):
        parts.append(f"\n## {section}\n")
        parts += [_page(entry) for entry in COMMANDS if entry.section == section]
    return "".join(parts)


def _page(entry: Entry) -> str:
    try:
        command = load(entry)
    except NotFound:
        return ""
    return "\n".join(_lines(f"spotbatch {entry.name}", command, entry.help)) + "\n"


def _lines(name: str, command: Any, help_text: str) -> Iterator[str]:
    members = getattr(command, "commands", None)
    yield f"\n### {name}\n"
    yield "\n\n".join(_plain(text) for text in (command.help or help_text, command.epilog or "") if text)
    if members is not None:
        for member_name, member in members.items():
            yield from _lines(f"{name} {member_name}", member, "")
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    shown = " ".join(str(each.metavar or each.name.upper()) for each in arguments)
    yield f"\n    {name} [OPTIONS] {shown}".rstrip() + "\n"
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and not each.hidden and not _COMMON & set(each.opts)
    ]
    if options:
        yield "| option | meaning |\n|---|---|"
        yield from (_row(each) for each in options)


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return f"| {names} | {_plain(option.help or '').replace('|', chr(92) + '|')}{_default(option)} |"


def _default(option: Any) -> str:
    if option.default in (None, False, (), []) or callable(option.default) or "default:" in (option.help or ""):
        return ""
    value = getattr(option.default, "value", option.default)
    return f" Default: `{value}`."


def _plain(text: str) -> str:
    return text.replace("\b", "").strip()


if __name__ == "__main__":
    sys.stdout.write(reference())
