"""The one training loop: AdamW, warm-up and cosine decay, clipping, EMA, progress, checkpoints, exact resume.

A trainer gives a loss, a function of a network and a generator; the loop moves the network until its steps are over.
Every random draw of a run comes from the loop's generator, or, for layers that draw for themselves as dropout does,
from torch's own, which the run's seed sets. Both states are part of the checkpoint: a run that was killed and resumed
equals one that was not, bit for bit on the CPU.

Started by ``torchrun``, several processes move one network (:mod:`dcfm.trainers.parallel`).
"""

import json
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dcfm.artefacts import save_tensors
from dcfm.trainers import parallel
from dcfm.weights import fingerprint

Loss = Callable[[nn.Module, int, torch.Generator], dict[str, Tensor]]
"""Given the network, the step (from 0) and the generator: the terms of the loss and, under ``"loss"``, their sum."""

ORIGIN: Final = "origin"

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (steps done, steps in all, the step's terms of the loss)."""


@dataclass(frozen=True)
class LoopConfig:
    """How a network is moved.

    Args:
        steps: optimizer steps.
        batch: samples of a step.
        learning_rate: highest learning rate of AdamW.
        warmup: steps over which the rate rises from 0; it then falls along a half cosine to ``floor`` of its height.
        floor: last learning rate as a fraction of the highest.
        weight_decay: AdamW's.
        clip: largest norm of a step's gradient.
        ema: decay of the exponential moving average of the weights, reached after a short ramp.
        checkpoint_every: steps between checkpoints.
    """

    steps: int = 10_000
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    floor: float = 0.01
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.checkpoint_every) < 1 or self.warmup < 0:
            raise ValueError(
                f"steps={self.steps}, batch={self.batch} and checkpoint_every={self.checkpoint_every} must be at least "
                f"1 and warmup={self.warmup} at least 0"
            )
        if any(number != int(number) for number in (self.steps, self.batch, self.checkpoint_every, self.warmup)):
            raise ValueError(f"steps, batch, checkpoint_every and warmup are whole numbers: {self}")
        if not (0 < self.learning_rate < math.inf and self.clip > 0 and 0 <= self.ema < 1 and 0 <= self.floor <= 1):
            raise ValueError(
                f"learning_rate={self.learning_rate} and clip={self.clip} must be positive, ema={self.ema} in [0, 1), "
                f"floor={self.floor} in [0, 1]"
            )
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay={self.weight_decay} must be at least 0")

    def rate(self, step: int) -> float:
        """Learning rate of step number ``step``, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * share)))


class ResumeError(ValueError):
    """A checkpoint that does not belong to the run that wants to resume from it."""


class TrainingError(FloatingPointError):
    """The loss is not finite."""


def fit(
    network: nn.Module,
    loss: Loss,
    config: LoopConfig,
    *,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
    stop_after: int | None = None,
) -> nn.Module:
    """Train ``network`` in place and return the EMA of its weights as a network of its own.

    Args:
        network: its parameters tell the device.
        loss: see :data:`Loss`.
        config: how.
        seed: of the run's generator.
        settings: what else a checkpoint must agree with to be resumed from, e.g. the objective.
        origin: hashes of the data and of the weights that the training comes from, which a checkpoint must agree with
            too; those of before they were recorded are taken at their word.
        checkpoint: file to write every ``config.checkpoint_every`` steps, and to resume from where it exists.
        progress: called after each step.
        snapshot: called with the step and the EMA network at each checkpoint, for learning curves.
        stop_after: leave after this many steps in all, as if killed (a checkpoint is written); for tests.

    Raises:
        ResumeError: the checkpoint is of another configuration, seed, origin or architecture.
        TrainingError: the loss or its gradient became NaN or infinite; the last checkpoint is left as it was.
    """
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    torch.manual_seed(seed)
    average = deepcopy(network).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    own = {"loop": asdict(config), "seed": seed, **(settings or {})} | (
        {} if origin is None else {ORIGIN: dict(origin)}
    )
    identity = json.dumps(own, sort_keys=True)
    done = 0
    if checkpoint is not None and checkpoint.exists():
        done = _restore(checkpoint, identity, network, average, optimizer, generator)
    last = config.steps if stop_after is None else min(stop_after, config.steps)
    network.train()
    whole = parallel.shared(network)
    for step in range(done, last):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        terms = loss(whole, step, generator)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        parallel.add_gradients(network)
        norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        _average(average, network, min(config.ema, (step + 1) / (step + 10)))
        values = _finite(terms, norm, step)
        if progress is not None and parallel.is_first():
            progress(step + 1, config.steps, values)
        if ((step + 1) % config.checkpoint_every == 0 or step + 1 == last) and parallel.is_first():
            if checkpoint is not None:
                _store(checkpoint, identity, step + 1, network, average, optimizer, generator)
            if snapshot is not None:
                snapshot(step + 1, average)
    return average


def _finite(terms: dict[str, Tensor], norm: Tensor, step: int) -> dict[str, float]:
    # All terms at once: on a GPU every look at a value waits for all work so far.
    *found, size = torch.stack([value.detach().double() for value in (*terms.values(), norm)]).tolist()
    values = dict(zip(terms, found, strict=True))
    if not math.isfinite(values["loss"]) or not math.isfinite(size):
        raise TrainingError(
            f"the loss is {values['loss']} and its gradient's norm {size} at step {step + 1} (terms: {values}); lower "
            "the learning rate or the clip, or look for non-finite data"
        )
    return values


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(network.parameters()), 0)
    for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)  # e.g. running statistics, which are averages already


SHA256: Final = "sha256"
"""Name of a checkpoint's hash over its tensors, in its metadata."""


def _store(
    path: Path,
    identity: str,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    names = [name for name, _ in network.named_parameters()]
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[index]}.{key}": torch.as_tensor(value) for key, value in entry.items()}
    tensors["generator"] = generator.get_state()
    tensors["torch"] = torch.get_rng_state()
    if generator.device.type == "cuda":
        tensors["torch.cuda"] = torch.cuda.get_rng_state(generator.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, tensors, metadata={"identity": identity, "step": str(step), SHA256: fingerprint([tensors])})


def _agrees(written: str, identity: str) -> bool:
    """Whether a checkpoint is of the run of this identity."""
    if written == identity:
        return True
    own = json.loads(identity)
    # Checkpoints of before origins were recorded tell settings alone.
    return written == json.dumps({key: value for key, value in own.items() if key != ORIGIN}, sort_keys=True)


def _restore(
    path: Path,
    identity: str,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    remedy = f"give the old settings back, or delete {path} (or choose another folder) to start anew"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:
        raise ResumeError(f"{path} is not a readable checkpoint ({error}); {remedy}") from error
    if metadata.get(SHA256, "") not in ("", fingerprint([tensors])):  # checkpoints of before lack it
        raise ResumeError(
            f"{path} was changed or damaged since it was written: its hash differs; delete it to start anew"
        )
    if not _agrees(metadata.get("identity", ""), identity):
        raise ResumeError(f"{path} was written with {metadata.get('identity')}, this run has {identity}; {remedy}")

    def part(name: str) -> dict[str, Tensor]:
        return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}

    try:
        network.load_state_dict(part("network"))
        average.load_state_dict(part("average"))
    except RuntimeError as error:
        raise ResumeError(f"{path} holds another architecture's weights; {remedy}") from error
    state: dict[int, dict[str, Tensor]] = {}
    names = {name: index for index, (name, _) in enumerate(network.named_parameters())}
    for key, value in part("optimizer").items():
        name, entry = key.rsplit(".", 1)
        state.setdefault(names[name], {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if "generator" not in tensors or "step" not in metadata:
        raise ResumeError(f"{path} lacks its random numbers' state or its step; delete it to start anew")
    if tensors["generator"].shape != generator.get_state().shape:
        raise ResumeError(
            f"{path} was written on another kind of device than {generator.device}, with other random numbers; go on "
            f"with device= as it was, or delete {path} to start anew"
        )
    generator.set_state(tensors["generator"].cpu())
    if "torch" in tensors:  # checkpoints of before lack it
        torch.set_rng_state(tensors["torch"].cpu())
    if "torch.cuda" in tensors and generator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["torch.cuda"].cpu(), generator.device)
    return int(metadata["step"])
