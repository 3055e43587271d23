"""Studies by the engine of their own, shrunk to seconds."""
