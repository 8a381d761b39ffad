"""Telling people and machines what happens: alerts to channels, figures to whoever asks for them.

Nothing heavy is imported until something is delivered.
"""

from __future__ import annotations

from ibkit.notify.addresses import Guard
from ibkit.notify.dispatcher import Dispatcher
from ibkit.notify.failed import DeliveryFailed
from ibkit.notify.metrics import METRICS, Metrics
from ibkit.notify.minutes import Recorder
from ibkit.notify.services import Services
from ibkit.notify.webhook import Webhook

__all__ = ["METRICS", "DeliveryFailed", "Dispatcher", "Guard", "Metrics", "Recorder", "Services", "Webhook"]
