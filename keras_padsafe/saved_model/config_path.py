"""Places of config.json."""

ConfigPath = tuple[str | int, ...]
"""The keys that lead to a value of config.json."""


def config_key(path: ConfigPath) -> str:
    """A path of config.json as people write it: `config.layers[1].config.units`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
