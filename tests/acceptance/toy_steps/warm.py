"""Import this to have worked out what every start of the campaign would work out anew."""

from pilothouse.campaigns import autopilot
from pilothouse.evidence.looks import custom_design, stream_design
from pilothouse.wiring import running

LEVELS = 0.0009, 0.000909
DESIGNS = [stream_design(LEVELS[0]), *(custom_design([2], alpha=level) for level in LEVELS)]
ROOMS = autopilot, running
