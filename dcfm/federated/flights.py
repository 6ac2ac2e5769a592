"""Questions on their way to nodes, and what came back of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

INTRODUCE: Final = "query.introduce"
"""The question to a node who it is, and, while it is silent, whether it still works on another."""


@dataclass(frozen=True)
class Flight:
    """A question on its way: to which node, as which silo's if that is known, since when."""

    question: str
    node: int
    number: int | None
    since: float


@dataclass
class Flights:
    """All questions on their way.

    Args:
        grid: Flower's.
        clock: seconds.
    """

    grid: Grid
    clock: Callable[[], float]
    flying: dict[str, Flight] = field(default_factory=dict)

    def send(self, message: Message, number: int | None) -> None:
        """Send a question, which is on its way then unless Flower refuses it."""
        metadata = message.metadata
        for key in self.grid.push_messages([message]):
            if key is not None:
                self.flying[key] = Flight(metadata.message_type, metadata.dst_node_id, number, self.clock())

    def landed(self) -> list[tuple[Flight, Message | Exception]]:
        """What has come back, introductions last; an exception where nobody can read what a node sent.

        They are fetched one by one, since a SuperLink forgets what it hands over: of several together nobody could tell
        whose was the one. An answer that claims to be another question's is none.
        """
        found = []
        # Introductions are fetched first: what a node answered before its introduction is there by then.
        for key in sorted(self.flying, key=lambda key: self.flying[key].question != INTRODUCE):
            try:
                replies = [r for r in self.grid.pull_messages([key]) if r.metadata.reply_to_message_id == key]
            except (httpx.HTTPError, OSError):  # the SuperLink's, no node's
                raise
            except Exception as error:
                replies = [error]
            if replies:
                found.append((self.flying.pop(key), replies[0]))
        # Answers proper first: an introduction that came with them tells of no loss.
        return sorted(found, key=lambda pair: pair[0].question == INTRODUCE)

    def lose(self, introduced: Flight, number: int) -> list[Flight]:
        """Take out, and return, what a node that has introduced itself as silo ``number`` works no longer on."""

        def lost(flight: Flight) -> bool:
            its = flight.number == number or (flight.number is not None and flight.node == introduced.node)
            return its and flight.since < introduced.since

        found = [flight for flight in self.flying.values() if lost(flight)]
        self.keep(lambda flight: not lost(flight))
        return found

    def keep(self, which: Callable[[Flight], bool]) -> None:
        """Forget all others."""
        self.flying = {key: flight for key, flight in self.flying.items() if which(flight)}

    def of(self, question: str) -> list[Flight]:
        """Those with a question."""
        return [flight for flight in self.flying.values() if flight.question == question]
