"""Runs side by side over seeds: comparisons, searches of settings, cross-fitting."""
