"""Simulated sessions: scripted people drive a simulated robot by contact physics."""
