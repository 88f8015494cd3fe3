"""One module a subcommand of `cosmic`."""
