"""What a start changes for waiting jobs: reported if harmless, refused if their work or result may be lost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.contract import ImageEntry
from spotbatch.local.engine.container import image_entry
from spotbatch.local.engine.unfinished import Unfinished
from spotbatch.local.settings import FOREVER, NO_QUOTA, Arguments, Option
from spotbatch.local.settings_file import StartSettings

_IN_ARNS: Final = ("region", "account_id")
_COMPARED_APART: Final = (*_IN_ARNS, "artifacts", "runner", "port")
_NAMES_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A single setting whose value has changed."""

    text: str
    is_harmful: bool = False


def check_start(
    before: StartSettings | None,
    after: StartSettings,
    arguments: Arguments,
    unfinished: Unfinished,
    environ: Mapping[str, str],
) -> list[str]:
    """Lines to print at a start. Raises InvalidInput if it would do harm and `--accept-changes` is not given."""
    if before is None:
        return _of_a_home_without_settings(unfinished) + _not_passed(after, arguments)
    _check_arns(before, after, unfinished)
    lines = [] if arguments.forget_settings else [*_kept(before, after), *_not_followed(before, arguments, environ)]
    lines += _not_passed(after, arguments)
    if not unfinished.jobs:
        return lines
    changes = list(_changes(before, after, unfinished))
    harmful = [change.text for change in changes if change.is_harmful]
    if harmful and not arguments.accept_changes:
        raise InvalidInput(
            f"{_jobs(unfinished.jobs)} in {arguments.home} would go on with other settings than they were taken with: "
            f"{'; '.join(harmful)}. Start it without these options, or with --accept-changes"
        )
    return lines + [f"for {_jobs(unfinished.jobs)}: {change.text}" for change in changes]


def _of_a_home_without_settings(unfinished: Unfinished) -> list[str]:
    """It was used by a version that did not store them."""
    if not unfinished.jobs:
        return []
    text = (
        f"{_jobs(unfinished.jobs)} here, and it is not known what the region was started with then: "
        "if it had --images, --pass-env or other options, stop it now and start it with them"
    )
    return [text]


def _jobs(count: int) -> str:
    return "1 job that has not ended" if count == 1 else f"{count} jobs that have not ended"


def _check_arns(before: StartSettings, after: StartSettings, unfinished: Unfinished) -> None:
    for name in _IN_ARNS:
        old, new = before.options.get(name), after.options.get(name)
        if old != new and unfinished.has_resources:
            option = f"--{name.replace('_', '-')}"
            raise InvalidInput(
                f"the resources of this home were made with {option} {old or '(its default)'}, which stands in their "
                f"ARNs, and cannot be had with {new or 'the default'}: leave {option} out, or use another --home"
            )


def _kept(before: StartSettings, after: StartSettings) -> Iterator[str]:
    """What stays in effect although nobody typed it."""
    same = [
        f"--{name.replace('_', '-')} {_typed(name, value)}"
        for name, value in sorted(before.options.items())
        if after.options.get(name) == value
    ]
    if before.images_file is not None and after.images_file == before.images_file:
        same.append(f"--images {before.images_file.path}")
    if before.trace_file is not None and after.trace_file == before.trace_file:
        same.append(f"--trace-file {before.trace_file.path}")
    if not before.faults.is_kind and after.faults == before.faults:
        same.append(f"--faults {before.faults_name}")
    same += [
        f"--pass-env {name}" for name, value in sorted(before.variables.items()) if after.variables.get(name) == value
    ]
    if same:
        yield f"as at the last start: {' '.join(same)} (--forget-settings begins anew)"


def _typed(name: str, value: Option) -> str:
    """An option's value as it is typed."""
    words: dict[tuple[str, Option], str] = {("vcpu_quota", NO_QUOTA): "none", ("keep_jobs_days", FOREVER): "forever"}
    return words.get((name, value), str(value))


def _not_followed(before: StartSettings, arguments: Arguments, environ: Mapping[str, str]) -> Iterator[str]:
    """Source files that have changed: the region continues with what it read from them."""
    for option, typed, file in (
        ("--images", arguments.images, before.images_file),
        ("--trace-file", arguments.trace_file, before.trace_file),
    ):
        if typed is None and file is not None and file.has_changed:
            yield f"{file.path} has changed or is gone: what it said before goes on; {option} reads it anew"
    for name, value in sorted(before.variables.items()):
        if name not in arguments.pass_env and environ.get(name, value) != value:
            yield f"{name} has another value in this shell: the old one goes on; --pass-env {name} takes this one"


def _not_passed(after: StartSettings, arguments: Arguments) -> list[str]:
    return [
        f"--pass-env {name}: there is no such variable here, and jobs get none"
        for name in dict.fromkeys(arguments.pass_env)
        if name not in after.variables
    ]


def _changes(before: StartSettings, after: StartSettings, unfinished: Unfinished) -> Iterator[Change]:
    yield from _of_images(before.images, after.images, unfinished.jobs_of_image)
    yield from _of_variables(before.variables, after.variables)
    if before.artifacts_folder != after.artifacts_folder:
        text = f"their checkpoints and outputs are in {before.artifacts_folder}, not in {after.artifacts_folder}"
        yield Change(text=text, is_harmful=True)
    old, new = (str(one.options.get("runner", "process")) for one in (before, after))
    if old != new:
        # A process finds this machine's files where a container finds its image's.
        yield Change(text=f"--runner is {new}, and was {old}", is_harmful=old == "docker" or new == "docker")
    if before.python_folder != after.python_folder:
        yield Change(text=f"the first folder on their PATH is {after.python_folder}, and was {before.python_folder}")
    for name in sorted({*before.options, *after.options} - {*_COMPARED_APART}):
        was, now = before.options.get(name), after.options.get(name)
        if was != now:
            words = ["its default" if value is None else _typed(name, value) for value in (now, was)]
            yield Change(text=f"--{name.replace('_', '-')} is {words[0]}, and was {words[1]}")


def _of_images(
    before: tuple[ImageEntry, ...], after: tuple[ImageEntry, ...], jobs_of_image: Mapping[str, int]
) -> Iterator[Change]:
    for image in sorted(jobs_of_image):
        old, new = image_entry(before, image), image_entry(after, image)
        if _meaning(old) == _meaning(new):
            continue
        if _is_plain(new) or (old.entry_point and not new.entry_point):
            entry = " ".join(old.entry_point) or "what the image table had for it"
            yield Change(text=f"image {image} would run without {entry}", is_harmful=True)
        else:
            yield Change(text=f"the image table has other things for image {image}")


def _meaning(entry: ImageEntry) -> tuple[object, ...]:
    return entry.entry_point, entry.path, entry.working_directory, entry.environment


def _is_plain(entry: ImageEntry) -> bool:
    return not any(_meaning(entry))


def _of_variables(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    lost = sorted(set(before) - set(after))
    if lost:
        yield Change(text=f"they would run without the variables {_listed(lost)}", is_harmful=True)
    other = sorted(name for name, value in after.items() if name in before and before[name] != value)
    if other:
        yield Change(text=f"other values of {_listed(other)}")
    new = sorted(set(after) - set(before))
    if new:
        yield Change(text=f"they get {_listed(new)} too")


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
