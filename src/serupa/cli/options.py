"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CatalogPath = Annotated[
    str,
    typer.Option(
        "-c",
        "--catalog",
        help="The catalogue's directory, or its address on a server: qdrant://host:6333/name.",
        metavar="DIR",
        show_default=False,
    ),
]
Wait = Annotated[
    float, typer.Option("--wait", help="Seconds to wait for another process that holds the catalogue.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Text = Annotated[
    str | None,
    typer.Option(
        help='Words to search with, in English or Indonesian: "red floral dress"; beside a photo: "but red".',
        show_default=False,
    ),
]
TextWeight = Annotated[
    float, typer.Option(help="The share of the words in the ranking, 0 to 1, beside a photo.")
]
K = Annotated[int, typer.Option("-k", help="How many hits.", min=1)]
Metric = Annotated[
    str | None,
    typer.Option(
        help="cosine, euclidean or manhattan; the catalogue's first unless given.", show_default=False
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="A filter: color=Black, color=Black|Blue, color!=Red, price=10..50, price>=10. May be repeated.",
        show_default=False,
    ),
]
By = Annotated[str, typer.Option(help="item, or product for distinct products, best photo first.")]
Sort = Annotated[
    str | None,
    typer.Option(
        help="The order of what is alike: a field, such as price, or -field for the largest first; nearest "
        "first unless given.",
        metavar="FIELD",
        show_default=False,
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every item, index or not.")]
Offset = Annotated[int, typer.Option(help="How many of the nearest to pass over.", min=0)]
Sheet = Annotated[
    Path | None,
    typer.Option(help="Write the query and its hits as one picture.", metavar="OUT.png", show_default=False),
]
