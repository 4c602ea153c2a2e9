"""Index a folder and tell, twice a second, how far it is and what memory it takes; run by bench/memory.py."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from serupa import Catalog
from serupa.encoders import DEFAULT, Card, load_card

EVERY_S = 0.5


def memory_mb() -> dict[str, float]:
    """Return what is the process's own, and the pages of files that are mapped."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, files = (int(fields[name].split()[0]) / 1e3 for name in ("RssAnon", "RssFile"))
    return {"own_mb": own, "file_mb": files}


def main() -> None:
    state: dict[str, Any] = {"seen": 0}
    done = threading.Event()

    def tell() -> None:
        while not done.wait(EVERY_S):
            print(json.dumps(state | memory_mb()), flush=True)

    thread = threading.Thread(target=tell)
    card = Card.from_dict(load_card(DEFAULT).to_dict() | {"input_size": int(sys.argv[3])})
    with Catalog.create(sys.argv[2], card) as catalog:
        thread.start()
        catalog.add(sys.argv[1], progress=lambda report: state.update(seen=report.seen))
        done.set()
        thread.join()
    print(json.dumps(state | memory_mb()), flush=True)


if __name__ == "__main__":
    main()
