"""The fleet over HTTP: routes that parse, call one operation and render. No rule stands here."""
