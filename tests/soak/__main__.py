"""``python -m tests.soak``: see ``--help``."""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests import soak
from tests.segmentations import NAMED, to_toml
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import Service
from tests.soak import SETTINGS, Plan, Soak


def main() -> None:
    """Run a soak with the options of the command line."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=soak.__doc__)
    for name, n in asdict(plan).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=n, metavar="N")
    parser.add_argument("--minutes", type=float, default=0.0, help="at least this long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=200, help="events a second")
    parser.add_argument("--segmentation", choices=NAMED, default="personas", help="of the workers")
    parser.add_argument("--json", action="store_true", help="for scripts")
    options = parser.parse_args()
    plan = Plan(**{name: getattr(options, name) for name in asdict(plan)})
    folder = Path(tempfile.mkdtemp(prefix="livesegments-soak-"))

    segmentation = folder / "segmentation.toml"
    segmentation.write_text(to_toml(NAMED[options.segmentation]), "utf-8")
    settings = {**SETTINGS, "SEGMENTATION": str(segmentation)}

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    with KafkaServer(folder / "kafka") as kafka, RedisServer(folder / "redis") as store:
        fresh_topics(kafka.bootstrap)
        service = Service(kafka, store, folder, settings)
        try:
            tally = Soak(service, folder, options.seed, options.rate, tell).run(
                plan, options.minutes
            )
        finally:
            service.stop()
    said = json.dumps(asdict(tally)) if options.json else "\n".join(tally.lines())
    sys.stdout.write(f"{said}\n")
    if tally.faults:
        tell(f"the workers' logs are in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
