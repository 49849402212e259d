"""Campaign files over the language program: templates of ferries, for people to copy."""
