"""How a command's help looks: names in one column, meaning in the other, in plain characters."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cyclopts.help.formatters import PlainFormatter

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

__all__ = ["AlignedHelp"]

_WIDEST_NAMES = 28


class AlignedHelp(PlainFormatter):
    """Usage and description as cyclopts' plain formatter writes them; the lists in two aligned columns."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if not panel.entries:
            return
        console.print(f"{panel.title}:", highlight=False, markup=False)
        rows = [(_names(entry, panel.format), _meaning(entry, console)) for entry in panel.entries]
        left = min(max(len(names) for names, _ in rows), _WIDEST_NAMES) + 4
        for names, meaning in rows:
            console.print(
                _row(names, meaning, left, max(console.width, 40)), highlight=False, markup=False, soft_wrap=True
            )
        console.print()


def _row(names: str, meaning: str, left: int, width: int) -> str:
    lines = textwrap.wrap(meaning, max(width - left, 20), break_long_words=False, break_on_hyphens=False) or [""]
    head = f"  {names}".ljust(left)
    if len(head) > left:
        return "\n".join([head, *(" " * left + line for line in lines)])
    return "\n".join([head + lines[0], *(" " * left + line for line in lines[1:])]).rstrip()


def _names(entry: HelpEntry, kind: str) -> str:
    if kind == "command":
        return ", ".join((*entry.positive_names, *entry.positive_shorts))
    if entry.positional_label:
        return entry.positional_label
    return ", ".join(entry.display_labels_with_metavar).replace(" STR...", " TEXT").replace(" STR", " TEXT")


def _meaning(entry: HelpEntry, console: Console) -> str:
    with console.capture() as captured:
        console.print(entry.description or "", end="", highlight=False, soft_wrap=True)
    parts = [" ".join(captured.get().split())]
    if entry.choices:
        parts.append(f"[{' | '.join(entry.choices)}]")
    if entry.default not in (None, "()"):
        parts.append(f"[default: {entry.default}]")
    if entry.required:
        parts.append("[required]")
    return " ".join(parts)
