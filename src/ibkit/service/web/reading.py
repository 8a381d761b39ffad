"""A form as a browser sends it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import parse_qsl

from ibkit.errors import ConfigError
from ibkit.service.refusals import Refusal
from ibkit.service.requests import AnyRequest, raw_body

__all__ = ["LARGEST_FORM", "Form", "read_form"]

LARGEST_FORM = 128 * 1024
"""Two pasted keys and a prime are some 10 KB."""
_MOST_FIELDS = 300
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}((,[0-9]{3})+\.[0-9]*|(,[0-9]{3}){2,})")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields by name; of one that stands twice, all. A field may hold a password: none is shown."""

    fields: Mapping[str, tuple[str, ...]] = field(repr=False)

    def text(self, name: str, default: str = "") -> str:
        """Without blanks around it."""
        return self.fields.get(name, (default,))[0].strip()

    def raw(self, name: str) -> str:
        """As it was typed: of passwords."""
        return self.fields.get(name, ("",))[0]

    def all(self, name: str) -> list[str]:
        return [each.strip() for each in self.fields.get(name, ()) if each.strip()]

    def ticked(self, name: str) -> bool:
        return name in self.fields

    def optional(self, name: str) -> str | None:
        return self.text(name) or None

    def number(self, name: str) -> Decimal | str | None:
        """A number; what is none stays text, for the interface to refuse by name.

        A comma divides thousands only where it can mean nothing else: `1,234.5`, `1,234,567`. `12,5` and `1,234` are
        none: half of the world would mean another number by them.
        """
        given = self.text(name).replace("−", "-")
        if not given:
            return None
        return Decimal(given.replace(",", "")) if _PLAIN.fullmatch(given) or _GROUPED.fullmatch(given) else given

    def whole(self, name: str) -> int | Decimal | str | None:
        found = self.number(name)
        return int(found) if isinstance(found, Decimal) and found == found.to_integral_value() else found

    def kept(self, *, but: tuple[str, ...] = ()) -> dict[str, str]:
        """What is shown again in the fields after an error; `but`: secrets are typed anew."""
        return {name: values[0] for name, values in self.fields.items() if name not in but and name != "csrf"}


async def read_form(request: AnyRequest) -> Form:
    """Refusal 413 above 128 KiB, 415 for what no form of ours sends, 400 for what cannot be read."""
    _, raw = await raw_body(request, ("application/x-www-form-urlencoded",), largest=LARGEST_FORM)
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        why = ConfigError("Invalid request: the form cannot be read", code="E-VALIDATION", remedy="Load the page anew.")
        raise Refusal(400, why) from None
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)
