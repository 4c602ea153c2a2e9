"""The ``serupa`` command: one module a command; each parses, calls the library and prints."""

from __future__ import annotations

import sys

import typer

from serupa.cli import (
    backup,
    copy,
    doctor,
    encoders,
    evaluate,
    explain,
    export,
    index,
    info,
    outfit,
    recommend,
    remove,
    reproduce,
    sample,
    search,
    serve,
    tune,
    wardrobe,
)
from serupa.errors import SerupaError

app = typer.Typer(
    name="serupa",
    help="Visual search for fashion: photo in, look-alikes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help drawn by Rich takes longer to load than all the rest of `serupa --help`
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sample")(sample.sample)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("similar")(search.similar)
app.command("recommend")(recommend.recommend)
app.command("outfit")(outfit.outfit)
app.add_typer(wardrobe.app, name="wardrobe")
app.command("remove")(remove.remove)
app.command("info")(info.info)
app.command("copy")(copy.copy)
app.command("publish")(copy.publish)
app.command("explain")(explain.explain)
app.command("serve")(serve.serve)
app.add_typer(encoders.app, name="encoders")
app.command("evaluate")(evaluate.evaluate)
app.command("reproduce")(reproduce.reproduce)
app.command("tune")(tune.tune)
app.command("export")(export.export)
app.command("check")(backup.check)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        import serupa

        typer.echo(f"serupa {serupa.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: exit 0 when done, 1 when the user's input is wrong, 2 for wrong usage."""
    try:
        app()
    except SerupaError as error:
        typer.echo(f"serupa: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # whoever read our output has stopped reading, as `| head` does
        sys.stderr.close()
        sys.exit(0)
