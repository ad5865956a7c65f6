"""Signal processing shared by checks, metrics, proposals and replay."""
