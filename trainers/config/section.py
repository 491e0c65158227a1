"""What a section of the configuration is made of: parameters with label, help, level, unit."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Auto = Literal["auto"]
Level = Literal["beginner", "expert"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=10)]
Pixels = Annotated[int, Field(ge=16, le=8192)]


def param(default: Any, label: str, help: str, *, level: Level = "expert", unit: str = "", aka: str = "") -> Any:
    """A parameter. aka: names that other trainers give it, for the search."""
    return Field(default, title=label, description=help, json_schema_extra={"level": level, "unit": unit, "aka": aka})


class Section(BaseModel):
    """Base of all sections: frozen; unknown keys, infinities and NaN forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as 1: `adapter.rank = true` would train a rank of 1
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("bool_type", "true and false are not meant here")
        return value
