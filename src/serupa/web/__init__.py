"""The web application and the REST API: ``create_app(catalog)`` makes an ASGI application."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serupa.web.app import create_app as create_app
    from serupa.web.settings import Settings as Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> object:
    # FastAPI is an extra: importing the package must not need it
    if name == "create_app":
        from serupa.web.app import create_app

        return create_app
    if name == "Settings":
        from serupa.web.settings import Settings

        return Settings
    raise AttributeError(f"module 'serupa.web' has no attribute {name!r}")
