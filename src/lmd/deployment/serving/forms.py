"""The body of a request, read into memory and bounded: nothing of it is written to a disk."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lmd.deployment.serving.gate import Held
from lmd.deployment.serving.refusals import RefusedError
from lmd.fields import must_be

Model = TypeVar("Model", bound=BaseModel)
FIELD = "files"  # The field of a form that holds images.
_MOST_FIELDS, _MOST_LETTERS = 16, 100_000


class _InMemory(MultiPartParser):
    """The parser of Starlette, which would put what is larger than 1 MB into temporary files."""

    spool_max_size = sys.maxsize


class Form(NamedTuple):
    """The files of a form, in order, and its other fields."""

    files: list[bytes]
    fields: dict[str, str]


async def chunks(request: Request, held: Held, most: int) -> AsyncGenerator[bytes, None]:
    """Yields a body as it comes.

    Raises:
        RefusedError: it has more bytes than are allowed (413), or all requests together have (429).
    """
    done = 0
    async for chunk in request.stream():
        done += len(chunk)
        if done > most:
            raise RefusedError(413, f"the request is too large: at most {most:,} bytes are read")
        held.add(len(chunk))
        yield chunk


async def read_form(request: Request, held: Held, most: int, files: int) -> Form:
    """Returns the form in a request.

    Raises:
        RefusedError: it is none, is damaged or too large, or has too many files.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusedError(415, f"send images as multipart/form-data, in the field '{FIELD}'")
    parser = _InMemory(
        request.headers, chunks(request, held, most),
        max_files=files, max_fields=_MOST_FIELDS, max_part_size=_MOST_LETTERS,
    )  # fmt: skip
    try:
        parsed = await parser.parse()
    except (MultiPartException, FormParserError, UnicodeError, LookupError, ValueError) as error:
        if "files" in str(error):
            raise RefusedError(422, f"too many files: at most {files} in a request") from None
        raise RefusedError(400, "the form cannot be read: it is damaged, or has too many fields") from None
    found = Form([], {})
    try:
        for name, value in parsed.multi_items():
            _add(found, name, value if isinstance(value, str) else await _bytes(value))
    finally:
        await parsed.close()
    return found


async def _bytes(upload: UploadFile) -> bytes:
    return await upload.read()


def _add(form: Form, name: str, value: str | bytes) -> None:
    """Puts a field where it belongs."""
    if isinstance(value, bytes) != (name == FIELD):
        kind = "a file" if name == FIELD else "text"
        raise RefusedError(422, f"a field of the form must be {kind}: images go into the field '{FIELD}'")
    if isinstance(value, bytes):
        form.files.append(value)
    elif name in form.fields:
        raise RefusedError(422, "a field of the form is there twice")
    else:
        form.fields[name] = value


async def read_body(request: Request, held: Held, most: int) -> bytes:
    """Returns a body of JSON as it was sent.

    Raises:
        RefusedError: it is of another kind, or too large.
    """
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        raise RefusedError(415, "send JSON, as application/json")
    return b"".join([chunk async for chunk in chunks(request, held, most)])


def understood(model: type[Model], given: dict[str, str] | bytes) -> Model:
    """Returns fields as a model; a message names a field of ours, and quotes no value.

    Raises:
        RefusedError: one does not fit.
    """
    try:
        return model.model_validate(given) if isinstance(given, dict) else model.model_validate_json(given)
    except ValidationError as error:
        raise RefusedError(422, _fault(model, error)) from None


def _fault(model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    names = list(model.model_fields)
    if first["type"] == "json_invalid":
        return "the body is no JSON"
    if not first["loc"] or first["loc"][0] not in names:
        return f"a field is not known; known are {', '.join(names)}"
    if first["type"] == "missing":
        return f"the field '{first['loc'][0]}' is missing"
    if first["loc"][0] == "prior":
        return "prior: must be train, uniform or estimate, or give each class its share from 0 to 1"
    return f"{first['loc'][0]}: {must_be(first)}"
