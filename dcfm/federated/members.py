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
from dcfm.federated.answers import histogram_of, opened, said
from dcfm.federated.flights import INTRODUCE, Flight, Flights
from dcfm.federated.introductions import Introductions
from dcfm.federated.left_out import LeftOut
from dcfm.federated.parcels import Parcel, kind_of, pack, scalar
from dcfm.federated.settings import Settings
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights, fingerprint

log = logging.getLogger(__name__)

POLL: Final = 0.5
"""Seconds between looks for answers."""
LOST: Final = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE)
"""Errors of Flower's that say nothing of what the silo did; all others are failures of its process."""


class TooFewSilos(RuntimeError):
    """Not enough silos are left to go on. What they sent so far is on disk."""


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
    seconds: dict[str, float] = field(default_factory=dict)
    run: str = ""
    _refused: dict[int, str] = field(default_factory=dict)
    _flights: Flights = field(init=False)
    _introductions: Introductions = field(init=False)
    _left_out: LeftOut = field(init=False)
    _phase: str = "arrival"

    def __post_init__(self) -> None:
        self._flights = Flights(self.grid, lambda: self.clock())
        self._introductions = Introductions(self.settings.attempts, self.name)
        self._left_out = LeftOut.read(self.out / "left_out.json")

    def name(self, number: int) -> str:
        """Of a silo."""
        return self.settings.silo_names[number]

    @property
    def numbers(self) -> list[int]:
        """Of the silos that take part, in order."""
        return sorted(n for n in self.histograms if n not in self.dropped)

    def took_part(self, label: str) -> list[int]:
        """Numbers of the silos that answered a phase, in order, whatever became of them later; by what is on disk."""
        gone = self._left_out.until(label)
        return sorted(n for n in self.histograms if n not in gone)

    def gather(self) -> None:
        """Wait until all silos have introduced themselves, or ``arrival`` seconds; go on with those that have.

        Where too few have and no node is left that might, there is no waiting.

        Raises:
            TooFewSilos: they are fewer than ``fewest``, or do not cover the attributes.
        """
        for number in range(self.settings.silos):
            try:
                if (kept := self._kept("arrival", number)) is not None:
                    self.histograms[number] = histogram_of(kept, self.space)
            except ValueError as error:
                log.warning("what %s said on arrival is of no use, it is asked again: %s", self.name(number), error)
        self.dropped |= self._left_out.phases.get("arrival", {})
        self.report("running")
        begun = self.clock()
        end = begun + self.settings.arrival
        why = f"did not introduce itself within {self.settings.arrival:g} s"
        while len(self.histograms.keys() | self.dropped.keys()) < self.settings.silos and self.clock() < end:
            online = self._meet()
            self._collect({}, {}, Counter())
            enough = len(self.numbers) >= self.settings.fewest
            if not (enough or self._flights.flying) and self._hopeless(online):
                why = "did not introduce itself"
                break
            self.pause(POLL)
        for number in range(self.settings.silos):
            if number not in self.histograms and number not in self.dropped:
                self.dropped[number] = self._refused.get(number, why)
        self.seconds["arrival"] = round(self.clock() - begun, 1)
        self.check()
        self._left_out.note("arrival", self.dropped)  # written with the first phase that rests on it

    def _hopeless(self, online: set[int]) -> bool:
        """Whether as many nodes as there are silos are connected, and none is asked any more who it is."""
        return len(online) >= self.settings.silos and self._introductions.given_up(online)

    def ask(self, label: str, question: str, parcels: Mapping[int, Parcel]) -> dict[int, Parcel]:
        """Ask silos; returns the answers by number, without those of silos that are left out from now on.

        Args:
            label: of the phase, a folder under ``received``; answers found there are not asked for again.
            question: the message's type.
            parcels: what to send to whom.

        Raises:
            TooFewSilos: see above.
        """
        answers = self._asked(label, question, parcels, needed=True)
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

    def _asked(
        self, label: str, question: str, parcels: Mapping[int, Parcel], needed: bool = False
    ) -> dict[int, Parcel]:
        """Answers by number. Where they are ``needed``, the others are not waited for once too few silos are left."""
        self._phase, begun = label, self.clock()
        self.leave_out(label)
        wanted = {n: parcel for n, parcel in parcels.items() if n not in self.dropped}
        answers = {n: kept for n in wanted if (kept := self._kept(label, n, wanted[n])) is not None}
        waiting = {n: parcel for n, parcel in wanted.items() if n not in answers}
        failures: Counter[int] = Counter()
        end = self.clock() + self.settings.deadline
        self.report("running", waiting)
        while waiting and self.clock() < end:
            online = self._meet()
            asked = {flight.number for flight in self._flights.of(question)}
            for number, parcel in waiting.items():
                if number not in asked and self._introductions.nodes.get(number) in online:
                    self._send(question, number, parcel)
            self._doubt(question)
            before = len(waiting)
            self._collect(waiting, answers, failures)
            if len(waiting) < before:
                if needed and self._lacking():
                    self.check()
                self.report("running", waiting)
            if waiting:
                self.pause(POLL)
        for number in list(waiting):
            why = f"gave no answer to {label} within {self.settings.deadline:g} s"
            self._drop(number, self._refused.get(number, why))
        self._flights.keep(lambda flight: flight.question == INTRODUCE)
        self.seconds[label] = round(self.clock() - begun, 1)
        return {n: answers[n] for n in sorted(answers)}

    def check(self) -> None:
        """Raise :class:`TooFewSilos` unless those that are left can go on; writes the status."""
        if (reason := self._lacking()) is None:
            self.report("running")
            return
        gone = "; ".join(f"{self.name(n)} {why}" for n, why in sorted(self.dropped.items())) or "none was left out"
        strangers = f"; {told}" if (told := self._introductions.told()) else ""
        kept = f"All that was received is kept in {self.out}; start the run again"
        raise TooFewSilos(f"{reason} ({gone}{strangers}). {kept}")

    def _lacking(self) -> str | None:
        """Why those that are left cannot go on, if they cannot."""
        left = self.numbers
        if len(left) < self.settings.fewest:
            return f"{len(left)} silos are left, {self.settings.fewest} are needed"
        try:
            self.space.check_coverage(LabelHistogram.merge([self.histograms[n] for n in left]).combinations)
        except ValueError as error:
            return f"the silos that are left do not suffice: {error}"
        return None

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
        for node in self._introductions.due(online):
            self._push(INTRODUCE, node, None, {})
        return online

    def _doubt(self, question: str) -> None:
        """A second question to nodes that have been silent for long, see the module's text."""
        if self.settings.engine == "simulation":  # whose other worker answers it while the first still trains
            return
        now = self.clock()
        pinged = {flight.node for flight in self._flights.of(INTRODUCE)}
        for flight in self._flights.of(question):
            if now - flight.since > self.settings.patience and flight.node not in pinged:
                pinged.add(flight.node)
                self._push(INTRODUCE, flight.node, flight.number, {})

    def _send(self, question: str, number: int, parcel: Parcel) -> None:
        for key, payload in parcel.items():
            self.exchange.download(self.name(number), kind_of(key), payload)
        self._write_ledger()
        self._push(question, self._introductions.nodes[number], number, parcel)

    def _push(self, question: str, node: int, number: int | None, parcel: Parcel) -> None:
        # Flower's own limit of an answer's age, 12 hours, is less than a long training may need.
        ttl = max(self.settings.deadline, 43_200.0)
        message = Message(pack(parcel), dst_node_id=node, message_type=question, group_id=self._phase, ttl=ttl)
        self._flights.send(message, number)

    def _collect(self, waiting: dict[int, Parcel], answers: dict[int, Parcel], failures: Counter[int]) -> None:
        """Take what has come back: move silos from ``waiting`` to ``answers``, or leave them out."""
        for flight, reply in self._flights.landed():
            if flight.question == INTRODUCE:
                self._introduced(reply, flight)
            elif flight.number in waiting:
                self._answered(reply, flight, flight.number, waiting, answers, failures)

    def _introduced(self, reply: Message | Exception, flight: Flight) -> None:
        """Note which silo a node is; questions to the same node that are older than this one are lost."""
        node, known = flight.node, self._introductions
        if isinstance(reply, Message) and reply.has_error():
            known.failed(node, reply.error.reason or "no reason given")
            return
        try:
            parcel = opened(reply, INTRODUCE)
            number = scalar(parcel, "number")
            if not 0 <= number < self.settings.silos:
                raise ValueError(f"its number {number} is none of 0 to {self.settings.silos - 1}")
        except Exception as error:  # whatever a node sends, the run goes on
            known.refuse(node, f"is no silo of this run: {said(error)}")
            return
        if not known.first(number, node):
            return
        for other in known.moved(number, node):
            self._forget(other)
        try:
            self._arrived(number, parcel)
        except Exception as error:
            self._refused[number] = f"was rejected at {INTRODUCE}: {said(error)}"
            known.nodes.pop(number, None)  # a silo whose data changed meanwhile is asked no more
            known.refuse(node, f"is {self.name(number)}, which {self._refused[number]}")
        else:
            known.accept(number, node)
            self._refused.pop(number, None)
        for lost in self._flights.lose(flight, number):
            log.warning("%s no longer works on %s", self.name(number), lost.question)

    def _arrived(self, number: int, parcel: Parcel) -> None:
        """Take a silo's label histogram, instead of one that the number stood for before and nothing rests on."""
        histogram, before = histogram_of(parcel, self.space), self.histograms.get(number)
        same = before is not None and fingerprint([before.state_dict()]) == fingerprint([histogram.state_dict()])
        if before is not None and not same and self._rests(number):
            raise ValueError(
                "its label histogram is another than on arrival; bring back the data and the suppress that it had "
                "then, or start a run with another out="
            )
        copies = self._entered(number, parcel)
        if same:
            return
        if before is not None:
            log.warning("the label histogram of %s is another than before; it counts from now on", self.name(number))
        self._keep("arrival", number, copies)
        self.histograms[number] = histogram

    def _forget(self, number: int) -> None:
        """What came from a node that said a silo's number by mistake, while nothing rests on it."""
        if number in self.histograms and not self._rests(number):
            del self.histograms[number]
            received.forget(self.out / "received" / "arrival" / str(number))

    def _rests(self, number: int) -> bool:
        """Whether a phase after arrival has the silo's answer, or is over."""
        answered = {path.parent.name for path in (self.out / "received").glob(f"*/{number}")}
        return bool((answered | self._left_out.phases.keys()) - {"arrival"})

    def _answered(
        self,
        reply: Message | Exception,
        flight: Flight,
        number: int,
        waiting: dict[int, Parcel],
        answers: dict[int, Parcel],
        failures: Counter[int],
    ) -> None:
        if isinstance(reply, Message) and reply.has_error():
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
            answer = self._entered(number, opened(reply, flight.question))
        except Exception as error:  # whatever a silo sends, the others go on
            self._drop(number, f"was rejected at {flight.question}: {said(error)}")
        else:
            self._keep(self._phase, number, answer, waiting[number])
            answers[number] = answer
        del waiting[number]

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

    def _keep(self, label: str, number: int, parcel: Parcel, sent: Parcel | None = None) -> None:
        self._write_ledger()
        received.keep(self.out / "received" / label / str(number), parcel, sent)

    def _kept(self, label: str, number: int, sent: Parcel | None = None) -> Parcel | None:
        return received.kept(self.out / "received" / label / str(number), sent)

    def _drop(self, number: int, why: str) -> None:
        self.dropped[number] = why
        log.error("%s is left out: it %s", self.name(number), why)
