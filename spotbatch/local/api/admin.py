"""The region's own API below /spotbatch/: hosts, interruptions, stacks, the controller, health, shutdown."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from spotbatch import __version__
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.http import Head, Response, json_response
from spotbatch.local.api.metadata import MetadataService
from spotbatch.local.api.region import Region

PREFIX: Final = "/spotbatch/"

OwnController = Callable[[], Awaitable[dict[str, str]]]
# Name, template, parameters, imports, and the template's file on this machine or "".
LoadStack = Callable[[str, dict[str, Any], dict[str, str], dict[str, str], str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Admin:
    """Answers /spotbatch/ requests whose secret has been checked."""

    region: Region
    load_stack: LoadStack
    own_controller: OwnController
    shut_down: Callable[[], None]
    metadata: MetadataService

    async def answer(self, head: Head, body: bytes) -> Response:
        """Answer one request. Our errors become 400, 404 or 503 with {"error": message}."""
        try:
            return await self._answer(head, body)
        except ApiError as error:
            return json_response({"error": error.message}, error.status)
        except NotFound as error:
            return json_response({"error": str(error)}, 404)
        except InvalidInput as error:
            return json_response({"error": str(error)}, 400)
        except SpotbatchError as error:
            return json_response({"error": str(error)}, 503)

    async def _answer(self, head: Head, body: bytes) -> Response:
        match head.method, head.raw_path.removeprefix(PREFIX):
            case "GET", "health":
                return json_response({"status": "ok", "version": __version__})
            case "GET", "hosts":
                return json_response({"hosts": [asdict(host) for host in self.region.engine.hosts()]})
            case "GET", "vcpus":
                launched, most = self.region.engine.vcpus()
                return json_response({"launched": launched, "most": most})
            case "POST", "interrupt":
                return await self._interrupt(_object(body))
            case "POST", "stacks":
                return await self._stacks(_object(body))
            case "POST", "controller":
                return json_response(await self.own_controller())
            case "POST", "shutdown":
                return replace(json_response({"status": "stopping"}), then=self.shut_down)
            case _, path:
                return json_response({"error": f"there is no {head.method} {PREFIX}{path[:100]}"}, 404)

    async def _interrupt(self, asked: dict[str, Any]) -> Response:
        ids, count, notice = asked.get("instance_ids", []), asked.get("count", 0), asked.get("notice_seconds")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise InvalidInput("instance_ids is a list of instance ids")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0 or (not ids and not count):
            raise InvalidInput(f"give instance_ids, or a count of at least 1, not {count!r}")
        if notice is not None and (isinstance(notice, bool) or not isinstance(notice, int | float) or notice < 0):
            raise InvalidInput(f"notice_seconds is a number of seconds, not {notice!r}")
        if asked.get("rebalance") is True:
            return json_response({"instance_ids": self.metadata.recommend_rebalance(ids, count)})
        chosen = await self.region.engine.interrupt(instance_ids=ids, count=count, notice_seconds=notice)
        return json_response({"instance_ids": list(chosen)})

    async def _stacks(self, asked: dict[str, Any]) -> Response:
        name, template = asked.get("name"), asked.get("template")
        if not isinstance(name, str) or not isinstance(template, dict):
            raise InvalidInput("give the stack's name and its template, a JSON object")
        parameters, imports = (_texts(asked, member) for member in ("parameters", "imports"))
        file = asked.get("file", "")
        if not isinstance(file, str):
            raise InvalidInput(f"file is the path of the template, not {file!r:.100}")
        return json_response(await self.load_stack(name, template, parameters, imports, file))


def _texts(asked: dict[str, Any], member: str) -> dict[str, str]:
    value = asked.get(member, {})
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidInput(f"{member} is an object of texts")
    return value


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object")
    return value
