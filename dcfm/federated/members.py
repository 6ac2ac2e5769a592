"""The server's view of the silos: who is there, who is asked what, what came back, who is left out and why.

A question is asked of a silo when its SuperNode is connected, and asked again when the silo failed, when its node was
lost, or when the node works no longer on it. The last is found out by a second, small question after some patience:
a SuperNode works on one message at a time, so an answer to the second alone means that the first is gone. A silo can be
asked twice for the same thing without harm, since it keeps what it has finished. In a simulation, where nodes share
workers, there is no second question.

Answers are checked by the exchange, entered into the ledger and kept on disk as they come, so that a server which is
started again asks only for what it does not have. A silo whose answer is no message of its kind (other architecture,
wrong shapes or types, NaN, velocities that no flow has) is left out by name, as is one that fails too often or comes
too late; the others go on as long as enough of them are left, and together cover the attributes (Eq. 2). Who was left
out stays left out when the server is started again (:mod:`dcfm.federated.left_out`), unless the phase came to nothing
without it.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from dcfm.artefacts import write_text_atomically
from dcfm.attributes import AttributeSpace
from dcfm.exchange import Exchange
from dcfm.federated import received
from dcfm.federated.left_out import LeftOut
from dcfm.federated.parcels import Parcel, kind_of, pack, scalar, unpack
from dcfm.federated.settings import Settings
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights

log = logging.getLogger(__name__)

POLL: Final = 0.5
"""Seconds between looks for answers."""
INTRODUCE: Final = "query.introduce"
MOST_SAMPLES: Final = 2**53
"""Of a silo, so that sums over silos stay exact."""
ANSWERS: Final = {
    INTRODUCE: {"scalars", "histogram"},
    "train.stage_one": {"weights"},
    "train.peers": {"weights"},
    "train.distil": {"weights"},
    "train.fedavg": {"weights"},
    "train.deliver": {"scalars"},
}
"""What a silo may answer to which question, exactly."""
LOST: Final = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE)
"""Errors of Flower's that say nothing of what the silo did; all others are failures of its process."""


class TooFewSilos(RuntimeError):
    """Not enough silos are left to go on. What they sent so far is on disk."""


@dataclass(frozen=True)
class _Flight:
    """A question on its way."""

    question: str
    node: int
    number: int | None
    since: float


@dataclass
class Members:
    """The silos of a run.

    Args:
        grid: Flower's.
        settings: of the run.
        space: the attributes that the silos must cover together.
        exchange: checks every payload and keeps the ledger.
        out: the server's folder.
        usable: raises ``ValueError`` for weights that nobody could go on with.
        clock: seconds.
        pause: waits so many seconds.
    """

    grid: Grid
    settings: Settings
    space: AttributeSpace
    exchange: Exchange
    out: Path
    usable: Callable[[Weights], None] = lambda weights: None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    histograms: dict[int, LabelHistogram] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    nodes: dict[int, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    run: str = ""
    _met: set[int] = field(default_factory=set)
    _strange: Counter[int] = field(default_factory=Counter)
    _refused: dict[int, str] = field(default_factory=dict)
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _left_out: LeftOut = field(init=False)
    _phase: str = "arrival"

    def __post_init__(self) -> None:
        self._left_out = LeftOut.read(self.out / "left_out.json")

    def name(self, number: int) -> str:
        """Of a silo."""
        return self.settings.silo_names[number]

    @property
    def numbers(self) -> list[int]:
        """Of the silos that take part, in order."""
        return sorted(n for n in self.histograms if n not in self.dropped)

    def gather(self) -> None:
        """Wait until all silos have introduced themselves, or ``arrival`` seconds; go on with those that have.

        Raises:
            TooFewSilos: they are fewer than ``fewest``, or do not cover the attributes.
        """
        for number in range(self.settings.silos):
            try:
                if (kept := self._kept("arrival", number)) is not None:
                    self.histograms[number] = self._histogram(kept)
            except ValueError as error:
                log.warning("what %s said on arrival is of no use, it is asked again: %s", self.name(number), error)
        self.dropped |= self._left_out.phases.get("arrival", {})
        self.report("running")
        begun = self.clock()
        end = begun + self.settings.arrival
        while len(self.histograms) + len(self.dropped) < self.settings.silos and self.clock() < end:
            self._meet()
            self._collect({}, {}, Counter())
            self.pause(POLL)
        for number in range(self.settings.silos):
            if number not in self.histograms and number not in self.dropped:
                self.dropped[number] = self._refused.get(
                    number, f"did not introduce itself within {self.settings.arrival:g} s"
                )
        self.seconds["arrival"] = round(self.clock() - begun, 1)
        self.check()
        self._left_out.note("arrival", self.dropped)  # written with the first phase that rests on it

    def ask(self, label: str, question: str, parcels: Mapping[int, Parcel]) -> dict[int, Parcel]:
        """Ask silos; returns the answers by number, without those of silos that are left out from now on.

        Args:
            label: of the phase, a folder under ``received``; answers found there are not asked for again.
            question: the message's type.
            parcels: what to send to whom.

        Raises:
            TooFewSilos: see above.
        """
        answers = self._asked(label, question, parcels)
        self.check()
        self._note(label, answers)
        return answers

    def deliver(self, parcels: Mapping[int, Parcel]) -> None:
        """Send silos the result, which is there by now: those that miss it are noted, however many they are."""
        answers = self._asked("deliver", "train.deliver", parcels)
        self.report("running")
        self._note("deliver", answers)

    def leave_out(self, label: str) -> None:
        """Leave out the silos that a phase, or one before it, went on without, by what is on disk."""
        self.dropped |= self._left_out.until(label)

    def _note(self, label: str, answers: Mapping[int, Parcel]) -> None:
        """Who was left out of a phase that came to something."""
        if answers:
            self._left_out.note(label, self.dropped)
            self._left_out.write()

    def _asked(self, label: str, question: str, parcels: Mapping[int, Parcel]) -> dict[int, Parcel]:
        self._phase, begun = label, self.clock()
        self.leave_out(label)
        wanted = {n: parcel for n, parcel in parcels.items() if n not in self.dropped}
        answers = {n: kept for n in wanted if (kept := self._kept(label, n)) is not None}
        waiting = {n: parcel for n, parcel in wanted.items() if n not in answers}
        failures: Counter[int] = Counter()
        end = self.clock() + self.settings.deadline
        self.report("running", waiting)
        while waiting and self.clock() < end:
            online = self._meet()
            asked = {flight.number for flight in self._flights.values() if flight.question == question}
            for number, parcel in waiting.items():
                if number not in asked and self.nodes.get(number) in online:
                    self._send(question, number, parcel)
            self._doubt(question)
            before = len(waiting)
            self._collect(waiting, answers, failures)
            if len(waiting) < before:
                self.report("running", waiting)
            if waiting:
                self.pause(POLL)
        for number in list(waiting):
            self._drop(number, f"gave no answer to {label} within {self.settings.deadline:g} s")
        self._flights = {key: flight for key, flight in self._flights.items() if flight.question == INTRODUCE}
        self.seconds[label] = round(self.clock() - begun, 1)
        return {n: answers[n] for n in sorted(answers)}

    def check(self) -> None:
        """Raise :class:`TooFewSilos` unless those that are left can go on; writes the status."""
        left, reason = self.numbers, None
        if len(left) < self.settings.fewest:
            reason = f"{len(left)} silos are left, {self.settings.fewest} are needed"
        else:
            try:
                self.space.check_coverage(LabelHistogram.merge([self.histograms[n] for n in left]).combinations)
            except ValueError as error:
                reason = f"the silos that are left do not suffice: {error}"
        if reason is None:
            self.report("running")
            return
        gone = "; ".join(f"{self.name(n)} {why}" for n, why in sorted(self.dropped.items())) or "none was left out"
        raise TooFewSilos(f"{reason} ({gone}). All that was received is kept in {self.out}; start the run again")

    def _write_ledger(self) -> None:
        """Before what it tells of can no longer be told again: a question goes out, or an answer counts as there."""
        self.exchange.ledger.to_jsonl(self.out / "ledger.jsonl")

    def report(self, state: str, waiting: Mapping[int, Parcel] | None = None, **more: str) -> None:
        """Write ``status.json`` and the ledger."""
        self._write_ledger()
        status = {
            "run": self.run,
            "state": state,
            "phase": self._phase,
            "waiting_for": [self.name(n) for n in waiting or {}],
            "silos": [self.name(n) for n in self.numbers],
            "left_out": {self.name(n): why for n, why in sorted(self.dropped.items())},
            "seconds": self.seconds,
            **more,
        }
        write_text_atomically(self.out / "status.json", json.dumps(status, indent=2) + "\n")

    def _meet(self) -> set[int]:
        """Introduce nodes that are new; returns those that are connected."""
        online = set(self.grid.get_node_ids())
        self._met &= online
        for node in sorted(online - self._met):
            self._met.add(node)
            self._push(INTRODUCE, node, None, {})
        return online

    def _doubt(self, question: str) -> None:
        """A second question to nodes that have been silent for long, see the module's text."""
        if self.settings.engine == "simulation":  # whose other worker answers it while the first still trains
            return
        now = self.clock()
        pinged = {flight.node for flight in self._flights.values() if flight.question == INTRODUCE}
        for flight in list(self._flights.values()):
            silent = flight.question == question and now - flight.since > self.settings.patience
            if silent and flight.node not in pinged:
                pinged.add(flight.node)
                self._push(INTRODUCE, flight.node, flight.number, {})

    def _send(self, question: str, number: int, parcel: Parcel) -> None:
        for key, payload in parcel.items():
            self.exchange.download(self.name(number), kind_of(key), payload)
        self._write_ledger()
        self._push(question, self.nodes[number], number, parcel)

    def _push(self, question: str, node: int, number: int | None, parcel: Parcel) -> None:
        # Flower's own limit of an answer's age, 12 hours, is less than a long training may need.
        ttl = max(self.settings.deadline, 43_200.0)
        message = Message(pack(parcel), dst_node_id=node, message_type=question, group_id=self._phase, ttl=ttl)
        for key in self.grid.push_messages([message]):
            if key is not None:
                self._flights[key] = _Flight(question, node, number, self.clock())

    def _collect(self, waiting: dict[int, Parcel], answers: dict[int, Parcel], failures: Counter[int]) -> None:
        """Take what has come back: move silos from ``waiting`` to ``answers``, or leave them out."""
        if not self._flights:
            return
        replies = list(self.grid.pull_messages(list(self._flights)))
        # Answers proper first: a second question's answer that came with them tells of no loss.
        asked = {key: flight.question for key, flight in self._flights.items()}
        replies.sort(key=lambda reply: asked.get(reply.metadata.reply_to_message_id) == INTRODUCE)
        for reply in replies:
            flight = self._flights.pop(reply.metadata.reply_to_message_id, None)
            if flight is None:
                continue
            if flight.question == INTRODUCE:
                self._introduced(reply, flight)
            elif flight.number in waiting:
                self._answered(reply, flight, flight.number, waiting, answers, failures)

    def _introduced(self, reply: Message, flight: _Flight) -> None:
        """Note which silo a node is; questions to the same node that are older than this one are lost."""
        if reply.has_error():
            self._strange[flight.node] += 1
            if self._strange[flight.node] < self.settings.attempts:
                self._met.discard(flight.node)  # so that it is asked again
            log.warning("node %d did not introduce itself: %s", flight.node, reply.error.reason)
            return
        try:
            parcel = self._opened(reply, INTRODUCE)
            number = scalar(parcel, "number")
            if not 0 <= number < self.settings.silos:
                raise ValueError(f"its number {number} is none of 0 to {self.settings.silos - 1}")
        except Exception as error:  # whatever a node sends, the run goes on
            log.warning("node %d is no silo of this run: %s", flight.node, _said(error))
            return
        if (other := self.nodes.get(number)) not in (None, flight.node) and other in self._met:
            log.warning(
                "nodes %s and %d both say that they are %s; the first counts", other, flight.node, self.name(number)
            )
            return
        try:
            histogram = self._histogram(parcel)
            copies = self._entered(number, parcel)
        except Exception as error:
            self._refused[number] = f"was rejected at {INTRODUCE}: {_said(error)}"
            log.warning("%s %s", self.name(number), self._refused[number])
            return
        self.nodes[number] = flight.node
        if number not in self.histograms:
            self._keep("arrival", number, copies)
            self.histograms[number] = histogram
        lost = [k for k, f in self._flights.items() if f.number == number and f.since < flight.since]
        for key in lost:
            log.warning(
                "%s no longer works on %s; it is asked again", self.name(number), self._flights.pop(key).question
            )

    def _answered(
        self,
        reply: Message,
        flight: _Flight,
        number: int,
        waiting: dict[int, Parcel],
        answers: dict[int, Parcel],
        failures: Counter[int],
    ) -> None:
        if reply.has_error():
            reason = reply.error.reason or "no reason given"
            if reply.error.code in LOST:  # the node or its connection, not the silo's work
                log.warning("%s was lost (%s); it is asked again when it is back", self.name(number), reason)
                return
            failures[number] += 1
            log.warning("%s: %s", self.name(number), reason)
            if failures[number] >= self.settings.attempts:
                del waiting[number]
                self._drop(number, f"failed {failures[number]} times at {flight.question}: {reason}")
            return
        try:
            answer = self._entered(number, self._opened(reply, flight.question))
        except Exception as error:  # whatever a silo sends, the others go on
            self._drop(number, f"was rejected at {flight.question}: {_said(error)}")
        else:
            self._keep(self._phase, number, answer)
            answers[number] = answer
        del waiting[number]

    def _opened(self, reply: Message, question: str) -> Parcel:
        parcel = unpack(reply.content)
        if set(parcel) != ANSWERS[question]:
            raise ValueError(f"it sent {sorted(parcel)}; the answer to {question} is {sorted(ANSWERS[question])}")
        return parcel

    def _histogram(self, parcel: Parcel) -> LabelHistogram:
        """Of an introduction, over the attributes of this run or an error."""
        given, own = parcel["histogram"].get("cardinalities"), self.space.cardinalities
        if given is None or given.reshape(-1)[: len(own) + 1].tolist() != list(own):
            shown = None if given is None else given.reshape(-1)[: len(own) + 1].tolist()
            raise ValueError(f"its label histogram is over attributes of {shown} values, this run's have {list(own)}")
        histogram = LabelHistogram.from_state_dict(parcel["histogram"])
        if float(histogram.counts.double().sum()) > MOST_SAMPLES:
            raise ValueError(f"its label histogram counts more than {MOST_SAMPLES} samples")
        return histogram

    def _entered(self, number: int, parcel: Parcel) -> Parcel:
        """Check all and enter all into the ledger, or nothing; returns the server's copies."""
        before = len(self.exchange.ledger.messages)
        try:
            copies = {k: self.exchange.upload(self.name(number), kind_of(k), payload) for k, payload in parcel.items()}
            if "weights" in copies:
                self.usable(copies["weights"])
            return copies
        except Exception:
            del self.exchange.ledger.messages[before:]
            raise

    def _keep(self, label: str, number: int, parcel: Parcel) -> None:
        self._write_ledger()
        received.keep(self.out / "received" / label / str(number), parcel)

    def _kept(self, label: str, number: int) -> Parcel | None:
        return received.kept(self.out / "received" / label / str(number))

    def _drop(self, number: int, why: str) -> None:
        self.dropped[number] = why
        log.error("%s is left out: it %s", self.name(number), why)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else repr(error)
