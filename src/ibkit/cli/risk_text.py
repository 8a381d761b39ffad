"""Limits, halts and readings of controls, as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ibkit.cli import output
from ibkit.trading.risk import Halt, LimitChange, Reading, RiskState, State, standings

__all__ = ["change_line", "entry_document", "halt_line", "halts_table", "limits_document", "limits_table", "readings"]


def limits_table(state: RiskState, *, counted: bool = True) -> str:
    """counted: False where no account is named, so that nothing is known of what is used up."""
    rows = [
        (row["control"], row["name"], row["value"], row["used"], row["headroom"], row["from"])
        for row in limits_document(state, counted=counted)
    ]
    return output.table(("Control", "Limit", "Value", "Used", "Left", "From"), rows, right=(3, 4))


def limits_document(state: RiskState, *, counted: bool = True) -> list[dict[str, Any]]:
    """Each limit by name: its value, where that comes from, what is used up and left, where the journal knows it."""
    return [
        {
            "control": each.control,
            "name": each.name,
            "value": each.value,
            "used": None if each.used is None else f"{each.used:f}",
            "headroom": None if each.left is None else f"{each.left:f}",
            "from": each.source,
            "meaning": each.meaning,
        }
        for each in standings(state, counted=counted)
    ]


def readings(found: Sequence[Reading], *, json: bool) -> None:
    """What each control measured of a wished order."""
    if json:
        output.emit(
            [
                {
                    "control": each.control,
                    "name": each.name,
                    "state": each.state,
                    "value": each.value or None,
                    "limit": each.limit or None,
                    "headroom": each.headroom,
                    "message": each.objection.text if each.objection else each.warning or None,
                    "code": each.objection.code if each.objection else None,
                }
                for each in found
            ]
        )
        return
    rows = [(r.control, r.name, r.state.value, r.value or "-", r.limit or "-", r.headroom) for r in found]
    output.say(output.table(("Control", "Name", "State", "Value", "Limit", "Left"), rows, right=(3, 4, 5)))
    for each in found:
        if each.state is State.WARNS:
            output.warn(f"{each.control} warns: {each.warning}")
        elif each.objection is not None:
            output.warn(f"{each.control} refuses: {each.objection.text}")


def halts_table(halts: Sequence[Halt]) -> str:
    rows = [
        (
            h.number,
            h.environment,
            h.mode,
            h.whose,
            f"{h.at:%Y-%m-%d %H:%M:%S}",
            h.by,
            _until(h),
            h.control or "-",
            h.note,
        )
        for h in halts
    ]
    return output.table(("Halt", "Where", "Mode", "Whose", "Since (UTC)", "By", "Until", "Control", "Note"), rows)


def halt_line(halt: Halt) -> str:
    return f"Halt {halt.number}: {halt.environment.value}, {halt.mode.value}, {halt.whose}"


def change_line(change: LimitChange) -> str:
    new = "default" if change.new is None else change.new
    line = f"Change {change.number}: {change.name} of {change.layer.value} {change.whose}: {change.old} -> {new}"
    if change.in_force:
        return line
    return f"{line}; it waits for another person: ibkit risk confirm {change.number} --by NAME"


def entry_document(entry: LimitChange | Halt) -> dict[str, Any]:
    import dataclasses

    kind = "halt" if isinstance(entry, Halt) else "limit"
    return {"kind": kind, **{field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}}


def _until(halt: Halt) -> str:
    return "released" if halt.until is None else _moment(halt.until)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
