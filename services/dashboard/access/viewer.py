"""Who is signed in to the request that is being answered."""

from typing import Literal, NamedTuple

from flask import abort, g, request

from services.dashboard import metrics

Role = Literal["viewer", "operator"]
"""A viewer looks at everything; an operator also connects phones, names, revokes and deletes."""


class Viewer(NamedTuple):
    """A person who is signed in."""

    user_id: int
    name: str
    role: Role

    @property
    def is_operator(self) -> bool:
        return self.role == "operator"


class Actor(NamedTuple):
    """Whom the audit log names, and where they were."""

    name: str
    address: str


def current() -> Viewer:
    """Who asks. Only within a request that the guard has let pass."""
    viewer: Viewer = g.viewer
    return viewer


def require_operator() -> Actor:
    """The operator who asks; the request of anybody else ends with 403."""
    viewer = current()
    if not viewer.is_operator:
        metrics.record_request_refused("not_operator")
        abort(403)
    return Actor(viewer.name, client_address())


def client_address() -> str:
    """The address that the request came from, as the trusted proxy says."""
    return request.remote_addr or ""
