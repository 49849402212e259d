"""The command line: parse, call one operation, render. Nothing is decided here."""
