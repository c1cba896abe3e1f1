"""What the commands do, one module each: arguments in, files and tables out. Kept apart from `wel.cli.app` so that `wel --help` is quick."""
