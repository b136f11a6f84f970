"""Viewers without a browser: threads of one process that ask as the pages' scripts do, one question at a time."""

import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Seen(NamedTuple):
    """What the viewers saw: the time of each answer in s and its size in bytes."""

    seconds: list[float]
    sizes: list[int]


class Page(NamedTuple):
    """How a page asks: its pace in s, the first question, the next one after an answer, and how old that answer is."""

    url: str
    cookie: str
    pace_s: float
    first: dict[str, Any]
    following: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
    looked_s: Callable[[dict[str, Any]], float]


def live_page(url: str, cookie: str, device: str, session: str) -> Page:
    """The Live page at full rate."""
    ask = {"device": device, "session": session, "range": "30s", "id": 1, "cursor": None, "step": None, "cards": ""}
    return Page(url, cookie, 0.25, _live_body(ask), _next_live, lambda answer: _news(answer).get("looked", 0) / 1000)


def plain_page(url: str) -> Page:
    """The page of `bench.plain_dash`."""
    sensors = ("accelerometer", "gyroscope", "gravity", "orientation", "magnetometer")
    outputs = [("marker", "children"), *((sensor, "figure") for sensor in sensors)]
    body = _body(outputs, "second", "n_intervals", 1)
    return Page(url, "", 1.0, body, lambda asked, _answer: asked, lambda _answer: 0.0)


@contextmanager
def watching(page: Page, viewers: int, seconds: float) -> Iterator[Callable[[], Seen]]:
    """`viewers` of the page for so long, in a process of their own; gives a function that waits for what they saw."""
    context = multiprocessing.get_context("fork")
    receiving, giving = context.Pipe(duplex=False)
    process = context.Process(target=lambda: giving.send(_watch(page, viewers, seconds)))
    process.start()
    giving.close()
    try:
        yield receiving.recv
    finally:
        process.terminate()
        process.join()


def _watch(page: Page, viewers: int, seconds: float) -> Seen:
    seen = Seen([], [])
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=_view, args=(page, until, n / viewers, seen)) for n in range(viewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def _view(page: Page, until: float, share: float, seen: Seen) -> None:
    time.sleep(page.pace_s * share)
    connection = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=30)
    headers = {"Content-Type": "application/json", "Origin": page.url, "Cookie": page.cookie}
    asked = page.first
    is_first = True
    stagger_s = 0.06 * share
    while (began := time.monotonic()) < until:
        connection.request("POST", "/_dash-update-component", json.dumps(asked), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{answer.status}: {content[:200]!r}")
        if not is_first:
            seen.seconds.append(time.monotonic() - began)
            seen.sizes.append(len(content))
        is_first = False
        told = json.loads(content)
        asked = page.following(asked, told)
        early = min(page.pace_s / 2, max(0.0, page.looked_s(told) - stagger_s))
        time.sleep(max(0.02, began + page.pace_s - early - time.monotonic()))


def _next_live(asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    news = _news(answer)
    ask = {**asked["inputs"][0]["value"], "cursor": news["cursor"], "step": news["view"][2], "cards": news["cards"]}
    return _live_body(ask)


def _news(answer: dict[str, Any]) -> dict[str, Any]:
    return answer["response"]["news"]["data"]


def _live_body(ask: dict[str, Any]) -> dict[str, Any]:
    return _body([("news", "data"), ("cards", "children")], "ask", "data", ask)


def _body(outputs: list[tuple[str, str]], component: str, prop: str, value: object) -> dict[str, Any]:
    return {
        "output": f"..{'...'.join(f'{name}.{kind}' for name, kind in outputs)}..",
        "outputs": [{"id": name, "property": kind} for name, kind in outputs],
        "inputs": [{"id": component, "property": prop, "value": value}],
        "changedPropIds": [f"{component}.{prop}"],
        "parsedChangedPropsIds": [f"{component}.{prop}"],
    }
