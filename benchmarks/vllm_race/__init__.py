"""Parts of the race inside vLLM; a package, so that it is found beside the script of the same name."""
