"""The GPU list: short entries for a machine with one NVIDIA GPU that is at hand for minutes."""
