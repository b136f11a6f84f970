"""Is it alive, is it ready: for whoever restarts it and whoever sends it people."""

from flask import Flask, Response, jsonify

from services.dashboard.database import DatabaseAwayError
from services.dashboard.queries import Queries


def register(server: Flask, queries: Queries) -> None:
    """Answer `/livez` (the process runs) and `/readyz` (PostgreSQL answers, by name)."""

    @server.get("/livez")
    def livez() -> Response:
        return jsonify(status="ok")

    @server.get("/readyz")
    def readyz() -> tuple[Response, int]:
        try:
            queries.is_answered()
        except DatabaseAwayError:
            return jsonify(status="not ready", database="cannot be reached"), 503
        return jsonify(status="ok", database="ok"), 200
