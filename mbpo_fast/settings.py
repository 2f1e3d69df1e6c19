"""The base of every settings class: frozen, strict about unknown keys, no NaN or infinity."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of settings; its YAML spelling is the field names, nested by dots on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
