"""The image task is a task, its network a field of its shape, and its batches are painted by their labels."""

import torch

from dcfm.fields import Field
from dcfm.task import Task
from dcfm_images.colours import COLOURS
from dcfm_images.task import ImageTask

TASK = ImageTask(size=8, channels=(8, 16), condition=16, heads=2)


def test_it_is_a_task() -> None:
    assert isinstance(TASK, Task)
    torch.manual_seed(0)
    network = TASK.network()
    assert isinstance(network, Field)
    x = torch.randn(2, *TASK.shape)
    assert network(x, torch.rand(2), TASK.space.null.expand(2, -1)).shape == x.shape
    assert TASK.draw_held(x, torch.Generator()) is None


def test_the_label_paints_the_digit() -> None:
    grey = torch.full((10, 8, 8), 255, dtype=torch.uint8)
    y = torch.stack([torch.zeros(10, dtype=torch.long), torch.arange(10)], dim=1)
    pictures = TASK.prepare(grey, y)
    assert pictures.shape == (10, *TASK.shape)
    torch.testing.assert_close(pictures[:, :, 0, 0], 2 * torch.tensor(list(COLOURS.values())) - 1)
