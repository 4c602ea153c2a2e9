"""The errors that Serupa raises: each message says what is wrong and what to do about it."""


class SerupaError(Exception):
    """Base of every error that Serupa raises on purpose.

    The command line prints its message as one line and exits with 1; the REST API answers with a 4xx.
    """


class ImageError(SerupaError):
    """A photo that cannot be used: not an image, truncated, empty, or over a limit."""


class WeightsError(SerupaError):
    """An encoder's weights are missing, damaged, or not what its card says."""


class EncoderError(SerupaError):
    """An encoder is unknown, its card is wrong, or it cannot run on this machine."""


class SourceError(SerupaError):
    """A folder or table to index is missing or is not what it should be."""


class CatalogError(SerupaError):
    """A catalogue is missing, held by another process, or does not fit what is asked of it."""


class ItemNotFoundError(CatalogError):
    """No item of the catalogue has the id that was asked for."""


class StoreError(CatalogError):
    """The engine under a catalogue failed: its files are damaged, its disk is full, or it broke off."""


class StoreUnavailableError(StoreError):
    """A server that keeps a catalogue does not answer: try again, or look after it."""


class FilterError(SerupaError):
    """A filter (``where``) cannot be understood."""


class TasteError(SerupaError):
    """Likes and dislikes that were passed in cannot be understood."""


class MissingExtraError(SerupaError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'serupa[{extra}]'")
