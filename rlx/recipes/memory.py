"""Whether a run fits into memory, told while its program is traced: from shapes, before anything is compiled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rlx.recipes.settings import SettingError, settings, type_hints

if TYPE_CHECKING:
    from rlx.recipes.wiring import Config
    from rlx.training.program import Source


def guarded(source: Source, config: Config, num_runs: int) -> Source:
    """A source that refuses to be traced where what is needed at the least is more memory than there is.

    Args:
        source: of one run.
        config: whose fields its sizes are.
        num_runs: seeds times settings.

    Returns:
        A `Source` whose functions raise a `SettingError` of the field that is too large.
    """

    def init(key: Any, learner_state: Any) -> tuple[Any, Any]:
        state = source.init(key, learner_state)
        check(state, "the state", config, num_runs)
        return state

    def collect(state: Any, learner_state: Any, key: Any) -> tuple[Any, Any, Any]:
        state, fresh, metrics = source.collect(state, learner_state, key)
        check(fresh, "what is collected for one update", config)
        return state, fresh, metrics

    def draw(state: Any, fresh: Any, key: Any) -> Any:
        batch = source.draw(state, fresh, key)
        check(batch, "a minibatch", config)
        return batch

    return source._replace(init=init, collect=collect, draw=None if source.draw is None else draw)


def check(tree: Any, what: str, config: Config, num_runs: int = 1) -> None:
    """Check that arrays, of which only the shapes count, fit into the memory of all devices.

    Args:
        tree: arrays of one run, perhaps traced.
        what: what they are, for the error.
        config: whose fields their sizes are.
        num_runs: how many runs hold such arrays at once.

    Raises:
        SettingError: they do not; it names the field that makes them large.
    """
    import jax

    from rlx import memory
    from rlx.training.progress import bytes_in_words

    arrays = jax.tree.leaves(tree)
    of_one, there = sum(map(_bytes, arrays)), memory.of_devices(jax.devices())
    if num_runs * of_one <= there:
        return
    takes = f"takes {bytes_in_words(of_one)} at least, and there are {bytes_in_words(there)} of memory"
    if of_one <= there:
        raise SettingError("seeds", f"and --sweep make {num_runs} runs, and {what} of each {takes} for all of them")
    name, value = largest(config, max(arrays, key=_bytes).shape)
    raise SettingError(name, f"is too large at {value}: {what} of a run {takes}")


def largest(config: Config, shape: tuple[int, ...]) -> tuple[str, int]:
    """The field, and its value, that makes an array as large as it is: the largest that is one of the array's sizes.

    Where none is, as a field may be multiplied or divided on the way, it is the largest size of all.
    """
    hints, sizes = type_hints(type(config)), []
    for name, known in settings(type(config)).items():
        value = getattr(config, name)
        counts = value if isinstance(value, tuple) else (value,)
        if known.group in ("scale", "network", "algorithm") and not known.swept and "int" in str(hints[name]):
            sizes += [(count, name) for count in counts if type(count) is int and name != "total_steps"]
    value, name = max([size for size in sizes if size[0] in shape] or sizes)
    return name, value


def _bytes(array: Any) -> int:
    return math.prod(array.shape) * array.dtype.itemsize
