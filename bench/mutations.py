"""Break every promise of docs/reliability.md on purpose, in a copy, and see that its test fails.

    python bench/mutations.py [WORD ...]

Each mutation changes a line or two of a copy of `src`; the test that the promise names is run on it, and has to
fail. Words choose those whose promise has one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    promise: str
    file: str
    old: str
    new: str
    test: str


def _(promise: str, file: str, old: str, new: str, test: str) -> Mutation:
    return Mutation(promise, file, old, new, f"tests/{test}")


MUTATIONS = (
    _(
        "an acknowledged item survives a kill",
        "store/edge.py",
        "        if not points:\n            return\n",
        "        if len(points) < 8:\n            return\n",
        "faults/test_kills.py::test_killed_at_random",
    ),
    _(
        "searches go on while the first graph is made",
        "store/fence.py",
        "        with self._calls.none():\n",
        "        if True:\n",
        "store/test_store.py::test_small_vectors_come_with_the_first_graph",
    ),
    _(
        "a catalogue that is small is exact, even if it was large",
        "store/edge.py",
        "        exact = exact or self._scanned\n",
        "",
        "store/test_store.py::test_small_vectors_come_with_the_first_graph",
    ),
    _(
        "a full disk under a graph ends no process",
        "store/fence.py",
        "        require_room(directory, OPENING_BYTES + reserve)\n",
        "        require_room(directory, OPENING_BYTES)\n",
        "faults/test_damage.py::test_full_disk_under_a_graph",
    ),
    _(
        "tuning is switched to in one step",
        "catalog.py",
        "            copying.copy(self.fields, progress or (lambda *_: None))\n            self._place.switch(settings, copying.catch_up)\n",
        "            self._place.switch(settings, copying.catch_up)\n            copying.copy(self.fields, progress or (lambda *_: None))\n",
        "faults/test_kills.py::test_killed_at_every_step[tune]",
    ),
    _(
        "a catalogue that was cut short while it was made is made by the same command",
        "store/edge.py",
        "        shutil.rmtree(unfinished, ignore_errors=True)\n        try:\n",
        "        try:\n",
        "faults/test_kills.py::test_killed_at_every_step_of_making_one",
    ),
    _(
        "a backup or a restored catalogue is whole, or not there",
        "backup.py",
        '    unfinished = target.with_name(f".{target.name}.restoring")\n',
        "    unfinished = target\n",
        "faults/test_kills.py::test_killed_at_every_step_of_backup_and_restore",
    ),
    _(
        "a copy that was cut short is gone on with by the same command",
        "transfer.py",
        "    if not known:\n        return Catalog.create_like",
        "    if known is not None:\n        return Catalog.create_like",
        "faults/test_kills.py::test_killed_at_every_step_of_copying",
    ),
    _(
        "damaged and missing files are named",
        "store/seal.py",
        "        if self._whole:\n            self._compare(self._file, everything)\n",
        "        pass\n",
        "faults/test_damage.py::test_damaged_files_of_the_engine_are_named_or_do_not_matter[delete]",
    ),
    _(
        "check reads everything",
        "store/seal.py",
        "if (everything or ",
        "if (",
        "faults/test_damage.py::test_damage_deep_in_a_large_file_is_found_by_check",
    ),
    _(
        "settings that lead elsewhere are refused",
        "formats.py",
        "        _check(upgraded)\n",
        "",
        "faults/test_damage.py::test_settings_that_nobody_wrote_are_refused",
    ),
    _(
        "a damaged tuning is named",
        "whitening.py",
        "            if hashlib.sha256(data).hexdigest() != sha256:\n",
        "            if False:\n",
        "faults/test_damage.py::test_another_tuning_in_its_place_is_named",
    ),
    _(
        "a damaged cached model is made anew",
        "encoders/session.py",
        '        if file_sha256(path) == path.with_suffix(".sha256").read_text("ascii"):\n',
        "        if path.exists():\n",
        "faults/test_damage.py::test_damaged_cached_model_is_made_anew",
    ),
    _(
        "a full disk is met before it is hit",
        "store/fence.py",
        "    if free < needed:\n",
        "    if free < 0:\n",
        "faults/test_damage.py::test_nearly_full_disk_is_met_before_it_is_hit",
    ),
    _(
        "panics of the engine are errors of ours",
        "store/fence.py",
        "    except BaseException as error:  # a panic is no Exception\n",
        "    except Exception as error:\n",
        "faults/test_damage.py::test_panics_of_the_engine_are_errors_of_ours",
    ),
    _(
        "unreadable files are named",
        "store/seal.py",
        '        except OSError as error:\n            raise CatalogError(f"{self._file}: cannot be read',
        '        except ZeroDivisionError as error:\n            raise CatalogError(f"{self._file}: cannot be read',
        "faults/test_damage.py::test_unreadable_files_are_named",
    ),
    _(
        "one writer",
        "store/lock.py",
        "            self._lock.acquire(timeout=wait_s)\n",
        "            pass\n",
        "faults/test_one_writer.py::test_the_second_process_is_told_who_and_what_to_do",
    ),
    _(
        "results never show half an item",
        "store/edge.py",
        "        for point in points:\n            for name, vector",
        '        if any(p.payload.get("attributes") for p in points):\n'
        '            self.upsert([Point(p.id, p.vectors, {**p.payload, "attributes": {}}) for p in points])\n'
        "        for point in points:\n            for name, vector",
        "faults/test_one_writer.py::test_searches_never_show_half_an_item",
    ),
    _(
        "an older format is kept before it is upgraded",
        "formats.py",
        "            unfinished.replace(kept)\n",
        "",
        "test_formats.py::test_an_older_one_is_upgraded_in_place_and_kept",
    ),
    _(
        "a newer format is refused",
        "formats.py",
        "        if version > FORMAT:\n",
        "        if version > FORMAT + 1:\n",
        "test_formats.py::test_a_newer_one_is_refused_and_not_touched",
    ),
    _(
        "backups are verified by checksum",
        "backup.py",
        '    if digest.hexdigest() != entry["sha256"]:\n',
        "    if False:\n",
        "faults/test_backup.py::test_damage_is_noticed_wherever_it_is[flip]",
    ),
    _(
        "no name in a backup leads out of the directory",
        "backup.py",
        "    if path.is_absolute() or",
        "    if False and",
        "faults/test_backup.py::test_no_name_leads_out_of_the_directory",
    ),
    _(
        "bombs take no memory",
        "images.py",
        "        _check_size(image.size, name, max_pixels)\n",
        "",
        "faults/test_bad_input.py::test_a_bomb_takes_no_memory",
    ),
    _(
        "vectors that are no numbers are refused",
        "catalog.py",
        "        if not np.isfinite(embedding).all():\n",
        "        if False:\n",
        "faults/test_bad_input.py::test_vectors_that_are_no_numbers",
    ),
    _(
        "nothing in a checkpoint is executed",
        "encoders/checkpoint.py",
        "    def run(self, file: io.BytesIO) -> object:\n",
        "    def run(self, file: io.BytesIO) -> object:\n"
        '        __import__("pickle").loads(file.getvalue()[file.tell() :])\n',
        "encoders/test_checkpoint.py::test_nothing_in_the_file_is_executed",
    ),
    _(
        "the fuzzer notices an error that is not ours",
        "store/base.py",
        "    if match is None:\n        raise FilterError(",
        "    if match is None:\n        raise ValueError(",
        "fuzz/test_fuzz.py::test_fuzz[filters]",
    ),
    _(
        "a request whose head does not come loses its connection",
        "web/connections.py",
        "                self._head = self.loop.call_later(seconds, self.transport.close)\n",
        "                pass\n",
        "web/test_slow_clients.py::test_the_second_request_of_a_connection_has_no_more_time",
    ),
    _(
        "an answer that is not taken is let go of",
        "web/connections.py",
        "self.loop.call_later(seconds, self.transport.abort)",
        "None",
        "web/test_slow_clients.py::test_an_answer_that_is_not_taken",
    ),
    _(
        "a body that does not come is given up",
        "web/limits.py",
        "            message = await asyncio.wait_for(self._receive(), self._deadline - time.monotonic())\n",
        "            message = await self._receive()\n",
        "web/test_api_limits.py::test_body_that_does_not_come",
    ),
    _(
        "a body over the limit is refused",
        "web/limits.py",
        "        if self.size > limits.limit:\n",
        "        if False:\n",
        "web/test_api_limits.py::test_body_over_the_limit_is_refused",
    ),
    _(
        "the memory of all bodies is bounded",
        "web/limits.py",
        "        if limits.held > limits.held_limit:\n",
        "        if False:\n",
        "web/test_api_limits.py::test_bodies_of_all_clients_are_bounded",
    ),
    _(
        "the queue of photos is bounded",
        "web/pool.py",
        "        if self._taken >= self._places:\n",
        "        if False:\n",
        "web/test_api_limits.py::test_full_queue_refuses_at_once_and_recovers",
    ),
    _(
        "an answer takes no longer than the limit",
        "web/service.py",
        "timeout=self.settings.time_limit_s, return_when",
        "timeout=None, return_when",
        "web/test_api_limits.py::test_answer_that_takes_too_long",
    ),
    _(
        "rates are limited by key, else by address",
        "web/security.py",
        "        if counted:\n            self._count(request, key if reads or writes else None)\n",
        "        if counted:\n            self._count(request, key)\n",
        "web/test_api_limits.py::test_rate_is_by_key_else_by_address",
    ),
    _(
        "keys are compared in constant time",
        "web/security.py",
        "hmac.compare_digest(_sha256(key), kept)",
        "_sha256(key) == kept",
        "web/test_keys.py::test_keys_are_compared_by_hash_in_constant_time",
    ),
    _(
        "a key that may read may not write",
        "web/security.py",
        "        writes = _matches(key, self._write)\n        self._count(request, key if writes else None)\n",
        "        writes = _matches(key, self._write) or _matches(key, self._read)\n"
        "        self._count(request, key if writes else None)\n",
        "web/test_api.py::test_keys_say_who_may_what",
    ),
    _(
        "other sites are let in by name only",
        "web/app.py",
        "    if settings.cors_origins:\n        app.add_middleware(\n            CORSMiddleware,\n            allow_origins=settings.cors_origins,\n",
        '    if True:\n        app.add_middleware(\n            CORSMiddleware,\n            allow_origins=["*"],\n',
        "web/test_api.py::test_other_sites_are_let_in_by_name_only",
    ),
    _(
        "security headers",
        "web/app.py",
        "    app.add_middleware(SecurityHeaders)\n",
        "",
        "web/test_api.py::test_headers_keep_browsers_safe",
    ),
    _(
        "no answer shows a path of the machine",
        "web/problems.py",
        '    return _PATH.sub(lambda match: re.split(r"[/\\\\]", match[0])[-1], message)\n',
        "    return message\n",
        "web/test_api_limits.py::test_paths_are_taken_out_of_messages",
    ),
    _(
        "photos of queries are never stored",
        "web/forms.py",
        "    spool_max_size = sys.maxsize",
        "    spool_max_size = 1000",
        "web/test_api.py::test_photo_of_a_query_touches_no_disk",
    ),
    _(
        "logs hold no key and no query",
        "web/logs.py",
        '                    "path": scope["path"],\n',
        '                    "path": scope["path"] + "?" + scope["query_string"].decode() + str(scope["headers"]),\n',
        "web/test_api.py::test_logs_hold_no_key_and_no_query",
    ),
    _(
        "unforeseen errors tell nothing",
        "web/problems.py",
        '            return ProblemError(500, "the server failed on this request; its log says why")\n',
        "            return ProblemError(500, repr(error))\n",
        "web/test_api.py::test_unforeseen_errors_tell_nothing",
    ),
)


def main() -> None:
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [m for m in MUTATIONS if not words or any(word in m.promise for word in words)]
    survived = []
    for mutation in chosen:
        failed, told = tried(mutation)
        print(f"{'fails ' if failed else 'PASSES'}  {mutation.promise}: {mutation.test}", flush=True)
        if not failed:
            survived.append(mutation)
            print(told[-1500:])
    print(
        f"{len(chosen) - len(survived)} of {len(chosen)} broken promises were noticed by the test they name"
    )
    sys.exit(bool(survived))


def tried(mutation: Mutation) -> tuple[bool, str]:
    """Return whether the test fails on the mutated copy, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(
            shutil.copytree(ROOT / "src", Path(folder, "src"), ignore=shutil.ignore_patterns("__pycache__"))
        )
        file = copy / "serupa" / mutation.file
        source = file.read_text()
        if source.count(mutation.old) != 1:
            return False, f"{mutation.file} has {source.count(mutation.old)} times: {mutation.old}"
        file.write_text(source.replace(mutation.old, mutation.new))
        environment = os.environ | {
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SERUPA_KILLS": os.environ.get("SERUPA_KILLS", "30"),
            "SERUPA_FUZZ_SECONDS": "5",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutation.test]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        # 1 is a failed test; anything else (no such test, a broken copy) proves nothing
        return done.returncode == 1 and " error" not in done.stdout.splitlines()[
            -1
        ], done.stdout + done.stderr


if __name__ == "__main__":
    main()
