"""Selections: which samples the teacher teaches."""

from preceptor.select.drop_wrong import DropWrong

__all__ = ["DropWrong"]
