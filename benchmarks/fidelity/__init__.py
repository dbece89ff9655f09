"""Parts of the fidelity benchmark; a package, so that it is found beside the script of the same name."""
