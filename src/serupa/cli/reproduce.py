"""``serupa reproduce``: the whole paper in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.options import Json
from serupa.cli.printing import as_json, evaluation, message


def reproduce(
    deepfashion: Annotated[
        Path,
        typer.Argument(
            metavar="DEEPFASHION_DIR",
            help="DeepFashion, Category and Attribute Prediction: the folder that holds img/.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.", show_default=False)],
    classes: Annotated[int, typer.Option(help="How many of the largest classes.", min=1)] = 100,
    min_images: Annotated[int, typer.Option(help="How many images a class must have.", min=1)] = 75,
    queries: Annotated[int, typer.Option(help="How many random queries.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Another seed asks other queries.", min=0)] = 0,
    encoder: Annotated[str, typer.Option(help="Another encoder than the paper's.")] = "resnet50",
    weights: Annotated[
        str | None, typer.Option(help="The encoder's weights: .safetensors.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Repeat the paper's experiment: select classes, index, evaluate, draw, export.

    DeepFashion is given by its authors on request; docs/evaluation.md says how to ask.
    """
    from serupa.cli.progress import steps
    from serupa.paper.reproduction import reproduce as repeat

    with steps() as progress:
        done = repeat(
            deepfashion,
            out,
            classes=classes,
            min_images=min_images,
            queries=queries,
            seed=seed,
            encoder=encoder,
            weights=weights,
            progress=progress,
        )
    message(str(done.selection))
    for failure in done.added.failures[:20]:
        message(f"failed: {failure.reason}")
    message(f"The report: {done.report}")
    if json:
        as_json(done.to_dict())
    else:
        evaluation(done.evaluation)
