"""The two errors of AWS Batch's API, and the mapping of our errors to them."""

from xml.sax.saxutils import escape

from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.local.api.http import Response, json_response


class ApiError(Exception):
    """An error with one of AWS's codes, as client libraries raise it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ClientException(ApiError):
    """The caller's mistake (API reference, common to all operations of AWS Batch)."""

    def __init__(self, message: str) -> None:
        super().__init__("ClientException", message)


class ServerException(ApiError):
    """A failure of the region itself: a full disk, a bug."""

    def __init__(self, message: str) -> None:
        super().__init__("ServerException", message, 500)


def as_api_error(error: SpotbatchError) -> ApiError:
    """AWS's error for one of ours."""
    if isinstance(error, InvalidInput | NotFound):
        return ClientException(str(error))
    return ServerException(str(error))


def query_error(code: str, message: str, status: int) -> Response:
    """An error in the format of AWS's query protocol (CloudFormation, STS, ...)."""
    inner = f"<Error><Type>Sender</Type>{_code_and_message(code, message)}</Error>"
    return _xml(f"<ErrorResponse>{inner}</ErrorResponse>", status)


def ec2_error(error: ApiError) -> Response:
    """An error in EC2's variant of the query protocol."""
    inner = f"<Errors><Error>{_code_and_message(error.code, error.message)}</Error></Errors>"
    return _xml(f"<Response>{inner}<RequestID/></Response>", error.status)


def s3_error(code: str, message: str, status: int) -> Response:
    """An error in S3's format."""
    return _xml(f"<Error>{_code_and_message(code, message)}</Error>", status)


def _code_and_message(code: str, message: str) -> str:
    return f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"


def _xml(text: str, status: int) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    return Response(status=status, headers=[("content-type", "application/xml")], body=body)


def error_response(error: ApiError) -> Response:
    """The error in the format of AWS's JSON protocols."""
    headers = [("x-amzn-errortype", error.code)]
    return json_response({"__type": error.code, "message": error.message}, error.status, headers)
