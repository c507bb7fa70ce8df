"""Changes to a built model: parts are replaced by name, nothing is built twice."""
