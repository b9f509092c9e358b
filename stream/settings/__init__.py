"""Read the settings: one class, each field an environment variable ``FAULTLINE_<NAME>``."""

from stream.settings.base import PREFIX, Settings, load_settings, settings_in_environment

__all__ = ["PREFIX", "Settings", "load_settings", "settings_in_environment"]
