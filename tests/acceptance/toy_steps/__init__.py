"""A campaign whose one proposal is promoted and rolled back, and a command line that dies on the way."""
