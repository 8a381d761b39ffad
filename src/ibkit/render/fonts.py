"""The font of PDFs: Roboto, embedded, from a package of its own. It writes Latin, Greek and Cyrillic letters."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache
from typing import Any, Final

import font_roboto
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

__all__ = ["BOLD", "REGULAR", "UNKNOWN", "prepare", "writable"]

REGULAR: Final = "IbkitRoboto"
BOLD: Final = "IbkitRobotoMedium"
UNKNOWN: Final = "\ufffd"
"""Stands for what the font has not, as an emoji: better than nothing, which is what a reader would see."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Mn", "Me"})
_lock = threading.Lock()


def prepare() -> None:
    """Registers the fonts with reportlab, which keeps them for the whole process."""
    with _lock:
        for name, file in ((REGULAR, font_roboto.Roboto), (BOLD, font_roboto.RobotoMedium)):
            if name not in pdfmetrics.getRegisteredFontNames():
                pdfmetrics.registerFont(TTFont(name, file))
        pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)


@cache
def _glyphs() -> Any:
    prepare()
    return pdfmetrics.getFont(REGULAR).face.charToGlyph


def writable(text: str) -> str:
    """In its composed form, with `UNKNOWN` for each character that the font has not; joiners and the like left out."""
    glyphs = _glyphs()
    found = []
    for letter in unicodedata.normalize("NFC", text):
        if unicodedata.category(letter) not in _UNSEEN:
            found.append(letter if ord(letter) in glyphs else UNKNOWN)
    return "".join(found)
