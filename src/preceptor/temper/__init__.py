"""Temperatures: how softly the teacher speaks."""

from preceptor.temper.fixed import Fixed

__all__ = ["Fixed"]
