"""The application: routes, what they refuse in one line, and the door before them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from lmd.deployment.serving.door import FAILED, OPEN, Door
from lmd.deployment.serving.refusals import RefusedError
from lmd.deployment.serving.routes import router_of
from lmd.deployment.serving.schema import RESEARCH
from lmd.deployment.serving.service import Service
from lmd.version import __version__

_LINES = {404: "there is nothing here", 405: "this can be asked by other methods only"}


def app_of(service: Service) -> Door:
    """Returns the application that a server runs.

    FastAPI's own pages about the interface load scripts from elsewhere: /openapi.json is in their place.
    """
    app = FastAPI(title="lmd serve", version=__version__, description=RESEARCH, docs_url=None, redoc_url=None)
    router = router_of(service)
    app.include_router(router)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _failed)
    app.openapi_schema = _schema(app, service.options.token is not None)
    paths = [route.path for route in router.routes if isinstance(route, APIRoute)]
    return Door(app, service.options, service.metrics, frozenset([*paths, *OPEN]))


def _schema(app: FastAPI, secret: bool) -> dict[str, Any]:
    """The OpenAPI schema, which says whether a token is asked for."""
    schema = app.openapi()
    if secret:
        schema.setdefault("components", {})["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"}
        }
        schema["security"] = [{"token": list[str]()}]
    return schema


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.line}, error.status, error.headers)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = _LINES.get(error.status_code, "the request cannot be read")
    return JSONResponse({"error": line}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """What is said of a fault of ours; it is raised again, and the door has it in the log."""
    return JSONResponse({"error": FAILED}, 500)
