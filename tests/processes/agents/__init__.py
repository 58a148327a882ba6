"""Agents for the fault table: cheap, and each signs in with its pid, so that a ghost can be told."""
