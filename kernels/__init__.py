"""The operations of the engines, each with the implementations that the registry chooses from."""

from .threads import arrange_threads

arrange_threads()
