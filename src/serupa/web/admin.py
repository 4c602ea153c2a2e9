"""The REST API for those who run the search: what is indexed, how good it is, tuning, insights."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serupa.catalog import reports
from serupa.events.insights import followed_together, insights_of
from serupa.events.log import read_events
from serupa.files.atomic import make_directory
from serupa.progress import Progress
from serupa.web.jobs import Job
from serupa.web.problems import ProblemError, last_name
from serupa.web.routing import OF_JSON, Serving, described
from serupa.web.schemas import StrictModel
from serupa.web.security import may_write

admin = APIRouter(prefix="/api/v1/admin")

_FAILURES = 200
_Field = Annotated[str, Field(min_length=1, max_length=200)]


class JobOut(BaseModel):
    """A job: what it is, how far it is, and what came of it."""

    name: str
    step: str
    done: int
    total: int
    runs: bool
    result: dict[str, Any] | None
    problem: str | None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        """Return the JSON form of a job."""
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class ImportOut(BaseModel):
    """What came of the last import of a folder, a table or a feed."""

    when: str
    source: str
    added: int
    updated: int
    unchanged: int
    failed: int
    failures: list[dict[str, str]] = Field(description="The first of them: `id` and `reason`.")
    gone: int = Field(description="Items that came from there before and that it holds no more.")
    notes: list[str]

    @classmethod
    def of(cls, report: dict[str, Any] | None) -> ImportOut | None:
        """Return the JSON form of a report that was kept; None where there is none."""
        if report is None:
            return None
        same = {name: report[name] for name in ("when", "added", "updated", "unchanged", "notes")}
        failures = [
            {"id": one["id"], "reason": one.get("problem", "")} for one in report["failed"][:_FAILURES]
        ]
        source = last_name(report["source"])
        return cls(
            **same, source=source, failed=len(report["failed"]), failures=failures, gone=len(report["gone"])
        )


class AdminOut(BaseModel):
    """What is indexed and how, and what was found out last."""

    items: int
    products: int
    size_bytes: int | None
    encoder: str
    created: str
    fields: dict[str, str]
    read_key: bool = Field(description="Whether reading needs a key.")
    events_days: int = Field(description="How many days events are kept; 0: there are none.")
    backs_up: bool = Field(description="Whether there is a directory for backups.")
    imported: ImportOut | None
    evaluation: dict[str, Any] | None = Field(description="As `serupa evaluate --json` prints it.")
    tuning: dict[str, Any] | None = Field(description="What the search learned, and what that gained.")
    job: JobOut | None


class EvaluateIn(StrictModel):
    """What to measure."""

    label: _Field = "product_id"
    queries: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class TuneIn(StrictModel):
    """What to learn from."""

    label: _Field = "product_id"
    clicks: Annotated[
        bool, Field(strict=True, description="Learn from what shoppers follow, where that helps.")
    ] = False


@admin.get("", **described("admin", "See what is indexed", AdminOut, 403, who=may_write))
async def overview(service: Serving) -> AdminOut:
    """Return what is indexed, what came of the last import, evaluation and tuning, and the last job."""

    def work() -> AdminOut:
        about = service.catalog.info()
        return AdminOut(
            **{name: about[name] for name in AdminOut.model_fields if name in about},
            read_key=not service.gate.open,
            events_days=service.settings.events_days,
            backs_up=service.settings.backups is not None,
            imported=ImportOut.of(reports.kept(service.catalog.backend, "import")),
            evaluation=reports.kept(service.catalog.backend, "evaluation"),
            job=None if service.jobs.last is None else JobOut.of(service.jobs.last),
        )

    return await service.reading(work)


@admin.get("/job", **described("admin", "See how far the job is", JobOut, 403, 404, who=may_write))
async def job(service: Serving) -> JobOut:
    """Return the job that runs, or the last one."""
    if service.jobs.last is None:
        raise ProblemError(404, "no job was started")
    return JobOut.of(service.jobs.last)


@admin.post(
    "/evaluate",
    status_code=202,
    **described("admin", "Measure the search", JobOut, *OF_JSON, 409, who=may_write),
)
async def evaluate(service: Serving, asked: EvaluateIn) -> JobOut:
    """Search with the catalogue's own photos, and count what comes back right. See `/admin/job`."""
    from serupa.evaluation.experiment import evaluate_catalog

    def work(progress: Progress) -> dict[str, Any]:
        catalog = service.catalog
        measure = service.shared.reading(
            lambda: evaluate_catalog(catalog, asked.label, queries=asked.queries, progress=progress).to_dict()
        )
        found = measure()
        reports.keep(catalog.backend, "evaluation", found)
        return found

    return JobOut.of(service.jobs.start("evaluate", work))


@admin.post(
    "/tune",
    status_code=202,
    **described("admin", "Tune the search", JobOut, *OF_JSON, 409, who=may_write),
)
async def tune(service: Serving, asked: TuneIn) -> JobOut:
    """Learn from the catalogue's own products, and search with it if that is shown to be better."""
    from serupa.learning import tuning

    def work(progress: Progress) -> dict[str, Any]:
        together = None
        if asked.clicks and service.events is not None:
            together = followed_together(read_events(service.events.folder))
        catalog = service.catalog
        study = service.shared.reading(
            lambda: tuning.study(catalog, asked.label, clicks=together, progress=progress)
        )
        found = study()
        if found.found:
            service.exchanging(
                lambda alone: catalog.use_whitening(
                    found.whitening, found.notes(), alone=alone, progress=progress
                )
            )
        return found.to_dict() | {"clicks_help": found.clicks_help}

    return JobOut.of(service.jobs.start("tune", work))


@admin.post(
    "/untune", status_code=202, **described("admin", "Undo the tuning", JobOut, 403, 409, who=may_write)
)
async def untune(service: Serving) -> JobOut:
    """Search as the encoder made it again."""
    from serupa.learning import tuning

    def work(progress: Progress) -> dict[str, Any]:
        service.exchanging(lambda alone: tuning.undo(service.catalog, alone=alone, progress=progress))
        return {}

    return JobOut.of(service.jobs.start("untune", work))


class BackupOut(BaseModel):
    """A backup that was written and read again."""

    name: str
    items: int
    files: int
    size_bytes: int
    created: str


@admin.post(
    "/backup", status_code=202, **described("admin", "Back up the catalogue", JobOut, 403, 409, who=may_write)
)
async def back_up(service: Serving) -> JobOut:
    """Write a backup into the server's directory for them, and read it again. See `/admin/job`.

    Searches go on; changes wait while the files are copied.
    """
    from serupa.catalog.backup import Snapshot

    folder = service.settings.backups
    if folder is None:
        raise ProblemError(403, "no directory for backups is set (serupa serve --backups DIR)")
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = Path(folder) / f"{service.name or 'catalog'}-{when}.backup"

    def work(progress: Progress) -> dict[str, Any]:
        progress("copying", 0, 1)
        make_directory(target.parent)
        snapshot = service.unchanged(lambda: Snapshot(service.catalog, target))
        progress("writing and checking", 0, 1)
        written = snapshot.write()
        values = {one: getattr(written, one) for one in BackupOut.model_fields if one != "name"}
        return BackupOut(name=target.name, **values).model_dump()

    return JobOut.of(service.jobs.start("backup", work))


@admin.get("/insights", **described("admin", "See what shoppers do", None, 403, who=may_write))
async def insights(
    service: Serving, days: Annotated[int, Query(ge=1, le=3_650, description="Only the last days.")] = 30
) -> dict[str, Any]:
    """Return what the log of events says, as `serupa insights --json` does."""
    if service.events is None:
        raise ProblemError(403, "events are off: start the server with --events-days")
    folder = service.events.folder
    return await service.reading(lambda: insights_of(read_events(folder, days)).to_dict())
