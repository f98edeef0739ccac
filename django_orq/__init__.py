"""A Django app that mirrors the conversations of an Orq.ai workspace and writes changes back."""

__version__ = "0.1.0"
