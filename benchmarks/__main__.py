"""`make bench`: run the benchmarks named, or all, and write their tables under benchmarks/results/."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import read, run
from tasks.machine import describe

PARTS = {"run": run.measure, "read": read.measure}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measure; print each table; exit 2 for a name that there is not."""
    wanted = sys.argv[1:] or list(PARTS)
    for name in wanted:
        if name not in PARTS:
            print(f"there is no benchmark {name!r}; there are: {', '.join(PARTS)}", file=sys.stderr)
            return 2
    for name in wanted:
        table = PARTS[name]()
        document = {"benchmark": name, "date": datetime.now(UTC).date().isoformat(), "machine": describe(), **table}
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        print(f"written: benchmarks/results/{name}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
