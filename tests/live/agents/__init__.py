"""Agents of the live tier: plain livekit-agents programs that know nothing of Roomkeeper.

Each runs by `python -m tests.live.agents.NAME start` (stock) and as `tests.live.agents.NAME:server` (ours).
Their agent name is `LIVEKIT_AGENT_NAME` (fact 68).
"""
