"""What `ibkit doctor` looks at besides settings and keys: a module for each kind of thing that may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from ibkit.upkeep.checks import Check, check_all

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["of_installation"]


def of_installation(
    settings: Settings, environ: Mapping[str, str], *, now: datetime, of_settings: bool = True
) -> list[Check]:
    """What can be seen without the network, in the order in which to mend it. of_settings: also the settings' login."""
    from ibkit.upkeep.diagnosis.modes import check_modes
    from ibkit.upkeep.diagnosis.network import check_gateway_folder
    from ibkit.upkeep.diagnosis.state import check_state
    from ibkit.upkeep.diagnosis.surroundings import check_surroundings

    return [
        *check_surroundings(settings, environ),
        *(check_all(settings, now=now) if of_settings else ()),
        *check_modes(settings),
        *check_state(settings, now=now),
        *(check_gateway_folder(settings) if of_settings else ()),
    ]
