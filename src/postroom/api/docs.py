"""Documentation pages that work without the internet, and the OpenAPI document behind them.

Swagger UI comes from the installed package `swagger-ui-bundle`. That release reads OpenAPI 3.0, our document
is 3.1, so the page gets a copy in the older words.
"""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute, iter_route_contexts
from swagger_ui_bundle import swagger_ui_path

from postroom.api import document

router = APIRouter(prefix="/docs", include_in_schema=False)
front = APIRouter(include_in_schema=False)

ABOUT = """An exact, fresh, searchable copy of people's mailboxes.

Every request shows a key; the first one lies in `api.key` in the data folder. On these pages: *Authorize*.
A browser that has signed in by a link of `postroom login` needs none."""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Postroom API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="pages"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
START = """SwaggerUIBundle({
  url: "docs/openapi-3.0.json",
  dom_id: "#pages",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
FOR_AN_HOUR = {"Cache-Control": "public, max-age=3600"}


class Documented(FastAPI):
    """An application whose document is complete. It is made when it is first asked for."""

    _completed: dict[str, Any] | None = None

    def openapi(self) -> dict[str, Any]:
        if self._completed is None:
            needs = {
                route.name: document.needs_of(route.endpoint)
                for route in iter_route_contexts(self.routes)
                if isinstance(route.original_route, APIRoute)
            }
            self._completed = document.complete(super().openapi(), needs)
        return self._completed


@front.get("/")
async def to_the_pages() -> Response:
    """For who types the address of this host alone."""
    return RedirectResponse("docs", 307)


@router.get("")
async def page() -> Response:
    return HTMLResponse(PAGE, headers=POLICY)


@router.get("/start.js")
async def start() -> Response:
    return Response(START, media_type="text/javascript", headers=FOR_AN_HOUR)


@router.get("/openapi-3.0.json")
async def older(request: Request) -> Response:
    servers = {"servers": [{"url": root}]} if (root := request.scope.get("root_path")) else {}
    return JSONResponse({**older_document(request.app.openapi()), **servers})


def _serve(name: str, media_type: str) -> None:
    async def file() -> Response:
        return FileResponse(swagger_ui_path / name, media_type=media_type, headers=FOR_AN_HOUR)

    router.add_api_route(f"/{name}", file)


for _name, _media_type in FILES.items():
    _serve(_name, _media_type)


def older_document(document: dict[str, Any]) -> dict[str, Any]:
    """The whole of it as OpenAPI 3.0."""
    words: dict[str, Any] = in_older_words(document)
    words["openapi"] = "3.0.3"
    del words["info"]["license"]["identifier"]
    return words


def in_older_words(part: Any) -> Any:
    """A part of an OpenAPI 3.1 document in the words of 3.0: `null` is a property there, not a type."""
    if isinstance(part, list):
        return [in_older_words(item) for item in part]
    if not isinstance(part, dict):
        return part
    words = {name: in_older_words(value) for name, value in part.items()}
    kinds = words.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        rest = [kind for kind in kinds if kind != {"type": "null"}]
        del words["anyOf"]
        if len(rest) == 1 and "$ref" not in rest[0]:
            words = {**rest[0], **words}
        else:
            words["anyOf"] = rest
        words["nullable"] = True
    if "const" in words:
        words["enum"] = [words.pop("const")]
    words.pop("propertyNames", None)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if not isinstance(words.get(exclusive, True), bool):
            words[bound], words[exclusive] = words[exclusive], True
    if "$ref" in words and len(words) > 1:  # there what stands beside it is passed over
        words = {"allOf": [{"$ref": words.pop("$ref")}], **words}
    if "prefixItems" in words:
        words["items"] = {"anyOf": words.pop("prefixItems")}
    return words
