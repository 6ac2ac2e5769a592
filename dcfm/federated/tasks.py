"""What a kind of problem brings along to be trained in a federation: the toy, the planner, images, X-rays, yours.

A kind is one function ``read(config) -> FederatedTask`` in a module of its package, and one YAML file in
``configs/federated/task`` that names the function under ``reader`` and lists the kind's settings.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from hydra.errors import HydraException
from hydra.utils import get_method
from omegaconf import DictConfig

from dcfm.federated.settings import Settings, read_settings
from dcfm.methods import registry
from dcfm.methods.method import Recipe, check_recipe, private_sections
from dcfm.silos import Silo
from dcfm.task import Task


@runtime_checkable
class FederatedTask(Protocol):
    """A problem as silos and server need it; equal on all of them, since it is made from the run's configuration."""

    @property
    def task(self) -> Task:
        """What is trained."""
        ...

    @property
    def recipe(self) -> Recipe:
        """How each phase trains."""
        ...

    def deal(self) -> Sequence[Silo]:
        """All silos' data, where one machine has it: for simulations and tests. A real silo brings a file of its own
        (:mod:`dcfm.federated.silo_files`), and this is never called.

        Raises:
            ValueError: there is no such data, or it cannot be dealt so.
        """
        ...

    @property
    def publish(self) -> Callable[..., None]:
        """What writes the result, one network or one a silo, as this kind's models are loaded; called as
        :func:`dcfm.published.publish_task` is."""
        ...


def read_task(config: DictConfig) -> FederatedTask:
    """The task that the configuration describes.

    Raises:
        ValueError: no such reader, or settings that cannot be.
    """
    try:
        task = get_method(config.reader)(config)
    except (HydraException, ImportError, AttributeError) as error:
        raise ValueError(f"reader={config.get('reader')!r} is not the name of a function: {error}") from error
    if not isinstance(task, FederatedTask):
        raise ValueError(f"reader={config.reader!r} gives a {type(task).__name__}, which is no FederatedTask")
    return task


def read_run(config: DictConfig) -> tuple[Settings, FederatedTask]:
    """The federation's settings and the task that a configuration describes.

    Raises:
        ValueError: settings that cannot be, or privacy that the protocol would not train with.
    """
    settings, problem = read_settings(config), read_task(config)
    check_privacy(settings.protocol, problem.recipe)
    return settings, problem


def check_privacy(protocol: str, recipe: Recipe) -> None:
    """Raise ``ValueError`` where privacy is asked for and the protocol trains without it, or cannot train so."""
    method = registry.make(protocol)
    check_recipe([method], recipe)
    for name in private_sections(recipe):
        if not getattr(recipe, name).privacy.secret:
            raise ValueError(
                f"{name}.privacy.secret=false draws the noise from the run's seed, which server and silos know; they "
                "can take it off again, and nothing is protected; leave it out"
            )


def own_recipe(protocol: str, recipe: Recipe) -> Recipe:
    """The recipe as the protocol's method trains with it."""
    return registry.make(protocol).own(recipe)
