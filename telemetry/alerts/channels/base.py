"""What every channel can do: check an address, show it without its secret, send one message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from telemetry.alerts.messages import Message


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Opened secrets, in memory for one sending; never printed."""

    address: str
    secret: str = ""


class Channel(ABC):
    # Whether it has a secret of its own that the receiver is given once.
    signs = False
    address_label = "Address"
    address_help = ""

    @abstractmethod
    def clean(self, address: str) -> str:
        """The address as it is kept. Raises Invalid."""

    @abstractmethod
    def shown(self, address: str) -> str:
        """The address as anybody may read it."""

    @abstractmethod
    def send(self, target: Target, message: Message) -> str:
        """What the other side answered, in a few words. Raises NotDelivered."""
