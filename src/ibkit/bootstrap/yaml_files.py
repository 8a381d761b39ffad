"""YAML of files that people write: numbers stay the texts that they are, and nothing refers to anything else.

A reader that makes floats of numbers would change them; one that follows references can be made to unfold a small file
into gigabytes. Source: docs/adr/0019-yaml.md.
"""

from __future__ import annotations

from typing import Any

from ibkit.errors import ConfigError

__all__ = ["read_yaml", "yaml_of"]


def read_yaml(body: bytes) -> Any:
    """Maps, lists and texts, numbers as written. ConfigError (E-VALIDATION; E-CONFIG without PyYAML)."""
    yaml = _library()

    class Plain(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "references are not read", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[Any] = set()
            for key, _ in node.value:
                name = self.construct_object(key, deep=True)
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", key.start_mark)
                seen.add(name)
            return super().construct_mapping(node, deep)

    for kind in ("float", "timestamp"):
        Plain.add_constructor(f"tag:yaml.org,2002:{kind}", Plain.construct_yaml_str)
    try:
        return yaml.load(body, Loader=Plain)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"Invalid request: file: it is no YAML that is read here ({why})",
            code="E-VALIDATION",
            remedy="Correct the place named; nothing was read in.",
            details={"errors": [{"field": "file", "message": why}]},
        ) from None


def yaml_of(value: Any) -> bytes:
    """In the order of its maps. ConfigError (E-CONFIG) without PyYAML."""
    text: str = _library().safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text.encode()


def _library() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Setting invalid: YAML needs the library PyYAML",
            code="E-CONFIG",
            remedy="Install it with `pip install 'ibkit[data]'`, or use JSON.",
        ) from error
    return yaml
