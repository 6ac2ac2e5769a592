"""Who was left out in which phase, on disk: a run that goes on leaves out the same silos at the same places.

What later phases computed rests on who took part in the earlier ones. So a silo that a phase went on without stays left
out when the server is started again, from that phase on and no sooner: its earlier answers were used.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dcfm.artefacts import write_text_atomically


@dataclass
class LeftOut:
    """The silos that were left out, by phase in the order of the phases.

    Args:
        path: of the file.
        phases: why, by phase and silo's number; a phase that nobody was left out of is there too.
    """

    path: Path
    phases: dict[str, dict[int, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "LeftOut":
        """What :meth:`write` wrote; nothing if there is no file.

        Raises:
            ValueError: another file.
        """
        if not path.exists():
            return cls(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {label: {int(n): str(why) for n, why in gone.items()} for label, gone in found.items()})
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} does not tell who was left out ({error}); choose another out=") from error

    def until(self, label: str) -> dict[int, str]:
        """Who was left out up to a phase, itself included; in all of them if it is none of them."""
        labels = list(self.phases)
        past = labels[: labels.index(label) + 1] if label in self.phases else labels
        return {number: why for phase in past for number, why in self.phases[phase].items()}

    def note(self, label: str, dropped: Mapping[int, str]) -> None:
        """Enter a phase and those of ``dropped`` that no phase names yet."""
        known = {number for gone in self.phases.values() for number in gone}
        gone = {number: why for number, why in dropped.items() if number not in known}
        self.phases[label] = self.phases.get(label, {}) | gone

    def write(self) -> None:
        """Write the file, whole or not at all."""
        write_text_atomically(self.path, json.dumps(self.phases, indent=2) + "\n")
