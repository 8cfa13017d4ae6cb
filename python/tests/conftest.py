"""All tests run with fresh memory filled with signalling values, in release builds too (`docs/design.md`)."""

import os

# Read when the package first takes memory, so before any test imports it.
os.environ.setdefault("COVECTOR_FILL_MEMORY", "1")
