"""The environment, a settings file and flags → one frozen, typed value; a bad one stops the start with its name."""

from __future__ import annotations

from ibkit.settings.addresses import Address
from ibkit.settings.credentials import read_credentials, read_file, read_private_key
from ibkit.settings.groups import AREAS, VARIABLES
from ibkit.settings.loading import load, load_defaults
from ibkit.settings.method import MethodChoice
from ibkit.settings.problems import Problem
from ibkit.settings.production import is_production, production_problems, refuse_unready
from ibkit.settings.sources import Found
from ibkit.settings.value import Settings
from ibkit.settings.variables import Variable, masked

__all__ = [
    "AREAS",
    "VARIABLES",
    "Address",
    "Found",
    "MethodChoice",
    "Problem",
    "Settings",
    "Variable",
    "is_production",
    "load",
    "load_defaults",
    "masked",
    "production_problems",
    "read_credentials",
    "read_file",
    "read_private_key",
    "refuse_unready",
]
