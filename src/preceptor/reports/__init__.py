"""Pages to look at: one self-contained HTML file each. They need the extra ``report``."""
