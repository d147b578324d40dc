"""The commands of the command line, a module each: read options, call, print."""
