"""Import this to have worked out what every start of the campaign would work out anew."""

from pilothouse.campaigns import autopilot
from pilothouse.evidence.looks import custom_design, stream_design
from pilothouse.wiring import running

LEVEL = 0.0009
DESIGNS = stream_design(LEVEL), custom_design([2], alpha=LEVEL)
ROOMS = autopilot, running
