"""Which node is which silo, by what nodes say of themselves.

The first node that says a number has it as long as it is connected. Another one that says the same is asked again when
the first is gone, or is another silo. A node that says another number than before is no longer the silo that it was.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass
class Introductions:
    """What is known of nodes.

    Args:
        attempts: times that a node which fails to introduce itself is asked in all.
        name: of a silo, by its number.
        nodes: by silo's number.
        strangers: why a node is no silo yet, by node.
    """

    attempts: int
    name: Callable[[int], str]
    nodes: dict[int, int] = field(default_factory=dict)
    strangers: dict[int, str] = field(default_factory=dict)
    _met: set[int] = field(default_factory=set)
    _failures: Counter[int] = field(default_factory=Counter)
    _second: dict[int, int] = field(default_factory=dict)

    def due(self, online: set[int]) -> list[int]:
        """Those of the connected nodes that are to be asked who they are; they count as asked from now on."""
        self._met &= online
        for node, number in list(self._second.items()):
            if self.nodes.get(number) not in online:
                del self._second[node]
                self._met.discard(node)
        due = sorted(online - self._met)
        self._met |= online
        return due

    def failed(self, node: int, why: str) -> None:
        """A node could not say who it is; it is asked again, unless it has failed too often."""
        self._failures[node] += 1
        self.refuse(node, f"failed to introduce itself: {why}")
        if self._failures[node] < self.attempts:
            self._met.discard(node)

    def refuse(self, node: int, why: str) -> None:
        """A node is no silo, and is not asked again while it stays connected."""
        self.strangers[node] = why
        log.warning("node %d %s", node, why)

    def first(self, number: int, node: int) -> bool:
        """Whether a node that says a number is the first one connected to do so."""
        other = self.nodes.get(number)
        if other is None or other == node or other not in self._met:
            return True
        self._second[node] = number
        self.refuse(node, f"says that it is {self.name(number)}, as node {other} did before; the first counts")
        return False

    def moved(self, number: int, node: int) -> list[int]:
        """The numbers that a node, which says this one, had until now; it has none of them any more."""
        before = [other for other, had in self.nodes.items() if had == node and other != number]
        for other in before:
            del self.nodes[other]
            log.warning("node %d said that it is %s; now it is %s", node, self.name(other), self.name(number))
        return before

    def accept(self, number: int, node: int) -> None:
        """From now on the node is the silo."""
        self.nodes[number] = node
        self.strangers.pop(node, None)
        self._second.pop(node, None)

    def given_up(self, online: set[int]) -> bool:
        """Whether every connected node is a silo, or was asked who it is for the last time."""
        gone = self.strangers.keys() - self._second.keys()
        return online <= self._met and online <= gone | set(self.nodes.values())

    def told(self) -> str:
        """Which nodes are no silo and why, or nothing."""
        return "; ".join(f"node {node} {why}" for node, why in sorted(self.strangers.items()))
