"""The clock and the values that tests build; the conformance suite of stores."""
