"""`spotbatch image`: build a container image, push it to the stack's repository, and let jobs use it by digest."""

from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws import stack_outputs
from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, interruptible, point_at
from spotbatch.cli.options import StackOption
from spotbatch.cli.output import text
from spotbatch.deployment import docker, images

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(help="The build's context, a folder.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="The Dockerfile (default: FOLDER/Dockerfile).")]


@app.command(epilog="Example: spotbatch image build . -f examples/flights/Dockerfile")
def build(
    folder: FolderArgument,
    file: FileOption = None,
    platform: Annotated[str, typer.Option("--platform", help="What the stack's instances are.")] = images.PLATFORM,
) -> None:
    """Build an image with Docker, and say its name, which follows from its content."""
    docker.need()
    text.say(images.build(folder, file, platform, show=text.hint))


@app.command(epilog="Example: spotbatch image push . -f examples/flights/Dockerfile")
def push(
    folder: Annotated[Path | None, typer.Argument(help="Build this folder first.")] = None,
    file: FileOption = None,
    platform: Annotated[
        str | None, typer.Option("--platform", help="What to build for (default: what the stack's instances are).")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="An image that Docker has already, instead.")] = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """Push an image under a tag of its own, and register a job definition revision that names it by its digest.

    The tag follows from the content, so it works with immutable tags too, and what was pushed is not pushed again.
    """
    if (folder is None) == (image is None):
        raise InvalidInput("give either a FOLDER to build, or --image NAME of an image that Docker has")
    point_at(profile, region)
    docker.need()
    with interruptible("the same command"):
        outputs = stack_outputs.read(stack)
        name = image or ""
        if folder is not None:
            name = images.build(folder, file, platform or images.platform_for(outputs), show=text.hint)
        images.publish(name, outputs, say=text.say, show=text.hint)
