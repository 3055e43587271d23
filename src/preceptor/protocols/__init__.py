"""Published protocols: which teacher teaches which student, on what, for how long, and what was reported."""

from preceptor.protocols.protocol import Pair, Protocol, protocol_names, read_protocol
from preceptor.protocols.running import PairResult, ProtocolResult, run_protocol

__all__ = ["Pair", "PairResult", "Protocol", "ProtocolResult", "protocol_names", "read_protocol", "run_protocol"]
