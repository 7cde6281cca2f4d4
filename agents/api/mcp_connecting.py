"""What the routes share by which a person connects an MCP server: the stream, and the page a browser ends at."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string

from agents.mcp.flows import Connecting, frames
from core.http import AwaitedResponse

CALLBACK = "/v1/tools/mcp/oauth/callback"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def redirect_uri(request: HttpRequest) -> str:
    return settings.MCP_OAUTH_REDIRECT_URL or request.build_absolute_uri(CALLBACK)


def stream(flow: Connecting) -> HttpResponse:
    return AwaitedResponse(partial(_streamed, flow))


async def _streamed(flow: Connecting) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(frames(flow), content_type="text/event-stream; charset=utf-8", headers=headers)


def page(taken: bool, *, refused: bool) -> HttpResponse:
    said = "unknown" if not taken else "refused" if refused else "done"
    html = render_to_string("agents/mcp_authorized.html", {"said": said})
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return HttpResponse(html, status=200 if taken else 400, headers=headers)
