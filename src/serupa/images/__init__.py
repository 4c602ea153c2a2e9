"""Photos in, pixels out: reads what is an image, refuses what is not, and decodes no more than is needed."""

from serupa.images.crop import Crop
from serupa.images.decoding import MAX_PIXELS, MIN_SIDE, open_photo
from serupa.images.reading import MAX_BYTES, Photo, read_bytes
from serupa.images.resizing import Resize, encode_jpeg, photo_pixels, thumbnail

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "Crop",
    "Photo",
    "Resize",
    "encode_jpeg",
    "open_photo",
    "photo_pixels",
    "read_bytes",
    "thumbnail",
]
