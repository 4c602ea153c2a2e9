"""Breaks promises of docs/reliability.md one at a time, and tells whether the test of each notices.

``make mutate`` changes everything a little; here each change is one that would cost somebody something::

    python -m tools.mutations [WORD...]    only those whose name holds one of the words
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """A promise, and how it is broken: in a file of the package, one text stands for another."""

    promise: str
    file: str
    before: str
    after: str
    test: str


_CUTS = "tests/faults/test_powercuts.py"

MUTATIONS = (
    Mutation(
        "an add is flushed before it is acknowledged",
        "storage/local/store.py",
        "                self._shard.flush()\n",
        "",
        f"{_CUTS}::test_what_was_acknowledged_is_there[change_much]",
    ),
    Mutation(
        "a backup is read again after it is written",
        "catalog/archive.py",
        "        read_archive(unfinished)\n",
        "",
        "tests/faults/test_backup.py::test_a_backup_is_read_again_before_it_is_said_to_be_written",
    ),
    Mutation(
        "thumbnails take no more of the disk than they may",
        "web/service.py",
        "int(settings.thumbnails_mb * 1e6)",
        "10**12",
        "tests/web/test_api_limits.py::test_thumbnails_of_a_server_stay_within_its_setting",
    ),
    Mutation(
        "no more bytes than the limit come from an address",
        "files/http.py",
        "        if size > limit:",
        "        if False:",
        "tests/files/test_http.py",
    ),
    Mutation(
        "strangers among tenants have a rate",
        "web/tenants.py",
        """            self._rate.take(f"address {client[0] if client else ''}")""",
        "            pass",
        "tests/web/test_scale.py::test_strangers_have_a_rate",
    ),
    Mutation(
        "a full store is the server's fault",
        "errors.py",
        "    exit_status = 6\n    http_status = 503",
        "    exit_status = 6\n    http_status = 422",
        "tests/web/test_api.py::test_a_full_store_is_the_servers_fault",
    ),
    Mutation(
        "what is about to be changed is noted down to the disk",
        "storage/local/tally.py",
        "                    os.fdatasync(stream.fileno())",
        "                    pass",
        f"{_CUTS}::test_what_was_acknowledged_is_there[change_much]",
    ),
    Mutation(
        "what was flushed is settled",
        "storage/local/store.py",
        "                self._tally.settle()\n",
        "",
        "tests/storage/test_tally.py",
    ),
    Mutation(
        "what was changed has new checksums",
        "storage/local/guard.py",
        "            self._opened.checksums.are_old = True\n",
        "",
        "tests/storage/test_seal.py",
    ),
    Mutation(
        "the files of a graph are compared after a kill, too",
        "storage/local/integrity.py",
        "if path.name in _WRITTEN_ONCE and part.exists():",
        "if False:",
        "tests/faults/test_damage.py::test_damage_to_a_graph_is_noticed_after_a_kill",
    ),
    Mutation(
        "indexes of fields are made anew after a kill",
        "storage/local/store.py",
        "            self._forget_indexes()",
        "            pass",
        "tests/faults/test_damage.py::test_indexes_of_fields_are_made_anew_after_a_kill",
    ),
    Mutation(
        "a point that no search finds is noticed after a kill",
        "storage/local/store.py",
        "(reached is None or key in reached)",
        "True",
        "tests/storage/test_tally.py",
    ),
    Mutation(
        "names of new files are on the disk",
        "storage/local/store.py",
        "                sync_directory(Path(folder))\n",
        "",
        f"{_CUTS}::test_what_was_acknowledged_is_there[change_much]",
    ),
    Mutation(
        "a photo is flushed before its item",
        "files/atomic.py",
        "                stream.flush()\n                os.fsync(stream.fileno())",
        "                stream.flush()",
        f"{_CUTS}::test_what_was_acknowledged_is_there[keep_photos]",
    ),
    Mutation(
        "a kept photo that differs is written again",
        "web/uploads.py",
        "if path.read_bytes() == photo:",
        "if path.exists():",
        "tests/faults/test_repair.py",
    ),
    Mutation(
        "a field is known when it is written down",
        "catalog/catalog.py",
        "            self.backend.add_fields(manifest, kinds)\n            self.manifest = manifest",
        "            self.manifest = manifest\n            self.backend.add_fields(manifest, kinds)",
        "tests/faults/test_refused.py",
    ),
    Mutation(
        "fields are bounded",
        "catalog/schema.py",
        "if added and len(fields) + len(added) > MAX_FIELDS:",
        "if False:",
        "tests/faults/test_refused.py",
    ),
)


def main(words: list[str]) -> int:
    """Try the mutations; return how many no test noticed."""
    missed = 0
    for one in MUTATIONS:
        if words and not any(word in one.promise for word in words):
            continue
        with tempfile.TemporaryDirectory(prefix="serupa-mutations-") as folder:
            source = Path(folder) / "src"
            shutil.copytree(_ROOT / "src", source)
            file = source / "serupa" / one.file
            text = file.read_text(encoding="utf-8")
            if text.count(one.before) != 1:
                raise SystemExit(f"{one.file}: {one.before!r} is there {text.count(one.before)} times")
            file.write_text(text.replace(one.before, one.after), encoding="utf-8")
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(_ROOT)])}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", one.test]
            done = subprocess.run(  # noqa: S603 -- ourselves
                command, cwd=_ROOT, env=environment, capture_output=True, check=False
            )
            noticed = done.returncode == 1
        missed += not noticed
        print(f"{'noticed' if noticed else 'MISSED '}  {one.promise}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
