"""IBKR's order algorithms, as data.

Source: docs/facts/contracts-and-market-data.md §1.14 and the OpenAPI examples there referred to. Parameters stand here
where a source shows them; the others' are not known and stay empty. Descriptions are ours.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ALGOS"]


def _algo(name: str, algo_id: str, description: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "id": algo_id, "description": f"<p>{description}</p>", "parameters": list(parameters)}


def _max_share(rank: int) -> dict[str, Any]:
    return {
        "guiRank": rank,
        "minValue": 0.01,
        "maxValue": 50,
        "name": "Max Percentage",
        "description": "From 0.01 to 50.0",
        "id": "maxPctVol",
        "valueClassName": "Double",
    }


def _flag(rank: int, name: str, parameter_id: str) -> dict[str, Any]:
    return {"guiRank": rank, "defaultValue": False, "name": name, "id": parameter_id, "valueClassName": "Boolean"}


def _choice(rank: int, name: str, parameter_id: str, default: str, *words: str) -> dict[str, Any]:
    return {
        "guiRank": rank,
        "defaultValue": default,
        "name": name,
        "id": parameter_id,
        "legalStrings": list(words),
        "required": "true",
        "valueClassName": "String",
    }


def _time(rank: int, name: str, parameter_id: str, description: str) -> dict[str, Any]:
    return {
        "guiRank": rank,
        "name": name,
        "description": description,
        "id": parameter_id,
        "valueClassName": "Time",
    }


ALGOS: tuple[dict[str, Any], ...] = (
    _algo(
        "Adaptive",
        "Adaptive",
        "Works a market or limit order between bid and ask.",
        _choice(1, "Adaptive order priority/urgency", "adaptivePriority", "Normal", "Urgent", "Normal", "Patient"),
    ),
    _algo(
        "Arrival Price",
        "ArrivalPx",
        "Aims at the middle of bid and ask at the time of the order.",
        _choice(3, "Urgency/Risk aversion", "riskAversion", "Neutral", "GetDone", "Aggressive", "Neutral", "Passive"),
        _flag(6, "Allow trading past end time", "allowPastEndTime"),
        _flag(7, "Attempt completion by EOD", "forceCompletion"),
        _time(4, "Start Time", "startTime", "Defaults to start of market trading"),
        _max_share(2) | {"required": "true"},
        _time(5, "End Time", "endTime", "Defaults to end of market trading"),
    ),
    _algo("Close Price", "ClosePx", "Aims at the closing price."),
    _algo("DarkIce", "DarkIce", "Shows only a part of the order."),
    _algo("Percentage of Volume", "PctVol", "Takes a share of the volume."),
    _algo("Price Variant Percentage of Volume", "PctVolPx", "Takes a share of the volume that depends on the price."),
    _algo("Size Variant Percentage of Volume", "PctVolSz", "Takes a share of the volume that depends on what is left."),
    _algo("TWAP", "Twap", "Spreads the order evenly over time."),
    _algo("Time Variant Percentage of Volume", "PctVolTm", "Takes a share of the volume that depends on the time."),
    _algo("VWAP", "Vwap", "Aims at the volume-weighted average price.", _max_share(1)),
)
