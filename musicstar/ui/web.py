"""What stands between the server and the pages: security headers, the few open routes of Gradio, and our heads."""

import re
from collections.abc import Mapping, Sequence
from unittest.mock import patch

from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio compiles its templates in the browser, hence the two 'unsafe'; no other host is ever involved.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
# Of Gradio's routes only those its pages need; not its file server, uploads, proxy, run history or API pages.
GRADIO_ROUTES = re.compile(
    r"^(queue/(join|data)|run/predict|cancel|reset|startup-events|app_id|theme\.css|heartbeat/\w+)/?$"
)
EVENTS = re.compile(r"^(queue/|run/)")
# Gradio reads a body whole before it looks at it; what our pages send is a few hundred bytes.
MOST_BYTES = 1_000_000


def import_gradio() -> None:
    """Import Gradio in half its time: at each import it writes a type stub beside the source of every component.

    It passes over those whose source is not found.
    """
    with patch("inspect.getfile", side_effect=OSError):
        import gradio  # noqa: F401


class Guard:
    """Adds the security headers, and refuses what Gradio takes or serves but the pages do not need.

    Parameters
    ----------
    eventless : pages that have no events
    """

    def __init__(self, app: ASGIApp, *, eventless: Sequence[str] = ()) -> None:
        self._app, self._eventless = app, eventless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in known)]
            await send(message)

        status = self._refusal(scope)
        app = Response(status_code=status) if status else self._app
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> int:
        """The status that a request to Gradio is refused with, or 0."""
        page, inner, rest = scope["path"].partition("/gradio_api/")
        if not inner:
            return 0
        if not GRADIO_ROUTES.match(rest) or (page in self._eventless and EVENTS.match(rest)):
            return 404
        if scope["method"] in {"GET", "HEAD"}:
            return 0
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            return 411
        return 413 if int(length) > MOST_BYTES else 0


class Dress:
    """Gives Gradio's pages our title, icon and style before any script has run, and takes its advertising out.

    Parameters
    ----------
    head : of every page but those `below` a path, which have another each
    """

    def __init__(self, app: ASGIApp, *, head: str, below: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._heads = {"/": head, **(below or {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].endswith("/"):
            await self._app(scope, receive, send)
            return
        head = next(self._heads[path] for path in sorted(self._heads, key=len)[::-1] if scope["path"].startswith(path))
        # What is to be changed has to come uncompressed.
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message | None = None
        page = b""

        async def send_dressed(message: Message) -> None:
            nonlocal start, page
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
            elif message["type"] != "http.response.body" or start is None:
                await send(message)
            else:
                page += message.get("body", b"")
                if message.get("more_body"):
                    return
                page = re.sub(rb"""<meta\s+(property="og:|name="twitter:)[^>]*>""", b"", page)
                page = page.replace(b"<head>", b"<head>" + head.encode(), 1)
                known = [pair for pair in start["headers"] if pair[0] != b"content-length"]
                await send({**start, "headers": [*known, (b"content-length", str(len(page)).encode())]})
                await send({"type": "http.response.body", "body": page})

        await self._app({**scope, "headers": headers}, receive, send_dressed)


def _is_html(start: Message) -> bool:
    return bool(dict(start["headers"]).get(b"content-type", b"").startswith(b"text/html"))
