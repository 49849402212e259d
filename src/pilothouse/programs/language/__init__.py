"""A language model of the Llama kind, trained on real text: what the ferries carry."""
