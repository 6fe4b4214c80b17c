"""Presets."""


def preset(algorithm: str, env: str) -> dict:
    return {}


def names(algorithm: str) -> list[str]:
    return []
