"""The settings of the studies that come with the package, one file each."""
