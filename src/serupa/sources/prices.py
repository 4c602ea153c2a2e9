"""Prices as shops write them: amounts with either decimal mark, and their currency."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SYMBOLS = {
    "$": "USD", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD",
    "HK$": "HKD", "S$": "SGD", "NT$": "TWD", "MX$": "MXN", "R$": "BRL", "€": "EUR", "£": "GBP", "¥": "JPY",
    "円": "JPY", "元": "CNY", "₹": "INR", "Rs": "INR", "Rs.": "INR", "₩": "KRW", "원": "KRW",
    "₫": "VND", "đ": "VND", "₺": "TRY", "TL": "TRY", "₽": "RUB", "руб": "RUB", "руб.": "RUB", "₴": "UAH",
    "грн": "UAH", "zł": "PLN",
    "Kč": "CZK", "Ft": "HUF", "lei": "RON", "Rp": "IDR", "Rp.": "IDR", "RM": "MYR", "฿": "THB", "₱": "PHP",
    "₪": "ILS", "₦": "NGN", "₵": "GHS", "₸": "KZT", "Fr.": "CHF", "SFr.": "CHF",
}  # fmt: skip
_ISO_4217 = """
AED AFN ALL AMD AOA ARS AUD AZN BAM BBD BDT BGN BHD BND BOB BRL BYN CAD CHF CLP CNY COP CRC CZK DKK
DOP DZD EGP ETB EUR GBP GEL GHS GTQ HKD HNL HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KRW
KWD KZT LAK LBP LKR LYD MAD MDL MKD MMK MNT MOP MUR MXN MYR NAD NGN NIO NOK NPR NZD OMR PAB PEN PHP
PKR PLN PYG QAR RON RSD RUB SAR SEK SGD THB TND TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND XAF XOF
YER ZAR ZMW
"""
_CODES = frozenset(_ISO_4217.split())
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

_PRICE = re.compile(r"([^\d.,+-]*?)\s*([+-]?\d[\d.,'’ ]*|[.,]\d+)(?:[.,]?[-–—]+)?\s*([^\d,+-]*)")  # fmt: skip
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:[.,][0-9]{3})+")


@dataclass(frozen=True, slots=True)
class Price:
    """A price as it is written: the digits with their separators, and the currency where one is said."""

    digits: str
    currency: str | None

    @property
    def decimal_marks(self) -> frozenset[str]:
        """Which of ``.`` and ``,`` may stand before its decimals; none where it makes no sense either way."""
        return frozenset(mark for mark in ".," if _with_mark(self.digits, mark) is not None)

    @property
    def is_ambiguous(self) -> bool:
        """Whether it is a different amount by either mark: 1.299."""
        return len({_with_mark(self.digits, mark) for mark in ".,"} - {None}) > 1

    def value(self, mark: str) -> float | None:
        """Return the amount, with this decimal mark."""
        plain = _with_mark(self.digits, mark)
        return None if plain is None else float(plain)


def parse_price(cell: str) -> Price | None:
    """Return a price as it is written (``$1,299.00``, ``1.299,00 €``, ``IDR 349.900``); None for all else."""
    text = " ".join(cell.replace("\u202f", " ").replace("\xa0", " ").split())
    match = _PRICE.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        return None
    marks = [mark.strip() for mark in (match[1], match[3]) if mark.strip()]
    if len(marks) > 1:
        return None
    currency = _currency(marks[0]) if marks else None
    if marks and currency is None:
        return None
    digits = re.sub(r"(?<=\d)['’ ](?=\d{3}(?!\d))", "", match[2].strip())
    price = Price(digits.lstrip("+"), currency)
    return price if price.decimal_marks else None


def _currency(mark: str) -> str | None:
    if mark.upper() in _CODES:
        return mark.upper()
    return _SYMBOLS.get(mark) or _SYMBOLS.get(mark.capitalize()) or _SYMBOLS.get(mark.lower())


def _with_mark(digits: str, mark: str) -> str | None:
    """Return digits as Python writes a number, if they are one with this decimal mark."""
    sign, unsigned = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, decimals = unsigned.partition(mark)
    other = "," if mark == "." else "."
    if other in decimals or mark in decimals:
        return None
    if other in whole:
        if not _GROUPS.fullmatch(whole):
            return None
        whole = whole.replace(other, "")
    if not (whole + decimals).isdecimal() or len(whole) > 15:
        return None
    return f"{sign}{whole or 0}.{decimals or 0}"


@dataclass(slots=True)
class PriceColumn:
    """What the prices of one column have in common."""

    marks: frozenset[str] = frozenset(".,")
    ambiguous: set[str] = field(default_factory=set)
    example: str = ""
    currencies: set[str | None] = field(default_factory=set)
    grouped: bool = False

    def take(self, price: Price) -> bool:
        """Look at one more; return whether it goes with the others."""
        if price.is_ambiguous:
            self.ambiguous.add("." if "." in price.digits else ",")
            self.example = self.example or price.digits
        self.marks &= price.decimal_marks
        self.grouped = self.grouped or {".", ","} <= set(price.digits)
        self.currencies.add(price.currency)
        return bool(self.marks)

    @property
    def mark(self) -> str | None:
        """The decimal mark; where all might be thousands, they are; None where that cannot be, either."""
        if len(self.marks) == 1:
            return next(iter(self.marks))
        if self.currencies & _THREE_DECIMALS or not self.ambiguous:
            return "."
        if len(self.ambiguous) > 1:
            return None
        return "," if "." in self.ambiguous else "."
