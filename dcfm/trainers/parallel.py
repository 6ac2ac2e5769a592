"""Data parallelism within a silo: several processes, each on its own GPU or machine, move one network together.

    torchrun --nproc-per-node 2 scripts/train_planner.py methods=[dcfm_b] workers=0

Every process draws the whole batch from the same generator, computes the network on its own share of the rows, and
gathers the outputs of the others; so every loss sees the whole batch, whatever it does with it. With rows ``B_p`` of
process ``p`` the gradient is a sum over processes,

    dL/dw = sum_p sum_{i in B_p} (dL/df_i) (df_i/dw),

of which each computes its own term. Hence all objectives here are trained as in one process, up to the order of sums.
"""

import os
import socket
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def started_by_torchrun() -> bool:
    """Whether this process is one of several that are to train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join() -> None:
    """Join the other processes that ``torchrun`` started, where there are any; again, or without any, do nothing."""
    if started_by_torchrun() and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        dist.init_process_group()  # gloo for tensors on the CPU, nccl for those on GPUs


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return not dist.is_initialized() or dist.get_rank() == 0


def wait() -> None:
    """Until all processes are here."""
    if ranks() > 1:
        dist.barrier()


def shared(network: nn.Module) -> nn.Module:
    """The network as all processes compute it together; itself where there is one."""
    return network if ranks() == 1 else Shared(network)


class Shared(nn.Module):
    """A network evaluated by all processes, each on its share of the rows; outputs of others carry no gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        each = -(-len(x) // ranks())
        # The last shares may run over the end: they repeat the last row, which is cut off below.
        rows = torch.arange(dist.get_rank() * each, (dist.get_rank() + 1) * each, device=x.device).clamp(max=len(x) - 1)
        own = self.network(x[rows], t[rows], y[rows], None if held is None else held[rows])
        parts = [torch.empty_like(own) for _ in range(ranks())]
        dist.all_gather(parts, own.detach().contiguous())
        parts[dist.get_rank()] = own
        return torch.cat(parts)[: len(x)]


def add_gradients(network: nn.Module) -> None:
    """Give every process the sum of all processes' gradients."""
    if ranks() == 1:
        return
    with_gradient = [p for p in network.parameters() if p.grad is not None]  # the same in all processes
    flat = torch.cat([p.grad.flatten() for p in with_gradient])  # type: ignore[union-attr]
    dist.all_reduce(flat)
    for parameter, piece in zip(with_gradient, flat.split([p.numel() for p in with_gradient]), strict=True):
        parameter.grad = piece.view_as(parameter)


def together(number: int, function: Callable[..., object], *arguments: object) -> None:
    """Call a function in ``number`` new processes of this machine that train together, as ``torchrun`` would; each uses
    one thread. They end with this process.

    Args:
        number: of processes.
        function: importable; calls :func:`join`, or something that does.
        arguments: picklable.

    Raises:
        Exception: what was raised in one of them; the others are ended.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    torch.multiprocessing.spawn(_call, (number, port, function, arguments), nprocs=number)  # type: ignore[attr-defined]


def _call(rank: int, number: int, port: int, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in place.items()})
    torch.set_num_threads(1)
    function(*arguments)
