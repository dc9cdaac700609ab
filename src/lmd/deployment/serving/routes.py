"""The routes: the page with its files, and the HTTP interface behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from lmd.deployment.serving.forms import FIELD, read_body, read_form, understood
from lmd.deployment.serving.metrics import CONTENT
from lmd.deployment.serving.refusals import RefusedError
from lmd.deployment.serving.schema import About, Ask, AskAtPrior, AtShares, Health, Predictions, Problem, Word
from lmd.deployment.serving.service import Service

_PAGE = "lmd.deployment.serving", "page"
PAGES = {
    "/": (*_PAGE, "index.html", "text/html; charset=utf-8"),
    "/serve.css": (*_PAGE, "serve.css", "text/css; charset=utf-8"),
    "/serve.js": (*_PAGE, "serve.js", "text/javascript; charset=utf-8"),
    "/style.css": ("lmd.reporting", "templates", "style.css", "text/css; charset=utf-8"),
}
_REASONS = {
    400: "the body is damaged",
    401: "no token, or another one",
    403: "a page of another server asks",
    408: "the request did not come in time",
    413: "the request, or an image, is too large",
    415: "another kind of body, or of image, than is read",
    421: "the server is asked by a name that is not its own",
    422: "a field does not fit, an image cannot be read, or there are too many files",
    429: "too much at once: ask again after Retry-After seconds",
    503: "the server is being stopped",
    504: "no answer in time",
}
_MOST_JSON = 4_000_000  # Bytes of a body without images.


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _REASONS[status]} for status in statuses}


def _body(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


def _form_schema(most: int) -> dict[str, Any]:
    """What a form may hold: files, and the fields of `Ask`, a prior as text; what is unwanted is left out."""
    fields = {name: _present(schema) for name, schema in Ask.model_json_schema()["properties"].items()}
    shares = {"type": "string", "contentMediaType": "application/json"}
    fields["prior"] |= {"anyOf": [{"type": "string", "enum": list(get_args(Word))}, shares]}
    images = {
        "type": "array",
        "minItems": 1,
        "maxItems": most,
        "items": {"type": "string", "format": "binary"},
    }
    properties = {FIELD: images, **fields}
    return {"type": "object", "required": [FIELD], "additionalProperties": False, "properties": properties}


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field that may be null, where it is there: no text means null."""
    first, *_ = schema.get("anyOf", [{}])
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**rest, **first}


_EVERY = (401, 403, 421)
_WORK = (*_EVERY, 400, 408, 413, 415, 422, 429, 503, 504)


def router_of(service: Service) -> APIRouter:
    """Returns the routes of a service."""
    router = APIRouter()
    for path, place in PAGES.items():
        router.add_api_route(path, _file(*place), include_in_schema=False)

    @router.get("/health", response_model=Health, responses=_problems(403, 421, 503), tags=["server"])
    async def health() -> Response:
        """Says that the server answers; 503 while it is being stopped."""
        service.gate.refuse_when_closed()
        return _json(Health(status="ok"))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_problems(*_EVERY)},
        tags=["server"],
    )
    async def metrics() -> Response:
        """Returns counts for Prometheus: requests, images, seconds, memory; nothing about an image."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT})

    @router.get("/api/model", response_model=About, responses=_problems(*_EVERY), tags=["model"])
    async def model() -> Response:
        """Says what the model is, how well it finds each class, and what this server offers."""
        return _json(service.about())

    @router.post(
        "/api/predict",
        response_model=Predictions,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **_problems(*_WORK)},
        openapi_extra=_body("multipart/form-data", _form_schema(service.options.max_files)),
        tags=["model"],
    )
    async def predict(request: Request) -> Response:
        """Answers images: JPEG, PNG, TIFF, DICOM and others; they are kept in memory, and forgotten."""
        return await _predict(service, request)

    @router.post(
        "/api/prior",
        response_model=AtShares,
        responses=_problems(*_WORK),
        openapi_extra=_body("application/json", AskAtPrior.model_json_schema()),
        tags=["model"],
    )
    async def prior(request: Request) -> Response:
        """Returns answers that were given before at other shares of the classes."""
        return await _prior(service, request)

    return router


async def _predict(service: Service, request: Request) -> Response:
    options = service.options
    with service.gate.entered() as held:
        async with _in_time(options.timeout, 408):
            form = await read_form(request, held, options.most_bytes, options.max_files)
        ask = understood(Ask, form.fields)
        if not form.files:
            raise RefusedError(422, f"no image: send some in the field '{FIELD}'")
        async with _in_time(options.timeout, 504):
            if ask.format == "csv":
                return Response(await service.csv(form.files, ask), media_type="text/csv")
            return _json(await service.predictions(form.files, ask))


async def _prior(service: Service, request: Request) -> Response:
    options = service.options
    with service.gate.entered() as held:
        async with _in_time(options.timeout, 408):
            body = await read_body(request, held, min(_MOST_JSON, options.most_bytes))
        async with _in_time(options.timeout, 504):
            return _json(await service.at_shares(understood(AskAtPrior, body)))


@asynccontextmanager
async def _in_time(seconds: float, status: int) -> AsyncGenerator[None, None]:
    """Ends what takes too long; work that has not begun is dropped."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        what = "the request did not come" if status == 408 else "there was no answer"
        raise RefusedError(status, f"{what} within {seconds:g} s") from None


def _json(found: BaseModel) -> Response:
    return Response(found.model_dump_json(), media_type="application/json")


def _file(package: str, folder: str, name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    """A route that gives a file of this package."""
    content = files(package).joinpath(folder, name).read_bytes()

    async def give() -> Response:
        return Response(content, headers={"content-type": kind})

    return give
