"""`python -m ops.grafana`: writes ops/grafana/dashboards/*.json, which Grafana reads."""

import json
from pathlib import Path
from typing import Final

from ops.grafana.path import INGEST, KAFKA, PIPELINE, STREAM
from ops.grafana.service import DASHBOARD, PHONES, POSTGRES, RESOURCES

DIRECTORY: Final = Path(__file__).with_name("dashboards")
DASHBOARDS: Final = (PIPELINE, INGEST, KAFKA, STREAM, POSTGRES, DASHBOARD, PHONES, RESOURCES)


def files() -> dict[str, str]:
    """The content of each file by its name."""
    return {f"{one.name}.json": json.dumps(one.json(), indent=1, ensure_ascii=False) + "\n" for one in DASHBOARDS}


if __name__ == "__main__":
    for name, content in files().items():
        (DIRECTORY / name).write_text(content, encoding="utf-8")
