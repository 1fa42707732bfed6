"""The operations of the engines, each with the implementations that the registry chooses from."""

from .threads import wait_briefly

wait_briefly()
