"""Write the dashboards' JSON: ``python -m deploy.grafana [FOLDER]``."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import business, operations

FOLDER = Path(__file__).parent / "dashboards"


def main(folder: Path) -> None:
    """Write each dashboard to a file of its name."""
    for name, dashboard in (("business", business.build()), ("operations", operations.build())):
        text = json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
