"""Who may look, and who may change something: sign-in before everything, roles, and what people did."""

from services.dashboard.access.viewer import Viewer, current, require_operator

__all__ = ["Viewer", "current", "require_operator"]
