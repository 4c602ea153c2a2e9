"""``serupa encoders``: the encoders there are, and their weights."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import Json
from serupa.cli.printing import as_json, message, pairs, table

app = typer.Typer(help="The encoders there are, and their weights.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="An encoder's name, hf:OWNER/REPO, or a card.", show_default=False)]


@app.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_all()


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the encoders: what they are worth knowing by, and whether their files are on this machine."""
    import msgspec

    from serupa.encoders import describe, known_encoders, list_cards, load_card
    from serupa.errors import UnavailableError

    def origin(name: str) -> str | None:
        try:
            weights = describe(load_card(name, download=False)).weights
        except UnavailableError:
            return None
        return None if weights is None else weights.origin

    encoders = [(one, origin(one.name)) for one in known_encoders().values()]
    if json:
        cards = {card.name: card.to_dict() for card in list_cards()}
        as_json(
            [
                cards.get(one.name, {}) | msgspec.to_builtins(one) | {"available": found is not None}
                for one, found in encoders
            ]
        )
        return
    columns = ("Name", "Values", "Pixels", "MB", "Speed", "Words", "Licence", "Files", "What")
    right = ("Values", "Pixels", "MB")
    table(
        [(name, "right" if name in right else "left") for name in columns],
        [
            (
                one.name,
                str(one.dimension),
                str(one.input_size),
                str(one.megabytes),
                one.speed,
                "yes" if one.words else "no",
                one.licence,
                found or "to fetch",
                one.title,
            )
            for one, found in encoders
        ],
    )
    message("Any other encoder of the hub with an onnx folder: hf:OWNER/REPO")


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show an encoder's card, and where its weights are or how to get them."""
    from serupa.encoders import describe, load_card

    card = load_card(name, download=False)
    availability = describe(card)
    if json:
        as_json({"card": card.to_dict(), "weights": availability.to_dict()})
        return
    pairs(
        {
            "Name": card.name,
            "What": card.title,
            "Values": str(card.dimension),
            "Pixels": f"{card.input_size} x {card.input_size}, {card.resize}, {card.resample}",
            "Words": "understood" if card.understands_words else "not understood",
            "Licence": card.licence,
            "Source": card.source,
            "Revision": card.weights.revision or "none",
            "Weights": str(availability),
        }
    )
    if availability.help:
        message(availability.help)


@app.command()
def fetch(name: Name) -> None:
    """Bring an encoder's weights onto this machine, unless they are here."""
    from serupa.encoders import fetch as fetch_weights

    message(f"{name}: {fetch_weights(name)}")


@app.command()
def quantize(
    name: Name,
    calibrate: Annotated[
        str, typer.Option(help="Photos such as will be indexed: a folder or a table.", show_default=False)
    ],
    weights: Annotated[
        str | None, typer.Option(help="The encoder's weights: .safetensors.", show_default=False)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="The folder to write to; NAME-int8.", metavar="DIR", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Make an encoder faster with 8-bit integers, checked on photos of one's own.

    Writes a model and a card, for: serupa index --encoder CARD.toml
    """
    from serupa.encoders.quantize import quantize as quantize_encoder

    report = quantize_encoder(name, calibrate, weights=weights, out=out, tell=message)
    if json:
        as_json(report.to_dict())
        return
    precision = "not known: no product has two photos"
    if report.precision is not None:
        precision = f"{report.precision[0]:.3f} in float, {report.precision[1]:.3f} quantised"
    pairs(
        {
            "Card": str(report.card),
            "Speed": f"{report.speed:.2f} times as fast as in float",
            "Mean cosine": f"{report.cosine:.4f} (smallest {report.cosine_min:.4f}), {report.photos} photos",
            "P@1, same product": precision,
            "Calibration": report.method,
            "Left in float": ", ".join(report.kept_float) or "no layer",
        }
    )
