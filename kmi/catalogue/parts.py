"""What is valid in a manifest that as a whole is not: so that its other errors are told at once, too."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from kmi.catalogue.fields import Strict


def valid_parts(model: type[Strict], value: dict[Any, Any]) -> SimpleNamespace:
    """The attributes of ``model`` whose values are valid, with the defaults of those that are not given. A section that
    is partly valid is such a namespace itself; what is not valid is not there (AttributeError)."""
    found = SimpleNamespace()
    for name, field in model.model_fields.items():
        if name not in value:
            if not field.is_required():
                setattr(found, name, field.get_default(call_default_factory=True))
            continue
        try:
            setattr(found, name, _adapter(model, name).validate_python(value[name]))
        except ValidationError:
            inner, raw = _section(field.annotation), value[name]
            if inner and isinstance(raw, dict) and not _is_list(field.annotation):
                setattr(found, name, valid_parts(inner, raw))
            elif inner and isinstance(raw, list) and _is_list(field.annotation):
                items = (item if isinstance(item, dict) else {} for item in raw)
                setattr(found, name, tuple(valid_parts(inner, item) for item in items))
    return found


@cache
def _adapter(model: type[Strict], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    return TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]


def _section(annotation: Any) -> type[Strict] | None:
    """The section that the annotation names: itself, of a choice, or as a list's item."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next((found for part in get_args(annotation) if (found := _section(part))), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(_is_list(part) for part in get_args(annotation))
