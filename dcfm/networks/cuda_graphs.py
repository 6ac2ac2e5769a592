"""Calls of a network as CUDA graphs: its hundreds of small kernels are launched as one.

A small network's step on a GPU takes as long as the CPU takes to launch its kernels; a graph is recorded once for a
shape and launched whole from then on. Weights are read where they lie, so a graph stays right while an optimizer moves
them in place.

Without a gradient (teachers, peers, sampling), batches are padded to a few sizes, a graph each. With one, a shape is
recorded, forward and backward, once it has come up a few times; a batch of a size that changes from step to step is
never worth it and runs as it would without this module.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

Function = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""Evaluates a network at points, times and labels."""

LARGEST: Final = 1024
"""Rows beyond which a call without a gradient is not padded and recorded: the GPU has enough to do."""

PADDING: Final = 64
"""Batches without a gradient are padded to multiples of this."""

SEEN: Final = 2
"""Calls with a gradient and of one shape before it is recorded."""

SHAPES: Final = 4
"""Shapes that are recorded with a gradient, for one network."""


class Replays:
    """What was recorded of one network. Copies of the network record anew: they have other weights."""

    def __init__(self) -> None:
        self.inference: dict[tuple[Any, ...], _Inference] = {}
        self.training: dict[tuple[Any, ...], _Training] = {}
        self.seen: Counter[tuple[Any, ...]] = Counter()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Replays":
        return Replays()

    def __reduce__(self) -> tuple[type["Replays"], tuple[()]]:
        return Replays, ()

    def __call__(self, function: Function, network: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """``function(network, x, t, y)``, replayed where that is possible.

        Args:
            function: of no other input that changes; it must not wait for the GPU.
            network: the one that this object belongs to, on a GPU.
            x, t, y: inputs with the same number of rows, of which none asks for a gradient.
        """
        if x.requires_grad or not len(x):
            return function(network, x, t, y)
        with torch.cuda.device(x.device):  # streams and graphs are the current card's
            return self._replayed(function, network, x, t, y)

    def _replayed(self, function: Function, network: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if torch.is_grad_enabled() and any(p.requires_grad for p in network.parameters()):
            return self._with_gradient(function, network, x, t, y)
        return self._without_gradient(function, network, x, t, y)

    def _without_gradient(self, function: Function, network: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if len(x) > LARGEST:
            return function(network, x, t, y)
        rows = -(-len(x) // PADDING) * PADDING
        key = (rows, x.dtype, t.dtype)
        if key not in self.inference:
            self.inference[key] = _Inference.record(function, network, rows, x, t, y)
        return self.inference[key](x, t, y)

    def _with_gradient(self, function: Function, network: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        key = (x.shape, x.dtype, t.dtype, network.training)
        call = self.training.get(key)
        if call is None:
            self.seen[key] += 1
            if self.seen[key] <= SEEN or len(self.training) >= SHAPES:
                return function(network, x, t, y)
            call = self.training[key] = _Training.record(function, network, x, t, y)
        # One graph holds one call's activations: a second call before the first one's backward runs without it.
        return function(network, x, t, y) if call.pending else call(x, t, y)


@dataclass
class _Inference:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor

    @classmethod
    @torch.no_grad()
    def record(cls, function: Function, network: nn.Module, rows: int, x: Tensor, t: Tensor, y: Tensor) -> "_Inference":
        inputs = tuple(value.new_zeros(rows, *value.shape[1:]) for value in (x, t, y))
        pool = _pool(x.device)
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(network, *inputs)  # libraries set themselves up in a first call, which cannot be recorded
            stream.synchronize()
            graph.capture_begin(pool=pool)
            output = function(network, *inputs)
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        return cls(graph, inputs, output)

    def __call__(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        for own, given in zip(self.inputs, (x, t, y), strict=True):
            own[: len(given)].copy_(given)
        self.graph.replay()
        return self.output[: len(x)].clone()


class _Call(nn.Module):
    """A function of a network as a module."""

    def __init__(self, function: Function, network: nn.Module) -> None:
        super().__init__()
        self.function, self.network = function, network

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.function(self.network, x, t, y)


@dataclass
class _Training:
    call: Callable[..., Tensor]
    parameters: tuple[Tensor, ...]
    pending: bool = False

    @classmethod
    def record(cls, function: Function, network: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> "_Training":
        module = _Call(function, network)
        names, parameters = zip(*module.named_parameters(), strict=True)

        def evaluate(x: Tensor, t: Tensor, y: Tensor, *weights: Tensor) -> Tensor:
            return functional_call(module, dict(zip(names, weights, strict=True)), (x, t, y))

        # Leaves of their own on the same memory: a step in progress has tied the network's to another stream.
        leaves = tuple(p.detach().requires_grad_(p.requires_grad) for p in parameters)
        inputs = tuple(value.clone() for value in (x, t, y))
        call: Any = torch.cuda.make_graphed_callables(evaluate, (*inputs, *leaves), allow_unused_input=True)
        return cls(call, parameters)

    def __call__(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        output = self.call(x, t, y, *self.parameters)
        self.pending = True
        output.register_hook(self._done)
        return output

    def _done(self, gradient: Tensor) -> None:
        self.pending = False


@cache
def _pool(device: torch.device) -> Any:
    """The memory of all graphs without a gradient: they run one after the other, and what they return is copied."""
    pool, graph, stream = torch.cuda.graph_pool_handle(), torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        graph.capture_begin(pool=pool)
        torch.zeros(1, device=device)
        graph.capture_end()
    _HELD.append(graph)
    return pool


_HELD: list[torch.cuda.CUDAGraph] = []
"""A graph a device that lives as long as the process: torch takes a pool away with the last of its graphs."""
