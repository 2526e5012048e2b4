"""Requests by hand, and what must hold for every answer."""

import http.client
import json
from urllib.parse import urlsplit

from contract import Contract
from shapes import misfits
from support import KEY, URL, UUID, check


class Answer:
    def __init__(self, method: str, path: str, response: http.client.HTTPResponse):
        self.method, self.path = method, path
        self.status = response.status
        self.headers = response.getheaders()
        self.body = response.read()

    def header(self, name: str) -> str | None:
        """By its exact spelling: old SDKs look for lower case."""
        return next((value for key, value in self.headers if key == name), None)


def send(method: str, path: str, body=None, headers: dict | None = None, key: str | None = KEY) -> Answer:
    """Sends one request on a connection of its own; a body that is no bytes is sent as JSON."""
    all_headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        all_headers["Content-Type"] = "application/json"
    # A header that is None is left out.
    all_headers = {k: v for k, v in (all_headers | (headers or {})).items() if v is not None}
    connection = http.client.HTTPConnection(urlsplit(URL).netloc, timeout=60)
    try:
        connection.request(method, path, body, all_headers)
        return Answer(method, path, connection.getresponse())
    finally:
        connection.close()


def call(name: str, status: int, shape: str, method: str, path: str, body=None, **options):
    """Sends a request and checks everything about its answer; returns the body."""
    answer = send(method, path, body, **options)
    return hold(name, status, shape, answer)


def hold(name: str, status: int, shape: str, answer: Answer):
    """Checks everything about an answer; returns the body."""
    check(f"{name}: status", answer.status, status)
    check(f"{name}: content type", answer.header("content-type"), "application/json; charset=utf-8")
    check(f"{name}: request id", bool(UUID.fullmatch(answer.header("x-request-id") or "")))
    body = json.loads(answer.body)
    check(f"{name}: shape {shape}", misfits(shape, body), [])
    differences = _CONTRACT.differences(answer.method, answer.path, answer.status, body)
    check(f"{name}: as described", differences, [])
    return body


_CONTRACT = Contract(json.loads(send("GET", "/openapi.json").body))
