"""The commands by name: one module a command; each parses, calls the library and prints."""

from __future__ import annotations

import signal
from typing import Any

import typer
from typer.core import TyperGroup

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
    insights,
    kinds,
    outfit,
    recommend,
    remove,
    reproduce,
    sample,
    scale,
    search,
    serve,
    train,
    tune,
    wardrobe,
    words,
)

_EPILOG = (
    "Exit status: 0 done; 1 what was given cannot be used; 2 wrong usage; 3 not found; 4 something else is "
    "there or at work; 5 stored files are damaged; 6 not available now; 130 stopped by Ctrl-C."
)


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Typer would end without a word; a second Ctrl-C ends what cleans up, too
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            typer.echo("serupa: stopped", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="serupa",
    cls=_Commands,
    epilog=_EPILOG,
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
app.command("insights")(insights.insights)
app.command("scale")(scale.scale)
app.command("copy")(copy.copy)
app.command("publish")(copy.publish)
app.command("explain")(explain.explain)
app.command("serve")(serve.serve)
app.add_typer(encoders.app, name="encoders")
app.command("evaluate")(evaluate.evaluate)
app.command("reproduce")(reproduce.reproduce)
app.command("tune")(tune.tune)
app.command("kinds")(kinds.kinds)
app.command("words")(words.words)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("check")(backup.check)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)


# These may set how the process has its memory: see `keep_freed_memory` and `use_huge_pages`
_DECODE_MANY = frozenset(("evaluate", "index", "reproduce", "serve", "tune"))


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        import serupa

        typer.echo(f"serupa {serupa.__version__}")
        raise typer.Exit
    if context.invoked_subcommand in _DECODE_MANY:
        from serupa.files.memory import keep_freed_memory
        from serupa.storage.local.pages import use_huge_pages

        keep_freed_memory()
        use_huge_pages()
