"""Kedro pipelines, one file each: thin nodes that call the rooms."""


def sections(*names: str) -> list[str]:
    """Inputs of a node for sections of the parameters."""
    return [f"params:{name}" for name in names]
