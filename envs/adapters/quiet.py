"""Silence about what a user cannot change: announcements that simulators make about themselves."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mujoco

# The models that Brax and Gymnasium ship still use this attribute, which MuJoCo 4 announces to drop.
_OLD_ATTRIBUTE = "compiler attribute 'settotalmass' is deprecated"


@contextmanager
def silenced() -> Iterator[None]:
    """Drops known harmless messages while a simulator is loaded; MuJoCo's others become Python warnings.

    Left alone, MuJoCo prints its messages and also writes them into `MUJOCO_LOG.TXT` in the current folder.
    """

    def on_message(message: str | bytes) -> None:
        text = message.decode() if isinstance(message, bytes) else message
        if _OLD_ATTRIBUTE not in text:
            warnings.warn(f"MuJoCo: {text.strip()}", RuntimeWarning, stacklevel=2)

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(on_message)
    try:
        with warnings.catch_warnings():
            # Brax announces at every load that it is in maintenance.
            warnings.filterwarnings("ignore", message="Brax System", category=UserWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(before)
