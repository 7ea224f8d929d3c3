"""Which stack a deployment refers to, and how messages refer to it in commands to run next."""

import re
import shlex
from dataclasses import dataclass

from spotbatch.aws import stack_outputs
from spotbatch.batch.errors import InvalidInput

_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployTarget:
    """A stack's name, and the profile and region that were given on the command line."""

    stack: str
    profile: str | None = None
    region: str | None = None

    @property
    def aws(self) -> str:
        """Options for the AWS CLI and for spotbatch, each with a leading space; "" if none were given."""
        return _options(profile=self.profile, region=self.region)

    def script(self, name: str, *more: str) -> str:
        """The command that runs a script on this stack."""
        stack = self.stack if self.stack != stack_outputs.DEFAULT_STACK else None
        return " ".join([f"./{name}{_options(profile=self.profile, region=self.region, stack_name=stack)}", *more])


def _options(**given: str | None) -> str:
    parts = (f" --{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given.items() if value)
    return "".join(parts)


def check_stack_name(name: str) -> None:
    """Raises InvalidInput for a name that CloudFormation does not allow for a stack."""
    if not _STACK_NAME.fullmatch(name):
        raise InvalidInput(
            f"--stack-name {name!r} is no name of a stack: it begins with a letter, and goes on with letters, digits "
            f"and hyphens, 128 characters at most, such as My-Batch"
        )
