"""
A pretend Twilio Verify.
"""

from tests.emulators.twilio.verifications import Delivery, Limit, Service
from tests.emulators.twilio.verify import VerifyEmulator

__all__ = ["Delivery", "Limit", "Service", "VerifyEmulator"]
