"""Speed: our loop against a baseline loop built by the usual means, on the same work in the same run."""
