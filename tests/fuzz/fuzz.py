"""Fuzz one target for a while: ``python -m tests.fuzz.fuzz TARGET [--seconds 60]``.

With atheris installed (``pip install atheris``; Linux) inputs are chosen by the code that they reach. Without
it they are mutated blindly from the same seeds. Status 0 says that nothing was found; else what was found
lies in ``fuzz-TARGET-*``. What is worth trying again is kept in ``tests/fuzz/corpus``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
_LIMIT_MB = 2048
_LONGEST_S = 10


def _peak_mb() -> float:
    """Return the most memory of this process; what the system counts as such may be its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz one target.")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, help="a folder for new inputs that reach new code")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[2]))
    with contextlib.suppress(ImportError):
        if not given.blind:
            guided(given)
    blind(given)


def guided(given: argparse.Namespace) -> None:
    """Fuzz with atheris; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["serupa"]):
        from tests.fuzz.targets import TARGETS, seeds

    TARGETS[given.target](b"")  # what the first call sets up is no part of what an input takes
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(given.target)):
            Path(folder, f"seed-{number}").write_bytes(seed)
        kept = CORPUS / given.target
        kept.mkdir(parents=True, exist_ok=True)
        folders = [given.into, folder, kept] if given.into else [folder, kept]
        arguments = [
            sys.argv[0],
            *map(str, folders),
            f"-max_total_time={given.seconds}",
            f"-timeout={_LONGEST_S}",
            f"-rss_limit_mb={_LIMIT_MB}",
            f"-seed={given.seed}",
            f"-artifact_prefix=fuzz-{given.target}-",
            "-print_final_stats=1",
            "-max_len=20000",
        ]
        atheris.Setup(arguments, TARGETS[given.target])
        atheris.Fuzz()


def blind(given: argparse.Namespace) -> None:
    """Mutate seeds and the corpus at random, within the same bounds on time and memory."""
    from tests.fuzz.targets import TARGETS, seeds

    target = TARGETS[given.target]
    pool = [*seeds(given.target), *corpus(given.target)]
    rng = random.Random(given.seed)  # noqa: S311
    target(pool[0])  # what the first call sets up is no part of what an input takes
    deadline, runs, slowest = time.monotonic() + given.seconds, 0, 0.0
    while time.monotonic() < deadline:
        data = pool[runs] if runs < len(pool) else mutated(rng, pool)
        runs += 1
        started = time.monotonic()
        try:
            target(data)
        except BaseException:
            Path(f"fuzz-{given.target}-crash").write_bytes(data)
            raise
        slowest = max(slowest, time.monotonic() - started)
        if slowest > _LONGEST_S:
            Path(f"fuzz-{given.target}-slow").write_bytes(data)
            sys.exit(f"{given.target}: an input took {slowest:.0f} s")
    peak = _peak_mb()
    print(f"{given.target}: {runs} inputs, slowest {slowest:.2f} s, peak memory {peak:.0f} MB, blind")
    if peak > _LIMIT_MB:
        sys.exit(f"{given.target}: took {peak:.0f} MB")
    sys.stdout.flush()
    os._exit(0)


def corpus(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """Return a seed with some bytes changed, pieces cut out, doubled, or taken from another seed."""
    data = bytearray(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1:
                data[at:at] = rng.randbytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                other = rng.choice(pool)
                start = rng.randrange(len(other) + 1)
                data[at : at + length] = other[start : start + length]
            case _:
                data[at : at + length] = rng.choice(_INTERESTING)
    return bytes(data[:20_000])


_INTERESTING = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"NaN",
    b"1e999",
    b"../../etc/passwd",
    b"\r\n\r\n",
    b'"',
    b"%00",
    b"\xed\xa0\x80",
    b"{}[]",
)

if __name__ == "__main__":
    main()
